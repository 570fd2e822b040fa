"""The application that commands are added to, and how it is run."""

from __future__ import annotations

import atexit
import gc
import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

_JOINED = {
    "--by": "join columns with commas: --by task,method",
    "--hold-out": "join expressions: --hold-out \"task == 'a' or model == 'b'\"",
}
"""How to say both at once."""


class _Command(TyperCommand):
    """A command that refuses an option for one value that is given twice: one of the two would be lost."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the command line.

        Raises:
            UsageError: An option is given twice that takes one value.
        """
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        single = [
            one.opts[-1]
            for one in given
            if isinstance(one, TyperOption) and not (one.multiple or one.is_flag)
        ]
        twice = next((name for at, name in enumerate(single) if name in single[:at]), None)
        if twice is not None:
            from finescale.errors import UsageError

            raise UsageError(
                "an option that takes one value is given twice",
                wanted=f"{twice} once",
                got=f"{single.count(twice)} times",
                remedy=_JOINED.get(twice, ""),
            )
        return super().parse_args(ctx, args)


class _App(typer.Typer):
    """An application of such commands."""

    def command(self, *args: Any, **options: Any) -> Callable[..., Any]:
        """Adds a command."""
        return super().command(*args, cls=_Command, **options)


app = _App(
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
