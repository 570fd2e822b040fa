"""Compares two builds of the corpus, set by set.

    python scripts/corpus/compare.py build/corpus REFERENCE

A row is the same if all its columns but ``origin`` are equal; the order of rows does not count.
The reference is another build, or the bundled sets alone (``src/finescale/data/corpus``).
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from finescale.errors import UsageError


def main(
    build: Annotated[Path, typer.Argument(help="A build's folder.")],
    reference: Annotated[Path, typer.Argument(help="The folder to compare it with.")],
    examples: Annotated[int, typer.Option(help="How many differing rows to show of each set.")] = 0,
) -> None:
    """Shows the rows that two builds share."""
    console = Console()
    table = Table("set", "rows", "reference", "the same", "new", "missing")
    try:
        for name, ours, theirs in shared_sets(build, reference):
            same = (ours & theirs).total()
            share = f"{same:,} ({same / theirs.total():.2%})"
            new, missing = ours - theirs, theirs - ours
            table.add_row(
                name,
                f"{ours.total():,}",
                f"{theirs.total():,}",
                share,
                f"{new.total():,}",
                f"{missing.total():,}",
            )
            for sign, rows in (("+", new), ("-", missing)):
                for row in list(rows)[:examples]:
                    console.print(f"{sign} {name}: {' | '.join(row)}"[:400], markup=False)
    except UsageError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(error.exit_code) from None
    console.print(table)


def shared_sets(build: Path, reference: Path) -> Iterator[tuple[str, Counter[tuple], Counter[tuple]]]:
    """Yields the name of every set of the reference with both sides' rows, counted.

    Raises:
        UsageError: If a folder has no sets, or the build lacks one of the reference's.
    """
    paths = sorted(reference.rglob("*.parquet"))
    if not paths:
        raise UsageError(
            "there is nothing to compare with", wanted=f"*.parquet under {reference}", got="none"
        )
    for path in paths:
        name = path.relative_to(reference)
        candidates = [build / name, build / "tasks" / name]
        own = next((candidate for candidate in candidates if candidate.exists()), None)
        if own is None:
            raise UsageError(f"the build has no {name}", wanted=str(candidates[0]), remedy="run build.py")
        yield str(name.with_suffix("")), _rows(own), _rows(path)


def _rows(path: Path) -> Counter[tuple]:
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.ComputeError as error:
        raise UsageError(
            "this is no Parquet file", got=str(error), remedy="build it again", where=str(path)
        ) from error
    return Counter(frame.select(sorted(set(frame.columns) - {"origin"})).iter_rows())


if __name__ == "__main__":
    typer.run(main)
