"""The command line: run, status, fit, compare, predict, report. Each command imports what it needs when it runs."""

from __future__ import annotations

import sys

import typer

app = typer.Typer(
    name="finescale",
    help="Finetuning scaling studies: run them, fit laws to them, and learn which method, model size and data to use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Runs the command line; a user's mistake ends in words and an exit code, never in a traceback."""
    from finescale.errors import FinescaleError

    try:
        app()
    except FinescaleError as error:
        print(f"finescale: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
