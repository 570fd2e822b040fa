"""The sections about the laws: in pictures, how well they predict, whether they hold."""

from __future__ import annotations

from finescale.records.settings import PAPER_FACTORS
from finescale.report.content import Content
from finescale.report.drawing.markup import Html, bullets, folded, joined, note, paragraphs, tag
from finescale.report.drawing.sheet import Row
from finescale.report.figures import LAWS, NUMBERS
from finescale.report.paper_findings import CLAIMS, FINDINGS, opening
from finescale.report.sections.parts import figure_html, missing, named
from finescale.report.shape import bend_words, misfit_words, steps_words
from finescale.wording import capital, chance, factor_name, listed, method_name

_HOLDS = (
    "No sign in these records that the multiplicative law fails: it misses no more than the noise "
    "between seeds explains, and no curve bends downwards."
)
_FACTOR_OF = {number: factor for factor, number in NUMBERS.items()}


def laws_in_pictures(content: Content) -> Html:
    """Figures 1-4 with what they hide in words, and Figure 10."""
    parts: list[Html] = []
    for task in content.evidence.tasks:
        drawn = [pair for pair in content.figures.get(task.task, ()) if pair[0].number in LAWS]
        if len(content.evidence.tasks) > 1:
            parts.append(tag("h3", task.task))
        for figure, panels in drawn:
            parts.append(figure_html(figure, panels))
            factor = _FACTOR_OF.get(figure.number)
            parts += [note(words) for words in (misfit_words(task, factor) if factor else bend_words(task))]
        have = {figure.number for figure, _ in drawn}
        for at, name in _FACTOR_OF.items():
            if at not in have:
                parts.append(missing(f"Figure {at} needs runs at two values of {factor_name(name)} or more."))
    if not parts:
        parts.append(missing("Figures 1-4 need finished runs."))
    if content.base is None:
        parts.append(missing("Figure 10 needs untuned models of two sizes, or with two checkpoints."))
    else:
        parts.append(figure_html(*content.base))
    return joined(*parts)


def findings(content: Content) -> Html:
    """The paper's findings, tested on these records: claim by claim, each test with its probability."""
    sheet = next((sheet for sheet in content.sheets if sheet.name == FINDINGS), None)
    if sheet is None:
        return missing("This needs finished runs of a tuned model.")
    parts: list[Html] = [tag("p", opening([row["verdict"] for row in sheet.rows]))]
    several = len(content.evidence.tasks) > 1
    for number, claim in CLAIMS.items():
        tests = [_test(row, several) for row in sheet.rows if row["finding"] == number]
        parts += [tag("h3", f"{number}. {claim}"), tag("ul", *tests, class_="tests")] if tests else []
    return joined(*parts, *[tag("p", words, class_="small") for words in sheet.notes])


def _test(row: Row, with_task: bool) -> Html:
    """One test: the verdict with its probability, then what it rests on."""
    chances = "" if row["probability"] is None else f", {chance(row['probability'])}"
    told = row["verdict"] in ("agrees", "disagrees")
    verdict = tag("span", f"{row['verdict']}{chances}", class_="told" if told else "soft")
    who = f"{row['task']}: {row['who']}" if with_task else capital(row["who"])
    source = tag("span", f" ({row['evidence']})", class_="soft") if row["evidence"] else ""
    return tag("li", verdict, tag("span", f"{who}: {row['here']}", source))


def law_tables(content: Content) -> Html:
    """Tables 2 and 4, and soft trouble of the fits."""
    made = [*named(content, "table-2-"), *named(content, "table-4-")]
    if not made:
        return joined(
            missing("Tables 2 and 4 need a law: runs at two values of a factor and several data sizes."),
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


def does_it_hold(content: Content) -> Html:
    """Bends and misfits of the laws, and the laws of one variable against one another."""
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
    parts += named(content, "single-variable-laws")
    return joined(*parts) if parts else missing("This needs fitted laws.")
