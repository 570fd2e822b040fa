"""The commands that read runs; each imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from finescale.cli.app import app
from finescale.cli.reading import BUDGET, NUMBER, Table, amount, budget_flops, pairs, reads_tables
from finescale.errors import UsageError
from finescale.records.options import AS_INFERRED, ReadingOptions

# options that several commands share
TableArgument = Annotated[
    str, typer.Argument(help="Table of runs, study's folder, or whatever finescale collect takes.")
]
Law = Annotated[str, typer.Option(help="Law: a name, auto, or your own: MODULE:NAME, FILE.py:NAME.")]
Factor = Annotated[list[str] | None, typer.Option(help="Factor; repeat. (default: all that vary)")]
By = Annotated[str, typer.Option(help="Columns that make groups.")]
Residual = Annotated[str, typer.Option(help="raw (the paper) or log (Chinchilla).")]
HoldOut = Annotated[str | None, typer.Option(help='Expression, "largest", or "" for nothing.')]
Base = Annotated[list[str] | None, typer.Option(help="FACTOR=VALUE of the other factors' slice, or any.")]
MethodCost = Annotated[
    list[str] | None,
    typer.Option(help="NAME=full|pet|FLOPS a parameter and token, for a method that is not known; repeat."),
]
Via = Annotated[
    str, typer.Option(help="A score: direct, through the loss beside it, or auto (what backtests better).")
]
Bootstrap = Annotated[int, typer.Option(help="Resamples for the intervals; 0: none.")]
Seed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]
Json = Annotated[str | None, typer.Option(help="Write the results there; - for standard output.")]


@app.command()
@reads_tables
def collect(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Tables, folders of a trainer, trackers' stores or addresses; as many as there are."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write one table: .parquet, .csv or .jsonl. (default: only show)")
    ] = None,
    reading: ReadingOptions = AS_INFERRED,
) -> None:
    """Read runs from many places into one table; show what was understood and what is missing."""
    from finescale.cli.collect import collect_command

    collect_command(sources, reading, out=out)


@app.command()
@reads_tables
def fit(
    records: TableArgument,
    law: Law = "multiplicative",
    factor: Factor = None,
    by: By = "task,method",
    residual: Residual = "raw",
    hold_out: HoldOut = None,
    shared: Annotated[str, typer.Option(help="Parameters shared by the factors, e.g. beta,E.")] = "",
    joint: Annotated[bool, typer.Option("--joint", help="The paper's two steps: beta and E first.")] = False,
    base: Base = None,
    bootstrap: Bootstrap = 1000,
    seed: Seed = 0,
    solver: Annotated[str, typer.Option(help="varpro, or lbfgs (slow, to check).")] = "varpro",
    json: Json = None,
    reading: ReadingOptions = AS_INFERRED,
) -> None:
    """Fit scaling laws to a table of runs."""
    from finescale.cli import laws as commands

    options = {"by": commands.names(by), "residual": residual, "hold_out": hold_out, "bootstrap": bootstrap}
    options |= {"seed": seed, "base": commands.base_values(base or []), "solver": solver, "factors": factor}
    options |= {"shared": commands.names(shared)} if shared or not joint else {}
    commands.fit_command(Table(records, reading), law=law, joint=joint, to=json, **options)


@app.command()
@reads_tables
def compare(
    records: TableArgument,
    laws: Annotated[str, typer.Option(help="Laws, e.g. multiplicative,additive,power.")] = "",
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Hide the largest data sizes step by step.")
    ] = False,
    factor: Factor = None,
    by: By = "task,method",
    residual: Residual = "raw",
    hold_out: HoldOut = None,
    base: Base = None,
    json: Json = None,
    reading: ReadingOptions = AS_INFERRED,
) -> None:
    """Compare laws on held-out runs (the paper's Table 6), or by backtest."""
    from finescale.cli import laws as commands

    options = {"factors": factor, "by": commands.names(by), "residual": residual, "hold_out": hold_out}
    options |= {"base": commands.base_values(base or [])}
    table = Table(records, reading)
    commands.compare_command(table, laws=commands.names(laws), back=backtest, to=json, **options)


@app.command()
@reads_tables
def predict(
    records: Annotated[str, typer.Argument(help="Table of runs, or the JSON of finescale fit.")],
    at: Annotated[
        list[str], typer.Option(help="Question, e.g. model_params=7e9,finetune_examples=1e5; repeat.")
    ],
    law: Annotated[str | None, typer.Option(help="One law. (default: a forecast, no single law)")] = None,
    factor: Factor = None,
    by: By = "task,method",
    residual: Annotated[
        str | None,
        typer.Option(help="With --law: raw (the paper) or log (Chinchilla). (default: raw)"),
    ] = None,
    hold_out: HoldOut = None,
    base: Base = None,
    via: Via = "auto",
    bootstrap: Bootstrap = 1000,
    seed: Seed = 0,
    json: Json = None,
    reading: ReadingOptions = AS_INFERRED,
) -> None:
    """Forecast losses, with intervals for the mean and for a new run; with --law, what one law predicts."""
    from finescale.cli import laws as commands

    table, bases = Table(records, reading), commands.base_values(base or [])
    if law is None and not commands.holds_fits(Path(records)):
        from finescale.cli import predict as forecasts

        forecasts.refuse(factor=factor, residual=residual)
        forecasts.forecast_command(
            table,
            at=at,
            by=commands.names(by),
            hold_out=hold_out,
            base=bases,
            via=via,
            draws=bootstrap,
            seed=seed,
            to=json,
        )
        return
    if via != "auto":
        raise UsageError(f"--via {via} belongs to a forecast", got="a law", remedy="leave out --law")
    options = {"by": commands.names(by), "residual": residual or "raw", "hold_out": hold_out}
    options |= {"bootstrap": bootstrap, "seed": seed, "base": bases, "factors": factor}
    commands.predict_command(table, at=at, to=json, law=law or "multiplicative", **options)


@app.command()
@reads_tables
def advise(
    records: TableArgument,
    examples: Annotated[
        str | None,
        typer.Option(metavar=NUMBER, help="Finetuning examples at hand. (default: the most all methods had)"),
    ] = None,
    model_params: Annotated[
        str | None,
        typer.Option(metavar=NUMBER, help="Parameters of the model. (default: the base setting's)"),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar=BUDGET, help="For one training run: 5e15 FLOPs, 2h, 20usd.")
    ] = None,
    target_loss: Annotated[
        str | None, typer.Option(metavar=NUMBER, help="Loss to reach, nats per token.")
    ] = None,
    target_score: Annotated[
        str | None, typer.Option(metavar=NUMBER, help="Score to reach, with --score.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Task. (default: every task)")] = None,
    crossovers: Annotated[
        bool, typer.Option("--crossovers", help="Show at which data sizes the better method changes.")
    ] = False,
    price_per_hour: Annotated[
        str | None, typer.Option(metavar=NUMBER, help="Price of an hour of the machine.")
    ] = None,
    flops_per_second: Annotated[
        str | None, typer.Option(metavar=NUMBER, help="The machine's rate. (default: as in the records)")
    ] = None,
    tokens_per_example: Annotated[
        str | None,
        typer.Option(metavar=NUMBER, help="Tokens for one example, all passes. (default: as in the records)"),
    ] = None,
    method_cost: MethodCost = None,
    law: Annotated[
        str,
        typer.Option(help="One law only (as in fit); auto: the best on hidden sizes; forecast: all members."),
    ] = "forecast",
    base: Base = None,
    via: Via = "auto",
    bootstrap: Bootstrap = 1000,
    seed: Seed = 0,
    json: Json = None,
    reading: ReadingOptions = AS_INFERRED,
) -> None:
    """Say which method is best for this much data, model or budget - or which runs would tell."""
    from finescale.advice.options import Question
    from finescale.cli import advise as commands
    from finescale.cli.laws import base_values
    from finescale.laws.own import law_of

    prices: dict[str, Any] = {"price_per_hour": amount(price_per_hour, "--price-per-hour")}
    prices |= {"flops_per_second": amount(flops_per_second, "--flops-per-second")}
    prices |= {"method_cost": pairs(method_cost or [], "--method-cost", "NAME=full|pet|FLOPS", last=True)}
    prices |= {"tokens_per_example": amount(tokens_per_example, "--tokens-per-example", whole=True)}
    commands.advise_command(
        Table(records, reading),
        Question(
            amount(examples, "--examples", whole=True),
            amount(model_params, "--model-params", whole=True),
            budget_flops(budget, prices),
            amount(target_loss, "--target-loss"),
            amount(target_score, "--target-score"),
        ),
        task=task,
        crossing=crossovers,
        prices=prices,
        to=json,
        law=law_of(law),
        base=base_values(base or []),
        via=via,
        bootstrap=bootstrap,
        seed=seed,
    )


@app.command()
@reads_tables
def plan(
    source: Annotated[str, typer.Argument(help="Table of runs, study file, or a study's folder.")],
    target: Annotated[
        str, typer.Option(help="What to predict, e.g. model_params=1.6e10,finetune_examples=1e6.")
    ],
    budget: Annotated[str, typer.Option(metavar=BUDGET, help="For all the new runs: 5e15 FLOPs, 2h, 20usd.")],
    method: Annotated[list[str] | None, typer.Option(help="Method; repeat. (default: all)")] = None,
    values: Annotated[
        list[str] | None, typer.Option(help="Values of the target's factor that can be run. (default: seen)")
    ] = None,
    examples: Annotated[
        list[str] | None, typer.Option(help="Data sizes that can be run. (default: the range seen)")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Most runs of one setting.")] = 3,
    noise: Annotated[
        str | None,
        typer.Option(metavar=NUMBER, help="A run's standard deviation, nats. (default: as in the records)"),
    ] = None,
    bend: Annotated[float, typer.Option(help="What the law may be off, nats for each e-fold away.")] = 0.02,
    check_share: Annotated[float, typer.Option(help="Share of the money that goes near the target.")] = 0.2,
    tokens_per_example: Annotated[
        str | None,
        typer.Option(metavar=NUMBER, help="Tokens for one example, all passes. (default: as in the records)"),
    ] = None,
    flops_per_second: Annotated[
        str | None,
        typer.Option(metavar=NUMBER, help="The machine's rate, for time or money. (default: as measured)"),
    ] = None,
    price_per_hour: Annotated[
        str | None, typer.Option(metavar=NUMBER, help="Price of an hour of the machine.")
    ] = None,
    method_cost: MethodCost = None,
    task: Annotated[str | None, typer.Option(help="Task. (default: the only one)")] = None,
    via: Via = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write a study file that finescale run takes.")] = None,
    json: Json = None,
    reading: ReadingOptions = AS_INFERRED,
) -> None:
    """Find the next runs that tell most about a prediction, or a choice of method, for their cost."""
    import shlex

    from finescale.cli.plan import plan_command

    prices = {
        "flops_per_second": amount(flops_per_second, "--flops-per-second"),
        "price_per_hour": amount(price_per_hour, "--price-per-hour"),
    }
    options: dict[str, Any] = {
        "seeds": seeds,
        "noise": amount(noise, "--noise"),
        "bend": bend,
        "check_share": check_share,
    }
    options |= {"via": via, "seed": seed, "task": task, "methods": tuple(method or ())}
    options |= {"method_cost": pairs(method_cost or [], "--method-cost", "NAME=full|pet|FLOPS", last=True)}
    options |= {"tokens_per_example": amount(tokens_per_example, "--tokens-per-example", whole=True)}
    plan_command(
        Table(source, reading),
        target,
        budget,
        prices=prices,
        values=values or (),
        examples=examples or (),
        out=out,
        to=json,
        command=shlex.join(["finescale", *sys.argv[1:]]),
        **options,
    )


@app.command()
@reads_tables
def report(
    source: Annotated[
        str, typer.Argument(help="Study file, study folder, table of runs, or what finescale collect takes.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to write to. (default: FOLDER/report)")] = None,
    scores: Annotated[
        Path | None, typer.Option(help="Table of scores of these runs. (default: FOLDER/scores.parquet)")
    ] = None,
    hold_out: HoldOut = None,
    law: Law = "auto",
    base: Base = None,
    via: Via = "auto",
    bootstrap: Bootstrap = 1000,
    seed: Seed = 0,
    figures: Annotated[str, typer.Option(help="Files of each figure, of svg, png and pdf.")] = "svg",
    reading: ReadingOptions = AS_INFERRED,
) -> None:
    """Write the page: which method is best, the laws in pictures and tables, and what they rest on."""
    from finescale.cli.report import ReportOptions
    from finescale.cli.report import report as write

    write(
        source,
        ReportOptions(scores, out, reading, hold_out, law, base or (), via, bootstrap, seed, figures),
    )
