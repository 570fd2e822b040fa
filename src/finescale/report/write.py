"""Writing the report: everything is made first, then written aside and renamed, the page last."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from finescale.errors import UsageError
from finescale.records.defused import csv_text
from finescale.report.base_models import figure_10
from finescale.report.content import Content, Source, answers, sheets
from finescale.report.crossmap import figure_5
from finescale.report.decisions import Decision, decide
from finescale.report.drawing import charts
from finescale.report.drawing.crosschart import crossover_svgs
from finescale.report.evidence import Evidence, TaskEvidence
from finescale.report.figures import Figure, figures
from finescale.report.page import html
from finescale.report.score_figures import forgetting_figure, score_figures

PAGE = "index.html"
MANIFEST = ".report-files"
"""Lists what a report wrote, so that the next one removes what it no longer has."""


def write_report(evidence: Evidence, source: Source, out: Path) -> Path:
    """Makes the page, ``figures/*.svg|png|pdf`` and ``tables/*.csv|tex``, and writes them.

    Nothing is written before everything is made; files of an earlier report that this one does not have are
    removed.

    Args:
        evidence: What the report says.
        source: Where it comes from.
        out: The folder; files that no report wrote are left alone.

    Returns:
        The page.

    Raises:
        UsageError: The folder cannot be written.
    """
    found = answers(evidence)
    decisions = {
        task.task: decide(
            evidence.records,
            task.task,
            law=evidence.law,
            base=evidence.given,
            bootstrap=evidence.bootstrap,
            seed=evidence.seed,
        )
        for task in evidence.tasks
    }
    drawn = {task.task: _drawn(evidence, task, decisions[task.task]) for task in evidence.tasks}
    base = figure_10(evidence)
    below = (base, charts.panel_svgs(base)) if base is not None else None
    content = Content(evidence, found, decisions, drawn, sheets(evidence, found, decisions), source, below)
    files: dict[str, bytes] = {}
    for pairs in [*drawn.values(), *([[below]] if below else [])]:
        for figure, panels in pairs:
            whole = charts.sheet_svg(figure, panels)
            files[f"figures/{figure.name}.svg"] = whole.encode()
            files[f"figures/{figure.name}.png"] = charts.png(whole)
            files[f"figures/{figure.name}.pdf"] = charts.pdf(whole)
    for sheet in content.sheets:
        files[f"tables/{sheet.name}.csv"] = csv_text(sheet.frame).encode()
        files[f"tables/{sheet.name}.tex"] = sheet.latex().encode()
    before = _earlier(out)
    files[MANIFEST] = "".join(f"{name}\n" for name in files).encode()
    files[PAGE] = html(content).encode()
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


def _drawn(
    evidence: Evidence, task: TaskEvidence, decision: Decision | str
) -> list[tuple[Figure, list[str]]]:
    """A task's figures with their panels."""
    made = figures(task)
    made += score_figures(task, evidence.scores) if evidence.scores is not None else []
    forgotten = forgetting_figure(task, evidence.records)
    made += [forgotten] if forgotten is not None else []
    pictures = [(figure, charts.panel_svgs(figure)) for figure in made]
    crossing = figure_5(decision) if isinstance(decision, Decision) else None
    return pictures + ([(crossing, crossover_svgs(crossing))] if crossing is not None else [])


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
