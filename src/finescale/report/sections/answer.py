"""The answer of every task: what the observed means say, what is advised, and the table behind it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from finescale.records.outcome_words import amount, unit_of
from finescale.records.rate_edges import rate_edges
from finescale.records.rate_moves import rate_checks
from finescale.records.settings import UNNAMED
from finescale.report.decisions import Apart, Decision
from finescale.report.drawing.markup import Html, bullets, fold, join, note, tag
from finescale.report.drawing.sheet import Sheet, SheetColumn, column
from finescale.report.evidence import TaskEvidence, untuned_rates
from finescale.report.findings import TaskAnswer, answer, law_at_base
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import missing, tables
from finescale.report.sections.runs import troubles
from finescale.wording import capital, count, interval, method_name, slug


def _fill(content: Content) -> Made:
    evidence = content.evidence
    if not evidence.tasks:
        failed = troubles(evidence).rows
        where = " See what failed below." if failed else " What is known of the base models is in Figure 10."
        return Made(missing("No finished run of a tuned model: nothing can be said yet." + where))
    parts: list[Html] = []
    sheets: list[Sheet] = []
    for task in evidence.tasks:
        found = answer(task, untuned_rates(evidence, task.task))
        sheet = verdict_sheet(found, task)
        sheets.append(sheet)
        if len(evidence.tasks) > 1:
            parts.append(tag("h3", found.task))
        parts.append(tag("p", found.headline, class_="headline"))
        parts += [note(edge.words) for edge in rate_edges(evidence.records, task.task)]
        checks = rate_checks(evidence.records, task.task)
        parts += [note(check.words) for check in checks if check.moved and not check.followed]
        parts.append(_advice_words(content.decisions[found.task]))
        if found.setting:
            where = f"Task {found.task}, b" if found.task != UNNAMED else "B"
            parts.append(tag("p", f"{where}ase setting: {found.setting}.", class_="soft"))
        parts += [bullets(*found.support), *tables([sheet])]
    return Made(join(*parts), sheets)


def _advice_words(made: Decision | Apart | str) -> Html:
    """What the forecast (or the law that was asked for) advises at the base setting, or why not."""
    if isinstance(made, Apart):
        return join(tag("p", capital(made.why)), *map(_advice_words, made.each))
    if isinstance(made, str):
        return missing(f"No advice: {made}")
    advice = made.advice
    by = "By the forecast: " if made.found.forecast else f"By the {made.found.law} law: "
    said = tag("p", tag("strong", by), advice.sentence)
    parts = [tag("div", said, tag("p", advice.otherwise), class_="beside") if advice.otherwise else said]
    if advice.settle:
        parts += [tag("p", "These runs would settle it:"), bullets(*[run.words for run in advice.settle])]
    if advice.notes:
        parts.append(fold(f"What to know about this advice ({len(advice.notes)})", bullets(*advice.notes)))
    return join(*parts)


def verdict_sheet(item: TaskAnswer, task: TaskEvidence) -> Sheet:
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
    shown: list[SheetColumn] = [
        column("examples", "finetune_examples", count),
        SheetColumn("best", lambda row: str(row["best"]), numeric=False),
        SheetColumn("lead of the best", lambda row: _with_interval(row, "lead", "lead_low", "lead_high")),
    ]
    told = partial(amount, task.outcome, finer=1)
    shown += [column(f"{method_name(m)}: mean", m, told) for m in task.methods]
    shown += [_law_cell(m) for m in task.methods if laws[m] is not None]
    title = f"At the base setting: observed means and the laws' means, {unit_of(task.outcome)}"
    notes = (
        "Lead: to the runner-up, with its 90% interval from the noise between seeds. Several names: "
        "not told apart.",
    )
    return Sheet(f"answer-{slug(item.task)}", title, rows, shown, notes)


def _law_cell(method: str) -> SheetColumn:
    names = (f"{method}_law", f"{method}_law_low", f"{method}_law_high")
    return SheetColumn(f"{method_name(method)}: law", lambda row: _with_interval(row, *names))


def _with_interval(row: Mapping[str, object], name: str, low: str, high: str) -> str:
    value, a, b = (row.get(key) for key in (name, low, high))
    ends = [end if isinstance(end, float) else None for end in (value, a, b)]
    return interval(*ends, digits=4)


SECTION = Section("answer", "The answer", _fill)
