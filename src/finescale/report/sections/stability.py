"""Stability of the methods: how far seeds scatter, and how many runs diverge."""

from __future__ import annotations

import math
from functools import partial

import polars as pl

from finescale.records.noise import UNKNOWN, Noise
from finescale.records.outcome_words import amount, difference_unit
from finescale.records.outcomes import Outcome
from finescale.records.records import untuned
from finescale.report.drawing.markup import join
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, task_column
from finescale.report.evidence import Evidence
from finescale.report.noise import LEVEL, smallest_difference
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import tables
from finescale.wording import method_name


def _fill(content: Content) -> Made:
    sheet = stability(content.evidence)
    needs = [] if sheet.rows else ["It needs runs of a tuned model."]
    return Made(join(*tables([sheet])), [sheet], needs=needs)


def stability(evidence: Evidence) -> Sheet:
    """By task and method: the noise between seeds with its interval, and the share of runs that diverged."""
    outcome = evidence.records.outcome
    unit = difference_unit(outcome)
    rows: list[Row] = []
    counted = _outcomes(evidence)
    noise = {(task.task, method): task.noise[method] for task in evidence.tasks for method in task.methods}
    runs = {
        (task.task, method): _usual_runs(task.settings, method)
        for task in evidence.tasks
        for method in task.methods
    }
    for (task, method), (study, diverged, swept, swept_diverged) in counted.items():
        known = noise.get((task, method), UNKNOWN)
        row: dict[str, object] = {"task": task, "method": method}
        row |= {"sd": None, "sd_low": None, "sd_high": None, "settings": known.settings}
        if known.known:
            low, high = sd_interval(known)
            row |= {"sd": known.sd, "sd_low": low, "sd_high": high}
            row |= {"smallest_difference": smallest_difference(known, runs[task, method])}
        low, high = share_interval(diverged, study)
        row |= {"study_runs": study, "diverged": diverged, "diverged_low": low, "diverged_high": high}
        rows.append(row | {"sweep_runs": swept, "sweep_diverged": swept_diverged})
    shown = (
        *task_column(evidence),
        SheetColumn("method", lambda row: method_name(row["method"]), numeric=False),
        SheetColumn(f"SD of one run ({unit})", partial(_noise_words, outcome)),
        column("settings with two seeds or more", "settings", str),
        column(
            f"smallest difference told ({unit})", "smallest_difference", partial(amount, outcome, finer=1)
        ),
        SheetColumn("diverged study runs", _diverged_words),
        SheetColumn("diverged in the sweep", lambda row: f"{row['sweep_diverged']} of {row['sweep_runs']}"),
    )
    notes = [f"In brackets: {LEVEL:.0%} intervals."]
    if any(row["sd"] is not None for row in rows):
        notes.append(
            "Smallest difference told: of two settings' means with the usual number of runs each, at 90%. "
            "Seeds change the data subset and the initialisation; the test set is the same for all runs, so "
            "its own sampling is not in here."
        )
    else:
        notes.append("One run a setting: two seeds or more would show the noise.")
    title = "Stability: noise between seeds, and runs that diverged"
    return Sheet("stability", title, rows, shown, tuple(notes) if rows else ())


def sd_interval(noise: Noise) -> tuple[float, float]:
    """The interval of a standard deviation (chi-squared)."""
    from scipy.special import chdtri  # noqa: PLC0415 - scipy only where an interval is asked for

    squares = noise.sd**2 * noise.freedom
    tail = (1 - LEVEL) / 2
    low, high = (math.sqrt(squares / chdtri(noise.freedom, share)) for share in (tail, 1 - tail))
    return low, high


def share_interval(hits: int, total: int) -> tuple[float | None, float | None]:
    """Jeffreys' interval of a share; its end is 0 or 1 where none or all are hits."""
    from scipy.special import betaincinv  # noqa: PLC0415 - scipy only where an interval is asked for

    if not total:
        return None, None
    tail = (1 - LEVEL) / 2
    a, b = hits + 0.5, total - hits + 0.5
    low = 0.0 if hits == 0 else float(betaincinv(a, b, tail))
    return low, 1.0 if hits == total else float(betaincinv(a, b, 1 - tail))


def _outcomes(evidence: Evidence) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """Finished and diverged runs of the study, and of the sweep, by task and method."""
    frame = evidence.records.every_row.filter(~untuned())
    status = pl.col("status").fill_null("done") if "status" in frame.columns else pl.lit("done")
    purpose = pl.col("purpose").fill_null("study") if "purpose" in frame.columns else pl.lit("study")
    ended = (
        frame.with_columns(status.alias("status"), purpose.alias("purpose"))
        .filter(pl.col("status").is_in(["done", "diverged"]))
        .with_columns(
            (pl.col("status") == "diverged").alias("diverged"), (pl.col("purpose") == "sweep").alias("swept")
        )
    )
    counts = ended.group_by("task", "method", maintain_order=True).agg(
        (~pl.col("swept")).sum(),
        (pl.col("diverged") & ~pl.col("swept")).sum().alias("study_diverged"),
        pl.col("swept").sum().alias("sweep"),
        (pl.col("diverged") & pl.col("swept")).sum().alias("sweep_diverged"),
    )
    places = {m: at for task in evidence.tasks for at, m in enumerate(task.methods)}
    found = {(task, method): tuple(numbers) for task, method, *numbers in counts.iter_rows()}
    order = sorted(found, key=lambda key: (key[0], places.get(key[1], len(places))))
    return {key: found[key] for key in order}


def _usual_runs(settings: pl.DataFrame, method: str) -> int:
    runs = settings.filter(pl.col("method") == method)["runs"].median()
    return int(runs or 1)  # type: ignore[arg-type]


def _noise_words(outcome: Outcome, row: Row) -> str:
    if row["sd"] is None:
        return "-"
    sd, low, high = (amount(outcome, row[name], 1) for name in ("sd", "sd_low", "sd_high"))
    return f"{sd} [{low}, {high}]"


def _diverged_words(row: Row) -> str:
    if not row["study_runs"]:
        return "-"
    words = f"{row['diverged']} of {row['study_runs']}"
    return f"{words} [{row['diverged_low']:.1%}, {row['diverged_high']:.1%}]"


SECTION = Section("noise", "Stability", _fill)
