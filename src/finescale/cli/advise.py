"""What ``finescale advise`` does: read, fit, answer; JSON to a file or to standard output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console

from finescale.advice.candidates import base_words, tasks_of
from finescale.advice.crossovers import Crossovers
from finescale.advice.options import Advice, Question
from finescale.advice.pairs import find_crossovers
from finescale.advice.recommend import answer_each
from finescale.advice.targets import check
from finescale.advice.views import crossover_cells, settling
from finescale.cli.laws import write_json
from finescale.cli.reading import Table
from finescale.cli.terminal import console
from finescale.errors import DataError
from finescale.records.outcome_words import difference
from finescale.records.records import DATA_SIZE, Records
from finescale.wording import count, examples_of, nats


def advise_command(
    table: Table,
    question: Question,
    *,
    task: str | None,
    crossing: bool,
    prices: Mapping[str, Any],
    to: str | None,
    **options: Any,
) -> None:
    """Answers for every task (or the one named), and shows or writes what was found.

    Args:
        table: Which table is read.
        question: The question.
        task: The task; None: all.
        crossing: Show the crossovers too.
        prices: Options of ``costs``.
        to: Where JSON goes; ``-``: standard output, and nothing else there.
        **options: Options of ``candidates``.

    Raises:
        UsageError: A question or option that makes no sense.
        DataError: No task allows an answer.
    """
    check(question)
    records = table.read(need=(DATA_SIZE,))
    tasks = tasks_of(records)
    names = [task] if task else tasks or [None]
    told: list[dict[str, Any]] = []
    problems: list[DataError] = []
    out = console()
    for name in names:
        try:
            written = _one_task(
                records,
                name,
                question,
                crossing,
                prices,
                options,
                None if to == "-" else out,
                several=len(tasks) > 1,
            )
        except DataError as error:
            problems.append(error)
            continue
        told += written
    if not told:
        raise problems[0]
    if to != "-":
        for error in problems:
            out.print(f"\n{error}", markup=False, highlight=False, soft_wrap=True)
    if to:
        write_json({"schema": 1, "advice": told, "problems": [str(error) for error in problems]}, to)


def _one_task(  # noqa: PLR0917
    records: Records,
    task: str | None,
    question: Question,
    crossing: bool,
    prices: Mapping[str, Any],
    options: Mapping[str, Any],
    out: Console | None,
    *,
    several: bool,
) -> list[dict[str, Any]]:
    answered, why = answer_each(records, task, question, prices, options)
    if why and out is not None:
        words = f"{answered[0].advice.task}: {why}" if several else why
        out.print(words, style="bold", markup=False, highlight=False, soft_wrap=True)
    written = []
    for one in answered:
        advice = one.advice
        crosses = crossing and len(one.found.members) > 1
        if crossing and not crosses:
            advice = replace(advice, notes=(*advice.notes, "No crossovers: one method only."))
        pairs = find_crossovers(one.found, advice) if crosses else ()
        if out is not None:
            show(advice, out, one.prices.basis, pairs, several=several)
        plain = advice.to_dict()
        plain |= {"not_compared": why} if why else {}
        written.append(plain | ({"crossovers": [pair.to_dict() for pair in pairs]} if crossing else {}))
    return written


def show(
    advice: Advice, out: Console, basis: str, pairs: tuple[Crossovers, ...], *, several: bool = False
) -> None:
    """Prints the sentence first, then what it rests on; with the task's name where there are several."""

    def say(words: str, style: str | None = None) -> None:
        out.print(words, style=style, markup=False, highlight=False, soft_wrap=True)

    say(f"{advice.task}: {advice.sentence}" if several else advice.sentence, "bold")
    for words in (advice.otherwise, *advice.cautions):
        if words:
            say(words, "bold")
    if advice.settle:
        say(settling(advice))
        for run in advice.settle:
            say(f"  - {run.words}")
    out.print(advice.table(out.width))
    asked = advice.options[0]
    size = f", {count(asked.model_params)} parameters" if asked.model_params else ""
    parts = [f"law: {advice.law}", basis]
    if len({(option.examples, option.model_params) for option in advice.options}) == 1:
        parts = [f"asked: {examples_of(asked.examples)}{size}", *parts]
    if base := base_words(advice.base, without=("model_params",) if size else ()):
        parts.insert(-2, f"base setting: {base}")
    say("; ".join(parts))
    if pairs:
        out.print(crossover_cells(pairs).within(out.width))
        for pair in pairs:
            say(pair.sentence)
        missed, who = max(option.missed for option in advice.options), "the laws"
        if advice.law == "forecast":
            who = "the forecast's members"
        off = difference(advice.outcome, missed) if advice.outcome.kind == "score" else nats(missed)
        if math.isfinite(missed):
            say(f"Methods that differ by less than {who} missed by ({off}) are not told apart.")
    for note in advice.notes:
        say(f"note: {note}")
