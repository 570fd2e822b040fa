"""A section of the page: what every section is made from, and what one hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from finescale.report.decisions import Apart, Decision
from finescale.report.drawing.markup import Html
from finescale.report.drawing.sheet import Sheet
from finescale.report.evidence import Evidence
from finescale.report.figures import Figure


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
    """What every section is made from.

    Attributes:
        evidence: By task the settings, the noise between seeds and the fitted laws (``evidence.gather``).
        decisions: By task: what is advised (of each tokenizer, where they do not compare), or why nothing is.
        source: Where it comes from.
    """

    evidence: Evidence
    decisions: Mapping[str, Decision | Apart | str]
    source: Source

    @property
    def answered(self) -> Mapping[str, Decision | str]:
        """The same, with each tokenizer's decision in the place of a task whose runs do not compare."""
        found: dict[str, Decision | str] = {}
        for task, made in self.decisions.items():
            found |= {one.task: one for one in made.each} if isinstance(made, Apart) else {task: made}
        return found


@dataclass(frozen=True)
class Picture:
    """A figure with its panels as SVG."""

    figure: Figure
    panels: Sequence[str]


@dataclass(frozen=True)
class Made:
    """What a section shows, and the files that it adds to the report.

    Attributes:
        body: The section on the page; empty: it has no card there.
        sheets: Its tables, ``tables/NAME.csv`` and ``.tex``; empty ones are not written.
        pictures: Its figures, ``figures/NAME.svg`` (``--figures`` adds ``.png`` and ``.pdf``).
        needs: What it lacks and what that would need, in sentences; the page lists them all at its end.
    """

    body: Html
    sheets: Sequence[Sheet] = ()
    pictures: Sequence[Picture] = ()
    needs: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        fill: Makes it: computes, draws and words.
    """

    name: str
    title: str
    fill: Callable[[Content], Made]
