"""The sections that answer: which method, for another question, and where the better method changes."""

from __future__ import annotations

from finescale.advice.candidates import SIZE
from finescale.records.settings import UNNAMED
from finescale.report import explorer
from finescale.report.content import Content
from finescale.report.decisions import Decision, crossover_name
from finescale.report.drawing.markup import Html, bullets, folded, joined, table, tag
from finescale.report.figures import CROSSOVERS
from finescale.report.reducible import NAME as TABLE_5
from finescale.report.sections.parts import figure_html, missing, named
from finescale.wording import capital, method_name, slug


def answer(content: Content) -> Html:
    """The answer of every task: what the observed means say, what is advised, and the evidence."""
    if not content.answers:
        failed = any(sheet.name == "troubles" for sheet in content.sheets)
        where = " See what failed below." if failed else " What is known of the base models is in Figure 10."
        return missing("No finished run of a tuned model: nothing can be said yet." + where)
    parts: list[Html] = []
    for item in content.answers:
        if len(content.answers) > 1:
            parts.append(tag("h3", item.task))
        parts.append(tag("p", item.headline, class_="headline"))
        parts.append(advice_words(content.decisions[item.task]))
        if item.setting:
            where = f"Task {item.task}, b" if item.task != UNNAMED else "B"
            parts.append(tag("p", f"{where}ase setting: {item.setting}.", class_="soft"))
        parts.append(bullets(*item.support))
        own = [sheet for sheet in content.sheets if sheet.name == f"answer-{slug(item.task)}"]
        parts += [table(sheet) for sheet in own]
    return joined(*parts)


def advice_words(made: Decision | str) -> Html:
    """What the forecast (or the law that was asked for) advises at the base setting, or why not."""
    if isinstance(made, str):
        return missing(f"No advice: {made}")
    advice = made.advice
    by = "By the forecast: " if made.found.forecast else f"By the {made.found.law} law: "
    parts = [tag("p", tag("strong", by), advice.sentence)]
    if advice.settle:
        parts += [tag("p", "These runs would settle it:"), bullets(*[run.words for run in advice.settle])]
    if advice.notes:
        parts.append(folded(f"What to know about this advice ({len(advice.notes)})", bullets(*advice.notes)))
    return joined(*parts)


def explore(content: Content) -> Html:
    """The explorer of every task."""
    parts: list[Html] = []
    for index, (task, made) in enumerate(content.decisions.items()):
        if len(content.decisions) > 1:
            parts.append(tag("h3", task))
        if isinstance(made, str):
            parts.append(missing(f"Nothing to explore: {made}"))
        elif not explorer.explorable(made):
            parts.append(
                missing("The explorer needs draws (--bootstrap), and laws that are plain arithmetic.")
            )
        else:
            parts.append(explorer.section(made, index, len(content.decisions)))
    how = (
        "Move model size, data and price, at most ten times beyond the runs: the numbers are those of "
        "finescale advise. All runs count, held-out ones too."
    )
    return (
        joined(tag("p", how, class_="soft"), *parts)
        if parts
        else missing("The explorer needs finished runs.")
    )


def crossings(content: Content) -> Html:
    """The crossovers: where the better method changes."""
    parts: list[Html] = []
    for task, made in content.decisions.items():
        if len(content.decisions) > 1:
            parts.append(tag("h3", task))
        if isinstance(made, str) or not made.pairs:
            parts.append(missing("Crossovers need two methods or more."))
            continue
        parts.append(bullets(*_at_base(made)))
        drawn = [pair for pair in content.figures.get(task, ()) if pair[0].number == CROSSOVERS]
        parts += [figure_html(*pair) for pair in drawn]
        if not drawn:
            parts.append(missing("Figure 5 needs runs at two model sizes or more, and bootstrap draws."))
        tables = [table(sheet) for sheet in content.sheets if sheet.name == crossover_name(task)]
        parts.append(folded("Every pair at every model size", *tables))
    if not parts:
        return missing("Crossovers need two methods or more.")
    eq3 = named(content, TABLE_5)
    needs = "Table 5 needs multiplicative laws of two methods over model size or pretraining tokens."
    return joined(*parts, *(eq3 or [missing(needs)]))


def _at_base(made: Decision) -> list[str]:
    """A sentence a pair: who is ahead up to where, at the base setting's model size."""
    base = made.found.base.get(SIZE)
    said = []
    for pair in made.pairs:
        point = next((point for point in pair.points if point.at in (None, base)), pair.points[-1])
        names = f"{capital(method_name(pair.first))} and {method_name(pair.second)}"
        said.append(f"{names}, {point.words}.")
    return said
