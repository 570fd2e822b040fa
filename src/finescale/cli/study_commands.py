"""The commands that make and run studies; each imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finescale.cli.app import app
from finescale.cli.reading import BUDGET, NUMBER, Table, amount


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
    flops_per_second: Annotated[
        str | None,
        typer.Option(metavar=NUMBER, help="With --table: the machine's rate. (default: as its runs were)"),
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
        continue_table(Table(table), wishes, aim, rate=amount(flops_per_second, "--flops-per-second"))
    else:
        init_command(wishes, ask=ask)


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
    retune: Annotated[
        bool,
        typer.Option("--retune", help="Check the chosen learning rates at the largest data and model sizes."),
    ] = False,
    gpu_flops: Annotated[
        float, typer.Option(help="FLOP/s that a GPU sustains, for --dry-run (default: 40% of an A100).")
    ] = 1.25e14,
    log_level: Annotated[
        str, typer.Option(help="What the runs' logs hold: debug, info, warning or error.")
    ] = "info",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only what went wrong.")] = False,
    until_decided: Annotated[
        str | None,
        typer.Option(
            metavar="QUESTION",
            help="Stop once the best method is known, e.g. for finetune_examples=50k,model_params=13B.",
        ),
    ] = None,
    sure: Annotated[
        str | None, typer.Option(metavar=NUMBER, help="With which probability it is known. (default: 0.95)")
    ] = None,
) -> None:
    """Run what is missing of a study; after a crash or Ctrl-C the same command continues.

    Exit code: 0 every run is done, or the question is decided; 3 some failed or diverged; 4 none is done;
    1 the study could not go on; 2 a mistake in the command or the study; 130 stopped by Ctrl-C.
    """
    from finescale.cli import run as commands
    from finescale.records.values import share

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
            retune=retune,
            executor=executor,
            address=address,
            gpu_flops=gpu_flops,
            log_level=log_level,
            quiet=quiet,
            until_decided=until_decided,
            sure=None if sure is None else share(sure, "--sure"),
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
