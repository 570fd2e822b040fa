"""Percentages and fractions: what signs in cells and words in names say of a score's scale."""

from __future__ import annotations

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError


def read(name: str, cells: list[str] | list[float], **options: str) -> fs.Records:
    sizes = {"method": ["full"] * 3 + ["lora"] * 3, "finetune_examples": [100, 200, 400] * 2}
    return fs.read_records(pl.DataFrame({**sizes, name: cells}), score=name, **options)  # type: ignore[arg-type]


def test_fractions_beside_percent_signs_become_percentages_and_it_is_said() -> None:
    records = read("accuracy", ["0.533", "53.3%", "0", "61%", "62%", "0.7"])
    assert records.frame["accuracy"].to_list() == [53.3, 53.3, 0, 61, 62, 70]
    assert (records.outcome.unit, records.outcome.high) == ("%", 100)
    assert any(
        "2 cells of `accuracy` are fractions beside percentages: 0.533 is 53.3%" in n for n in records.notes
    )


def test_percentages_of_which_some_have_their_sign_stay() -> None:
    records = read("accuracy", ["53.3", "53.3%", "60", "61%", "62%", "70"])
    assert records.frame["accuracy"].to_list() == [53.3, 53.3, 60, 61, 62, 70]


@pytest.mark.parametrize("cells", [["0.5", "0.6%"], ["0.5", "53.3%", "60"]])
def test_cells_without_a_sign_that_may_be_either_are_refused(cells: list[str]) -> None:
    cells = [*cells, *["40%"] * (6 - len(cells))]
    with pytest.raises(UsageError, match="accuracy on two scales") as told:
        read("accuracy", cells)
    assert "row 1, column accuracy" in told.value.where
    assert read("accuracy", cells, unit="percent").frame["accuracy"][0] == 0.5


@pytest.mark.parametrize("name", ["Error (%)", "error_pct", "error_rate_percent", "pct_error"])
def test_a_name_says_percent_of_values_below_one(name: str) -> None:
    records = read(name, [0.467, 0.4, 0.35, 0.5, 0.3, 1.2])
    assert (records.outcome.better, records.outcome.high, records.outcome.unit) == ("lower", 100, "%")
    assert not records.reading.doubts


def test_an_accuracy_below_one_percent_everywhere_is_asked_about() -> None:
    values = [0.5, 0.6, 0.7, 0.55, 0.65, 0.75]
    (doubt,) = read("Accuracy (%)", values).reading.doubts
    assert "are these fractions? --unit percent, or --bounds 0,1" in doubt
    assert read("Accuracy (%)", values, unit="percent").outcome.high == 100
    assert not read("Accuracy (%)", values, unit="percent").reading.doubts
    fractions = fs.read_records(
        pl.DataFrame({"method": ["a", "b"], "finetune_examples": [1, 1], "Accuracy (%)": [0.5, 0.6]}),
        score="Accuracy (%)", bounds=(0, 1),
    )  # fmt: skip
    assert (fractions.outcome.unit, fractions.reading.doubts) == ("", ())
    with pytest.raises(UsageError, match="two scales"):
        read("accuracy_pct", [0.5, 60.0, 70.0, 0.6, 65.0, 75.0])
