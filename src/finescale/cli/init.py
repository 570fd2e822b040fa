"""What ``finescale init`` does: writes a commented study for one's data and models, and shows its cost."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from finescale.cli import terminal
from finescale.cli.reading import pairs
from finescale.cli.terminal import say
from finescale.errors import UsageError
from finescale.files import write_text
from finescale.records.budgets import read_budget
from finescale.records.values import number
from finescale.spec.places import study_folder
from finescale.spec.schema import FILE, schema_text
from finescale.start.begin import Begun, Wishes, begin
from finescale.study.dry_run import dry_run_view
from finescale.study.probe import show


def init_command(wishes: Wishes, *, ask: bool = False, console: Console | None = None) -> None:
    """Chooses, measures, writes, shows.

    Args:
        wishes: What the user says.
        ask: Ask in the terminal for what was not said.
        console: Where to print.

    Raises:
        UsageError: Wishes that cannot be met; nothing is written then.
    """
    console = console or terminal.console()
    if wishes.out.exists():
        raise UsageError(
            "there is a file already",
            wanted="a new study file",
            got=str(wishes.out),
            remedy="--out another.yaml, or remove it",
            where="--out",
        )
    if ask:
        wishes = _asked(wishes)
    if not wishes.models:
        raise UsageError(
            "no model",
            wanted="--model FOLDER (or a name on the hub, or a bundled model); repeat it for several",
            got="none",
            where="--model",
        )
    begun = begin(wishes, console)
    write_text(begun.text, wishes.out)
    beside = wishes.out.absolute().with_name(FILE)
    if not beside.exists():
        write_text(schema_text(), beside)
    _show(begun, wishes, console)


def wishes_of(
    data: Path,
    models: Sequence[str],
    *,
    methods: str,
    budget: str | None,
    price_per_hour: str | None,
    pretrain_tokens: Sequence[str],
    out: Path,
    **others: object,
) -> Wishes:
    """The user's words as they are meant.

    Raises:
        UsageError: Words that cannot be read.
    """
    price = None if price_per_hour is None else number(price_per_hour, "--price-per-hour")
    if price is not None and not 0 < price < float("inf"):
        raise UsageError("no price", wanted="above 0", got=str(price_per_hour), where="--price-per-hour")
    stated = pairs(
        [f"{models[0]}={one}" if "=" not in one and len(models) == 1 else one for one in pretrain_tokens],
        "--pretrain-tokens",
        "MODEL=TOKENS",
        last=True,
    )
    unknown = [name for name in stated if name not in models]
    if unknown:
        raise UsageError("no such model", wanted=", ".join(models), got=unknown[0], where="--pretrain-tokens")
    tokens = {name: round(number(value, "--pretrain-tokens", whole=True)) for name, value in stated.items()}
    return Wishes(
        data=data,
        models=tuple(models),
        out=out,
        methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
        budget=None if budget is None else read_budget(budget),
        price_per_hour=price,
        pretrain_tokens=tokens,
        command=shlex.join(["finescale", *sys.argv[1:]]),
        **others,  # type: ignore[arg-type]
    )


def _asked(wishes: Wishes) -> Wishes:
    """The wishes with what the user answers; an empty answer takes what stands in brackets."""
    if not sys.stdin.isatty():
        raise UsageError("--ask needs a terminal", wanted="a terminal", got="a pipe", where="--ask")
    models = wishes.models or tuple(
        shlex.split(typer.prompt("Models (folders, names on the hub; several: with spaces between)"))
    )
    methods = wishes.methods or tuple(
        typer.prompt("Methods", default="full,lora").replace(" ", "").split(",")
    )
    budget = wishes.budget
    if budget is None:
        said = typer.prompt("Budget for the whole study (2h, 5e15 FLOPs, 20usd; none)", default="none")
        budget = None if said == "none" else read_budget(said)
    price = wishes.price_per_hour
    if budget is not None and budget.kind == "money" and price is None:
        price = number(typer.prompt("Price of an hour of this machine"), "--price-per-hour")
    score = wishes.score or typer.prompt(
        "Score beside the loss (accuracy, chrf, rougeL; none)", default="none"
    )
    return replace(
        wishes, models=models, methods=methods, budget=budget, price_per_hour=price,
        score=None if score == "none" else score,
    )  # fmt: skip


def _show(begun: Begun, wishes: Wishes, console: Console) -> None:
    for note in begun.notes:
        say(console, f"warning: {note}", "yellow")
    for part in dry_run_view(begun.spec, begun.plan, study_folder(begun.spec.name, wishes.out)):
        console.print(part) if isinstance(part, Table) else say(console, part)
    if begun.costs or begun.failed:
        show(console, begun.plan.runs(), begun.costs, begun.failed, begun.workers)
    say(console, f"Written: {wishes.out}. It says why for every choice; change what you know better.")
    out = shlex.quote(str(wishes.out))
    many = f" --workers {begun.workers}" if begun.costs else ""
    say(console, f"Next: finescale run {out}{many}")
    say(console, f"Then: finescale advise {out} --examples N, or finescale report {out}")
