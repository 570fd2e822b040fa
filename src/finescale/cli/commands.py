"""The command line; each command imports what it needs when it runs."""

from __future__ import annotations

import atexit
import gc
import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from finescale.cli.reading import BUDGET, NUMBER, Table, amount, budget_flops, pairs, reads_tables
from finescale.errors import UsageError
from finescale.records.options import AS_INFERRED, ReadingOptions

app = typer.Typer(
    name="finescale",
    help="Finetuning scaling studies: run them, fit laws, learn which method, model size and data to use.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from finescale import __version__

        typer.echo(f"finescale {__version__}")
        raise typer.Exit()


@app.callback()
def shared(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Finetuning scaling studies: run them, fit laws, learn which method, model size and data to use."""


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
def run(
    study: Annotated[Path, typer.Argument(help="Study file (YAML).")],
    out: Annotated[Path | None, typer.Option(help="The study's folder (default: results/NAME).")] = None,
    workers: Annotated[int | None, typer.Option(help="Runs at a time. (default: one a core)")] = None,
    executor: Annotated[str, typer.Option(help="local (this machine), ray or slurm.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a Ray cluster. (default: this machine's, or a new one)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and its cost.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check models, methods and examples.")] = False,
    probe: Annotated[bool, typer.Option("--probe", help="The time too, from some steps of each.")] = False,
    text: Annotated[Path | None, typer.Option(help="Folder with the text of a pretraining study.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed runs again.")] = False,
    retry_diverged: Annotated[
        bool, typer.Option("--retry-diverged", help="Run diverged runs again.")
    ] = False,
    gpu_flops: Annotated[
        float, typer.Option(help="FLOP/s that a GPU sustains, for --dry-run (default: 40% of an A100).")
    ] = 1.25e14,
    log_level: Annotated[
        str, typer.Option(help="What the runs' logs hold: debug, info, warning or error.")
    ] = "info",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only what went wrong.")] = False,
) -> None:
    """Run what is missing of a study; after a crash or Ctrl-C the same command continues.

    Exit code: 0 every run is done; 3 some failed or diverged; 4 none is done; 1 the study could not go on;
    2 a mistake in the command or the study; 130 stopped by Ctrl-C.
    """
    from finescale.cli import run as commands

    raise typer.Exit(
        commands.run(
            study,
            out=out,
            workers=workers,
            dry_run=dry_run,
            look=check,
            probe=probe,
            text=text,
            retry_failed=retry_failed,
            retry_diverged=retry_diverged,
            executor=executor,
            address=address,
            gpu_flops=gpu_flops,
            log_level=log_level,
            quiet=quiet,
        )
    )


@app.command()
def status(
    study: Annotated[Path, typer.Argument(help="Study file, or a study's folder.")],
    export: Annotated[
        Path | None, typer.Option(help="Write records and scores to a .parquet or .csv file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew until the study is done.")] = False,
    logs: Annotated[
        str | None, typer.Option(help="Show every attempt at this run (or the beginning of its name).")
    ] = None,
) -> None:
    """Show how a study stands: finished, running and failed runs, time left, chosen learning rates."""
    from finescale.cli import run as commands

    raise typer.Exit(commands.status(study, export=export, as_json=as_json, watch=watch, logs=logs))


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
        str | None, typer.Option(metavar=NUMBER, help="The machine's rate, for a budget in time or money.")
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
        budget_flops(budget, prices) or 0.0,
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
    from finescale.cli import report as commands

    commands.report(
        source,
        scores=scores,
        out=out,
        reading=reading,
        hold_out=hold_out,
        law=law,
        base=base or (),
        via=via,
        bootstrap=bootstrap,
        seed=seed,
        figures=figures,
    )


@app.command()
def init(
    data: Annotated[
        Path, typer.Option(help="Training data: .jsonl, .json, .csv, .tsv, .parquet; or a folder.")
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="Folder, name on the hub, or bundled model; repeat.")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="full, lora, prompt, dora, rslora, ia3. (default: full,lora)")
    ] = "",
    budget: Annotated[
        str | None,
        typer.Option(metavar=BUDGET, help="For the whole study: 2h, 5e15 FLOPs, 20usd. (default: none)"),
    ] = None,
    price_per_hour: Annotated[
        str | None, typer.Option(metavar=NUMBER, help="Price of an hour of this machine.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="Score beside the loss: accuracy, chrf, rougeL, exact_match, ...")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Column that is read. (default: as recognised)")] = None,
    target: Annotated[
        str | None, typer.Option(help="Column that is learned. (default: as recognised)")
    ] = None,
    pretrain_tokens: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=NUMBER", help="Tokens that a model was pretrained on; repeat."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The study file.")] = Path("study.yaml"),
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Estimate the time; measure nothing.")] = False,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for what is not said.")] = False,
    table: Annotated[
        str | None, typer.Option(help="Runs that are there: the study has those that tell most beside them.")
    ] = None,
    aim: Annotated[
        str | None,
        typer.Option(
            "--aim",
            help="With --table: what to predict, as in plan --target. (default: four times its data)",
        ),
    ] = None,
) -> None:
    """Write a study file for your data and models that fits a budget, with the reason for every choice."""
    from finescale.cli.init import continue_table, init_command, wishes_of

    wishes = wishes_of(
        data,
        model or [],
        methods=methods,
        budget=budget,
        price_per_hour=price_per_hour,
        pretrain_tokens=pretrain_tokens or [],
        out=out,
        score=score,
        source=source,
        target=target,
        probe=not no_probe,
    )
    if table is not None:
        continue_table(Table(table), wishes, aim)
    else:
        init_command(wishes, ask=ask)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="Write it to a file. (default: standard output)")] = None,
) -> None:
    """Write the JSON Schema of study files, with which editors complete and check them."""
    from finescale.files import write_text
    from finescale.spec.schema import schema_text

    if out is None:
        typer.echo(schema_text(), nl=False)
    else:
        write_text(schema_text(), out)


@app.command()
def doctor() -> None:
    """Look at Python, libraries, cores, GPU, memory and folders; what is missing comes with a remedy."""
    from finescale.cli.doctor import doctor as look

    raise typer.Exit(look())


def main() -> None:
    """Runs the command line; a user's mistake ends in words and an exit code, never in a traceback."""
    from finescale.errors import FinescaleError

    for stream in (sys.stdout, sys.stderr):  # a letter that the terminal's encoding lacks ends no command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    gc.set_threshold(10_000)  # advice makes many objects and next to no cycles: 0.03 s
    atexit.register(gc.freeze)  # the last collections free only what ends with the process: 0.08 s of advice
    try:
        app()
    except FinescaleError as error:
        print(f"finescale: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
