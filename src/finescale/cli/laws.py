"""What the commands fit, compare and predict do: read, compute, show; JSON to a file or standard output."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from finescale.cli import terminal
from finescale.cli.reading import Table, pairs
from finescale.errors import DataError, UsageError, printable
from finescale.files import write_text
from finescale.laws.fits import Fits
from finescale.laws.fitted import FittedLaw, Prediction
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut
from finescale.laws.views import (
    backtest_cells,
    comparison_cells,
    law_cells,
    left_out_cells,
    prediction_cells,
)
from finescale.records.columns import WHOLE
from finescale.records.json_tables import holds_fits
from finescale.records.named_sizes import named_sizes
from finescale.records.tables import MAX_BYTES
from finescale.records.values import number


def fit_command(table: Table, *, law: str, joint: bool, to: str | None, **options: Any) -> None:
    """``finescale fit``: fits and shows one row a law."""
    from finescale.laws.fit import fit, joint_fit  # noqa: PLC0415 - numpy only where it is used
    from finescale.laws.own import law_of  # noqa: PLC0415

    chosen, records = law_of(law), table.read()
    if joint:
        options.pop("factors")
        fits = joint_fit(records, chosen, **options)
    else:
        fits = fit(records, chosen, **options)
    if to:
        write_json(fits.to_dict(), to)
    if to != "-":
        console = terminal.console()
        console.print(law_cells(fits.laws).within(console.width))
        _show_left_out(console, fits.left_out)
        say(console, fits.notes)
        _say_status(console, fits.laws)


def compare_command(table: Table, *, laws: Sequence[str], back: bool, to: str | None, **options: Any) -> None:
    """``finescale compare``: held-out deviations of several laws, or a backtest."""
    from finescale.forecasts.forecast import forecast  # noqa: PLC0415
    from finescale.laws.compare import compare  # noqa: PLC0415
    from finescale.laws.own import law_of  # noqa: PLC0415
    from finescale.laws.select import backtest  # noqa: PLC0415

    chosen, records = [law_of(law) for law in laws], table.read()
    console = terminal.console()
    if back:
        tested = backtest(records, chosen or None, **options)
        rows = {"scores": tested.scores.to_dicts(), "best": dict(tested.best)}
        notes = [*tested.notes, *map(tested.verdict, tested.best)]
        if records.outcome.kind == "score":  # the two ways of a forecast, which no law has
            notes += forecast(records, options["by"], hold_out=options["hold_out"], draws=1).ways
        shown, lost = backtest_cells(tested.scores, tested.outcome), tested.left_out
    else:
        compared = compare(records, chosen or None, **options)
        rows = {"comparison": compared.table.to_dicts()}
        shown, lost = comparison_cells(compared.table, compared.outcome), compared.left_out
        notes = [*compared.notes]
    if to:
        left_out = [one.to_dict() for one in lost]
        write_json({"schema": 1, **rows, "notes": notes, "left_out": left_out}, to)
    if to != "-":
        console.print(shown.within(console.width))
        _show_left_out(console, lost)
        say(console, notes)


def predict_command(
    table: Table, *, at: Sequence[str], to: str | None, law: str = "multiplicative", **options: Any
) -> None:
    """``finescale predict``: from a Fit JSON, or from records that are fitted first."""
    from finescale.laws.fit import fit  # noqa: PLC0415
    from finescale.laws.own import law_of  # noqa: PLC0415

    questions = [numbers_of(question) for question in at]
    path, chosen = Path(table.path), law_of(law)
    fits = _read_fits(path, chosen) if holds_fits(path) else fit(table.read(), chosen, **options)
    asked: list[tuple[FittedLaw, Prediction]] = []
    refused: list[str] = []
    for question in questions:
        for fitted in fits:
            reason = _silent(fitted, question)
            if reason:
                refused.append(f"{fitted.label} ({', '.join(fitted.factors) or fitted.law}): {reason}")
            else:
                asked.append((fitted, fitted.predict(question)))
    if not asked:
        raise DataError(
            "no law answers this question",
            wanted="a value for every variable of a law, and for no other",
            got="; ".join(dict.fromkeys(refused)) or "no laws",
            remedy="e.g. --at model_params=7e9,finetune_examples=1e5",
        )
    if to:
        rows = [_prediction_row(*pair) for pair in asked]
        left_out = [one.to_dict() for one in fits.left_out]
        write_json({"schema": 1, "predictions": rows, "notes": list(fits.notes), "left_out": left_out}, to)
    if to != "-":
        console = terminal.console()
        laws, predictions = [fitted for fitted, _ in asked], [prediction for _, prediction in asked]
        console.print(prediction_cells(laws, predictions).within(console.width))
        _show_left_out(console, fits.left_out)
        say(console, [*fits.notes, *dict.fromkeys(refused)])
        _say_status(console, laws, predictions)


def write_json(data: Mapping[str, Any], to: str) -> None:
    """Writes JSON to a file (aside, then renamed) or, for ``-``, to standard output.

    Raises:
        UsageError: The file cannot be written.
    """
    text = json.dumps(data, allow_nan=False)
    if to == "-":
        sys.stdout.write(text + "\n")
        return
    write_text(text + "\n", Path(to))


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
    return named_sizes(question, "--at", "model_params=7e9,finetune_examples=1e5")


def _read_fits(path: Path, law: str | Law) -> Fits:
    """The fits of a file; ``law`` is the user's own that they may have been made with."""
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
        return Fits.from_dict(data, [] if isinstance(law, str) else [law])
    except UsageError as error:
        where = f"{path}, {error.where}" if error.where else str(path)
        words = {"wanted": error.wanted, "got": error.got, "remedy": error.remedy}
        raise UsageError(error.problem, **words, where=where) from None


def _silent(law: FittedLaw, question: Mapping[str, float]) -> str:
    """Why a law does not answer a question; empty where it does."""
    if not any(set(question) >= set(columns.values()) for columns in law.columns.values()):
        return f"needs {_needs(law)}"
    columns = {name for columns in law.columns.values() for name in columns.values()}
    known = columns | set(law.base) | set(law.by)
    strange = {n: v for n, v in question.items() if n not in known or _differs(law, n, v)}
    return f"says nothing on {', '.join(f'{n}={v:g}' for n, v in strange.items())}" if strange else ""


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


def say(console: Console, notes: Sequence[str], mark: str = "note: ") -> None:
    """Prints sentences, each with a mark before it."""
    for note in notes:
        console.print(printable(f"{mark}{note}"), markup=False, highlight=False, soft_wrap=True)


def _show_left_out(console: Console, left_out: Sequence[LeftOut]) -> None:
    """The groups and curves without a law, by name and reason, where there are any."""
    if left_out:
        console.print(left_out_cells(left_out).within(console.width))


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
            f"warning: {status} - {'all' if everyone else few}", markup=False, highlight=False, soft_wrap=True
        )
    if len(found) > most:
        console.print(f"warning: {len(found) - most} more (see --json)", markup=False, highlight=False)
