"""The application that commands are added to, and how it is run."""

from __future__ import annotations

import atexit
import gc
import io
import sys
from typing import Annotated

import typer

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
