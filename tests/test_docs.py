"""The documentation builds without a warning, and the README names files that exist."""

import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_documentation_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html"]
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("_build"))
    built = subprocess.run(
        [*command, tmp_path / "docs", tmp_path / "html"], check=False, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "html" / "index.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tables"), [("notebook", 7), ("own_notebook", 2)])
def test_a_notebook_runs_and_shows_what_it_is_kept_with(name, tables):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    kept = nbformat.read(ROOT / "docs" / f"{name}.ipynb", as_version=4)
    run = copy.deepcopy(kept)
    where = {"metadata": {"path": str(ROOT / "docs")}}
    nbclient.NotebookClient(run, timeout=600, kernel_name="python3", resources=where).execute()
    shown = [cell for cell in run.cells if cell.cell_type == "code"]
    before = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [_tags(cell) for cell in shown] == [_tags(cell) for cell in before]
    assert sum(any("table" in tags for tags in _tags(cell)) for cell in shown) >= tables


def _tags(cell):
    """The HTML elements of each output, without the numbers in them; what is printed may come in parts."""
    shown = [output for output in cell.outputs if output.output_type != "stream"]
    pages = [output.get("data", {}).get("text/html", "") for output in shown]
    return [re.findall(r"<(\w+)", page) for page in pages]


def test_every_file_that_the_readme_links_to_exists():
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert linked
    assert [name for name in linked if not (ROOT / name).exists()] == []


def test_make_help_lists_the_targets():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("study", "test", "lint", "bench", "docs"):
        assert f"make {target}" in shown
