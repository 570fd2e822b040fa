"""What `finescale status` shows of a study: once, as JSON, or again and again (`--watch`)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from finescale.errors import UsageError, printable
from finescale.executors.attempt_log import log_file
from finescale.study.failures import WORDS, cause_lines, failure_lines, failures, remedy, run_in_words
from finescale.study.ledger import Ledger
from finescale.study.progress import duration
from finescale.study.state import ORDER, study_state

WATCH_SECONDS = 2.0
PART_WORDS = {
    "test": "test losses",
    "generation": "generation",
    "few_shot": "few-shot generation",
    "zero_shot": "zero-shot",
    "forgetting": "forgetting",
}
"""The parts of an evaluation (`state.PARTS`) in words."""
SHOWN_ORPHANS = 20


def show_status(
    folder: Path, console: Console, *, export: Path | None = None, as_json: bool = False, watch: bool = False
) -> None:
    """Shows how the study in a folder stands.

    Args:
        folder: The study's folder.
        console: Where to print.
        export: Write the records to this .parquet or .csv file, and the scores beside it.
        as_json: Print JSON.
        watch: Show it anew until the study is complete, or until Ctrl-C.

    Raises:
        UsageError: There is no study, or `watch` with something that is made once.
    """
    if watch and (as_json or export is not None):
        other = "--json" if as_json else "--export"
        raise UsageError(
            f"--watch and {other} exclude each other", wanted="one of the two", got="both", where="--watch"
        )
    if watch:
        _await_ledger(folder, console)
    with Ledger(folder / "ledger.sqlite", create=False) as ledger:
        if watch:
            _watch(ledger, folder, console)
            return
        if export is not None:
            from finescale.study.export import export_tables  # noqa: PLC0415

            for rows, what, path in export_tables(ledger, export):
                if not as_json:
                    _print(console, [_text(f"{rows} {what} written to {path}")])
        if as_json:
            console.print_json(json.dumps(study_state(ledger, folder)))
        elif export is None:
            _print(console, status_view(study_state(ledger, folder)))


def show_logs(folder: Path, console: Console, run: str) -> None:
    """Shows every attempt at a run: when, how it ended, what to do, and its log.

    Args:
        folder: The study's folder.
        console: Where to print.
        run: The run's fingerprint, or its beginning.

    Raises:
        UsageError: There is no study, no such run, or more than one.
    """
    with Ledger(folder / "ledger.sqlite", create=False) as ledger:
        found = ledger.find(run)
        if len(found) != 1:
            raise UsageError(
                "several runs begin so" if found else "no such run",
                wanted="a run's fingerprint, or as much of it as is needed",
                got=run + (f": {', '.join(found[:5])}" if found else ""),
                remedy=f"finescale status {folder} --json lists them",
                where="--logs",
            )
        attempts = ledger.attempts(found[0])
        fields = ledger.known(found[0])
    _print(console, [_text(run_in_words(found[0], fields))])
    if not attempts:
        _print(console, [_text("not begun yet")])
    for attempt in attempts:
        _print(console, [_text(line) for line in _attempt_lines(attempt, fields)])
        log = log_file(folder, found[0], attempt["attempt"])
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else attempt["traceback"]
        where = f"log: {log}" if log.exists() else "no log on this machine; the ledger has its traceback:"
        _print(console, [_text(where), _text((said or "").rstrip())])


def _attempt_lines(attempt: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[str]:
    """An attempt as the ledger has it: when, how it ended, and what to do."""
    began, ended = (
        datetime.fromtimestamp(at).isoformat(" ", "seconds") if at else ""
        for at in (attempt["started"], attempt["ended"])
    )
    when = f"{began} to {ended or 'now'}, by {attempt['owner']}"
    yield f"\nattempt {attempt['attempt']}: {attempt['outcome']}, {when}"
    if attempt["outcome"] in WORDS:
        error = str(attempt["error"])
        yield from (
            f"  {'cause:' if not n else '      '} {line}" for n, line in enumerate(cause_lines(error))
        )
        yield f"  remedy: {remedy(attempt['outcome'], error, fields, attempt['traceback'] or '')}"


def status_view(state: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A study's state (`study_state`) in words and a table; names stay text, whatever is in them."""
    counts = ", ".join(f"{state['counts'][name]:,} {name}" for name in ORDER if state["counts"].get(name))
    yield _text(f"{state['study']}: {state['runs']:,} runs: {counts}{_pace(state)}")
    table = Table(box=None, pad_edge=False)
    for name in ("purpose", "task", "method", "model"):
        table.add_column(name)
    for name in ORDER:
        table.add_column(name, justify="right")
    for group in state["groups"]:
        names = (_text(str(group[name] or "")) for name in ("purpose", "task", "method", "model"))
        table.add_row(*names, *(f"{group[name]:,}" if group.get(name) else "" for name in ORDER))
    yield table
    yield from _time(state)
    if state["awaited"]:
        yield _text("More runs follow once the sweep has chosen.")
    for choice in state["choices"]:
        chosen, edge = choice["chosen"], choice["evidence"].get("edge")
        size = f", batch size {chosen['batch_size']}" if chosen.get("batch_size") else ""
        tried = [one.get("status") for one in choice["evidence"]["candidates"]]
        note = f", {tried.count('stopped')} of {len(tried)} candidates stopped early" * ("stopped" in tried)
        note += f" - the {edge} rate tried: a better one may lie beyond" if edge else ""
        yield _text(
            f"{choice['method']}: {chosen['optimizer']['name']} at {chosen['learning_rate']:g}{size}"
            f" chosen by the sweep{note}"
        )
    for line in failure_lines(failures(state["troubles"]), Path(state["folder"])):
        yield _text(line, "" if line.startswith(" ") else "red")
    yield from _orphans(state["orphans"])


def _pace(state: Mapping[str, Any]) -> str:
    """How fast it goes and how long it will take."""
    parts = []
    if state["runs_per_hour"]:
        parts.append(f"{state['runs_per_hour']:,.0f} runs an hour")
    if state["seconds_left"] and not state["complete"]:
        at_once = f"{state['running']} at a time" if state["running"] else "one at a time"
        parts.append(f"about {duration(state['seconds_left'])} left, {at_once}")
    return f"; {', '.join(parts)}" if parts else ""


def _time(state: Mapping[str, Any]) -> Iterator[Text]:
    """How long the finished runs took, and of that each part of their evaluation."""
    parts = [
        f"{PART_WORDS[name]} {duration(seconds)}"
        for name, seconds in state["evaluation_seconds"].items()
        if round(seconds) > 0
    ]
    if parts:
        yield _text(f"finished runs took {duration(state['seconds'])}; of it {', '.join(parts)}")


def _orphans(orphans: list[dict[str, Any]]) -> Iterator[Text]:
    """The finished runs that the study file no longer asks for."""
    if orphans:
        yield _text(f"{len(orphans):,} finished runs are no longer in the study; they stay in the ledger:")
    for orphan in orphans[:SHOWN_ORPHANS]:
        yield _text(f"  {orphan['status']}: {run_in_words(orphan['run'], orphan['fields'])}")
    if len(orphans) > SHOWN_ORPHANS:
        yield _text(f"  ... and {len(orphans) - SHOWN_ORPHANS:,} more (--json lists all)")


def _text(words: str, style: str = "") -> Text:
    """Text that is shown as it is: no markup, and nothing that moves a terminal's cursor or colours."""
    return Text(printable(words), style)


def _print(console: Console, parts: Iterator[RenderableType] | list[Text]) -> None:
    for part in parts:
        console.print(part, highlight=False, soft_wrap=isinstance(part, Text))


def _await_ledger(folder: Path, console: Console) -> None:
    """Waits until the study has begun; Ctrl-C ends the waiting, and then there is no study to show."""
    ledger_file = folder / "ledger.sqlite"
    if not ledger_file.exists():
        _print(console, [_text(f"Waiting for {ledger_file}: no study has begun there yet.")])
    with suppress(KeyboardInterrupt):
        while not _begun(ledger_file):
            time.sleep(WATCH_SECONDS / 4)


def _begun(ledger_file: Path) -> bool:
    """Whether there is a ledger with a plan: a driver makes the one just before the other."""
    if not ledger_file.exists():
        return False
    with Ledger(ledger_file, create=False) as ledger:
        return ledger.study() is not None


def _watch(ledger: Ledger, folder: Path, console: Console) -> None:
    """Shows the state until the study is complete; Ctrl-C ends the watching, not the study."""
    state = study_state(ledger, folder)
    try:
        with Live(Group(*status_view(state)), console=console, auto_refresh=False, transient=True) as live:
            while not state["complete"]:
                time.sleep(WATCH_SECONDS)
                state = study_state(ledger, folder)
                live.update(Group(*status_view(state)), refresh=True)
    except KeyboardInterrupt:
        state = study_state(ledger, folder)
    _print(console, status_view(state))
