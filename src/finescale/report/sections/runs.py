"""The sections about the runs: learning rates, data per parameter, noise, failures, cost, how it was made."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

from finescale.laws.estimate import DELTA
from finescale.report import audit
from finescale.report.content import Content
from finescale.report.markup import Html, folded, joined, note, table, tag
from finescale.report.sections.parts import missing, named
from finescale.report.sheet import Sheet


def rates(content: Content) -> Html:
    """The audit of learning rates."""
    found = named(content, "learning-rates")
    return (
        joined(*found)
        if found
        else missing("The records have no column learning_rate: it would be shown here.")
    )


def regime(content: Content) -> Html:
    """Target tokens per trained parameter."""
    found = named(content, "tokens-per-parameter")
    if not found:
        return missing("This needs the columns finetune_tokens and trainable_params.")
    sheet = next(sheet for sheet in content.sheets if sheet.name == "tokens-per-parameter")
    words = [note(text) for text in sheet.notes]
    bare = Sheet(sheet.name, sheet.title, sheet.rows, sheet.shown)
    return joined(*words, folded("By method and data size", table(bare)))


def noise(content: Content) -> Html:
    """The noise between seeds."""
    found = named(content, "seed-noise")
    return joined(*found) if found else missing("One run a setting: two seeds or more would show the noise.")


def runs(content: Content) -> Html:
    """Runs, failures and cost."""
    parts = [tag("p", audit.summary_words(content.evidence)), *named(content, "runs-and-cost")]
    failed = named(content, "troubles")
    parts += failed or [tag("p", "No run failed or diverged.")]
    return joined(*parts)


def method(content: Content) -> Html:
    """How the page was made, so that a reader can repeat it."""
    evidence, source = content.evidence, content.source
    records = evidence.records
    held = int(records.frame["held_out"].sum())
    level = next((law.level for task in evidence.tasks for fits in task.laws.values() for law in fits), 0.9)
    entries = [
        (
            "Laws",
            "multiplicative L = A·X^-α·D^-β + E and additive L = A·X^-α + B·D^-β + E, in the "
            "paper's two steps: beta and E shared over model size and pretraining tokens first, then fixed.",
        ),
        (
            "Points",
            "a point is the mean of a setting's runs; a factor's slice keeps the others at the base setting",
        ),
        (
            "Objective",
            f"Huber loss (delta {DELTA:g}), summed, on predicted minus observed {records.loss} (nats)",
        ),
        (
            "Solver",
            "variable projection: exponents profiled on a grid, linear coefficients by IRLS to convergence, "
            "every local minimum polished with damped Newton steps",
        ),
        ("Held out", f"{held} runs" + (f" by the rule {source.hold_out}" if source.hold_out else "")),
        (
            "Intervals",
            f"{level:.0%}, percentile, from {evidence.bootstrap} bootstrap resamples of settings with a "
            f"shared effect of each seed; bootstrap seed {evidence.seed}",
        ),
        ("Left out", " ".join(records.notes) or "nothing"),
        ("Versions", _versions()),
    ]
    pairs = [part for name, words in entries for part in (tag("dt", name), tag("dd", words))]
    parts = [tag("dl", *pairs)]
    if source.commands:
        parts += [tag("p", "Again, from the command line:"), tag("pre", "\n".join(source.commands))]
    if source.study_file:
        parts.append(folded("The study file", tag("pre", source.study_file)))
    return joined(*parts)


def _versions() -> str:
    names = ("finescale", "numpy", "polars")
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    return ", ".join([*[f"{name} {version(name)}" for name in names], python, platform.system()])


def version(name: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"
