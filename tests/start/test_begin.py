"""`finescale init`: six kinds of data, four kinds of models, budgets; every choice has a reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from architectures import save_model
from rich.console import Console
from typer.testing import CliRunner

from finescale.cli import app
from finescale.errors import UsageError
from finescale.records.budgets import read_budget
from finescale.runs.expected import estimated_flops
from finescale.spec.file import load_study, parse_study
from finescale.spec.run import TaskSpec
from finescale.spec.study import Study
from finescale.start.begin import Begun, Wishes, begin
from finescale.start.files import split_files, task_name
from finescale.start.rates import candidates
from finescale.tasks.catalog import open_task
from finescale.tasks.rows import read_rows

ROWS = 400
QUIET = Console(quiet=True)


def words(number: int) -> tuple[str, str]:
    """A question and its answer; no two are alike."""
    return f"What is {number} plus {number % 7}, and why?", f"It is {number + number % 7}, counted on."


def chat(number: int) -> list[dict[str, str]]:
    question, answer = words(number)
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def jsonl(path: Path, row: Callable[[int], dict[str, Any]], rows: int = ROWS) -> Path:
    path.write_text("".join(json.dumps(row(number)) + "\n" for number in range(rows)))
    return path


def pairs_jsonl(folder: Path) -> Path:
    return jsonl(folder / "pairs.jsonl", lambda n: dict(zip(("source", "target"), words(n), strict=True)))


def chats_jsonl(folder: Path) -> Path:
    return jsonl(folder / "chats.jsonl", lambda n: {"messages": chat(n)})


def sharegpt_json(folder: Path) -> Path:
    speakers = {"user": "human", "assistant": "gpt"}
    rows = [
        {"conversations": [{"from": speakers[m["role"]], "value": m["content"]} for m in chat(number)]}
        for number in range(ROWS)
    ]
    (folder / "sharegpt.json").write_text(json.dumps(rows))
    return folder / "sharegpt.json"


def alpaca_jsonl(folder: Path) -> Path:
    return jsonl(
        folder / "alpaca_data.jsonl",
        lambda n: {"instruction": words(n)[0], "input": "count" if n % 2 else "", "output": words(n)[1]},
    )


def questions_csv(folder: Path) -> Path:
    lines = ['"' + '";"'.join((str(number), *words(number))) + '"' for number in range(ROWS)]
    (folder / "questions.csv").write_text("\n".join(['"id";"Question";"Answer"', *lines]))
    return folder / "questions.csv"


def splits_parquet(folder: Path) -> Path:
    for split, start, rows in (("train", 0, ROWS), ("validation", 10_000, 40), ("test", 20_000, 50)):
        made = [words(start + number) for number in range(rows)]
        columns = {"article": [one for one, _ in made], "highlights": [two for _, two in made]}
        pl.DataFrame(columns).write_parquet(folder / f"{split}.parquet")
    return folder


FORMATS = [pairs_jsonl, chats_jsonl, sharegpt_json, alpaca_jsonl, questions_csv, splits_parquet]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "tiny-llama", "llama")


def begun(data: Path, *models: Path | str, out: Path, **others: Any) -> Begun:
    return begin(Wishes(data, [str(model) for model in models], out, probe=False, **others), QUIET)


def every_choice_has_a_reason(text: str) -> bool:
    """Whether a comment stands before, or behind, each field that init chose."""
    lines = text.splitlines()
    chosen = ("task:", "test_examples:", "models:", "base:", "grids:", "learning_rates:", "train:")
    for place, line in enumerate(lines):
        if line.startswith(chosen) and "# " not in line and not lines[place - 1].startswith("#"):
            return False
    return True


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_every_kind_of_data_becomes_a_study_that_runs(
    write: Callable[[Path], Path], llama: Path, tmp_path: Path
) -> None:
    made = begun(write(tmp_path), llama, out=tmp_path / "study.yaml")
    spec, task = made.spec, made.design.data.task
    assert parse_study(made.text).name == spec.name  # type: ignore[union-attr]
    assert every_choice_has_a_reason(made.text), made.text
    assert spec.version == 2
    sizes = made.design.sizes
    assert all(later == 2 * earlier for earlier, later in pairwise(sizes))
    assert len(task.train) / 2 < sizes[-1] <= len(task.train)
    assert spec.hold_out == f"finetune_examples == {sizes[-1]}"
    assert spec.methods() == ("full", "lora")
    assert made.design.target.cut <= 0.01
    assert spec.task.train is not None  # type: ignore[union-attr]
    assert Path(spec.task.train).is_absolute()  # type: ignore[union-attr]
    assert len(made.plan.runs()) > 2 * len(sizes)


def test_the_languages_of_the_data_are_told_where_the_extra_is_there(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("py3langid")
    some = open_task("mini-en-de", 2).train
    data = jsonl(tmp_path / "pairs.jsonl", lambda n: {"source": some[n].source, "target": some[n].target})
    made = begun(data, llama, out=tmp_path / "study.yaml")
    assert "What is read is written in Latin (en), what is learned in Latin (de)." in in_one_line(made.text)
    monkeypatch.setitem(sys.modules, "py3langid", None)
    bare = in_one_line(begun(data, llama, out=tmp_path / "study.yaml").text)
    assert "written in Latin, what is learned in Latin. Scripts, not languages: pip install" in bare


def in_one_line(text: str) -> str:
    return " ".join(text.replace("\n#", " ").split())


@pytest.mark.parametrize("architecture", ["gpt2", "gpt-neox", "qwen3", "mamba"])
def test_every_kind_of_model_is_looked_at(architecture: str, tmp_path: Path) -> None:
    folder = save_model(tmp_path / architecture, architecture)
    made = begun(pairs_jsonl(tmp_path), folder, out=tmp_path / "study.yaml")
    (look,) = made.design.models
    config = json.loads((folder / "config.json").read_text())
    assert look.params > 0
    assert look.vocabulary == 300
    assert look.context == {"gpt2": 256, "mamba": None}.get(
        architecture, config.get("max_position_embeddings")
    )
    assert f"{look.params:,} parameters" in made.text
    assert "from: ./" in made.text
    if look.context:
        assert made.design.source.limit + made.design.target.limit <= look.context


def test_several_models_the_smallest_tunes_the_rates(llama: Path, tmp_path: Path) -> None:
    made = begun(pairs_jsonl(tmp_path), "nano-0.1m", llama, "nano-0.05m", out=tmp_path / "s.yaml")
    names = [look.name for look in made.design.models]
    assert sorted(names) == ["nano-0.05m", "nano-0.1m", "tiny-llama"]
    assert [look.params for look in made.design.models] == sorted(look.params for look in made.design.models)
    assert made.spec.sweep is not None
    assert (made.spec.sweep.model, made.spec.sweep.race) == (names[0], True)
    assert made.spec.base.model == names[-1]


def test_a_budget_is_kept_and_a_larger_one_buys_more(tmp_path: Path) -> None:
    data = pairs_jsonl(tmp_path)
    free = begun(data, "nano-0.05m", out=tmp_path / "free.yaml")
    whole = sum(estimated_flops(item.run) for item in free.plan.runs())
    before = 0.0
    for share in (0.15, 0.3, 0.6, 1.1):
        made = begun(data, "nano-0.05m", out=tmp_path / "s.yaml", budget=read_budget(f"{share * whole:.4g}"))
        spent = sum(estimated_flops(item.run) for item in made.plan.runs())
        assert before <= spent <= share * whole
        before = spent
    assert before == whole
    poor = begun(data, "nano-0.05m", out=tmp_path / "s.yaml", budget=read_budget("1000"))
    assert "does not pay for the smallest study" in poor.notes[0]


def test_time_is_measured_and_kept(tmp_path: Path) -> None:
    """The probe of real runs; twice the time never buys fewer runs."""
    data = pairs_jsonl(tmp_path)
    wishes = Wishes(data, ["nano-0.05m"], tmp_path / "s.yaml", ("lora",), budget=read_budget("1min"))
    made = begin(wishes, QUIET)
    assert made.seconds is not None
    assert made.seconds <= 60 or made.notes
    assert not made.failed
    assert "measured on this machine" in made.text
    assert 1 <= made.workers <= made.design.machine.cores


def test_accuracy_is_the_exact_match_of_one_word(tmp_path: Path) -> None:
    data = jsonl(tmp_path / "labels.jsonl", lambda n: {"text": words(n)[0], "label": ("even", "odd")[n % 2]})
    made = begun(data, "nano-0.05m", out=tmp_path / "s.yaml", score="accuracy")
    assert made.spec.evaluation.metrics == ("exact_match",)
    assert made.spec.evaluation.max_new_tokens >= made.design.target.longest
    with pytest.raises(UsageError, match="accuracy is the exact match of one-word targets"):
        begun(pairs_jsonl(tmp_path), "nano-0.05m", out=tmp_path / "s.yaml", score="accuracy")
    with pytest.raises(UsageError, match="did you mean 'rougeL'"):
        begun(data, "nano-0.05m", out=tmp_path / "s.yaml", score="rouge")


def test_columns_that_nobody_knows_are_asked_for(tmp_path: Path) -> None:
    data = jsonl(tmp_path / "odd.jsonl", lambda n: {"a": words(n)[0], "b": words(n)[1], "c": "more"})
    with pytest.raises(UsageError, match=r"--source COLUMN --target COLUMN(.|\n)*a, b, c"):
        begun(data, "nano-0.05m", out=tmp_path / "s.yaml")
    made = begun(data, "nano-0.05m", out=tmp_path / "s.yaml", source="b", target="a")
    assert made.spec.task.source == "b"  # type: ignore[union-attr]


def test_repeats_long_texts_and_a_wrong_model_are_told(llama: Path, tmp_path: Path) -> None:
    data = jsonl(
        tmp_path / "long.jsonl",
        lambda n: {
            "source": words(n % 300)[0] + " more" * (500 if n % 300 == 7 else 0),
            "target": words(n % 300)[1],
        },
    )
    made = begun(data, llama, out=tmp_path / "s.yaml")
    assert made.design.data.repeats > 0
    assert f"{made.design.data.repeats:,} of them repeat earlier ones" in made.text
    assert made.design.source.limit < made.design.source.longest
    with pytest.raises(UsageError, match=r"--model nano-0.2m(.|\n)*did you mean 'nano-0.[13]m'"):
        begun(data, "nano-0.2m", out=tmp_path / "s.yaml")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UsageError, match=r"empty.jsonl: no examples"):
        begun(tmp_path / "empty.jsonl", "nano-0.1m", out=tmp_path / "s.yaml")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text((llama / "config.json").read_text())
    with pytest.raises(UsageError, match="no weights"):
        begun(data, tmp_path / "broken", out=tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("files", "data", "splits", "name"),
    [
        (["train.jsonl", "test.jsonl", "dev.csv"], "train.jsonl", {"train", "test"}, "data"),
        (["qa-train.csv", "qa-valid.csv", "x-test.csv"], "qa-train.csv", {"train", "dev"}, "qa"),
        (["train.jsonl", "valid.jsonl", "notes.txt"], ".", {"train", "dev"}, "data"),
        (["all.jsonl"], ".", {"train"}, "all"),
    ],
)
def test_splits_are_found_beside_the_file(
    files: list[str], data: str, splits: set[str], name: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for file in files:
        text = "source,target\na,b" if file.endswith("csv") else '{"source": "a", "target": "b"}'
        (tmp_path / "data" / file).write_text(text)
    found = split_files(tmp_path / "data" / data)
    assert found.keys() == splits
    assert task_name(found["train"]) == name


def files_of(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        text = "source,target\na,b" if name.endswith("csv") else '{"source": "a", "target": "b"}'
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["train_0.jsonl", "train_1.jsonl"],
            r"2 files for train(.|\n)*awk 1 .*/train_\*.jsonl > .*/train.jsonl",
        ),
        (["train-00000-of-00002.csv", "train-00001-of-00002.csv"], r"awk .*/train-\*-of-\*.csv"),
        (["train.json", "test1.json", "test2.json"], r"2 files for test(.|\n)*json.dump"),
        (["train.jsonl", "train_small.jsonl"], r"2 files for train(.|\n)*or name the training data"),
        (["train.jsonl", "dev.jsonl", "validation.jsonl"], r"2 files for dev"),
        (
            ["part1.jsonl", "part2.jsonl"],
            r"no file of this folder(.|\n)*awk 1 .*/part\*.jsonl > .*/train.jsonl",
        ),
        (["rows.jsonl.gz"], r"no data file, but rows.jsonl.gz(.|\n)*gunzip"),
    ],
)
def test_one_of_several_files_is_never_taken_silently(names: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        split_files(files_of(tmp_path / "data", *names))


def test_the_commands_that_concatenate_shards_make_a_folder_that_is_taken(tmp_path: Path) -> None:
    for kind in ("jsonl", "csv"):
        folder = files_of(tmp_path / f"the {kind}", *(f"train_{n}.{kind}" for n in range(3)))
        with pytest.raises(UsageError) as caught:
            split_files(folder)
        line = caught.value.remedy.partition(", the other splits")[0]
        subprocess.run(["sh", "-c", line], check=True)
        made = split_files(folder / "whole")["train"]
        assert [row.values for row in read_rows(made)] == [{"source": "a", "target": "b"}] * 3


def test_a_named_shard_is_taken_and_the_others_are_mentioned(llama: Path, tmp_path: Path) -> None:
    for part in range(2):
        jsonl(tmp_path / f"train_{part}.jsonl", lambda n: {"source": words(n)[0], "target": words(n)[1]})
    made = begun(tmp_path / "train_1.jsonl", llama, out=tmp_path / "s.yaml")
    said = "train_1.jsonl is one of 2 files of that name in its folder: the others are not used"
    assert said in made.design.data.task.notes
    assert said[1:] in in_one_line(made.text)
    files_of(tmp_path / "ones", "train-0-of-1.jsonl", "test-0-of-2.jsonl", "test-1-of-2.jsonl", "dev_2.jsonl")
    with pytest.raises(UsageError, match="2 files for test"):
        split_files(tmp_path / "ones" / "train-0-of-1.jsonl")


def test_context_is_in_the_template_and_in_the_study(llama: Path, tmp_path: Path) -> None:
    """Dolly: the longest text is what is cut, and the rest of the prompt has room."""
    data = jsonl(
        tmp_path / "dolly.jsonl",
        lambda n: {
            "instruction": words(n)[0], "context": "It is known. " * (n % 60), "response": words(n)[1],
            "category": "open",
        },
    )  # fmt: skip
    made = begun(data, llama, out=tmp_path / "s.yaml")
    task = made.spec.task
    assert isinstance(task, TaskSpec)
    assert (task.source, task.target, task.template) == ("context", "response", "{instruction}\n\n{source}\n")
    assert r'template: "{instruction}\n\n{source}\n"' in made.text
    assert "olumns that are not read: category" in in_one_line(made.text)
    (look,) = made.design.models
    asked = max(look.tokens_of([words(n)[0] + "\n\n\n" for n in range(ROWS)]))
    assert look.context is not None
    assert made.design.source.limit + made.design.target.limit + asked <= look.context


def test_a_folder_of_a_bundled_model_s_name_is_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano-0.05m").mkdir()
    made = begun(pairs_jsonl(tmp_path), "nano-0.05m", out=tmp_path / "s.yaml")
    assert any(
        "not the folder of that name here: for that --model ./nano-0.05m" in note for note in made.notes
    )


def test_rates_fall_with_the_size_and_lora_s_are_ten_times_full_tuning_s() -> None:
    for params in (3e5, 1.35e8, 7e9):
        full, lora = candidates("full", params).rates, candidates("lora", params).rates
        assert lora[1] / full[1] == pytest.approx(10, rel=0.2)
    assert candidates("full", 7e9).rates[1] == 2e-5  # Alpaca
    assert candidates("lora", 7e9).rates[1] == 2e-4  # QLoRA
    assert candidates("full", 1.35e8).rates[0] < 1e-4 < candidates("full", 1.35e8).rates[-1]


def test_the_command_writes_a_study_that_the_other_commands_take(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs_jsonl(tmp_path)

    def call(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments))

    words = ("init", "--data", "pairs.jsonl", "--model", str(llama), "--budget", "1e12", "--no-probe")
    done = call(*words, "--pretrain-tokens", "7B", "--methods", "full,dora")
    assert done.exit_code == 0, (done.output, done.exception)
    said = " ".join(done.output.split())
    assert "Written: study.yaml" in said
    assert "What can be answered afterwards" in said
    assert "Next: finescale run study.yaml" in said
    study = load_study("study.yaml")
    assert isinstance(study, Study)
    assert study.methods() == ("full", "dora")
    assert [model.pretrain_tokens for model in study.models.values()] == [7_000_000_000]
    assert Path("study.yaml").read_text().startswith("# yaml-language-server: $schema=study.schema.json\n")
    assert json.loads(Path("study.schema.json").read_text())["title"] == "A finescale study"
    assert call("run", "study.yaml", "--dry-run").exit_code == 0
    assert "there is a file already" in str(call(*words).exception)
    for wrong, told in (
        (("--ask",), "--ask needs a terminal"),
        (("--methods", "full,lroa"), "did you mean 'lora'"),
        (("--budget", "20usd"), "--price-per-hour"),
        (("--budget", "30m"), "write 30min"),
        (("--pretrain-tokens", "0"), "at least 1"),
    ):
        assert told in str(call(*words[:5], "--no-probe", "--out", "other.yaml", *wrong).exception), wrong
    assert not Path("other.yaml").exists()


def test_a_table_goes_on_with_the_runs_that_tell_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pl.read_parquet(Path(__file__).parents[2] / "examples" / "nano_full.parquet")
    table.filter(pl.col("finetune_examples") <= 512).write_parquet("runs.parquet")
    jsonl(tmp_path / "pairs.jsonl", lambda n: dict(zip(("source", "target"), words(n), strict=True)), 3000)
    line = ["init", "--table", "runs.parquet", "--data", "pairs.jsonl"]
    line += ["--model", "nano-0.1m", "--model", "nano-0.3m", "--methods", "lora"]
    done = CliRunner().invoke(app, [*line, "--budget", "5e12"])
    assert done.exit_code == 0, (done.output, done.exception)
    study = load_study("study.yaml")
    assert isinstance(study, Study)
    sizes = {
        size for star in study.grids for m in study.methods() for size in star.finetune_examples.of(m) or ()
    }
    assert 0 < max(sizes) <= 2400  # the data at hand, without what is set aside
    models = {name for star in study.grids for name in star.values}  # type: ignore[union-attr]
    assert models <= {"nano-0.1m", "nano-0.3m"}
    assert CliRunner().invoke(app, ["run", "study.yaml", "--dry-run"]).exit_code == 0
    more = [*line, "--out", "more.yaml"]
    aim = ("--aim", "model_params=4e5,finetune_examples=1e6")
    refused = CliRunner().invoke(app, [*more, "--budget", "5e12", *aim])
    assert "smaller than what is aimed at" in str(refused.exception)
    assert "no budget" in str(CliRunner().invoke(app, more).exception)
    paid = CliRunner().invoke(app, [*more, "--budget", "2usd", "--price-per-hour", "60"])
    assert paid.exit_code == 0, (paid.output, paid.exception)
    bought = re.search(r"2usd buys (\S+) FLOPs at (\S+) FLOP per second \(as fast as these runs", paid.output)
    assert bought is not None
    table = table.filter((pl.col("finetune_examples") <= 512) & (pl.col("purpose") == "study"))
    table = table.filter(pl.col("train_flops") > 0)
    rate = table["train_flops"].sum() / table["wall_seconds"].sum()
    assert float(bought[2]) == pytest.approx(rate, rel=0.01)
    assert float(bought[1]) == pytest.approx(120 * rate, rel=0.01)
    assert bought[0] in in_one_line(Path("more.yaml").read_text())
