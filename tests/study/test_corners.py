"""Learning rates that are checked at the corners of a study, and the rates between them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from example import TEXT, study
from functions import resolve
from inline import InlineExecutor

from finescale.errors import UsageError
from finescale.study.corners import between
from finescale.study.dry_run import dry_run_view
from finescale.study.ledger import Ledger
from finescale.study.opening import open_plan
from finescale.study.plan import FinetunePlan
from finescale.study.runner import Summary, run_study

STUDY = (
    TEXT.replace(
        "finetune_examples: {full: [128, 256], lora: [128]}", "finetune_examples: {full: [64, 256, 4096]}"
    )
    .replace("learning_rates: {full: [1e-3, 3e-3], lora: 1e-2}", "learning_rates: {full: [2e-3, 4e-3, 8e-3]}")
    .replace(
        "sweep: {model: nano-0.05m, finetune_examples: 64}",
        "sweep: {model: nano-0.1m, finetune_examples: 256}",
    )
    .replace("lora: 2}}", "lora: 2}}\n")
    .replace("seeds: [0, 1]", "seeds: [0]")
)


def run(folder: Path, *, retune: bool = False, text: str = STUDY) -> Summary:
    folder.mkdir(exist_ok=True)
    made = FinetunePlan(study(text), resolve, folder, "functions:drifting", retune=retune)
    return run_study(made, folder, InlineExecutor())


def records(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "records.parquet")


def rates(folder: Path) -> dict[tuple[str, int], float]:
    runs = records(folder).filter((pl.col("purpose") == "study") & (pl.col("method") == "full"))
    rows = runs.select("model", "finetune_examples", "learning_rate").iter_rows()
    return {(model, examples): rate for model, examples, rate in rows}


def test_a_plain_study_checks_nothing_and_says_where_its_rate_was_tuned(tmp_path: Path) -> None:
    summary = run(tmp_path)
    assert summary.counts == {"done": 2 + 6 + 2}
    assert set(rates(tmp_path).values()) == {4e-3}
    runs = records(tmp_path).filter(pl.col("method") == "full")
    assert set(runs.filter(pl.col("purpose") == "study")["lr_tuned_at"]) == {"nano-0.1m at 256"}
    assert set(runs.filter(pl.col("purpose") == "sweep")["lr_tuned_at"]) <= {None}


def test_rates_move_to_the_best_at_each_corner_and_are_interpolated_between_them(tmp_path: Path) -> None:
    run(tmp_path)
    summary = run(tmp_path, retune=True)
    assert summary.exit_code == 0
    found = rates(tmp_path)
    assert found["nano-0.1m", 256] == 4e-3
    assert found["nano-0.1m", 4096] == 1e-3  # a quarter: two steps, beyond the first neighbours
    assert found["nano-0.05m", 256] == 16e-3
    assert found["nano-0.05m", 4096] == 4e-3
    assert found["nano-0.1m", 64] == 4e-3  # beyond the corners a rate stays what it is there
    at = records(tmp_path).filter(pl.col("purpose") == "study")["lr_tuned_at"].drop_nulls().unique().to_list()
    assert at == ["nano-0.1m at 256; nano-0.1m at 4096; nano-0.05m at 256"]
    checks = records(tmp_path).filter(
        (pl.col("model") == "nano-0.1m") & (pl.col("finetune_examples") == 4096)
    )
    assert sorted(checks["learning_rate"]) == [5e-4, 1e-3, 2e-3, 4e-3, 8e-3]


def test_a_retuned_study_stays_so_and_keeps_what_it_can(tmp_path: Path) -> None:
    run(tmp_path)
    before = set(records(tmp_path).filter(pl.col("purpose") == "study")["run"])
    first = run(tmp_path, retune=True)
    after = set(records(tmp_path).filter(pl.col("purpose") == "study")["run"])
    assert len(before & after) == 2 + 3  # untuned models, and the settings whose rate is the sweep's
    again = run(tmp_path)  # without the option
    assert (again.made, again.counts) == (0, first.counts)
    assert again.orphans == 1  # the others with another rate are runs of the checks


def test_checking_from_the_start_comes_to_the_same_study(tmp_path: Path) -> None:
    run(tmp_path / "late"), run(tmp_path / "late", retune=True), run(tmp_path / "early", retune=True)
    measured = ("wall_seconds", "peak_memory_bytes")
    late, early = (records(tmp_path / name).drop(measured).sort("run") for name in ("late", "early"))
    assert late.equals(early)
    with Ledger(tmp_path / "early" / "ledger.sqlite") as ledger:
        assert ledger.orphans() == 0


def test_a_study_whose_rates_hold_gets_no_other_runs(tmp_path: Path) -> None:
    text = STUDY.replace("full: [64, 256, 4096]", "full: [64, 256]").replace(
        "values: [nano-0.05m, ", "values: ["
    )
    run(tmp_path, text=text)
    before = records(tmp_path)
    run(tmp_path, retune=True, text=text)
    assert rates(tmp_path) == {("nano-0.1m", 64): 4e-3, ("nano-0.1m", 256): 4e-3}
    assert records(tmp_path).height == before.height


def test_a_dry_run_says_what_is_checked_before_the_sweep_has_chosen(tmp_path: Path) -> None:
    made = FinetunePlan(study(STUDY), resolve, tmp_path, "functions:drifting", retune=True)
    said = " ".join(part for part in dry_run_view(study(STUDY), made, tmp_path) if isinstance(part, str))
    assert "checked (--retune) at the largest data size and at the smallest and largest model" in said


def test_between_corners_steps_are_linear_in_the_log_and_constant_beyond() -> None:
    points = {256: 0.0, 1024: -1.0, 4096: -3.0}
    assert [between(at, points) for at in (64, 256, 512, 1024, 2048, 4096, 10**6)] == pytest.approx(
        [0.0, 0.0, -0.5, -1.0, -2.0, -3.0, -3.0]
    )


def test_retuning_is_refused_where_no_rate_was_swept(tmp_path: Path) -> None:
    text = TEXT.replace("full: [1e-3, 3e-3]", "full: 1e-3")
    with pytest.raises(UsageError, match="no learning rate of this study is swept"):
        open_plan(study(text), tmp_path, shown=True, retune=True)
