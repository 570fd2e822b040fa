"""What ``finescale plan`` does: read a table or a study, plan, show; a study file and JSON on request."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from finescale.advice.spending import budget_in_flops
from finescale.cli.laws import write_json
from finescale.cli.reading import Table
from finescale.cli.terminal import console
from finescale.errors import UsageError
from finescale.files import write_text
from finescale.planning.continued import extend_study
from finescale.planning.outlook import Plan
from finescale.planning.plan import open_plan_source, plan
from finescale.planning.views import headline, outlook_table, question, runs_table
from finescale.records.budgets import read_budget
from finescale.records.named_sizes import named_sizes
from finescale.records.values import number
from finescale.wording import listed


def plan_command(
    table: Table,
    target: str,
    budget: str,
    *,
    prices: Mapping[str, Any] | None = None,
    values: Sequence[str] = (),
    examples: Sequence[str] = (),
    out: Path | None = None,
    to: str | None = None,
    command: str = "finescale plan",
    **options: Any,
) -> None:
    """Plans, and shows or writes the plan.

    Args:
        table: A table of runs, a study file, or a study's folder.
        target: ``--target``.
        budget: ``--budget``: FLOPs, time or money for all the new runs.
        prices: ``flops_per_second`` and ``price_per_hour``, where they are stated.
        values: ``--values``: values of the target's factor that can be run.
        examples: ``--examples``: data sizes that can be run.
        out: The study file to write.
        to: Where JSON goes; ``-``: standard output, and nothing else there.
        command: The command line, for the study file's header.
        **options: Further options of ``plan``.

    Raises:
        UsageError: A source, target or option that makes no sense.
        DataError: Nothing can or need be planned.
    """
    at = named_sizes(target, "--target", _FORM)
    offered = {"values": _numbers(values, "--values"), "examples": _numbers(examples, "--examples")}
    source = open_plan_source(table.path, table.options)
    if out is not None and source.study is None:
        raise UsageError(
            "--out continues a study, and this is a table of runs",
            wanted="a study file or a study's folder",
            remedy="name the study, or write the plan with --json",
            where=table.path,
        )
    records = source.records
    flops, bought = budget_in_flops(
        read_budget(budget), None if records is None else records.frame, prices or {}
    )
    made = plan(source, at, flops, **offered, **options)
    if bought:
        made = replace(made, notes=(bought, *made.notes))
    if out is not None and source.study is not None:
        write_text(extend_study(source.study, made, command), out)
    if to:
        write_json(made.to_dict(), to)
    if to != "-":
        show(made, out, console(), folder=Path(table.path) if Path(table.path).is_dir() else None)


_FORM = "model_params=1.6e10,finetune_examples=1e6"


def show(made: Plan, out: Path | None, to: Console, *, folder: Path | None = None) -> None:
    """Prints the runs, what is expected of them, and what to know.

    Args:
        made: The plan.
        out: The study file that was written.
        to: Where to print.
        folder: The study's folder, where it was named: the study goes on there.
    """

    def say(words: str, style: str | None = None) -> None:
        to.print(words, style=style, markup=False, highlight=False, soft_wrap=True)

    say(headline(made), "bold")
    say(question(made))
    to.print(runs_table(made).within(to.width))
    to.print(outlook_table(made).within(to.width))
    if any(run.check for run in made.runs):
        say("Runs marked `check` lie nearest to the target: they would expose a law that fails there.")
    for note in made.notes:
        say(f"note: {note}")
    if out is not None:
        command = shlex.join(["finescale", "run", str(out), *(["--out", str(folder)] if folder else [])])
        say(f"Written: {out}. Next: {command} --dry-run, then without --dry-run; then plan again.")
    else:
        say("Make the runs in this order, then plan again with what they show.")


def _numbers(options: Sequence[str], flag: str) -> tuple[float, ...]:
    words = [word.strip() for option in options for word in option.split(",") if word.strip()]
    found = tuple(number(word, flag) for word in words)
    if any(not 0 < value < float("inf") for value in found):
        raise UsageError(f"{flag} {listed(words)}", wanted="numbers above 0", got=listed(words))
    return found
