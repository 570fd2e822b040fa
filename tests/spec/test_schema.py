"""The JSON Schema of study files against jsonschema: it never refuses what finescale reads."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from short_forms import SHORT
from typer.testing import CliRunner

from finescale.cli import app
from finescale.errors import UsageError
from finescale.spec.file import parse_study
from finescale.spec.schema import FILE, schema_text, study_schema
from finescale.spec.yaml import read_yaml

STUDIES = Path(__file__).parents[2] / "studies"
FILES = sorted(STUDIES.rglob("*.yaml"))
VALIDATOR = Draft202012Validator(study_schema())


def plain(text: str) -> Any:
    root = read_yaml(text, "study.yaml")
    assert root is not None
    return json.loads(json.dumps(root.plain()))


def accepts(data: Any) -> bool:
    return not any(VALIDATOR.iter_errors(data))


def reads(data: Any) -> bool:
    try:
        parse_study(json.dumps(data))  # JSON is YAML
    except UsageError:
        return False
    return True


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(study_schema())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_study_of_ours_is_valid_and_its_first_line_links_the_schema(file: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(plain(file.read_text()))] == []
    mark, _, link = file.read_text().splitlines()[0].partition("$schema=")
    assert mark == "# yaml-language-server: "
    assert (file.parent / link).resolve() == STUDIES / FILE


def test_short_forms_are_valid() -> None:
    assert [error.message for error in VALIDATOR.iter_errors(plain(SHORT))] == []
    assert reads(plain(SHORT))


def test_the_schema_in_studies_is_the_one_that_the_command_writes(tmp_path: Path) -> None:
    assert (STUDIES / FILE).read_text() == schema_text(), "finescale schema --out studies/study.schema.json"
    assert CliRunner().invoke(app, ["schema"]).output == schema_text()
    assert CliRunner().invoke(app, ["schema", "--out", str(tmp_path / "s.json")]).exit_code == 0
    assert (tmp_path / "s.json").read_text() == schema_text()


def test_fields_are_described_by_their_own_docstrings() -> None:
    shown = study_schema()["$defs"]
    assert shown["TrainSettings"]["description"].startswith("Training settings of a study")
    assert "weights too" in shown["Study"]["properties"]["keep"]["description"]
    assert shown["ModelSource"]["properties"]["from"]["description"].startswith("A folder (relative")


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path] * bool(path) + [place for key, item in inner for place in places(item, (*path, key))]


def changed(data: Any, chance: random.Random) -> Any:
    """A study with one thing wrong, or only different: a value, a key that is gone, a key that is new."""
    data = json.loads(json.dumps(data))
    *way, last = chance.choice(places(data))
    at = data
    for key in way:
        at = at[key]
    what = chance.randrange(4)
    if what == 0 and isinstance(at, dict):
        del at[last]
    elif what == 1 and isinstance(at, dict):
        at[chance.choice(["zzz", "full", "lora", "name", "ia3"])] = chance.choice([1, "a", [1], {}])
    else:
        pool = [None, True, 0, 3, -1, 0.5, 2.0, "last", "adamw", "m", [], [1], [0.5], ["m"], {}, {"full": 1}]
        at[last] = chance.choice(pool)
    return data


@pytest.mark.parametrize(
    "text",
    [
        SHORT,
        (STUDIES / "nano.yaml").read_text(),
        *((STUDIES / name).read_text() for name in ("pythia.yaml", "nano_ladder.yaml")),
    ],
    ids=str.__len__,
)
def test_what_finescale_reads_the_schema_accepts(text: str) -> None:
    chance, data = random.Random(len(text)), plain(text)
    made = [changed(data, chance) for _ in range(250)]
    read = [one for one in made if reads(one)]
    assert len(read) > 10
    assert [one for one in read if not accepts(one)] == []
    refused = [one for one in made if not reads(one)]
    caught = sum(not accepts(one) for one in refused)
    assert caught > 0.6 * len(refused)  # the rest depends on several fields
