"""The command line: the commands with their options, and what each of them does."""

from finescale.cli.commands import app, main

__all__ = ["app", "main"]
