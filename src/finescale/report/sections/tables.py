"""How well the laws predict (Tables 2 and 6), their parameters (Table 4), and soft trouble of the fits."""

from __future__ import annotations

from finescale.report.drawing.markup import Html, bullets, fold, join
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import tables
from finescale.report.tables import paper_tables
from finescale.wording import capital, factor_name, listed, method_name

_NEEDS = "Tables 2 and 4 need a law: runs at two values of a factor and several data sizes."


def _fill(content: Content) -> Made:
    sheets = paper_tables(content.evidence)
    needs = [] if sheets else [_NEEDS]
    return Made(join(*tables(sheets), _problems(content)), sheets, needs=needs)


def _problems(content: Content) -> Html:
    found = [words for task in content.evidence.tasks for words in task.problems]
    troubles: dict[str, list[str]] = {}
    for task in content.evidence.tasks:
        for law in task.laws.get("multiplicative", ()):
            for status in law.status:
                factors = listed([factor_name(name) for name in law.factors])
                who = f"{method_name(str(law.by.get('method', '')))} / {factors}"
                troubles.setdefault(status, []).append(who)
    words = [f"{capital(status)} - {listed(list(dict.fromkeys(who)))}." for status, who in troubles.items()]
    if not found and not words:
        return Html("")
    return fold(f"What to know about these fits ({len(found) + len(words)})", bullets(*words, *found))


SECTION = Section("tables", "How well the laws predict, and their parameters", _fill)
