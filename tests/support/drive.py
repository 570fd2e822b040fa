"""A driver process for the tests that kill one: `python drive.py STUDY FOLDER FUNCTION WORKERS [ADDRESS]`."""

from __future__ import annotations

import sys
from pathlib import Path

import functions

from finescale.cli import run as commands
from finescale.errors import FinescaleError
from finescale.study import resolve

if __name__ == "__main__":
    study, folder, function, workers, *address = sys.argv[1:]
    resolve.resolver = functions.resolver
    execute = f"functions:{function}"
    where = {"executor": "ray", "address": address[0]} if address else {}
    try:
        code = commands.run(Path(study), out=Path(folder), workers=int(workers), execute=execute, **where)
    except FinescaleError as error:
        print(f"finescale: {error}")
        code = error.exit_code
    sys.exit(code)
