"""Labels whose values have outcomes of their own are asked about, and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import finescale as fs

NOISE = np.random.default_rng(5).normal(0, 0.01, 1000)
RUNS: list[dict[str, Any]] = [
    {
        "method": method,
        "finetune_examples": size,
        "seed": seed,
        "test_loss": 2 - 0.1 * at + NOISE[9 * at + seed],
    }
    for method in ("full", "lora")
    for at, size in enumerate((100, 300, 1000, 3000))
    for seed in (0, 1)
]  # fmt: skip
LABELS = (("version", ("v1", "v2")), ("checkpoint", ("best", "last")), ("group", ("ours", "base")))


def labelled(name: str, values: tuple[str, str], times: float) -> pl.DataFrame:
    again = [run | {"test_loss": run["test_loss"] * times + NOISE[100 + at]} for at, run in enumerate(RUNS)]
    return pl.DataFrame(
        [run | {name: values[0]} for run in RUNS] + [run | {name: values[1]} for run in again]
    )


@pytest.mark.parametrize(("name", "values"), LABELS)
def test_a_label_with_outcomes_of_its_own_is_asked_about(name: str, values: tuple[str, str]) -> None:
    table = labelled(name, values, 1.1)
    records = fs.read_records(table)
    (doubt,) = records.reading.doubts
    assert doubt.startswith(f"which rows of `{name}` count? --where '{name}={values[0]}' (or {values[1]})")
    assert any(
        f"lower with `{values[0]}` than with `{values[1]}` in 8 of 8 settings" in note
        for note in records.notes
    )
    assert not fs.read_records(table, where=f"{name}={values[0]}").reading.doubts
    assert not fs.read_records(table, roles={name: "label"}).reading.doubts
    apart = fs.read_records(table, roles={name: "setting"})
    assert not apart.reading.doubts
    assert apart.frame["task"].n_unique() == 2


@pytest.mark.parametrize("name", ["host", "version"])
def test_a_label_that_tells_nothing_is_none_of_a_reader_s_business(name: str) -> None:
    assert not fs.read_records(labelled(name, ("a", "b"), 1.0)).reading.doubts


def test_a_label_that_follows_the_seed_is_a_seed() -> None:
    runs = [run | {"host": f"node{run['seed']}", "test_loss": run["test_loss"] + run["seed"]} for run in RUNS]
    assert not fs.read_records(pl.DataFrame(runs)).reading.doubts


def test_a_name_with_blanks_is_written_as_an_expression_takes_it() -> None:
    table = labelled("Git commit", ("v1", "v2"), 1.1)
    (doubt,) = fs.read_records(table).reading.doubts
    assert "--where '`Git commit`=v1'" in doubt
    assert not fs.read_records(table, where="`Git commit`=v1").reading.doubts
