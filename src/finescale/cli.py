"""The command line: run, status, fit, compare, predict, report. Each command imports what it needs when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="finescale",
    help="Finetuning scaling studies: run them, fit laws to them, and learn which method, model size and data to use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="Study file (YAML).")],
    out: Annotated[Path | None, typer.Option(help="The study's folder [default: results/NAME].")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes [default: one a core].")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, and its cost.")] = False,
    text: Annotated[Path | None, typer.Option(help="Folder with the text of a pretraining study.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed runs again.")] = False,
) -> None:
    """Run what is missing of a study; after a crash or Ctrl-C the same command continues."""
    from finescale.study import commands

    raise typer.Exit(
        commands.run(study, out=out, workers=workers, dry_run=dry_run, text=text, retry_failed=retry_failed)
    )


@app.command()
def status(
    study: Annotated[Path, typer.Argument(help="Study file, or a study's folder.")],
    export: Annotated[Path | None, typer.Option(help="Write the records to a .parquet or .csv file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how a study stands: finished, running and failed runs, chosen learning rates."""
    from finescale.study import commands

    raise typer.Exit(commands.status(study, export=export, as_json=as_json))


def main() -> None:
    """Runs the command line; a user's mistake ends in words and an exit code, never in a traceback."""
    from finescale.errors import FinescaleError

    try:
        app()
    except FinescaleError as error:
        print(f"finescale: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
