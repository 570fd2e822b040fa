"""Import contracts (imports run downwards; the wings meet in records) and light start-up."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "peft", "ray", "datasets")


def test_the_import_contracts_hold(capsys):
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize(
    "modules",
    [
        "finescale",
        "finescale.cli",
        "finescale.records.records, finescale.laws.fit, finescale.laws.fitted, finescale.report.page",
        "finescale.spec.expand, finescale.spec.file, finescale.study.ledger, finescale.study.runner",
        "finescale.study.resolve",
        "finescale.tasks.catalog, finescale.models.bundled, finescale.ladder",
    ],
)
def test_light_modules_load_no_training_library(modules):
    code = f"import sys, {modules}; print([m for m in {HEAVY!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_help_loads_no_array_library():
    heavy = ("numpy", "polars", "scipy", "vl_convert")
    code = f"import sys, finescale.cli; print([m for m in {heavy!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


def test_help_shows_every_default():
    from typer.testing import CliRunner

    from finescale.cli import app

    for command, words in (("fit", "(default: test_loss)"), ("run", "(default: results/NAME)")):
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        assert words in shown


def imported(file: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of finescale that a file imports, inside functions too; not those for type checkers."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{item.name}" for item in node.names]
            found |= {name if name in modules else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {item.name for item in node.names}
    return found & modules.keys()


def test_no_file_imports_itself_through_others():
    source = ROOT / "src"
    files = {
        ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): file
        for file in source.glob("finescale/**/*.py")
    }
    front_doors = {"finescale", "finescale.cli.__main__"}  # the lazy front door names what it finds
    graph = {name: imported(file, files) - {name} for name, file in files.items() if name not in front_doors}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(" imports ".join(reversed(error.args[1]))) from None
