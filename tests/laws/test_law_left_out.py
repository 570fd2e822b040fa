"""What no law was fitted to is counted, by name and reason, in fit, compare and backtest."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import finescale as fs
from finescale.cli import app


def table() -> pl.DataFrame:
    """Curves of four models: two of six data sizes, and two of three, which are too few for ``power``."""
    sizes = {1e8: 6, 2e8: 6, 4e8: 3, 8e8: 3}
    rows = [
        {
            "method": "lora",
            "model_params": x,
            "finetune_examples": 100.0 * 2**k,
            "test_loss": 3 * (2**k) ** -0.1,
        }
        for x, many in sizes.items()
        for k in range(many)
    ]
    return pl.DataFrame(rows)


def test_fit_names_every_short_curve_with_its_reason() -> None:
    fits = fs.fit(table(), "power", bootstrap=0)
    assert len(fits) == 2
    assert [one.by for one in fits.left_out] == [
        {"method": "lora", "model_params": 4e8},
        {"method": "lora", "model_params": 8e8},
    ]
    assert {one.reason for one in fits.left_out} == {
        "too few settings: 3, wanted at least 4 (3 parameters and one to check them)"
    }
    assert not any("too few settings" in note for note in fits.notes)


def test_one_row_counts_the_curves_of_one_reason() -> None:
    shown = fs.fit(table(), "power", bootstrap=0)._repr_html_()
    assert "<td>lora</td><td>model_params 400M and 1 more</td><td>2</td>" in shown


def test_a_group_without_a_run_at_the_base_is_left_out_by_name() -> None:
    more = table().with_columns(method=pl.lit("full"), model_params=pl.lit(1e9))
    fits = fs.fit(
        pl.concat([table(), more]), factors="model_params", base={"model_params": "any"}, bootstrap=0
    )
    assert [(one.by, one.factor) for one in fits.left_out] == [({"method": "full"}, "model_params")]
    assert "it has only one value" in fits.left_out[0].reason


def test_compare_and_backtest_say_which_law_left_out_what() -> None:
    compared = fs.compare(table(), ["power", "broken"])
    assert {(one.law, one.by.get("model_params")) for one in compared.left_out} >= {
        ("power", 4e8),
        ("power", 8e8),
    }
    assert {one.by.get("model_params") for one in compared.left_out if one.law == "broken"} == {None}
    tested = fs.backtest(table(), ["power"], hide=[1, 2])
    left_out = [(one.law, one.by.get("model_params"), one.reason) for one in tested.left_out]
    assert len(left_out) == len(set(left_out))
    assert {x for law, x, _ in left_out if law == "power"} >= {4e8, 8e8}


def test_the_fit_json_keeps_them_and_the_one_of_before_is_read() -> None:
    fits = fs.fit(table(), "power", bootstrap=0)
    stored = json.loads(json.dumps(fits.to_dict()))
    assert fs.Fits.from_dict(stored).left_out == fits.left_out
    del stored["left_out"]
    assert fs.Fits.from_dict(stored).left_out == ()
    with pytest.raises(fs.UsageError, match="left_out: not a list of what was left out"):
        fs.Fits.from_dict({**stored, "left_out": [{"by": {}}]})


@pytest.mark.parametrize(
    "command", [["fit", "--law", "power", "--bootstrap", "0"], ["compare", "--laws", "power", "--backtest"]]
)
def test_the_commands_print_a_table(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "runs.csv"
    table().write_csv(path)
    name, *options = command
    result = CliRunner().invoke(app, [name, str(path), *options], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if "model_params 400M and 1 more" in line)
    assert row.rstrip(" │").endswith("2")
    assert "too few" in result.output
