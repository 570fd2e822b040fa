"""What ``finescale init`` does: writes a commented study for one's data and models, and shows its cost."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table as Grid

from finescale.cli import terminal
from finescale.cli.reading import Table, pairs
from finescale.cli.terminal import say
from finescale.errors import UsageError
from finescale.files import write_text
from finescale.models.bundled import checkpoints
from finescale.records.budgets import WANTED, read_budget
from finescale.records.columns import DATA_SIZE
from finescale.records.named_sizes import named_sizes
from finescale.records.values import number
from finescale.spec.file import parse_study
from finescale.spec.places import study_folder
from finescale.spec.schema import FILE, schema_text
from finescale.start.begin import Begun, Wishes, begin, text_of, this_machine
from finescale.start.data import look_at_data
from finescale.start.design import Design, first_design
from finescale.start.models import ModelLook, look_at_models
from finescale.study.dry_run import dry_run_view
from finescale.study.opening import check_training_libraries
from finescale.study.probe import show

if TYPE_CHECKING:
    from finescale.records.records import Records


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
    _refuse_existing(wishes.out)
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


def continue_table(
    table: Table,
    wishes: Wishes,
    target: str | None,
    *,
    rate: float | None = None,
    console: Console | None = None,
) -> None:
    """Plans the runs that tell most beside those of a table, and writes them as a study of one's own models.

    Args:
        table: The runs that are there.
        wishes: Data, models and budget.
        target: What is to be predicted; None: four times the largest data size of the table, on the largest
            model.
        rate: FLOP per second of the machine, for a budget of time or money; None: as the table's runs were.
        console: Where to print.

    Raises:
        UsageError: No budget, or nobody knows what it buys; data or models that cannot be used.
        DataError: Nothing can or need be planned.
    """
    from finescale.advice.spending import budget_in_flops  # noqa: PLC0415
    from finescale.cli.plan import show as show_plan  # noqa: PLC0415 - numpy only here
    from finescale.planning.continued import stars  # noqa: PLC0415
    from finescale.planning.plan import plan  # noqa: PLC0415

    console = console or terminal.console()
    if wishes.budget is None:
        raise UsageError("no budget", wanted=f"for the new runs: {WANTED}", got="none", where="--budget")
    _refuse_existing(wishes.out)
    check_training_libraries()
    records = table.read(need=(DATA_SIZE,))
    data = look_at_data(wishes.data, wishes.source, wishes.target)
    models = look_at_models(wishes.models, wishes.pretrain_tokens)
    design = first_design(data, models, wishes.methods, wishes.score, this_machine())
    at = _target(target, records, models, len(data.task.train))
    factor = next((name for name in at if name != DATA_SIZE), "model_params")
    prices = {"flops_per_second": rate, "price_per_hour": wishes.price_per_hour}
    flops, bought = budget_in_flops(wishes.budget, records.frame, prices)
    made = plan(
        records,
        at,
        flops,
        methods=wishes.methods,
        values=[look.params for look in models] if factor == "model_params" else (),
        examples=design.sizes,
    )
    named = tuple(replace(run, model=_nearest(run.sizes.get("model_params"), models)) for run in made.runs)
    words = (f"Cost: {len(named)} settings, {made.cost:.2g} FLOPs of {wishes.budget.text}.", bought)
    text = text_of(design, wishes, words, stars(replace(made, runs=named)))
    parse_study(text, wishes.out.name)
    write_text(text, wishes.out)
    for note in design.said:
        say(console, f"warning: {note}.", "yellow")
    _say_data(design, console)
    show_plan(replace(made, notes=(bought, *made.notes)) if bought else made, wishes.out, console)
    say(
        console,
        f"Then: finescale collect {shlex.quote(table.path)} RESULTS --out all.parquet, and advise on it.",
    )


def _target(
    target: str | None, records: Records, models: Sequence[ModelLook], examples: int
) -> dict[str, float]:
    """What is to be predicted, by column; runs at it must have the data."""
    if target is None:
        largest = float(records.frame[DATA_SIZE].max())  # type: ignore[arg-type]
        return {"model_params": float(models[-1].params), DATA_SIZE: min(4 * largest, float(examples))}
    at = named_sizes(target, "--aim", "model_params=7e9,finetune_examples=1e5")
    if at.get(DATA_SIZE, 0.0) > examples:
        raise UsageError(
            "the data is smaller than what is aimed at",
            wanted=f"finetune_examples of at most {examples:,}",
            got=f"{at[DATA_SIZE]:,.0f}",
            remedy="finescale plan says which runs to make with data that you would have to get",
            where="--aim",
        )
    return at


def _nearest(params: float | None, models: Sequence[ModelLook]) -> str:
    """The name of the model with about so many parameters."""
    return models[-1].name if params is None else min(models, key=lambda look: abs(look.params - params)).name


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise UsageError(
            "there is a file already",
            wanted="a new study file",
            got=str(out),
            remedy="--out another.yaml, or remove it",
            where="--out",
        )


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
    for name, many in tokens.items():
        if many < 1 or name in checkpoints():
            wanted = "at least 1" if many < 1 else "a model of your own: what a bundled one saw is known"
            raise UsageError(
                "no number of tokens", wanted=wanted, got=f"{name}={many}", where="--pretrain-tokens"
            )
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


def _say_data(design: Design, console: Console) -> None:
    """What is read of the data, and what is not."""
    for note in design.data.task.notes:
        say(console, f"note: {note}")


def _show(begun: Begun, wishes: Wishes, console: Console) -> None:
    for note in begun.notes:
        say(console, f"warning: {note}", "yellow")
    _say_data(begun.design, console)
    for part in dry_run_view(begun.spec, begun.plan, study_folder(begun.spec.name, wishes.out)):
        console.print(part) if isinstance(part, Grid) else say(console, part)
    if begun.costs or begun.failed:
        show(console, begun.plan.runs(), begun.costs, begun.failed, begun.workers)
    say(console, f"Written: {wishes.out}. It says why for every choice; change what you know better.")
    out = shlex.quote(str(wishes.out))
    measured = begun.costs or begun.design.machine.gpu
    many = f" --workers {begun.workers}" if measured else ""
    say(console, f"Next: finescale run {out}{many}")
    say(console, f"Then: finescale advise {out} --examples N, or finescale report {out}")
