"""A driver that notes each commit once it has returned: `python acknowledging.py NOTES run STUDY ...`."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from finescale import cli
from finescale.study.ledger import Ledger


def digest(records: Mapping[str, Mapping[str, Any]]) -> str:
    """What was committed for a run, in a few letters."""
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()[:16]


def note_commits(notes: str) -> None:
    """Makes every ledger append `run digest` to a file after a commit that won."""
    commit = Ledger.commit
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noted(self: Ledger, run: str, attempt: int, records: Any, **more: Any) -> bool:
        won = commit(self, run, attempt, records, **more)
        if won:
            os.write(file, f"{run} {digest(records)}\n".encode())
        return won

    Ledger.commit = noted


if __name__ == "__main__":
    note_commits(sys.argv.pop(1))
    cli.main()
