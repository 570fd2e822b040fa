"""Everything that the page shows, before it is laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from finescale.report import audit
from finescale.report.correlation import correlations, every_correlation
from finescale.report.decisions import Decision, crossover_sheet
from finescale.report.drawing.sheet import Sheet
from finescale.report.evidence import Evidence
from finescale.report.figures import Figure
from finescale.report.findings import Answer, answer
from finescale.report.fits import fits_sheet
from finescale.report.paper_findings import Outcome, findings_sheet, paper_findings
from finescale.report.reducible import table_5
from finescale.report.score_tables import scores_at_base
from finescale.report.shape import curve_laws
from finescale.report.stability import stability
from finescale.report.tables import paper_tables
from finescale.report.verdicts import verdict_sheet


@dataclass(frozen=True)
class Source:
    """What the page says of its origin.

    Attributes:
        name: The study's or table's name.
        commands: The command lines that make the page again.
        study_file: The study file's text, where there is one.
        hold_out: The rule for held-out runs, where it is known.
        created: When the page was made.
        inputs: The files that were read, with check sums.
    """

    name: str
    commands: tuple[str, ...] = ()
    study_file: str = ""
    hold_out: str = ""
    created: datetime = field(default_factory=datetime.now)
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """Everything that the page shows.

    Attributes:
        evidence: The evidence.
        answers: What the observed means say, one a task.
        decisions: By task: what the laws advise, or why nothing can be advised.
        figures: A task's figures with their panels as SVG.
        sheets: Every table, in the page's order.
        source: Where it comes from.
        base: Figure 10, the base models, with its panels as SVG.
    """

    evidence: Evidence
    answers: tuple[Answer, ...]
    decisions: Mapping[str, Decision | str]
    figures: Mapping[str, Sequence[tuple[Figure, Sequence[str]]]]
    sheets: tuple[Sheet, ...]
    source: Source
    base: tuple[Figure, Sequence[str]] | None = None


def answers(evidence: Evidence) -> tuple[Answer, ...]:
    """The answer of every task."""
    return tuple(answer(task, audit.untuned_rates(evidence, task.task)) for task in evidence.tasks)


def tested(evidence: Evidence, decisions: Mapping[str, Decision | str]) -> list[Outcome]:
    """The paper's findings, task by task."""
    return [item for task in evidence.tasks for item in paper_findings(evidence, task, decisions[task.task])]


def sheets(
    evidence: Evidence, found: Sequence[Answer], decisions: Mapping[str, Decision | str]
) -> tuple[Sheet, ...]:
    """Every table of the page, in its order; empty ones are left out."""
    made = [
        *[verdict_sheet(item, task) for item, task in zip(found, evidence.tasks, strict=True)],
        *[crossover_sheet(made) for made in decisions.values() if isinstance(made, Decision)],
        table_5(evidence),
        findings_sheet(tested(evidence, decisions), evidence),
        *paper_tables(evidence),
        *[curve_laws(task) for task in evidence.tasks],
        correlations(evidence),
        every_correlation(evidence),
        *[scores_at_base(evidence, task) for task in evidence.tasks],
        audit.learning_rates(evidence),
        audit.tokens_per_parameter(evidence),
        stability(evidence),
        audit.troubles(evidence),
        audit.costs(evidence),
        fits_sheet(evidence),
    ]
    return tuple(sheet for sheet in made if sheet.rows)
