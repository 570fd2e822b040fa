"""The Fit JSON is data: what is not a fit is refused by file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finescale.cli.laws import Table, predict_command
from finescale.errors import UsageError
from finescale.laws.fit import fit
from finescale.laws.fits import Fits

ROOT = Path(__file__).parents[2]
AT = ["model_params=1e6,finetune_examples=1000"]


@pytest.fixture(scope="module")
def stored() -> str:
    return json.dumps(fit(str(ROOT / "examples" / "nano_full.parquet"), bootstrap=3).to_dict())


def refused(stored: str, folder: Path, *place: Any, value: Any) -> str:
    data = json.loads(stored)
    at = data["fits"][0]
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    (folder / "fits.json").write_text(json.dumps(data))
    with pytest.raises(UsageError) as caught:
        predict_command(Table(str(folder / "fits.json")), at=AT, to=None)
    return str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("factors", 0), ["x"], "fits[0].factors.0"),
        (("by",), 1.5, "fits[0].by"),
        (("by", "task"), {"a": 1}, "fits[0].by"),
        (("parameters", "A", "value"), "1", "fits[0].parameters.A.value"),
        (("parameters", "A", "value"), float("nan"), "fits[0].parameters.A.value"),
        (("ranges", "model_params"), [1], "fits[0].ranges.model_params"),
        (("ranges", "model_params"), [0, 1], "fits[0].ranges.model_params"),
        (("draws", "A"), [0.1], "fits[0].draws: draws that do not belong together"),
        (("columns",), {}, "fits[0].columns"),
        (("columns", "model_params"), {"X": "model_params"}, "other variables than those of the law"),
        (("parameters",), {}, "without its parameter"),
        (("level",), 2, "fits[0].level"),
        (("schema",), 99, "fits[0].schema: a fit of another schema"),
        (("law",), "__import__", "no law is called"),
    ],
)
def test_what_is_no_fit_names_file_and_field(
    stored: str, tmp_path: Path, place: Any, value: Any, told: str
) -> None:
    message = refused(stored, tmp_path, *place, value=value)
    assert "fits.json" in message
    assert told in message


def test_damaged_json_names_its_line(tmp_path: Path) -> None:
    for text, told in (('{"fits":\n [}', "fits.json, line 2"), ("[" * 100_000, "fits.json: cannot be read")):
        (tmp_path / "fits.json").write_text(text)
        with pytest.raises(UsageError, match=told):
            predict_command(Table(str(tmp_path / "fits.json")), at=AT, to=None)


def test_names_in_a_fit_are_safe_to_show(stored: str) -> None:
    data = json.loads(stored)
    data["fits"][0]["by"]["task"] = "\x1b[31mt"
    assert Fits.from_dict(data)[0].by["task"] == "\ufffd[31mt"
