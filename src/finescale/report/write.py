"""Writing the report: everything is made first, then written aside and renamed, the page last."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from finescale.errors import UsageError
from finescale.records.defused import csv_text
from finescale.report.decisions import decide
from finescale.report.drawing import charts
from finescale.report.evidence import Evidence
from finescale.report.page import SECTIONS, html
from finescale.report.section import Content, Made, Section, Source

PAGE = "index.html"
MANIFEST = ".report-files"
"""Lists what a report wrote, so that the next one removes what it no longer has."""


PICTURES: Mapping[str, Callable[[str], bytes]] = {"svg": str.encode, "png": charts.png, "pdf": charts.pdf}
"""The files that a figure can have, and how they are made from its SVG."""


def write_report(
    evidence: Evidence,
    source: Source,
    out: Path,
    sections: Sequence[Section] = SECTIONS,
    pictures: Sequence[str] = ("svg",),
) -> Path:
    """Makes the page, ``figures/*`` and ``tables/*.csv|tex``, and writes them.

    Nothing is written before everything is made; files of an earlier report that this one does not have are
    removed.

    Args:
        evidence: What the report says.
        source: Where it comes from.
        out: The folder; files that no report wrote are left alone.
        sections: The page's sections in its order.
        pictures: The files of each figure, of `PICTURES`; PNG and PDF take longer than all else.

    Returns:
        The page.

    Raises:
        UsageError: The folder cannot be written.
    """
    decisions = {
        task.task: decide(
            evidence.records,
            task.task,
            law=evidence.law,
            base=evidence.given,
            via=evidence.via,
            bootstrap=evidence.bootstrap,
            seed=evidence.seed,
        )
        for task in evidence.tasks
    }
    content = Content(evidence, decisions, source)
    filled = [(section, section.fill(content)) for section in sections]
    files = _files([made for _, made in filled], pictures)
    before = _earlier(out)
    files[MANIFEST] = "".join(f"{name}\n" for name in files).encode()
    files[PAGE] = html(content, filled).encode()
    _write(out, files)
    for name in before - set(files):
        with suppress(OSError):
            (out / name).unlink(missing_ok=True)
    return out / PAGE


def _earlier(out: Path) -> set[str]:
    """The figures and tables that an earlier report wrote there, by its own list."""
    try:
        listed = (out / MANIFEST).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    return {name for name in listed if re.fullmatch(r"(figures|tables)/[\w.-]+", name)}


def _files(filled: Sequence[Made], kinds: Sequence[str]) -> dict[str, bytes]:
    """The figures, in files of these kinds, and the tables of all sections.

    Raises:
        ValueError: Two of them have one name.
    """
    pairs: list[tuple[str, bytes]] = []
    for picture in (picture for made in filled for picture in made.pictures):
        whole = charts.sheet_svg(picture.figure, picture.panels)
        pairs += [
            (f"figures/{picture.figure.name}.{kind}", PICTURES[kind](whole)) for kind in dict.fromkeys(kinds)
        ]
    for sheet in (sheet for made in filled for sheet in made.sheets if sheet.rows):
        pairs.append((f"tables/{sheet.name}.csv", csv_text(sheet.frame).encode()))
        pairs.append((f"tables/{sheet.name}.tex", sheet.latex().encode()))
    files = dict(pairs)
    if len(files) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"two sections write {next(name for name in names if names.count(name) > 1)}")
    return files


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    """Writes all files aside, then renames them in order."""
    asides = [(out / name).with_name(f".{Path(name).name}.{os.getpid()}.part") for name in files]
    try:
        for aside, data in zip(asides, files.values(), strict=True):
            aside.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(data)
        for aside, name in zip(asides, files, strict=True):
            aside.replace(out / name)
    except OSError as error:
        for aside in asides:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        raise UsageError(
            "the report cannot be written",
            wanted="a folder that can be written",
            got=str(error.strerror or error),
            remedy="give another one with --out",
            where=str(error.filename or out),
        ) from None
