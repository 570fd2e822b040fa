"""The paper's findings, tested on these records: claim by claim, each test with its probability."""

from __future__ import annotations

from finescale.report.drawing.markup import Html, join, tag
from finescale.report.drawing.sheet import Row
from finescale.report.paper_findings import CLAIMS, findings_sheet, opening, paper_findings
from finescale.report.section import Content, Made, Section
from finescale.wording import capital, chance


def _fill(content: Content) -> Made:
    evidence, decisions = content.evidence, content.decisions
    tests = [item for task in evidence.tasks for item in paper_findings(evidence, task, decisions[task.task])]
    sheet = findings_sheet(tests, evidence)
    if not sheet.rows:
        return Made(Html(""), needs=["They need finished runs of a tuned model."])
    parts: list[Html] = [tag("p", opening([row["verdict"] for row in sheet.rows]))]
    several = len(evidence.tasks) > 1
    for number, claim in CLAIMS.items():
        listed = [_test(row, several) for row in sheet.rows if row["finding"] == number]
        parts += [tag("h3", f"{number}. {claim}"), tag("ul", *listed, class_="tests")] if listed else []
    parts += [tag("p", words, class_="small") for words in sheet.notes]
    return Made(join(*parts), [sheet])


def _test(row: Row, with_task: bool) -> Html:
    """One test: the verdict with its probability, then what it rests on."""
    chances = "" if row["probability"] is None else f", {chance(row['probability'])}"
    told = row["verdict"] in ("agrees", "disagrees")
    verdict = tag("span", f"{row['verdict']}{chances}", class_="told" if told else "soft")
    who = f"{row['task']}: {row['who']}" if with_task else capital(row["who"])
    source = tag("span", f" ({row['evidence']})", class_="soft") if row["evidence"] else ""
    return tag("li", verdict, tag("span", f"{who}: {row['here']}", source))


SECTION = Section("findings", "The paper's findings on these records", _fill)
