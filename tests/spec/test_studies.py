"""The study files of the repository: each expands without data, weights or network."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from finescale.cli import app
from finescale.spec.expand import expand
from finescale.spec.file import load_study
from finescale.spec.study import PretrainStudy, Study
from finescale.study.plan import FinetunePlan
from finescale.study.resolve import resolver

STUDIES = Path(__file__).parents[2] / "studies"

# Table 1b by hand: (model star) + (checkpoints that are not the last) + (PET sizes that are not the default)
PET = 2 * 11  # LoRA and prompt, eleven data sizes each
SEEDS = 3
EN_DE = SEEDS * (5 * (10 + PET) + 4 * (10 + PET) + 2 * 6 * 11) + 5 + 4
EN_ZH = SEEDS * (5 * (9 + PET) + 5 * (9 + PET) + 2 * 6 * 11) + 5 + 5
MLSUM = SEEDS * (5 * (9 + PET) + 4 * (9 + PET) + 2 * 6 * 11) + 5 + 4
PYTHIA = 2 * (8 * 13 + 4 * 9 + (3 + 2) * 3) + 8 + 4 + 9
# sweep + untuned + (model star) + (second seed) + (checkpoints that are not the last) + (other PET sizes)
EN_ZH_NANO = 13 + 5 + 3 * 12 + 2 * 7 + 2 * 5 + 6
SUMMARIES = 12 + 3 + 3 * 10 + 2 * 5 + 8

FINETUNE = {
    "nano.yaml": 104,
    "nano_full.yaml": 248,
    "nano_en_zh.yaml": EN_ZH_NANO,
    "nano_summarization.yaml": SUMMARIES,
    "paper/wmt14_en_de.yaml": EN_DE,
    "paper/wmt19_en_zh.yaml": EN_ZH,
    "paper/mlsum.yaml": MLSUM,
    "pythia.yaml": PYTHIA,
}
PREPARED = {"smollm2.yaml": 54}
"""Studies whose files a command makes: sweep + untuned + two seeds of four curves + the largest size."""
PRETRAIN = {
    "nano_ladder.yaml": 4,
    "nano_ladder_zh.yaml": 3,
    "paper/ladder_en_de.yaml": 5,
    "paper/ladder_en_zh.yaml": 5,
}


def said(name: str, *options: str) -> str:
    result = CliRunner().invoke(app, ["run", str(STUDIES / name), "--dry-run", *options])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder and no network: whoever asks for an address fails."""

    def refuse(*_: object) -> None:
        raise AssertionError("a dry run asked for the network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_every_study_file_is_pinned_here() -> None:
    files = {str(file.relative_to(STUDIES)) for file in STUDIES.rglob("*.yaml")}
    assert files == {*FINETUNE, *PREPARED, *PRETRAIN}


@pytest.mark.parametrize("name", FINETUNE)
def test_a_finetuning_study_expands_to_its_number_of_runs(name: str, tmp_path: Path) -> None:
    assert re.search(rf": {FINETUNE[name]} runs, ", said(name))
    assert list(tmp_path.iterdir()) == []


def copied(name: str, folder: Path) -> Path:
    """A study file in a checkout of its own, of which nothing has been made yet."""
    file = folder / "studies" / name
    file.parent.mkdir()
    file.write_text((STUDIES / name).read_text())
    return file


@pytest.mark.parametrize("options", [["--dry-run"], ["--check"], ["--probe"], []])
@pytest.mark.parametrize("name", PREPARED)
def test_a_study_whose_files_are_not_made_yet_says_what_makes_them(
    name: str, options: list[str], tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["run", str(copied(name, tmp_path)), *options])
    told = str(result.exception)
    assert "the files of this study are not there yet" in told
    assert "remedy: run `make real`: it makes them" in told
    assert f"{name}, line " in told
    assert sorted(item.name for item in tmp_path.iterdir()) == ["studies"]


def test_the_study_of_a_real_model_expands_from_its_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(STUDIES.parent / "scripts"))
    from real_model import write_texts

    file = copied("smollm2.yaml", tmp_path)
    write_texts(tmp_path / "build" / "smollm2")
    model = tmp_path / "build" / "smollm2" / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")  # its sizes are stated: nothing of it is read
    result = CliRunner().invoke(app, ["run", str(file), "--dry-run"])
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert "smollm2: 54 runs, 9 of them for the learning-rate sweep; 4 of 45 study runs held out" in told


def test_the_study_of_a_real_model_keeps_to_its_lengths() -> None:
    study = load_study(STUDIES / "smollm2.yaml")
    assert isinstance(study, Study)
    assert not isinstance(study.task, str)
    assert study.task.max_source_tokens + study.task.max_target_tokens <= 144
    assert study.test_examples <= 200
    assert study.order == "shortest"
    for star in study.grids:
        for method in study.methods():
            for size in star.finetune_examples.of(method) or ():
                assert size > 256 or len(star.seeds or study.seeds) >= 2


@pytest.mark.parametrize("name", PRETRAIN)
def test_a_pretraining_study_expands_without_its_text(name: str) -> None:
    assert f": {PRETRAIN[name]} pretraining runs" in said(name)


@pytest.mark.parametrize("name", [*FINETUNE, *PREPARED, *PRETRAIN])
def test_a_study_file_begins_with_its_command(name: str) -> None:
    head = (STUDIES / name).read_text().split("kind:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"finescale run studies/{name}" in head


@pytest.mark.parametrize("name", [*FINETUNE, *PREPARED, *PRETRAIN])
def test_all_but_the_pinned_nano_studies_say_version_2(name: str) -> None:
    assert load_study(STUDIES / name).version == (1 if name.startswith("nano") else 2)


def paper(name: str) -> tuple[Study, FinetunePlan]:
    study = load_study(STUDIES / "paper" / name)
    assert isinstance(study, Study)
    return study, FinetunePlan(study, resolver(study, contents=False), Path())


@pytest.mark.parametrize(
    ("name", "tokens", "largest"),
    [
        ("wmt14_en_de.yaml", 209, 4_500_000),
        ("wmt19_en_zh.yaml", 167, 25_000_000),
        ("mlsum.yaml", 209, 900_000),
    ],
)
def test_the_settings_in_bold_of_table_1_are_held_out_and_no_others(
    name: str, tokens: int, largest: int
) -> None:
    _, plan = paper(name)
    runs = [item for item in plan.runs() if item.run.finetune_examples]
    assert len({item.run.fingerprint() for item in runs}) == len(runs)
    for item, held in zip(runs, plan.held_out_of(runs), strict=True):
        run = item.run
        last = {"full": (None, largest), "lora": (128, 100_000), "prompt": (600, 100_000)}[run.method.name]
        bold = run.model.name == "16b" or run.model.pretrain_tokens == tokens * 10**9
        bold |= run.finetune_examples == last[1] or (run.method.pet_size or 0) == last[0]
        assert held == bold, run


def test_the_paper_trains_each_method_as_it_says() -> None:
    study, _ = paper("wmt19_en_zh.yaml")
    runs = {item.run.method.name: item.run for item in expand(study, {}, resolver(study, contents=False))}
    settings = {
        name: (run.train.learning_rate, run.train.batch_size, run.train.max_steps)
        for name, run in runs.items()
    }
    assert settings == {
        "full": (1e-3, 128, 300_000), "lora": (1e-2, 16, 200_000), "prompt": (0.3, 16, 200_000)
    }  # fmt: skip
    assert {run.train.epochs for run in runs.values()} == {100}


def test_the_ladder_files_are_the_ones_that_the_studies_read() -> None:
    for pair, studies in {"en_de": ("wmt14_en_de", "mlsum"), "en_zh": ("wmt19_en_zh",)}.items():
        ladder = load_study(STUDIES / "paper" / f"ladder_{pair}.yaml")
        assert isinstance(ladder, PretrainStudy)
        assert ladder.expected_tokens is not None
        for name in studies:
            study, _ = paper(f"{name}.yaml")
            assert set(study.models) == set(ladder.models)
            tokens = sorted(study.models["1b"].checkpoints)
            shares = [share * ladder.expected_tokens for share in ladder.checkpoints["1b"]]
            assert [*shares, ladder.expected_tokens] == pytest.approx(tokens, rel=1e-3)
            root = Path("results") / ladder.name / "models"
            assert all(str(root) in model.source for model in study.models.values())


def test_gpu_hours_follow_from_the_stated_speed() -> None:
    slow, fast = (
        float(
            re.search(r"([\d,]+) GPU-hours", said("paper/mlsum.yaml", "--gpu-flops", rate))[1].replace(
                ",", ""
            )
        )  # pyright: ignore
        for rate in ("1e14", "4e14")
    )
    assert slow / fast == pytest.approx(4, rel=1e-3)
    result = CliRunner().invoke(app, ["run", str(STUDIES / "pythia.yaml"), "--dry-run", "--gpu-flops", "0"])
    assert "--gpu-flops: no speed" in str(result.exception)


def test_a_published_task_s_sizes_are_checked_without_its_data(tmp_path: Path) -> None:
    text = (STUDIES / "paper" / "mlsum.yaml").read_text().replace("900000]", "9000000]", 1)
    (tmp_path / "s.yaml").write_text(text)
    result = CliRunner().invoke(app, ["run", "s.yaml", "--dry-run"])
    assert "grids[0].finetune_examples.full: the task 'mlsum' has too little data" in str(result.exception)
    assert "at most 1,167,269 finetuning examples" in str(result.exception)
