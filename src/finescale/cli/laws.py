"""What the commands fit, compare and predict do: read, compute, show; JSON to a file or standard output."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from finescale.cli.reading import Table, pairs
from finescale.errors import DataError, UsageError, printable
from finescale.laws.fitted import Fits, FittedLaw, Prediction
from finescale.laws.views import backtest_cells, comparison_cells, law_cells, prediction_cells
from finescale.records.columns import WHOLE
from finescale.records.json_tables import holds_fits
from finescale.records.tables import MAX_BYTES
from finescale.records.values import number


def fit_command(table: Table, *, law: str, joint: bool, to: str | None, **options: Any) -> None:
    """``finescale fit``: fits and shows one row a law."""
    from finescale.laws.fit import fit, joint_fit  # noqa: PLC0415 - numpy only where it is used

    records = table.read()
    if joint:
        options.pop("factors")
        fits = joint_fit(records, law, **options)
    else:
        fits = fit(records, law, **options)
    if to:
        write_json(fits.to_dict(), to)
    if to != "-":
        console = terminal()
        console.print(law_cells(fits.laws).within(console.width))
        say(console, fits.notes)
        _say_status(console, fits.laws)


def compare_command(table: Table, *, laws: Sequence[str], back: bool, to: str | None, **options: Any) -> None:
    """``finescale compare``: held-out deviations of several laws, or a backtest."""
    from finescale.laws.select import backtest, compare  # noqa: PLC0415

    records = table.read()
    console = terminal()
    if back:
        tested = backtest(records, laws or None, **options)
        rows = {"scores": tested.scores.to_dicts(), "best": dict(tested.best)}
        shown, notes = backtest_cells(tested.scores), [*tested.notes, *map(tested.verdict, tested.best)]
    else:
        compared = compare(records, laws or ("multiplicative", "additive"), **options)
        rows = {"comparison": compared.table.to_dicts()}
        shown, notes = comparison_cells(compared.table), [*compared.notes]
    if to:
        write_json({"schema": 1, **rows, "notes": notes}, to)
    if to != "-":
        console.print(shown.within(console.width))
        say(console, notes)


def predict_command(table: Table, *, at: Sequence[str], to: str | None, **options: Any) -> None:
    """``finescale predict``: from a Fit JSON, or from records that are fitted first."""
    from finescale.laws.fit import fit  # noqa: PLC0415

    questions = [numbers_of(question) for question in at]
    path = Path(table.path)
    fits = _read_fits(path) if holds_fits(path) else fit(table.read(), **options)
    asked: list[tuple[FittedLaw, Prediction]] = []
    refused: list[str] = []
    for question in questions:
        names = set(question)
        for law in fits:
            fits_question = [f for f in law.columns if names >= set(law.columns[f].values())]
            if not fits_question:
                refused.append(f"{law.label} ({', '.join(law.factors) or law.law}): needs {_needs(law)}")
                continue
            known = (
                {n for columns in law.columns.values() for n in columns.values()}
                | set(law.base)
                | set(law.by)
            )
            extra = {n: v for n, v in question.items() if n not in known}
            away = {n: v for n, v in question.items() if _differs(law, n, v)}
            if extra or away:
                shown = ", ".join(f"{n}={v:g}" for n, v in (extra | away).items())
                refused.append(f"{law.label} ({', '.join(law.factors) or law.law}): says nothing on {shown}")
                continue
            asked.append((law, law.predict(question)))
    if not asked:
        raise DataError(
            "no law answers this question",
            wanted="a value for every variable of a law, and for no other",
            got="; ".join(dict.fromkeys(refused)) or "no laws",
            remedy="e.g. --at model_params=7e9,finetune_examples=1e5",
        )
    if to:
        rows = [_prediction_row(law, prediction) for law, prediction in asked]
        write_json({"schema": 1, "predictions": rows, "notes": list(fits.notes)}, to)
    if to != "-":
        console = terminal()
        cells = prediction_cells([law for law, _ in asked], [prediction for _, prediction in asked])
        console.print(cells.within(console.width))
        say(console, [*fits.notes, *dict.fromkeys(refused)])
        _say_status(console, [law for law, _ in asked], [prediction for _, prediction in asked])


def write_json(data: Mapping[str, Any], to: str) -> None:
    """Writes JSON to a file (aside, then renamed) or, for ``-``, to standard output.

    Raises:
        UsageError: The file cannot be written.
    """
    text = json.dumps(data, allow_nan=False)
    if to == "-":
        sys.stdout.write(text + "\n")
        return
    aside = Path(f"{to}.{os.getpid()}.part")
    try:
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(to)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise UsageError("cannot write", got=str(error.strerror), remedy="check the path", where=to) from None


def base_values(options: Sequence[str]) -> dict[str, Any]:
    """The values of ``--base X=v``: numbers, or ``any``.

    Raises:
        UsageError: Neither of them.
    """
    return {
        name: value if value == "any" else number(value, f"--base {name}", whole=name in WHOLE)
        for name, value in pairs(options, "--base", "FACTOR=VALUE").items()
    }


def names(option: str | None) -> tuple[str, ...]:
    """A comma-separated list of names."""
    return tuple(name.strip() for name in (option or "").split(",") if name.strip())


def numbers_of(question: str) -> dict[str, float]:
    """The sizes of ``--at``."""
    found = pairs(question.split(","), "--at", "model_params=7e9,finetune_examples=1e5")
    return {name: number(value, f"--at {name}", whole=name in WHOLE) for name, value in found.items()}


def _read_fits(path: Path) -> Fits:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            wanted, got = f"at most {MAX_BYTES:,} bytes", f"{size:,}"
            raise UsageError("too large for fitted laws", wanted=wanted, got=got, where=str(path))
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}"
        raise UsageError("cannot be read as JSON", got=error.msg, where=where) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("cannot be read as JSON", got=str(error), where=str(path)) from None
    try:
        return Fits.from_dict(data)
    except UsageError as error:
        where = f"{path}, {error.where}" if error.where else str(path)
        words = {"wanted": error.wanted, "got": error.got, "remedy": error.remedy}
        raise UsageError(error.problem, **words, where=where) from None


def _needs(law: FittedLaw) -> str:
    return " or ".join(", ".join(columns.values()) for columns in law.columns.values())


def _differs(law: FittedLaw, name: str, value: float) -> bool:
    """Whether the question names a value at which this law was not fitted."""
    if any(name in columns.values() for columns in law.columns.values()) and len(law.columns) == 1:
        return False
    known = law.base.get(name, law.by.get(name))
    if any(name in columns.values() for columns in law.columns.values()):
        return False
    return isinstance(known, int | float) and abs(known - value) > 1e-9 * abs(known)


def _prediction_row(law: FittedLaw, prediction: Prediction) -> dict[str, Any]:
    def plain(value: Any) -> float | None:
        number = float(value)
        return number if math.isfinite(number) else None

    return {
        "by": dict(law.by),
        "law": law.law,
        "factors": list(law.factors),
        "at": {name: float(value) for name, value in prediction.at.items()},
        "value": plain(prediction.value),
        "low": plain(prediction.low),
        "high": plain(prediction.high),
        "run_low": plain(prediction.run_low),
        "run_high": plain(prediction.run_high),
        "status": [*prediction.status, *law.status],
    }


def terminal() -> Console:
    """A console that is as wide as its terminal, or as COLUMNS says, or 160 characters."""
    console = Console()
    return console if console.is_terminal else Console(width=int(os.environ.get("COLUMNS", "160")))


def say(console: Console, notes: Sequence[str], mark: str = "note: ") -> None:
    """Prints sentences, each with a mark before it."""
    for note in notes:
        console.print(printable(f"{mark}{note}"), markup=False, highlight=False, soft_wrap=True)


def _say_status(
    console: Console,
    laws: Sequence[FittedLaw],
    predictions: Sequence[Prediction] | None = None,
    most: int = 30,
) -> None:
    """Each soft trouble once, with the laws that have it."""
    found: dict[str, list[str]] = {}
    for index, law in enumerate(laws):
        more = predictions[index].status if predictions else ()
        for status in dict.fromkeys((*more, *law.status)):
            who = f"{law.label} ({', '.join(law.factors)})" if law.factors else law.label
            if who not in found.setdefault(status, []):
                found[status].append(who)
    for status, who in list(found.items())[:most]:
        everyone = len(who) == len(laws) and len(laws) > 1
        few = "; ".join(who[:3]) + (f"; and {len(who) - 3} more" if len(who) > 3 else "")
        console.print(
            f"look: {status} - {'all' if everyone else few}", markup=False, highlight=False, soft_wrap=True
        )
    if len(found) > most:
        console.print(f"look: {len(found) - most} more (see --json)", markup=False, highlight=False)
