"""A column called `run` that numbers repeats or names groups, and what it still refuses."""

from __future__ import annotations

import itertools

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError


def table(name: str = "run", values: tuple[str, ...] = ("1", "2")) -> pl.DataFrame:
    rows = [
        {"method": method, "samples": size, name: run, "eval_loss": 3.0 - 0.1 * at}
        for at, (method, size, run) in enumerate(itertools.product(("full", "lora"), (100, 200), values))
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("name", ["run", "Run", "run #", "Run ID"])
@pytest.mark.parametrize("values", [("1", "2"), ("run a", "run b")])
def test_run_numbers_that_come_in_every_setting_number_the_repeats(
    name: str, values: tuple[str, ...]
) -> None:
    records = fs.read_records(table(name, values))
    seeds = records.frame["seed"]
    assert seeds.n_unique() == 2
    assert seeds.to_list() == seeds.to_list()[:2] * 4
    assert any("numbers the repeats of a setting" in note for note in records.notes)


def test_run_numbers_in_each_learning_rate_number_the_repeats_too() -> None:
    both = pl.concat([table().with_columns(lr=pl.lit(rate)) for rate in (1e-4, 3e-4)])
    records = fs.read_records(both, sweep="all")
    assert records.frame["seed"].n_unique() == 2
    assert records.frame.height == 16


def test_run_numbers_with_evaluations_at_several_steps_number_the_repeats() -> None:
    steps = [table().with_columns(step=pl.lit(step), eval_loss=pl.col("eval_loss") - step) for step in (1, 2)]
    records = fs.read_records(pl.concat(steps))
    assert records.frame.height == 8
    assert set(records.frame["step"]) == {2}


def test_a_run_that_names_groups_of_runs_is_a_label() -> None:
    records = fs.read_records(table().with_columns(run=pl.col("method") + "-baseline"))
    assert records.frame.height == 8
    assert any("names groups, not runs" in note for note in records.notes)


def test_a_run_twice_in_one_setting_is_refused_with_flags_that_help() -> None:
    twice = table().with_columns(run=pl.format("{}-{}", "method", "samples"))
    with pytest.raises(UsageError, match="is there twice") as told:
        fs.read_records(twice)
    for role in ("repeat", "label"):
        assert f"--role run={role}" in told.value.remedy
        assert fs.read_records(twice, roles={"run": role}).frame.height == 8
    assert fs.read_records(twice, columns={"seed": "run"}).frame.height == 8


def test_one_name_that_is_there_twice_by_mistake_is_refused() -> None:
    names = [f"r{at}" for at in (0, 1, 2, 3, 4, 5, 6, 0)]
    with pytest.raises(UsageError, match="run r0 is there twice"):
        fs.read_records(table().with_columns(run=pl.Series(names)))


@pytest.mark.parametrize("name", ["run", "Run"])
def test_a_role_may_be_given_by_the_tables_own_name(name: str) -> None:
    assert "seed" not in fs.read_records(table("Run"), roles={name: "label"}).frame.columns
