"""`import finescale as fs`: every name is there, typed, documented, and has an example that runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import finescale as fs
from finescale.cli import app

ROOT = Path(__file__).parents[1]
PUBLIC = [name for name in fs.__all__ if name != "__version__"]
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")
PYRIGHT = shutil.which("pyright", path=str(Path(sys.executable).parent))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def shared() -> dict[str, Any]:
    """What the beginning of the reference makes."""
    names: dict[str, Any] = {}
    code = re.findall(r"```python\n(.*?)```", REFERENCE, re.DOTALL)[0]
    exec(code, names)
    return names


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_results_errors_and_specs_are_there_by_name() -> None:
    wanted = {"FinescaleError", "UsageError", "DataError", "Plan", "Crossovers", "Comparison", "Backtest"}
    wanted |= {"Prediction", "Parameter", "Study", "load_study", "expand", "RunSpec", "Fits", "Advice"}
    assert wanted <= set(dir(fs))
    assert all(getattr(fs, name) is not None for name in PUBLIC)
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        fs.fti  # noqa: B018  # type: ignore[attr-defined]


def test_what_the_public_functions_return_and_raise_can_be_named() -> None:
    for call in (fs.fit, fs.joint_fit, fs.compare, fs.backtest, fs.recommend, fs.plan, fs.load_study):
        returned = inspect.signature(call).return_annotation
        for name in re.findall(r"[A-Z]\w+", str(returned)):
            meant = vars(sys.modules[call.__module__])[name]
            assert any(getattr(fs, public) is meant for public in PUBLIC), (call, name)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_in_the_reference_with_an_example_that_runs(
    name: str, shared: dict[str, Any]
) -> None:
    assert re.search(rf"auto\w+:: finescale\.{name}$", REFERENCE, re.MULTILINE), "not in docs/reference.md"
    thing = getattr(fs, name)
    found = doctest.DocTestFinder(recurse=False).find(thing, name, globs=dict(shared))
    assert any(test.examples for test in found), "no example"
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    said: list[str] = []
    for test in found:
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)


def test_import_finescale_loads_no_library() -> None:
    heavy = ("numpy", "polars", "scipy", "pydantic", "rich", "typer", "torch")
    code = f"import sys, finescale as fs; dir(fs); print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_says_that_it_is_typed_and_the_stub_says_where_each_name_is() -> None:
    package = Path(fs.__file__).parent
    assert (package / "py.typed").exists()
    stub = ast.parse((package / "__init__.pyi").read_text("utf-8"))
    names = [alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert names == [alias for alias in names if alias]
    assert sorted(map(str, names)) == PUBLIC
    assert len(set(names)) == len(names)


@pytest.mark.skipif(
    shutil.which("pyright", path=str(Path(sys.executable).parent)) is None, reason="no pyright"
)
def test_a_type_checker_knows_every_public_name_and_what_it_returns(tmp_path: Path) -> None:
    """Pyright on a script of a user's: no name, and no result of a function, is Any."""
    calls = {
        "records": "fs.read_records('runs.csv')",
        "fits": "fs.fit(records, 'power', bootstrap=10, by=('task',))",
        "law": "fits.only(method='lora')",
        "predicted": "law.predict(finetune_examples=1e4)",
        "two_steps": "fs.joint_fit('runs.csv', level=0.5)",
        "compared": "fs.compare(records)",
        "tested": "fs.backtest(records, ['power'])",
        "advice": "fs.recommend(records, examples=1e4)",
        "best": "advice.best",
        "pairs": "fs.crossovers(fits.laws)",
        "planned": "fs.plan(records, {'finetune_examples': 1e6}, 1e20)",
        "study": "fs.load_study('study.yaml')",
        "paper": "fs.published('mlsum', 'lora')",
    }
    lines = ["import finescale as fs", *(f"{name} = {call}" for name, call in calls.items())]
    lines += [f"reveal_type({name})" for name in calls] + [f"reveal_type(fs.{name})" for name in PUBLIC]
    lines.append("fs.fit(records, bootstrop=10)")
    (tmp_path / "script.py").write_text("\n".join(lines))
    config = {"extraPaths": [str(Path(fs.__file__).parents[1])], "include": ["script.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    command = [str(PYRIGHT), "-p", str(tmp_path), "--outputjson"]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    types = [one["message"] for one in found if one["severity"] == "information"]
    assert len(types) == len(calls) + len(PUBLIC)
    assert [line for line in types if line.endswith(('is "Any"', 'is "Unknown"')) or "Unknown" in line] == []
    errors = [one["message"] for one in found if one["severity"] == "error"]
    assert len(errors) == 1
    assert "bootstrop" in errors[0]


def test_results_are_short_in_a_prompt_and_tables_in_print(shared: dict[str, Any]) -> None:
    fits = shared["fits"]
    results = [fits, fits[0], fits[0].predict(model_params=1e6, finetune_examples=1e3)]
    results.append(fs.compare(shared["records"], factors="model_params"))
    for result in results:
        assert len(repr(result)) < 160
        assert "\n" not in repr(result)
        assert len(str(result).splitlines()) > 3
    assert "warning: E at 0: no floor is visible" in str(fits)
    assert repr(fs.Fits(())) == "Fits(0 laws from records: none)"


def test_every_public_result_is_one_line_in_a_prompt_and_what_a_terminal_shows_in_print(
    shared: dict[str, Any],
) -> None:
    forecasts, advice = shared["forecasts"], shared["advice"]
    pairs = fs.crossovers(forecasts)
    for one in (forecasts, forecasts[0], advice, pairs[0], shared["records"], shared["next_runs"]):
        assert "\n" not in repr(one)
        assert len(repr(one)) < 300
    assert str(advice).startswith(advice.sentence)
    assert "members" in str(forecasts)
    assert pairs[-1].sentence in str(pairs)
    assert forecasts._repr_html_().startswith("<")


def test_an_answer_to_no_question_prints_too(shared: dict[str, Any]) -> None:
    nothing = shared["fits"][0].predict(model_params=1e6, finetune_examples=[])
    assert repr(nothing) == "Prediction(0 values)"


def test_the_version_is_a_flag() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.output == f"finescale {fs.__version__}\n"
