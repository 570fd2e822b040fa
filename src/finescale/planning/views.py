"""A plan as tables: for a terminal and for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from finescale.cells import Cells, as_text, bullets
from finescale.records.outcome_words import amount, heading, noun, unit_of
from finescale.wording import chance, count, method_name, method_title, number

if TYPE_CHECKING:
    from finescale.planning.outlook import Plan


def headline(plan: Plan) -> str:
    """How many runs for how much."""
    total = sum(len(run.seeds) for run in plan.runs)
    runs = "1 run" if total == 1 else f"{total} runs"
    return f"{plan.task or 'plan'}: {runs} for {number(plan.cost)} FLOPs of {number(plan.budget)}"


def question(plan: Plan) -> str:
    """The target, and where the costs come from."""
    return (
        f"target: {', '.join(f'{name} {count(value)}' for name, value in plan.target.items())}; {plan.basis}"
    )


def runs_table(plan: Plan) -> Cells:
    """One row a setting: those at the target, then the cheapest."""
    words = {"method": [method_name(run.method) for run in plan.runs]}
    if any(run.model for run in plan.runs):
        words["model"] = [run.model or "-" for run in plan.runs]
    numbers = {name: [count(run.sizes[name]) for run in plan.runs] for name in plan.runs[0].sizes}
    numbers["seeds"] = [", ".join(map(str, run.seeds)) for run in plan.runs]
    numbers["FLOPs each"] = [number(run.cost) for run in plan.runs]
    numbers[""] = ["check" if run.check else "" for run in plan.runs]
    return Cells("runs, in the order to make them", words, numbers)


def outlook_table(plan: Plan) -> Cells:
    """One row a method: what is known of its loss at the target, and what is expected after the runs."""
    words = {"method": [method_title(one.method) for one in plan.outlooks]}
    numbers: dict[str, list[str]] = {"settings so far": [str(one.settings) for one in plan.outlooks]}
    known = [one if one.settings else None for one in plan.outlooks]

    def tell(value: float) -> str:
        return amount(plan.outcome, value)

    numbers[f"{noun(plan.outcome)} now"] = [tell(one.loss) if one else "-" for one in known]
    numbers["interval now"] = [f"{tell(one.low)} to {tell(one.high)}" if one else "unknown" for one in known]
    numbers["+- expected after"] = [tell(one.after) for one in plan.outlooks]
    if len(known) > 1:
        numbers["best with"] = [chance(one.best) if one else "-" for one in known]
    what = f"loss at the target, {unit_of(plan.outcome)}"
    if plan.outcome.kind == "score":
        what = f"{heading(plan.outcome)} at the target"
    return Cells(f"mean {what}, with 90% intervals", words, numbers)


def plan_text(plan: Plan) -> str:
    """The plan as ``print`` writes it."""
    notes = [f"note: {note}" for note in plan.notes]
    return as_text(headline(plan), question(plan), runs_table(plan), outlook_table(plan), *notes)


def plan_html(plan: Plan) -> str:
    """The plan for a notebook; every text is escaped."""
    parts = [
        f"<p><b>{escape(headline(plan))}</b><br>{escape(question(plan))}</p>",
        runs_table(plan).html(),
        outlook_table(plan).html(),
        bullets(plan.notes),
    ]
    return "".join(parts)
