"""The fit checklist: everything that a reader needs to repeat the fits."""

from __future__ import annotations

import math
import platform
import sys
from importlib import metadata

from finescale.advice.candidates import Candidates
from finescale.forecasts.forecast import Forecast
from finescale.laws.estimate import DELTA
from finescale.laws.formulas import EXPONENT
from finescale.laws.solver.assembly import GRID_SIZES
from finescale.records.records import untuned
from finescale.records.settings import UNNAMED
from finescale.report.content import Content
from finescale.report.decisions import Decision
from finescale.report.evidence import Evidence
from finescale.report.findings import base_words
from finescale.report.fits import all_laws
from finescale.wording import listed, nats

_PACKAGES = ("finescale", "numpy", "polars", "scipy", "altair", "vl-convert-python")


def checklist(content: Content) -> list[tuple[str, str]]:
    """What was done, point by point: a heading and its words."""
    evidence, source = content.evidence, content.source
    records = evidence.records
    held = int(records.frame["held_out"].sum())
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
            "L = A·D^-β + E, each curve alone.",
        ),
        (
            "Points",
            "a point is the mean of a setting's runs; a factor's slice keeps the others at the base setting",
        ),
        ("Base setting", _base(evidence)),
        (
            "Objective",
            f"Huber loss (delta {DELTA:g}), summed, on predicted minus observed {records.loss} (nats)",
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
    for task, made in content.decisions.items():
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
        + ("" if math.isnan(m.error) else f" (off by {nats(m.error)} when backtested)")
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
