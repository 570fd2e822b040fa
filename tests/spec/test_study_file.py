from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finescale.errors import UsageError
from finescale.spec.file import _FORMS, MAX_BYTES, load_study, parse_study
from finescale.spec.parts import Choice, PerMethod
from finescale.spec.run import OptimizerSpec, TaskSpec
from finescale.spec.study import PretrainStudy, Study

STUDY = """\
name: nano
task: mini-en-de
seeds: [0, 1]
test_examples: 512
base: {model: nano-0.3m, pretrain_tokens: last, pet_size: {lora: 4, prompt: 16}}
grids:
  - vary: model
    values: [nano-0.05m, nano-0.3m]
    finetune_examples: {full: [128, 256], lora: [128, 256], prompt: [128]}
  - vary: pretrain_tokens
    values: [1.7e6, last]
    finetune_examples: {full: [128], lora: [256]}
  - vary: pet_size
    values: {lora: [2, 8], prompt: [4]}
    finetune_examples: {lora: [128], prompt: [128]}
hold_out: model_params >= 3e5
learning_rates:
  full:
    - {optimizer: adafactor, rates: [1e-3, 3e-3]}
    - {optimizer: {name: adamw, weight_decay: 0.1}, rates: 1e-3}
  lora: [1e-2, 3e-2]
  prompt: 0.1
sweep: {model: nano-0.05m, finetune_examples: 128}
train: {optimizer: {full: {parameter_scaling: true}, lora: adamw, prompt: adamw}, epochs: {full: 2, lora: 4}}
"""


def study(text: str = STUDY) -> Study:
    spec = parse_study(text)
    assert isinstance(spec, Study)
    return spec


def refused(old: str, new: str) -> str:
    assert old in STUDY
    with pytest.raises(UsageError) as caught:
        parse_study(STUDY.replace(old, new, 1), "s.yaml")
    return str(caught.value)


def test_short_forms_and_numbers_mean_what_an_author_expects() -> None:
    spec = study()
    adamw = OptimizerSpec(name="adamw")
    assert spec.candidates("prompt") == [Choice(optimizer=adamw, learning_rate=0.1)]
    assert [choice.learning_rate for choice in spec.candidates("full")] == [1e-3, 3e-3, 1e-3]
    assert spec.candidates("full")[2].optimizer == OptimizerSpec(name="adamw", weight_decay=0.1)
    assert isinstance(spec.train.optimizer, PerMethod)
    assert spec.train.optimizer.full == OptimizerSpec(parameter_scaling=True)
    assert isinstance(spec.train.epochs, PerMethod)
    assert (spec.train.epochs.full, spec.train.epochs.prompt) == (2, None)
    assert spec.grids[1].values == (1_700_000, "last")


def test_one_optimiser_for_every_method() -> None:
    spec = study(
        STUDY.replace(
            "optimizer: {full: {parameter_scaling: true}, lora: adamw, prompt: adamw}", "optimizer: adamw"
        )
    )
    assert spec.train.optimizer == OptimizerSpec(name="adamw")
    assert spec.train.resolve("prompt", spec.candidates("prompt")[0]).epochs == 4
    spec = study(STUDY.replace("train: {optimizer", "train: {batch_size: 8, optimizer"))
    assert spec.train.resolve("prompt", spec.candidates("prompt")[0]).batch_size == 8


OWN = (
    STUDY
    + """\
models:
  tiny: {from: ./tiny, revision: main, pretrain_tokens: 1e9, revisions: {step10: 1e8}}
methods:
  dora: {peft: LoraConfig, use_dora: true}
  ia3: {peft: IA3Config, feedforward_modules: [up, down]}
  prefix: {peft: PrefixTuningConfig, num_virtual_tokens: 8}
  lora: {lora_alpha: 8}
"""
)
OWN = (
    OWN.replace("full: [128, 256], lora: [128, 256]", "full: [128], lora: [128], dora: [128, 256], ia3: [64]")
    .replace("pet_size: {lora: 4,", "pet_size: {dora: 6, lora: 4,")
    .replace("values: {lora: [2, 8],", "values: {dora: [2, 8],")
    .replace(
        "finetune_examples: {lora: [128], prompt", "finetune_examples: {dora: [128], prefix: [64], prompt"
    )
    .replace("  lora: [1e-2, 3e-2]\n", "  lora: 1e-2\n  dora: [1e-2, 3e-2]\n  ia3: 1e-2\n  prefix: 1e-2\n")
    .replace("lora: 4}}", "lora: 4, ia3: 9}}")
)


def test_a_study_brings_its_own_methods() -> None:
    spec = study(OWN)
    assert spec.methods() == ("full", "lora", "prompt", "dora", "ia3", "prefix")
    assert [choice.learning_rate for choice in spec.candidates("dora")] == [1e-2, 3e-2]
    assert spec.train.resolve("ia3", spec.candidates("ia3")[0]).epochs == 9
    dora = spec.method("dora", spec.base_size("dora"))
    assert (dora.peft, dora.pet_size, dora.lora_alpha) == ("LoraConfig", 6, 6)
    assert dora.settings == {"use_dora": True, "r": 6}
    assert spec.base_size("prefix") == 8
    assert spec.base_size("ia3") is None
    assert spec.method("ia3", None).settings == {"feedforward_modules": ["up", "down"]}
    assert spec.method("lora", 4).lora_alpha == 8
    assert Study.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("old", "new", "place", "told"),
    [
        ("dora: [128, 256]", "dorra: [128, 256]", "line 9, grids[0].finetune_examples.dorra", "mean 'dora'?"),
        ("values: {dora", "values: {full", "line 14, grids[2].values.full", "one of lora, prompt, dora"),
        ("ia3: 9", "ia: 9", "line 27, train.epochs.ia", "did you mean 'ia3'?"),
        ("{dora: 6,", "{dorra: 6,", "line 5, base.pet_size.dorra", "did you mean 'dora'?"),
        ("use_dora: true", "r: 8", "line 5, base.pet_size.dora", "the size once: here or as methods.dora.r"),
        ("dora: {peft: LoraConfig", "dora: {peft: lora", "methods.dora.peft", "wanted: "),
        ("  dora: {peft: LoraConfig, ", "  dora: {", "line 31, methods.dora", "class in PEFT"),
        ("{lora_alpha: 8}", "{r: 8}", "line 34, methods.lora.r", "one of lora_alpha, target_modules"),
        ("{lora_alpha: 8}", "{lora_alpha: 0}", "line 34, methods.lora.lora_alpha", "a number above 0"),
        ("  lora: {lora_alpha: 8}", "  full: {peft: IA3Config}", "line 34, methods.full", "built in"),
        ("  ia3: 1e-2\n", "", "learning_rates.ia3", "at least one rate for ia3"),
        ("pretrain_tokens: 1e9", "pretrain_tokens: 1e8", "line 29, models.tiny.revisions", "its own"),
        ("1e9, rev", "1e9, params: 9, rev", "models.tiny.nonembedding_params", "or neither"),
        ("from: ./tiny", "form: ./tiny", "models.tiny", "did you mean 'from'?"),
        ("tiny: {", "../tiny: {", "line 29, models", "letters, digits"),
    ],
)
def test_a_mistake_in_what_is_one_s_own_is_told(old: str, new: str, place: str, told: str) -> None:
    assert old in OWN
    with pytest.raises(UsageError) as caught:
        parse_study(OWN.replace(old, new, 1), "s.yaml")
    assert place in str(caught.value)
    assert told in str(caught.value)


def test_files_and_folders_are_relative_to_the_study_file(tmp_path: Path) -> None:
    task = "task: {name: mine, train: data/train.jsonl, test: /there/test.csv}"
    (tmp_path / "s.yaml").write_text(OWN.replace("task: mini-en-de", task))
    (tmp_path / "folder").mkdir()
    spec = load_study(tmp_path / "s.yaml")
    assert isinstance(spec, Study)
    assert isinstance(spec.task, TaskSpec)
    assert (spec.task.train, spec.task.test) == (str(tmp_path / "data" / "train.jsonl"), "/there/test.csv")
    assert spec.task_name == "mine"
    assert spec.models["tiny"].source == str(tmp_path / "tiny")
    (tmp_path / "s.yaml").write_text(OWN.replace("from: ./tiny", "from: folder"))
    assert load_study(tmp_path / "s.yaml").models["tiny"].source == str(tmp_path / "folder")  # pyright: ignore
    (tmp_path / "s.yaml").write_text(OWN.replace("from: ./tiny", "from: org/tiny"))
    assert load_study(tmp_path / "s.yaml").models["tiny"].source == "org/tiny"  # pyright: ignore


def test_a_pretraining_study_is_read() -> None:
    text = "kind: pretrain\nname: ladder\nlanguages: [en, no]\nmodels: [nano-1m]\n"
    text += "checkpoints: {nano-1m: [0.5]}\n"
    spec = parse_study(text)
    assert isinstance(spec, PretrainStudy)
    assert spec.languages == ("en", "no")
    assert spec.checkpoints == {"nano-1m": (0.5,)}


def test_a_study_survives_json() -> None:
    assert Study.model_validate_json(study().model_dump_json()) == study()


def test_answers_of_chats_want_version_2() -> None:
    message = refused("task: mini-en-de", "task: {name: t, train: t.jsonl, answers: last}")
    assert "task.answers" in message
    assert "with it `version: 2`" in message


def test_an_unknown_key_names_file_line_field_and_nearest() -> None:
    assert refused("seeds: [0, 1]", "seed: [0, 1]").splitlines() == [
        "s.yaml, line 3, seed: unknown key 'seed'",
        "  wanted: one of base, batch_sizes, evaluation, grids, hold_out, keep, kind, learning_rates, "
        "methods, models, name, order, prepare, resources, resume, retries, seeds, sweep, task, "
        "test_examples, tracking, train, version",
        "  got: 'seed'",
        "  remedy: did you mean 'seeds'?",
    ]


def test_a_wrong_type_names_file_line_field_wanted_and_got() -> None:
    assert refused("[0, 1]", "[0, x]").splitlines() == [
        "s.yaml, line 3, seeds[1]: a value that cannot be right",
        "  wanted: a whole number",
        "  got: 'x'",
    ]


def test_several_problems_are_told_at_once_in_the_order_of_lines() -> None:
    text = (
        STUDY.replace("seeds:", "seed:")
        .replace("epochs:", "epoch:")
        .replace("test_examples: 512", "test_examples: 0")
    )
    with pytest.raises(UsageError) as caught:
        parse_study(text, "s.yaml")
    heads = [line for line in str(caught.value).splitlines() if not line.startswith(" ")]
    assert [head.split(":")[0] for head in heads] == [
        "s.yaml, line 3, seed",
        "s.yaml, line 4, test_examples",
        "s.yaml, line 24, train.epoch",
    ]


@pytest.mark.parametrize(
    ("old", "new", "place", "wanted"),
    [
        ("[0, 1]", "3", "line 3, seeds", "wanted: a list"),
        ("[0, 1]", "[0, true]", "line 3, seeds[1]", "wanted: a whole number"),
        ("[0, 1]", "[]", "line 3, seeds", "wanted: at least 1 item"),
        ("vary: model", "vary: modle", "line 7, grids[0].vary", "did you mean 'model'?"),
        ("vary: model", "very: model", "line 7, grids[0].vary", "unknown key 'very'"),
        ("lora: adamw", "lora: adamv", "line 24, train.optimizer.lora", "did you mean 'adamw'?"),
        ("epochs: {full: 2", "epochs: {ful: 2", "line 24, train.epochs.ful", "did you mean 'full'?"),
        ("epochs: {full: 2", "epochs: {full: 1.5", "line 24, train.epochs.full", "wanted: a whole number"),
        ("rates: 1e-3", "rates: -1", "line 20, learning_rates.full[1].rates", "wanted: a number above 0"),
        ("weight_decay: 0.1", "decay: 0.1", "learning_rates.full[1].optimizer.decay", "'weight_decay'?"),
        ("1.7e6", "first", "line 11, grids[1].values[0]", "tokens, or last"),
        ("name: nano\n", "name: ../nano\n", "line 1, name", "letters, digits"),
        ("[128, 256]", "[128, 128]", "line 9, grids[0].finetune_examples.full", "distinct"),
        ("[128, 256]", "[128, -1]", "line 9, grids[0].finetune_examples.full[1]", "above 0"),
        ("prompt: 0.1", "promt: 0.1", "line 22, learning_rates.promt", "did you mean 'prompt'?"),
        ("task: mini-en-de", "task:", "line 2, task", "got: nothing"),
        ("task: mini-en-de", "task: 12", "line 2, task", "wanted: text"),
        ("test_examples: 512\n", "", "test_examples is missing", "wanted: a value for test_examples"),
        ("base: {model: nano-0.3m, ", "base: {", "line 5, base.model", "model is missing"),
        ("values: {lora: [2, 8], prompt: [4]}", "values: [2]", "line 14, grids[2].values", "a mapping"),
        (
            "sweep: {model: nano-0.05m, finetune_examples: 128}\n",
            "",
            "line 18, learning_rates.full",
            "a `sweep` setting",
        ),
        ("  prompt: 0.1\n", "", "line 17, learning_rates.prompt", "at least one rate for prompt"),
        ("name: nano\n", "name: nano\nname: micro\n", "line 2", "key 'name' is there twice"),
        ("seeds: [0, 1]", "seeds: [0, 1", "line 4", "not valid YAML"),
        ("name: nano", "name: !!python/object:os.system x", "line 1", "a YAML tag"),
        ("name: nano", "kind: tune\nname: nano", "line 1, kind", "wanted: finetune or pretrain"),
        ("name: nano", "version: 3\nname: nano", "line 1, version", "wanted: 1 or 2"),
        ("train: {", "train: 3 # {", "line 24, train", "a mapping"),
    ],
)
def test_a_mistake_is_told_where_it_is(old: str, new: str, place: str, wanted: str) -> None:
    message = refused(old, new)
    assert place in message
    assert wanted in message
    assert "pydantic" not in message
    assert "Input should" not in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- 1\n- 2\n", "not a study"),
        ("just words", "not a study"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("[" * 50_000, "nested too deeply"),
        ("a: &x [*x]", "alias *x"),
        ("a: 'b\n", "not valid YAML"),
        ("\tname: x", "not valid YAML"),
        ("a: \x01", "not valid YAML"),
        ('a: 1\nb: "x\\x1b[31m"', "line 2: a control character"),
        ('a: 1\n"\\u202e": 1', "line 2: a control character"),
        ("a: 1\nb: \x00", "line 2: not valid YAML"),
    ],
)
def test_text_that_is_no_study_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("*", r"\*")):
        parse_study(text)


@pytest.mark.parametrize(("key", "shown"), [('""', "''"), ('"\\t"', r"'\t'"), ('"a\\nb"', r"'a\nb'")])
def test_a_key_that_cannot_be_seen_is_shown_in_quotes(key: str, shown: str) -> None:
    told = refused("pet_size: {lora: 4,", f"pet_size: {{{key}: [], lora: 4,")
    assert told.startswith(f"s.yaml, line 5, base.pet_size.{shown}: ")


def test_a_study_of_more_runs_than_anybody_makes_is_refused_before_it_is_expanded() -> None:
    seeds = ", ".join(map(str, range(50_000)))
    sizes = ", ".join(map(str, range(1, 1000)))
    text = STUDY.replace("[0, 1]", f"[{seeds}]").replace("full: [128, 256]", f"full: [{sizes}]")
    with pytest.raises(UsageError, match=r"line 6, grids: (.|\n)*at most 1,000,000 runs in a study, not"):
        parse_study(text)


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(UsageError, match="too many values"):
        parse_study("\n".join(lines))


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "nano.yaml").write_text(STUDY)
    with pytest.raises(UsageError, match=r"no such file(.|\n)*did you mean 'nano.yaml'"):
        load_study(tmp_path / "nanno.yaml")


def test_a_folder_is_not_a_study_file(tmp_path: Path) -> None:
    (tmp_path / "nano.yaml").write_text(STUDY)
    with pytest.raises(UsageError, match=r"a folder, not a file(.|\n)*nano.yaml"):
        load_study(tmp_path)


def test_a_binary_and_a_huge_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\xfe\x00")
    with pytest.raises(UsageError, match="not a text file"):
        load_study(tmp_path / "binary.yaml")
    (tmp_path / "huge.yaml").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(UsageError, match="too large for a study file"):
        load_study(tmp_path / "huge.yaml")


def test_the_file_s_name_is_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY.replace("seeds", "sedes"))
    with pytest.raises(UsageError, match=r"^mine.yaml, line 3, sedes"):
        load_study(path)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, len(OWN) - 1),
    st.integers(0, 30),
    st.text(alphabet="abn01-: [{}]'\"\n\t&*!#,.e~?|>%@\x00é", max_size=12),
)
def test_a_damaged_study_file_is_a_usage_error_or_a_study(start: int, length: int, put: str) -> None:
    try:
        parse_study(OWN[:start] + put + OWN[start + length :], "s.yaml")
    except UsageError as error:
        told = str(error)
    else:
        told = "s.yaml"
    assert "s.yaml" in told


def test_batch_sizes_are_tried_with_every_learning_rate() -> None:
    spec = study(STUDY + "batch_sizes: {full: [8, 32], prompt: [4]}\n")
    tried = [(choice.learning_rate, choice.batch_size) for choice in spec.candidates("full")]
    assert tried == [(1e-3, 8), (1e-3, 32), (3e-3, 8), (3e-3, 32), (1e-3, 8), (1e-3, 32)]
    assert spec.train.resolve("full", spec.candidates("full")[1]).batch_size == 32
    assert spec.train.resolve("prompt", spec.candidates("prompt")[0]).batch_size == 4
    assert spec.train.resolve("lora", spec.candidates("lora")[0]).batch_size == 16


def test_two_batch_sizes_need_a_sweep_setting() -> None:
    text = STUDY.replace("sweep: {model: nano-0.05m, finetune_examples: 128}\n", "")
    text = text.replace("  full:\n    - {optimizer: adafactor, rates: [1e-3, 3e-3]}\n", "  full:\n")
    text = text.replace("lora: [1e-2, 3e-2]", "lora: 1e-2")
    with pytest.raises(UsageError, match=r"batch_sizes\.full(?s:.*)one size, or a `sweep` setting"):
        parse_study(text + "batch_sizes: {full: [8, 16]}\n")


def test_training_options_are_one_value_or_one_a_method() -> None:
    text = STUDY.replace("train: {", "train: {patience: {lora: 2}, micro_batch_size: 4, precision: bf16, ")
    spec = study(text)
    lora, full = (spec.train.resolve(name, spec.candidates(name)[0]) for name in ("lora", "full"))
    assert (lora.patience, full.patience, full.micro_batch_size, full.precision) == (2, None, 4, "bf16")
    assert "did you mean 'bf16'" in refused("train: {", "train: {precision: bf61, ")


def test_a_model_need_not_say_what_it_was_pretrained_on() -> None:
    study = parse_study(OWN.replace(", pretrain_tokens: 1e9, revisions: {step10: 1e8}", "", 1))
    assert isinstance(study, Study)
    assert study.models["tiny"].checkpoints == {0: "main"}


def test_a_list_in_place_of_a_mapping_is_told_the_form_and_the_forms_make_a_study():
    forms = "\n".join(form for key, form in _FORMS.items() if key not in ("pet_size", "finetune_examples"))
    grid = f"grids: [{{vary: model, values: [small], {_FORMS['finetune_examples']}}}]"
    whole = f"name: own\nseeds: [0]\ntest_examples: 10\n{forms}\n{grid}\n"
    assert isinstance(parse_study(whole), Study)
    with pytest.raises(UsageError, match=r"models: a value .*\n.*e\.g\. models: \{small: \{from: ./my-model"):
        parse_study(whole.replace(_FORMS["models"], "models: [./my-model]"))
