"""A driver process for the tests that kill one: `python drive.py STUDY FOLDER FUNCTION WORKERS`."""

from __future__ import annotations

import sys
from pathlib import Path

import functions

from finescale.study import commands, resolve

if __name__ == "__main__":
    study, folder, function, workers = sys.argv[1:]
    resolve.resolver = functions.resolver
    execute = f"functions:{function}"
    sys.exit(commands.run(Path(study), out=Path(folder), workers=int(workers), execute=execute))
