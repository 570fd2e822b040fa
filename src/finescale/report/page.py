"""The page: one HTML file without network or framework; the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from finescale.records.outcome_words import heading, law_words, unit_of
from finescale.report.drawing import palette
from finescale.report.drawing.markup import Html, tag
from finescale.report.evidence import runs_in_words
from finescale.report.section import Content, Made, Section
from finescale.report.sections import (
    answer,
    crossovers,
    explorer,
    figures,
    findings,
    holds,
    method,
    rates,
    regime,
    runs,
    scores,
    stability,
    tables,
)

SECTIONS: tuple[Section, ...] = (
    answer.SECTION,
    explorer.SECTION,
    crossovers.SECTION,
    findings.SECTION,
    figures.SECTION,
    tables.SECTION,
    holds.SECTION,
    scores.SECTION,
    rates.SECTION,
    regime.SECTION,
    stability.SECTION,
    runs.SECTION,
    method.SECTION,
)
"""The page's sections in its order; each file of ``sections/`` but ``parts.py`` has one."""
_LACKING = "lacking", "What these records do not show"
"""Anchor and heading of the card at the end, which lists what the sections lack."""


def html(content: Content, filled: Sequence[tuple[Section, Made]]) -> str:
    """The page's text.

    Args:
        content: What the sections were made from.
        filled: The sections in the page's order, with what they show.
    """
    title = f"{content.source.name}: which finetuning method, and how much data?"
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    policy += f"script-src '{explorer.script_hash()}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(_style())),
    )
    cards = [(section.name, section.title, made.body) for section, made in filled]
    cards.append((*_LACKING, _needs(filled)))
    cards = [card for card in cards if card[-1]]
    links = [tag("li", tag("a", heading, href=f"#{name}")) for name, heading, _ in cards]
    frame = content.evidence.records.frame
    line = f"{runs_in_words(content.evidence)} Made by finescale {method.version('finescale')} on "
    header = tag(
        "header",
        tag("h1", title),
        tag("p", f"{line}{content.source.created:%Y-%m-%d %H:%M}.", class_="soft"),
        tag("nav", tag("ol", *links), aria_label="Contents"),
    )
    shown = [_card(*card) for card in cards]
    outcome = content.evidence.records.outcome
    closing = f"{frame.height} finished study runs (untuned models among them). "
    closing += (
        f"Loss is in {unit_of(outcome)}{'; perplexity is exp(loss)' if outcome.per_token else ''}."
        if outcome.kind == "loss"
        else f"Everything is about {heading(outcome)}.{law_words(outcome)} The paper's laws are of losses "
        "(a page without --score)."
    )
    footer = tag("footer", tag("p", closing))
    script = Html(f"<script>{explorer.script()}</script>")
    body = tag("body", header, tag("main", *shown), footer, script)
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _needs(filled: Sequence[tuple[Section, Made]]) -> Html:
    """What the sections lack, in a list; empty where they lack nothing."""
    items = [
        tag("li", *([tag("strong", f"{section.title}: ")] if not made.body else []), words)
        for section, made in filled
        for words in dict.fromkeys(made.needs)
    ]
    return tag("ul", *items) if items else Html("")


def _card(name: str, title: str, body: Html) -> Html:
    look = {"class_": "answer"} if name == answer.SECTION.name else {}
    return tag("section", tag("h2", title), body, id=name, **look)


def _style() -> str:
    css = resources.files("finescale.report").joinpath("assets/page.css").read_text(encoding="utf-8")
    light, dark = palette.variables(dark=False), palette.variables(dark=True)
    return (
        f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
        f"@media print{{:root{{{light}}}}}\n{css}"
    )
