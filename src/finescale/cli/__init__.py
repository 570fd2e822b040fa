"""The command line: the commands with their options, and what each of them does."""

from finescale.cli import study_commands, commands  # noqa: I001 - the order of the help
from finescale.cli.app import app, main

__all__ = ["app", "commands", "main", "study_commands"]
