"""What ``finescale collect`` does: read many sources, show what was understood, write one table."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from finescale.cli.reading import results_of
from finescale.cli.terminal import console
from finescale.records.collect import Collected, collect
from finescale.records.options import ReadingOptions


def collect_command(
    sources: Sequence[str], options: ReadingOptions, *, out: Path | None, to: Console | None = None
) -> None:
    """Collects, shows, writes.

    Args:
        sources: The sources.
        options: How they are read.
        out: The file to write; None: only show.
        to: Where to print.

    Raises:
        UsageError: A source that cannot be read, a file that cannot be written.
    """
    shown = to or console()
    found = collect(*map(results_of, sources), options=options)
    shown.print(found)
    if out is None:
        shown.print("Nothing is written: --out runs.parquet", markup=False, highlight=False)
        return
    files = found.write(out)
    for file in files:
        shown.print(f"wrote {file}", markup=False, highlight=False, soft_wrap=True)
    for line in _next(found, out):
        shown.print(line, markup=False, highlight=False, soft_wrap=True)


def _next(found: Collected, out: Path) -> list[str]:
    """The command that goes on from here."""
    if not found.frame.height:
        return [f"next: finescale report RUNS --scores {shlex.quote(str(out))}"]
    if found.reading is None:
        return []
    scores = f" --scores {out.stem}-scores{out.suffix}" if found.scores.height else ""
    command = shlex.join(["finescale", "report" if scores else "advise", str(out), *found.options.flags()])
    return [f"next: {command}{scores}"]
