"""Advice and crossovers as tables: for a terminal and for notebooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from finescale.cells import Cells, as_text, bullets
from finescale.records.outcome_words import amount, equal_reducible, heading, noun
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.wording import chance, count, hours, method_name, method_title, number

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from finescale.advice.crossovers import Crossovers
    from finescale.advice.options import Advice, Gain, Option

    Columns = list[tuple[str, Callable[[Option], str]]]


def advice_table(advice: Advice, width: int | None = None) -> Table | Text:
    """One row a candidate, best first; one column a candidate, or lines of text, where only that fits."""
    title = f"predicted {heading(advice.outcome)}, with 90% intervals"
    (first, name), *columns = option_columns(advice)
    names = [name(option) for option in advice.options]
    cells = {heading: [cell(option) for option in advice.options] for heading, cell in columns}
    rows = Cells(title, {first: names}, cells)
    if width is None:
        return rows.table()
    turned = [[column[at] for column in cells.values()] for at in range(len(names))]
    by_name = Cells(title, {first: list(cells)}, dict(zip(names, turned, strict=True)))
    only_turned = rows.widths(width) is None and by_name.widths(width) is not None
    return (by_name if only_turned else rows).within(width)


def option_columns(advice: Advice) -> Columns:
    """The columns that this advice has something to say in."""
    options, outcome = advice.options, advice.outcome

    def between(low: float, high: float) -> str:
        return "-" if math.isnan(low) else f"{amount(outcome, low)} to {amount(outcome, high)}"

    columns: Columns = [("candidate", lambda o: method_title(o.name))]
    if len({o.tokenizer for o in options}) > 1:
        columns.append(("tokenizer", lambda o: o.tokenizer or "-"))
    if len({(o.examples, o.model_params) for o in options}) > 1:
        columns.append(("examples", lambda o: count(o.examples)))
        if any(o.model_params for o in options):
            columns.append(("parameters", lambda o: count(o.model_params)))
    columns += [
        (noun(outcome), lambda o: amount(outcome, o.loss)),
        ("mean's interval", lambda o: between(o.low, o.high)),
        ("a new run's", lambda o: between(o.run_low, o.run_high)),
    ]
    if len(options) > 1:
        columns.append(("best with", lambda o: chance(o.probability)))
    if any(o.needed for o in options):
        columns.append(("examples for target", lambda o: _needed(o, outcome)))
    priced = any(o.double_examples and math.isfinite(o.double_examples.flops) for o in options)
    cost = ", for FLOPs" if priced else ""
    columns.append((f"2x examples buys{cost}", lambda o: gain(o.double_examples, outcome)))
    if any(o.double_model for o in options):
        columns.append((f"2x model buys{cost}", lambda o: gain(o.double_model, outcome)))
    if any(math.isfinite(o.cost.flops) for o in options):
        columns.append(("FLOPs", lambda o: number(o.cost.flops)))
    if any(math.isfinite(o.cost.hours) for o in options):
        columns.append(("time", lambda o: hours(3600 * o.cost.hours)))
    if any(math.isfinite(o.cost.money) for o in options):
        columns.append(("price", lambda o: number(o.cost.money)))
    if any(o.cost.fits for o in options):
        columns.append(("memory", lambda o: o.cost.fits))
    missed = "hidden sizes missed by" if advice.law == "forecast" else "laws missed by"
    columns.append((missed, lambda o: amount(outcome, o.missed)))
    return columns


def crossover_cells(found: Sequence[Crossovers]) -> Cells:
    """One row a pair and value of the factor: who is ahead up to where, and in how many draws they cross."""
    low, high = found[0].within
    points = [(pair, point) for pair in found for point in pair.points]
    words = {"pair": [f"{method_name(pair.first)} / {method_name(pair.second)}" for pair, _ in points]}
    if found[0].factor:
        words[found[0].factor] = [count(point.at) for _, point in points]
    words["who is ahead"] = [point.ahead for _, point in points]
    numbers = {"draws that cross": [chance(point.probability) for _, point in points]}
    if any(math.isfinite(pair.H) for pair in found):
        equal = [count(point.equal_reducible) for _, point in points]
        numbers[f"{equal_reducible(found[0].outcome)} (not the crossover)"] = equal
    return Cells(f"crossovers from {count(low)} to {count(high)} examples", words, numbers)


def crossovers_html(found: Sequence[Crossovers]) -> str:
    """Crossovers for a notebook; every text is escaped."""
    if not found:
        return "<p>No crossovers.</p>"
    shown = crossover_cells(found).html()
    return shown + bullets([pair.sentence for pair in found])


def advice_text(advice: Advice) -> str:
    """The advice as ``print`` writes it."""
    width = get_terminal_size().columns
    head = [words for words in (advice.sentence, advice.otherwise, *advice.cautions) if words]
    if advice.settle:
        head += [settling(advice), *(f"  - {run.words}" for run in advice.settle)]
    return as_text(
        *head, advice_table(advice, width), *(f"note: {note}" for note in advice.notes), width=width
    )


def settling(advice: Advice) -> str:
    """What the runs are that the advice names."""
    return "These runs would settle it:" if advice.reasons else "Worth a look:"


def crossovers_text(found: Sequence[Crossovers]) -> str:
    """Crossovers as ``print`` writes them."""
    if not found:
        return "No crossovers."
    return as_text(crossover_cells(found), *(pair.sentence for pair in found))


def advice_html(advice: Advice) -> str:
    """The advice for a notebook; every text is escaped."""
    columns = option_columns(advice)
    head = "".join(f"<th>{escape(heading)}</th>" for heading, _ in columns)
    rows = [
        "<tr>" + "".join(f"<td>{escape(cell(option))}</td>" for _, cell in columns) + "</tr>"
        for option in advice.options
    ]
    settle = bullets([run.words for run in advice.settle])
    parts = [
        f"<p><b>{escape(advice.sentence)}</b></p>",
        *[f"<p><b>{escape(words)}</b></p>" for words in (advice.otherwise, *advice.cautions) if words],
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>",
        f"<p>{settling(advice)}</p>{settle}" if settle else "",
        bullets(advice.notes),
    ]
    return "".join(parts)


def gain(found: Gain | None, outcome: Outcome = TEST_LOSS) -> str:
    """What a doubling buys in the outcome's unit, and for how many FLOPs."""
    if found is None:
        return "-"
    extra = f" for {number(found.flops, 2)}" if math.isfinite(found.flops) else ""
    return f"{amount(outcome, found.nats)}{extra}"


def _needed(option: Option, outcome: Outcome) -> str:
    need = option.needed
    if need is None:
        return "-"
    if not math.isfinite(need.examples):
        end, side = ("floor", "above") if outcome.lower else ("ceiling", "below")
        return f"not reachable: the {end} {amount(outcome, need.floor)} is {side} it"
    if math.isnan(need.low):
        return count(need.examples)
    high = count(need.high) if math.isfinite(need.high) else "no end"
    return f"{count(need.examples)} [{count(need.low)} to {high}]"
