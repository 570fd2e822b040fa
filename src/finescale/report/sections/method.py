"""How this was made: the fit checklist, the commands, every fit - all that a reader needs to repeat it."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Sequence
from importlib import metadata

from finescale.advice.candidate import Candidates
from finescale.forecasts.group import Forecast
from finescale.laws.estimate import DELTA
from finescale.laws.fitted import FittedLaw
from finescale.laws.formulas import EXPONENT
from finescale.laws.solver.assembly import GRID_SIZES
from finescale.records.outcome_words import amount, difference_unit, law_words
from finescale.records.records import untuned
from finescale.records.settings import UNNAMED
from finescale.report.decisions import Decision
from finescale.report.drawing.markup import fold, join, tag
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, plain, task_column
from finescale.report.evidence import Evidence
from finescale.report.findings import base_words
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import tables
from finescale.wording import count, factor_name, listed, method_name, number

_PACKAGES = ("finescale", "numpy", "polars", "scipy", "vl-convert-python")


def _fill(content: Content) -> Made:
    source = content.source
    entries = checklist(content)
    pairs = [part for name, words in entries for part in (tag("dt", name), tag("dd", words))]
    parts = [tag("dl", *pairs)]
    if source.commands:
        parts += [tag("p", "Again, from the command line:"), tag("pre", "\n".join(source.commands))]
    fits = fits_sheet(content.evidence)
    parts += [fold("Every fit, to compare a repetition with", *tables([fits]))] if fits.rows else []
    if source.study_file:
        parts.append(fold("The study file", tag("pre", source.study_file)))
    return Made(join(*parts), [fits])


def checklist(content: Content) -> list[tuple[str, str]]:
    """What was done, point by point: a heading and its words."""
    evidence, source = content.evidence, content.source
    records = evidence.records
    held = int(records.frame["held_out"].sum())
    of_score = "its distance from the best value"
    unit = of_score if records.outcome.kind == "score" else difference_unit(records.outcome)
    level = next((law.level for _, law in all_laws(evidence)), 0.9)
    starts = ", ".join(
        f"{' x '.join([str(size)] * free)} for {free}" for free, size in GRID_SIZES.items() if free < 4
    )
    points = [
        ("Input", "; ".join(source.inputs) or records.source),
        (
            "Laws",
            "multiplicative L = A·X^-α·D^-β + E and additive L = A·X^-α + B·D^-β + E, in the paper's two "
            "steps: beta and E shared over model size and pretraining tokens first, then fixed; Figure 1: "
            f"L = A·D^-β + E, each curve alone.{law_words(records.outcome)}",
        ),
        (
            "Points",
            "a point is the mean of a setting's runs; a factor's slice keeps the others at the base setting",
        ),
        ("Base setting", _base(evidence)),
        (
            "Objective",
            f"Huber loss (delta {DELTA:g}), summed, on predicted minus observed {records.loss} ({unit})",
        ),
        (
            "Solver",
            "variable projection: exponents profiled on a grid, linear coefficients (0 or more) by IRLS to "
            "convergence, every local minimum polished with damped Newton steps",
        ),
        (
            "Starts",
            f"a grid over the free exponents, each from {EXPONENT[0]:g} to {EXPONENT[1]:g} (points by number "
            f"of free exponents: {starts}); none is random",
        ),
        ("Held out", f"{held} runs" + (f" by the rule {source.hold_out}" if source.hold_out else "")),
        (
            "Intervals",
            f"{level:.0%}, percentile, from {evidence.bootstrap} bootstrap resamples of settings with a "
            f"shared effect of each seed; bootstrap seed {evidence.seed}",
        ),
        ("Advice", _advice(content)),
        ("Left out", _left_out(evidence)),
        ("Versions", _versions()),
    ]
    return [(name, words) for name, words in points if words]


def _base(evidence: Evidence) -> str:
    parts = []
    for task in evidence.tasks:
        words = base_words(task)
        parts.append(words if task.task == UNNAMED else f"{task.task}: {words}" if words else "")
    return "; ".join(filter(None, parts))


def _advice(content: Content) -> str:
    """What answers: the forecast's members with their weights, or the law that was asked for."""
    said = []
    for task, made in content.answered.items():
        if isinstance(made, Decision):
            words = _believed(made.found)
            said.append(words if task == UNNAMED else f"{task}: {words}")
    return "; ".join([*said, "all runs count, held-out ones too"]) if said else ""


def _believed(found: Candidates) -> str:
    """The forecast's members, most weight first; or the law's name."""
    first = found.laws[0]
    if not isinstance(first, Forecast):
        return f"the {found.law} law"
    members = sorted(first.members, key=lambda member: -member.weight)
    parts = [
        f"{m.name} {m.weight:.0%}"
        + ("" if math.isnan(m.error) else f" (off by {amount(first.outcome, m.error)} when backtested)")
        for m in members
    ]
    return f"forecast from {listed(parts)}"


def _left_out(evidence: Evidence) -> str:
    """What no fit saw, by reason."""
    records = evidence.records
    bare = int(records.frame.select(untuned().sum()).item())
    words = list(records.notes)
    words += [f"{bare} runs of untuned models are not in the fits of finetuning."] if bare else []
    return " ".join(words) or "nothing"


def _versions() -> str:
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    machine = f"{platform.system()} {platform.machine()}"
    return ", ".join([*[f"{name} {version(name)}" for name in _PACKAGES], python, machine])


def version(name: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def fits_sheet(evidence: Evidence) -> Sheet:
    """Every fit behind the figures and tables: what it was fitted to and what came out, at full precision."""
    rows: list[Row] = []
    names: dict[str, Sequence[str]] = {}
    for task, law in all_laws(evidence):
        names[law.law] = law.formula.parameters if law.formula else [*law.parameters]
        row = {"task": task, "method": str(law.by.get("method", "")), "law": law.law}
        row |= {"factor": law.factors[0] if law.factors else None, "model_params": law.by.get("model_params")}
        row |= {"settings": law.n_fitted, "held_out": law.n_held_out, "objective": law.objective}
        row |= {"delta_e": law.delta_e, "delta_h": None if math.isnan(law.delta_h) else law.delta_h}
        row |= {name: law.value(name) for name in law.parameters}
        rows.append(row | {"draws": law.run_deviation.size, "status": "; ".join(law.status)})
    shown = (
        *task_column(evidence),
        SheetColumn("method", lambda row: method_name(row["method"]), numeric=False),
        plain("law", "law"),
        SheetColumn("over, or model", _over, numeric=False),
        SheetColumn("settings + held out", lambda row: f"{row['settings']} + {row['held_out']}"),
        column("Huber sum", "objective", lambda value: number(value, 6)),
        SheetColumn("parameters", lambda row: _parameters(row, names[row["law"]]), numeric=False),
    )
    notes = ("The CSV file has every parameter at full precision.",) if rows else ()
    return Sheet("fits", "Every fit, to compare a repetition with", rows, shown, notes)


def _over(row: Row) -> str:
    """The law's factor; for a law of the data size alone, the model's size."""
    return factor_name(row["factor"]) if row["factor"] else count(row["model_params"])


def _parameters(row: Row, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {number(row[name], 6)}" for name in names)


def all_laws(evidence: Evidence) -> list[tuple[str, FittedLaw]]:
    """Every fitted law with its task."""
    return [
        (task.task, law)
        for task in evidence.tasks
        for fits in (*task.laws.values(), *task.curves.values())
        for law in fits
    ]


SECTION = Section("method", "How this was made", _fill)
