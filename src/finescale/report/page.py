"""The page: one HTML file without network, script or framework; the answer first, then what it rests on."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata, resources

from finescale.advice.setting import PAPER_FACTORS, UNNAMED
from finescale.advice.wording import capital, count, factor_name, listed, method_name, nats, slug
from finescale.laws.estimate import DELTA
from finescale.report import audit, palette
from finescale.report.charts import prefixed
from finescale.report.evidence import Evidence, TaskEvidence
from finescale.report.figures import NUMBERS, Figure
from finescale.report.findings import Answer, answer, law_at_base
from finescale.report.markup import Html, bullets, folded, joined, note, paragraphs, table, tag
from finescale.report.shape import bend_words, curve_laws, misfit_words, steps_words
from finescale.report.sheet import Sheet, Shown, column
from finescale.report.tables import paper_tables

_HOLDS = (
    "No sign in these records that the multiplicative law fails: it misses no more than the noise "
    "between seeds "
    "explains, and no curve bends downwards."
)
_FACTOR_OF = {number: factor for factor, number in NUMBERS.items()}


@dataclass(frozen=True)
class Source:
    """What the page says of its origin.

    Attributes:
        name: The study's or table's name.
        commands: The command lines that make the page again.
        study_file: The study file's text, where there is one.
        hold_out: The rule for held-out runs, where it is known.
        created: When the page was made.
    """

    name: str
    commands: tuple[str, ...] = ()
    study_file: str = ""
    hold_out: str = ""
    created: datetime = field(default_factory=datetime.now)


@dataclass(frozen=True)
class Content:
    """Everything that the page shows.

    Attributes:
        evidence: The evidence.
        answers: One a task.
        figures: A task's figures with their panels as SVG.
        sheets: Every table, in the page's order.
        source: Where it comes from.
    """

    evidence: Evidence
    answers: tuple[Answer, ...]
    figures: Mapping[str, Sequence[tuple[Figure, Sequence[str]]]]
    sheets: tuple[Sheet, ...]
    source: Source


def answers(evidence: Evidence) -> tuple[Answer, ...]:
    """The answer of every task."""
    return tuple(answer(task, audit.untuned_rates(evidence, task.task)) for task in evidence.tasks)


def sheets(evidence: Evidence, found: Sequence[Answer]) -> tuple[Sheet, ...]:
    """Every table of the page, in its order; empty ones are left out."""
    made = [
        *[_verdict_sheet(item, task) for item, task in zip(found, evidence.tasks, strict=True)],
        *paper_tables(evidence),
        *[curve_laws(task) for task in evidence.tasks],
        audit.learning_rates(evidence),
        audit.tokens_per_parameter(evidence),
        audit.seed_noise_table(evidence),
        audit.troubles(evidence),
        audit.costs(evidence),
    ]
    return tuple(sheet for sheet in made if sheet.rows)


def html(content: Content) -> str:
    """The page's text."""
    parts = [
        ("answer", "The answer", _answer_section(content)),
        ("figures", "The laws in pictures", _figure_section(content)),
        ("tables", "How well the laws predict, and their parameters", _law_tables(content)),
        ("holds", "Does the law hold?", _shape_section(content)),
        ("rates", "Learning rates", _rates(content)),
        ("regime", "Data per trained parameter", _regime(content)),
        ("noise", "Noise between seeds", _noise(content)),
        ("runs", "Runs, failures and cost", _runs(content)),
        ("method", "How this was made", _method(content)),
    ]
    title = f"{content.source.name}: which finetuning method, and how much data?"
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(_style())),
    )
    links = [tag("li", tag("a", words, href=f"#{name}")) for name, words, _ in parts]
    frame = content.evidence.records.frame
    line = f"{audit.summary_words(content.evidence)} Made by finescale {_version('finescale')} on "
    header = tag(
        "header",
        tag("h1", title),
        tag("p", f"{line}{content.source.created:%Y-%m-%d %H:%M}.", class_="soft"),
        tag("nav", tag("ol", *links), aria_label="Contents"),
    )
    sections = [_section(*part) for part in parts]
    closing = (
        f"{frame.height} finished study runs (untuned models among them). Loss is in nats per target token; "
    )
    footer = tag("footer", tag("p", closing + "perplexity is exp(loss)."))
    body = tag("body", header, tag("main", *sections), footer)
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _section(name: str, title: str, body: Html) -> Html:
    look = {"class_": "answer"} if name == "answer" else {}
    return tag("section", tag("h2", title), body, id=name, **look)


def _style() -> str:
    css = resources.files("finescale.report").joinpath("assets/page.css").read_text(encoding="utf-8")
    light, dark = palette.variables(dark=False), palette.variables(dark=True)
    return (
        f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
        f"@media print{{:root{{{light}}}}}\n{css}"
    )


def _missing(text: str) -> Html:
    return tag("p", text, class_="missing")


def _named(content: Content, start: str) -> list[Html]:
    return [table(sheet) for sheet in content.sheets if sheet.name.startswith(start)]


def _answer_section(content: Content) -> Html:
    if not content.answers:
        return _missing("No finished run of a tuned model: nothing can be said yet. See what failed below.")
    parts: list[Html] = []
    for item in content.answers:
        if len(content.answers) > 1:
            parts.append(tag("h3", item.task))
        parts.append(tag("p", item.headline, class_="headline"))
        if item.setting:
            where = f"Task {item.task}, b" if item.task != UNNAMED else "B"
            parts.append(tag("p", f"{where}ase setting: {item.setting}.", class_="soft"))
        parts.append(bullets(*item.support))
        own = [sheet for sheet in content.sheets if sheet.name == f"answer-{slug(item.task)}"]
        parts += [table(sheet) for sheet in own]
    return joined(*parts)


def _verdict_sheet(item: Answer, task: TaskEvidence) -> Sheet:
    """Observed means and laws' means at the base setting, by data size."""
    laws = {method: law_at_base(task, method) for method in task.methods}
    rows = []
    for verdict in item.verdicts:
        row: dict[str, object] = {"task": item.task, "finetune_examples": verdict.examples}
        for method in task.methods:
            loss, runs = verdict.observed.get(method, (None, None))
            row |= {method: loss, f"{method}_runs": runs}
            found = laws[method]
            if found is not None:
                predicted = found[0].predict({**found[1], "finetune_examples": verdict.examples})
                row[f"{method}_law"] = float(predicted.value)
                row[f"{method}_law_low"], row[f"{method}_law_high"] = (
                    float(predicted.low),
                    float(predicted.high),
                )
        row |= {"lead": verdict.lead.value, "lead_low": verdict.lead.low, "lead_high": verdict.lead.high}
        rows.append(row | {"best": " / ".join(method_name(method) for method in verdict.tied)})
    shown: list[Shown] = [
        column("examples", "finetune_examples", count),
        Shown("best", lambda row: str(row["best"]), numeric=False),
        Shown("lead of the best", lambda row: _with_interval(row, "lead", "lead_low", "lead_high")),
    ]
    shown += [column(f"{method_name(m)}: mean", m, lambda value: nats(value, 4)) for m in task.methods]
    shown += [_law_cell(m) for m in task.methods if laws[m] is not None]
    title = "At the base setting: observed means and the laws' means, nats per target token"
    notes = (
        "Lead: to the runner-up, with its 90% interval from the noise between seeds. Several names: "
        "not told apart.",
    )
    return Sheet(f"answer-{slug(item.task)}", title, rows, shown, notes)


def _law_cell(method: str) -> Shown:
    names = (f"{method}_law", f"{method}_law_low", f"{method}_law_high")
    return Shown(f"{method_name(method)}: law", lambda row: _with_interval(row, *names))


def _with_interval(row: Mapping[str, object], name: str, low: str, high: str) -> str:
    value, a, b = (row.get(key) for key in (name, low, high))
    if not isinstance(value, float):
        return "-"
    if not isinstance(a, float) or not isinstance(b, float) or math.isnan(a):
        return nats(value)
    return f"{nats(value)} [{nats(a)}, {nats(b)}]"


def _figure_section(content: Content) -> Html:
    parts: list[Html] = []
    for task in content.evidence.tasks:
        drawn = content.figures.get(task.task, ())
        if len(content.evidence.tasks) > 1:
            parts.append(tag("h3", task.task))
        for figure, panels in drawn:
            parts.append(_figure(figure, panels))
            factor = _FACTOR_OF.get(figure.number)
            parts += [note(words) for words in (misfit_words(task, factor) if factor else bend_words(task))]
        have = {figure.number for figure, _ in drawn}
        for at, name in _FACTOR_OF.items():
            if at not in have:
                parts.append(
                    _missing(f"Figure {at} needs runs at two values of {factor_name(name)} or more.")
                )
    return joined(*parts) if parts else _missing("Figures 1-4 need finished runs.")


def _figure(figure: Figure, panels: Sequence[str]) -> Html:
    pictures = []
    for index, (panel, svg) in enumerate(zip(figure.panels, panels, strict=True)):
        inner = prefixed(palette.themed(svg), f"{figure.name}-{index}-")
        what = f"{figure.title}: {panel.title}"
        label = tag("svg", role="img", aria_label=what)[4 : -len("></svg>")]
        pictures.append(tag("div", Html(inner.replace("<svg", f"<svg{label}", 1)), class_="panel"))
    return tag(
        "figure",
        tag("h3", figure.title),
        tag("div", *pictures, class_="panels two" if len(pictures) in (2, 4) else "panels"),
        tag("figcaption", figure.caption),
    )


def _law_tables(content: Content) -> Html:
    made = _named(content, "table-")
    if not made:
        return joined(
            _missing("Tables 2 and 4 need a law: runs at two values of a factor and several data sizes."),
            _problems(content),
        )
    return joined(*made, _problems(content))


def _problems(content: Content) -> Html:
    found = [words for task in content.evidence.tasks for words in task.problems]
    look: dict[str, list[str]] = {}
    for task in content.evidence.tasks:
        for law in task.laws.get("multiplicative", ()):
            for status in law.status:
                factors = listed([factor_name(name) for name in law.factors])
                who = f"{method_name(str(law.by.get('method', '')))} / {factors}"
                look.setdefault(status, []).append(who)
    words = [f"{capital(status)} - {listed(list(dict.fromkeys(who)))}." for status, who in look.items()]
    if not found and not words:
        return Html("")
    return folded(f"What to know about these fits ({len(found) + len(words)})", bullets(*words, *found))


def _shape_section(content: Content) -> Html:
    parts: list[Html] = []
    for task in content.evidence.tasks:
        words = bend_words(task) + [text for factor in PAPER_FACTORS for text in misfit_words(task, factor)]
        if len(content.evidence.tasks) > 1:
            parts.append(tag("h3", task.task))
        if words:
            parts.append(tag("p", "Not everywhere:"))
            parts.append(bullets(*words))
        elif task.laws:
            parts.append(tag("p", _HOLDS))
        parts.append(paragraphs(steps_words(task)))
    parts += _named(content, "single-variable-laws")
    return joined(*parts) if parts else _missing("This needs fitted laws.")


def _rates(content: Content) -> Html:
    found = _named(content, "learning-rates")
    return (
        joined(*found)
        if found
        else _missing("The records have no column learning_rate: it would be shown here.")
    )


def _regime(content: Content) -> Html:
    found = _named(content, "tokens-per-parameter")
    missing = "This needs the columns finetune_tokens and trainable_params."
    if not found:
        return _missing(missing)
    sheet = next(sheet for sheet in content.sheets if sheet.name == "tokens-per-parameter")
    words = [note(text) for text in sheet.notes]
    bare = Sheet(sheet.name, sheet.title, sheet.rows, sheet.shown)
    return joined(*words, folded("By method and data size", table(bare)))


def _noise(content: Content) -> Html:
    found = _named(content, "seed-noise")
    return joined(*found) if found else _missing("One run a setting: two seeds or more would show the noise.")


def _runs(content: Content) -> Html:
    parts = [tag("p", audit.summary_words(content.evidence)), *_named(content, "runs-and-cost")]
    failed = _named(content, "troubles")
    parts += failed or [tag("p", "No run failed or diverged.")]
    return joined(*parts)


def _method(content: Content) -> Html:
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
    return ", ".join([*[f"{name} {_version(name)}" for name in names], python, platform.system()])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"
