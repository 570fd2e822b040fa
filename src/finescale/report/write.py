"""Writing the report: everything is made first, then written aside and renamed, the page last."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from finescale.errors import UsageError
from finescale.report import charts
from finescale.report.content import Content, Source, answers, sheets
from finescale.report.decisions import decide
from finescale.report.evidence import Evidence
from finescale.report.figures import Figure, figures
from finescale.report.page import html

PAGE = "index.html"


def write_report(evidence: Evidence, source: Source, out: Path) -> Path:
    """Makes the page, ``figures/*.svg|png|pdf`` and ``tables/*.csv``, and writes them.

    Args:
        evidence: What the report says.
        source: Where it comes from.
        out: The folder; other files in it are left alone.

    Returns:
        The page.

    Raises:
        UsageError: The folder cannot be written.
    """
    found = answers(evidence)
    drawn = {task.task: _drawn(figures(task)) for task in evidence.tasks}
    decisions = {
        task.task: decide(evidence.records, task.task, bootstrap=evidence.bootstrap, seed=evidence.seed)
        for task in evidence.tasks
    }
    content = Content(evidence, found, decisions, drawn, sheets(evidence, found, decisions), source)
    files: dict[str, bytes] = {}
    for pairs in drawn.values():
        for figure, panels in pairs:
            whole = charts.sheet_svg(figure, panels)
            files[f"figures/{figure.name}.svg"] = whole.encode()
            files[f"figures/{figure.name}.png"] = charts.png(whole)
            files[f"figures/{figure.name}.pdf"] = charts.pdf(whole)
    for sheet in content.sheets:
        files[f"tables/{sheet.name}.csv"] = sheet.frame.write_csv().encode()
    files[PAGE] = html(content).encode()
    for name, data in files.items():
        _write(out / name, data)
    return out / PAGE


def _drawn(made: list[Figure]) -> list[tuple[Figure, list[str]]]:
    return [(figure, charts.panel_svgs(figure)) for figure in made]


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise UsageError(
            "the report cannot be written",
            wanted="a folder that can be written",
            got=str(error.strerror or error),
            remedy="give another one with --out",
            where=str(path),
        ) from None
