"""``finescale predict`` without ``--law``: the forecast of every group that the question names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from finescale.cells import Cells
from finescale.cli import terminal
from finescale.cli.laws import numbers_of, say, write_json
from finescale.cli.reading import Table
from finescale.errors import DataError, UsageError
from finescale.forecasts.forecast import Forecasts, forecast
from finescale.forecasts.group import Forecast
from finescale.forecasts.question import Predicted
from finescale.forecasts.views import weights
from finescale.wording import factor_name, number

CHANGED = (
    "Without --law this is a forecast from several members; --law multiplicative gives what it gave before."
)


def forecast_command(
    table: Table,
    *,
    at: Sequence[str],
    by: Sequence[str],
    hold_out: str | None,
    base: Mapping[str, Any],
    via: str,
    draws: int,
    seed: int,
    to: str | None,
) -> None:
    """Reads, forecasts, shows; JSON to a file or to standard output.

    Args:
        table: Which table is read.
        at: Questions.
        by: Columns that make a group.
        hold_out: Runs to hide.
        base: Values at which other factors stay.
        via: How a score is forecast.
        draws: Number of joint draws.
        seed: Their seed.
        to: Where JSON goes.

    Raises:
        UsageError: A question that makes no sense.
        DataError: No group answers it.
    """
    questions = [numbers_of(question) for question in at]
    found = forecast(table.read(), by, base=base, hold_out=hold_out, via=via, draws=draws, seed=seed)
    told, refused = _answers(found, questions)
    if not told:
        raise DataError(
            "no forecast answers this question",
            wanted="a data size, and values that were run or that vary in the runs",
            got="; ".join(dict.fromkeys(refused)),
            remedy="e.g. --at model_params=7e9,finetune_examples=1e5",
        )
    notes = [CHANGED, *found.notes]
    if to:
        rows = [_row(group, one) for group, one in told]
        write_json({"schema": 1, "predictions": rows, "notes": notes}, to)
    if to != "-":
        out = terminal.console()
        out.print(_cells(told).within(out.width))
        for task, members in found.members.items():
            say(out, [f"members{' of ' + task if task else ''}: {weights(members)}"], mark="")
        across = {(name, one.members) for group, one in told for name in one.at if name in group.across}
        for name, members in sorted(across, key=str):
            if any(members == group.across.get(name) for group in found):
                say(out, [f"members across {factor_name(name)}: {weights(members)}"], mark="")
        for status in dict.fromkeys(status for _, one in told for status in one.status):
            who = "; ".join(dict.fromkeys(group.label for group, one in told if status in one.status))
            say(out, [f"{status} - {who}"], mark="warning: ")
        say(out, [*notes, *dict.fromkeys(refused)])


def refuse(**given: Any) -> None:
    """Refuses options that only a law has.

    Raises:
        UsageError: One of them is given.
    """
    for name, value in given.items():
        if value:
            raise UsageError(
                f"--{name} belongs to a law",
                wanted=f"--law NAME --{name} ..., or neither",
                got=f"--{name} without --law",
                remedy="a forecast moves along every factor that varies; name its value in --at",
            )


def _answers(
    found: Forecasts, questions: Sequence[Mapping[str, float]]
) -> tuple[list[tuple[Forecast, Predicted]], list[str]]:
    told: list[tuple[Forecast, Predicted]] = []
    refused: list[str] = []
    for question in questions:
        for group in found:
            own = {name: value for name, value in question.items() if name not in group.by}
            if any(not _same(group.by[name], value) for name, value in question.items() if name in group.by):
                continue
            try:
                told.append((group, group.predict(own)))
            except UsageError as error:
                refused.append(error.problem)
    return told, refused


def _same(have: Any, asked: float) -> bool:
    return isinstance(have, int | float) and abs(have - asked) <= 1e-9 * abs(asked)


def _row(group: Forecast, one: Predicted) -> dict[str, Any]:
    def plain(value: Any) -> float | None:
        return float(value) if math.isfinite(float(value)) else None

    members = [{"name": m.name, "weight": m.weight, "error": plain(m.error)} for m in one.members]
    return {
        "by": dict(group.by),
        "law": group.law,
        "factors": list(group.factors),
        "at": {name: float(value) for name, value in one.at.items()},
        "value": plain(one.value),
        "low": plain(one.low),
        "high": plain(one.high),
        "run_low": plain(one.run_low),
        "run_high": plain(one.run_high),
        "measured": plain(one.measured),
        "runs": int(one.runs),
        "members": members,
        "status": list(one.status),
    }


def _cells(told: Sequence[tuple[Forecast, Predicted]]) -> Cells:
    """One row a group and question: the forecast with both intervals, and what was measured there."""
    words = {name: [str(group.by[name]) for group, _ in told] for name in told[0][0].by}
    for name in dict.fromkeys(name for _, one in told for name in one.at):
        words[name] = [number(float(one.at[name]), 6) if name in one.at else "-" for _, one in told]

    def between(low: Any, high: Any) -> str:
        return f"{number(float(low), 5)} to {number(float(high), 5)}"

    numbers = {
        "forecast": [number(float(one.value), 5) for _, one in told],
        "interval of the mean": [between(one.low, one.high) for _, one in told],
        "interval of a new run": [between(one.run_low, one.run_high) for _, one in told],
    }
    if any(int(one.runs) for _, one in told):
        numbers["measured (runs)"] = [
            f"{number(float(one.measured), 5)} ({int(one.runs)})" if int(one.runs) else "-" for _, one in told
        ]
    outcome = told[0][0].outcome
    return Cells(f"forecast {outcome.name}" + (f", {outcome.unit}" if outcome.unit else ""), words, numbers)
