"""Run until decided: fewer runs, the same studies; refusals come before anything runs."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from example import plan, study
from inline import InlineExecutor

import finescale as fs
from finescale.errors import UsageError
from finescale.executors.local import Result
from finescale.front.deciding import DecidedSummary, until_decided
from finescale.study.runner import NOT_RUN, run_study

TEXT = """\
name: small
task: some-task
seeds: [0, 1]
test_examples: 100
base: {model: nano-0.05m}
grids:
  - vary: model
    values: [nano-0.05m]
    finetune_examples: {full: [128, 512, 2048], lora: [128, 512, 2048]}
hold_out: finetune_examples >= 2048
learning_rates: {full: [1e-3, 3e-3], lora: [1e-2, 2e-2]}
sweep: {model: nano-0.05m, finetune_examples: 64}
"""
RUNS = 4 + 1 + 12


class Stopping(InlineExecutor):
    """Ends like Ctrl-C after so many runs."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def wait(self, seconds: float) -> list[Result]:
        if self.most == 0:
            raise KeyboardInterrupt
        self.most -= 1
        return super().wait(seconds)


def run_until(
    folder: Path, asked: str | dict[str, float], executor: InlineExecutor | None = None, sure: float = 0.95
) -> tuple[DecidedSummary, list[str]]:
    folder.mkdir(exist_ok=True)
    told: list[str] = []
    made = plan(folder, "lawful", TEXT)
    chooser = until_decided(study(TEXT), made, asked, sure=sure, say=told.append)
    summary = run_study(made, folder, executor or InlineExecutor(), chooser=chooser)
    return chooser.summary(summary), [*told, *chooser.words("`finescale run small.yaml`")]


def records(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "records.parquet").drop("wall_seconds", "peak_memory_bytes")


def executions(folder: Path) -> list[int]:
    return [len(list(run.glob("began-*"))) for run in (folder / "runs").iterdir()]


def test_a_question_inside_is_decided_by_runs_at_it_and_a_plain_run_makes_the_rest(tmp_path: Path) -> None:
    decided, told = run_until(tmp_path / "one", "finetune_examples=2,048")
    assert decided.decision is not None
    assert decided.decision.why == "decided"
    assert decided.decision.method == "full"
    assert decided.decision.probability >= 0.95
    assert decided.exit_code == 0
    assert decided.counts == {"done": RUNS - len(decided.left), NOT_RUN: len(decided.left)}
    share = re.search(r"\((\d+)% of the study's estimated cost\)", told[-1])
    assert share is not None
    assert 0 < int(share[1]) < 100
    assert records(tmp_path / "one").filter("held_out").height  # counted as any other
    assert any("Held-out runs count like the others" in words for words in told)
    assert told[-3].startswith("Decided. Full tuning for 2,048 examples")
    assert f"Not run: {len(decided.left)} runs: " in told[-1]
    assert told[-1].endswith("`finescale run small.yaml` makes them.")
    run_study(plan(tmp_path / "one", "lawful", TEXT), tmp_path / "one", InlineExecutor())
    assert set(executions(tmp_path / "one")) == {1}
    (tmp_path / "other").mkdir()
    run_study(plan(tmp_path / "other", "lawful", TEXT), tmp_path / "other", InlineExecutor())
    assert records(tmp_path / "one").equals(records(tmp_path / "other"))


def test_what_was_stopped_goes_on_from_the_ledger(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_until(tmp_path, "finetune_examples=2k,model_params=112k", Stopping(6))
    made = sum(executions(tmp_path))
    decided, _ = run_until(tmp_path, {"finetune_examples": 2000.0, "model_params": 112e3})
    assert sum(times - 1 for times in executions(tmp_path)) <= 1  # the one that was stopped
    assert 0 < decided.made < decided.counts["done"] <= decided.made + made
    assert decided.decision is not None
    assert decided.decision.stop
    assert decided.decision.method == "full"
    again, told = run_until(tmp_path, "finetune_examples=2k,model_params=112k")
    assert again.made == 0
    assert again.decision is not None
    assert (again.decision.why, again.decision.method) == (decided.decision.why, "full")
    assert told[-3].startswith(("Decided. ", "Stopped: ", "Not decided "))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("finetune_exmaples=5", "(?s)unknown column 'finetune_exmaples'.*did you mean 'finetune_examples'"),
        ("model_params=1e5", "a question without a data size"),
        ("finetune_examples=many", "not a number"),
        ("finetune_examples=5,finetune_examples=6", "finetune_examples twice"),
        ("50k", "(?s)wanted: --until-decided .finetune_examples=50k"),
        ("finetune_examples=0", "no size: finetune_examples"),
        ("finetune_examples=5M", "(?s)more than 10 times outside.*finetune_examples from 13 to 20,480"),
        ("finetune_examples=512,model_params=13B", "(?s)nothing of one of 13B.*leave model_params out"),
    ],
)
def test_a_question_that_the_study_cannot_answer_is_refused_first(
    tmp_path: Path, asked: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        run_until(tmp_path, asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (", lora: [128, 512, 2048]", "", "one method: there is nothing to decide"),
        ("lora: [1e-2, 2e-2]", "lora: 1e-2", "(?s)rate of LoRA is not tuned.*learning_rates.lora several"),
        ("", "", "(?s)runs one model, and says nothing of one of 200K"),
    ],
)
def test_a_study_that_could_not_answer_is_refused_with_the_remedy(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    text = TEXT.replace(old, new) if old else TEXT
    made = plan(tmp_path, "lawful", text)
    with pytest.raises(UsageError, match=words):
        until_decided(study(text), made, "finetune_examples=512,model_params=200k", say=print)


def test_a_probability_that_no_advice_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"0\.8 "):
        run_until(tmp_path, "finetune_examples=512", sure=0.5)


@pytest.mark.slow
def test_a_real_study_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = [16, 64]
    study = fs.Study(
        name="tiny",
        task="mini-en-de",
        test_examples=32,
        base={"model": "nano-0.05m"},
        grids=[
            {"vary": "model", "values": ["nano-0.05m"], "finetune_examples": {"full": sizes, "lora": sizes}}
        ],
        learning_rates={"full": [0.01, 0.02], "lora": [0.01, 0.02]},
        sweep={"model": "nano-0.05m", "finetune_examples": 16},
        train={"epochs": 1, "evaluations": 1, "dev_examples": 16},
    )
    with pytest.raises(fs.UsageError, match="until_decided"):
        study.run(until_decided={"finetune_examples": 1e9}, progress=False)
    assert not Path("results").exists()
    summary = study.run(until_decided={"finetune_examples": 64}, workers=1, progress=False)
    assert isinstance(summary, DecidedSummary)
    assert summary.decision is not None
    assert summary.decision.stop
    assert summary.counts.get(NOT_RUN, 0) == len(summary.left)
    advised = study.advise(examples=64)
    assert max(advised.options, key=lambda one: one.probability).method == summary.decision.method
