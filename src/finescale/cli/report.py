"""What `finescale report` does: find the records, fit, print Tables 2 and 4, write the page and its files."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from finescale.cli import terminal
from finescale.cli.reading import results_of
from finescale.errors import DataError, UsageError
from finescale.records.options import AS_INFERRED, ReadingOptions
from finescale.records.records import DATA_SIZE, Records, read_records, table_in
from finescale.records.sources import is_study
from finescale.spec.paths import exists
from finescale.spec.places import COPY, STUDY_FILES

if TYPE_CHECKING:
    from finescale.report.section import Source


@dataclass(frozen=True)
class _ReportPaths:
    """Where the records are, and what else is known of their study."""

    records: str | Path
    out: Path
    name: str
    study_file: Path | None
    scores: Path | None = None


@dataclass(frozen=True)
class ReportOptions:
    """How a report is made.

    Attributes:
        scores: A table of scores of these runs; None: FOLDER/scores.parquet, where there is one.
        out: The folder to write to; None: FOLDER/report, or TABLE-report beside a table.
        reading: How the table is to be read.
        hold_out: An expression, or ``largest``; None: the column ``held_out``.
        law: The law of the advice, as ``--law`` has it.
        base: Values of the base setting, as ``--base`` has them.
        via: How a score is forecast, as ``--via`` has it.
        bootstrap: Number of resamples.
        seed: Seed of the bootstrap.
        figures: The files of each figure, comma-separated.
    """

    scores: Path | None = None
    out: Path | None = None
    reading: ReadingOptions = AS_INFERRED
    hold_out: str | None = None
    law: str = "auto"
    base: Sequence[str] = ()
    via: str = "auto"
    bootstrap: int = 1000
    seed: int = 0
    figures: str = "svg"

    def command(self, source: str | Path) -> str:
        """The command line that makes this report again."""
        words = ["finescale", "report", str(source)]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "reading":
                words += self.reading.flags()
            elif value != field.default:
                for one in value if field.name == "base" else (value,):
                    words += ["--" + field.name.replace("_", "-"), str(one)]
        return shlex.join(words)


def report(
    source: str | Path, options: ReportOptions = ReportOptions(), console: Console | None = None
) -> Path:
    """Writes the page, the figures and the tables, and prints the paper's Tables 2 and 4.

    Args:
        source: A study file, a study's folder, a table of runs, or what ``collect`` takes.
        options: How it is made.
        console: Where to print.

    Returns:
        The page.

    Raises:
        UsageError: A source that cannot be read.
        DataError: Records without a single run (nothing is written), or without a finished one (the page is
            written, and lists what failed).
    """
    from finescale.cli.laws import base_values, names  # noqa: PLC0415
    from finescale.laws.formulas import get_law  # noqa: PLC0415 - after the checks of the command line
    from finescale.laws.own import law_of  # noqa: PLC0415
    from finescale.report.evidence import gather  # noqa: PLC0415
    from finescale.report.tables import paper_tables  # noqa: PLC0415
    from finescale.report.write import PICTURES, write_report  # noqa: PLC0415

    console = console or terminal.console()
    pictures = names(options.figures)
    if unknown := [kind for kind in pictures if kind not in PICTURES]:
        raise UsageError(
            f"--figures {options.figures}", wanted="some of " + ", ".join(PICTURES), got=unknown[0]
        )
    place = _place(source, options.out)
    if place.out.exists() and not place.out.is_dir():
        raise UsageError(f"--out {place.out}", wanted="a folder", got="a file", remedy="name another one")
    records = read_records(place.records, options=options.reading, need=(DATA_SIZE,))
    law = law_of(options.law)
    evidence = gather(
        records,
        law=law if law == "auto" else get_law(law),
        hold_out=options.hold_out,
        bootstrap=options.bootstrap,
        seed=options.seed,
        scores=options.scores or place.scores,
        base=base_values(options.base),
        via=options.via,
    )
    for sheet in paper_tables(evidence):
        console.print(sheet.terminal(console.width))
        for words in sheet.notes:
            console.print(words, markup=False, highlight=False, soft_wrap=True)
    page = write_report(evidence, _origin(source, place, records, options), place.out, pictures=pictures)
    words = f"{page} ({page.stat().st_size / 1e6:.1f} MB); figures and tables are beside it."
    console.print(words, markup=False, highlight=False, soft_wrap=True)
    if not evidence.tasks:
        raise DataError(
            "no finished run of a tuned model: no law can be fitted",
            wanted="runs with a loss, and status done",
            got=records.rows_in_words,
            remedy="see in the page what failed, and why",
            where=str(page),
        )
    return page


def _origin(source: str | Path, place: _ReportPaths, records: Records, options: ReportOptions) -> Source:
    """Where a page comes from: its study, the commands that make it again, and the files it was made of."""
    from finescale.report.section import Source  # noqa: PLC0415

    text = place.study_file.read_text(encoding="utf-8") if place.study_file else ""
    again = options.command(source)
    lines = (f"finescale run {place.study_file.name}", again) if place.study_file else (again,)
    studies = records.every_row["study"].drop_nulls().unique() if "study" in records.every_row.columns else []
    name = str(studies[0]) if len(studies) == 1 else place.name
    scores = options.scores or place.scores
    files = [Path(file) for file in (place.records, scores) if file and exists(file)]
    inputs = tuple(_stamp(file) for file in files if file.is_file())
    return Source(name, lines, text, options.hold_out or _hold_out(place.study_file), inputs=inputs)


def _place(stated: str | Path, out: Path | None) -> _ReportPaths:
    source = Path(stated)
    if source.suffix.lower() in STUDY_FILES:
        return _study_folder(Path(results_of(str(source))), out)
    if source.is_dir() and is_study(source):
        return _study_folder(source, out)
    if not exists(stated) and "://" in str(stated):  # an address has no folder beside it
        return _ReportPaths(str(stated), out or Path("finescale-report"), str(stated), None)
    name = source.resolve().name if source.is_dir() else source.stem
    return _ReportPaths(stated, out or source.resolve().with_name(f"{name}-report"), name, None)


def _study_folder(folder: Path, out: Path | None) -> _ReportPaths:
    records = table_in(folder)
    study_file = folder / COPY
    scores = folder / "scores.parquet"
    return _ReportPaths(
        records,
        out or folder / "report",
        folder.resolve().name,
        study_file if study_file.exists() else None,
        scores if scores.exists() else None,
    )


def _stamp(file: Path) -> str:
    """A file's name and check sum, so that a reader knows whether theirs is the same."""
    with file.open("rb") as data:
        return f"{file.name} (SHA-256 {hashlib.file_digest(data, 'sha256').hexdigest()})"


def _hold_out(study_file: Path | None) -> str:
    """The study's rule for held-out runs, if its file can still be read."""
    if study_file is None:
        return ""
    from finescale.spec.file import load_study  # noqa: PLC0415

    try:
        return getattr(load_study(study_file), "hold_out", None) or ""
    except UsageError:
        return ""
