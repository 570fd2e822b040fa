"""The explorer: its controls, the place for its answer, its data, and the page's script."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from finescale.records.outcome_words import heading, noun
from finescale.report.decisions import Decision
from finescale.report.drawing.markup import Html, join, tag
from finescale.report.explorer_data import HOURS_PRICE, SHOWN, STEPS, explorable, payload, room
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import of_task


def _fill(content: Content) -> Made:
    parts: list[Html] = []
    answered = content.answered
    needs = [] if answered else ["The explorer needs finished runs."]
    for index, (task, made) in enumerate(answered.items()):
        if isinstance(made, str):
            needs.append(of_task(content, task, f"Nothing to explore: {made}"))
        elif not explorable(made):
            lacks = "The explorer needs draws (--bootstrap), and laws that are plain arithmetic."
            needs.append(of_task(content, task, lacks))
        else:
            parts += [tag("h3", task)] if len(answered) > 1 else []
            parts.append(_controls(made, index, len(answered)))
    how = (
        "Move model size, data and price, or type them (13B, 50,000, 50k), at most ten times beyond the "
        "runs: the numbers are those of finescale advise. All runs count, held-out ones too. The page's "
        "address keeps the question: whoever opens it sees the same answer."
    )
    body = join(tag("p", how, class_="soft"), *parts) if parts else Html("")
    return Made(body, needs=needs)


def script() -> str:
    """The script's text."""
    assets = resources.files("finescale.report") / "assets"
    return "".join((assets / name).read_text(encoding="utf-8") for name in ("numbers.js", "explorer.js"))


def script_hash() -> str:
    """The script's hash, for the page's content security policy: no other script runs."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()


def _controls(decision: Decision, index: int, tasks: int = 1) -> Html:
    """The controls, the place for the answer, and the data.

    Args:
        decision: The laws and the advice of a task.
        index: The task's number on the page.
        tasks: How many tasks the page has.
    """
    most = room(decision, tasks)
    data = payload(decision, most)
    name = f"explorer-{index}"
    sliders = []
    if data["sizes"]:
        sliders.append(_control(name, "size", "Model size (parameters)"))
    sliders.append(_control(name, "data", "Finetuning examples"))
    flops = any(candidate["flops"][1] for candidate in data["candidates"])
    rated = data["names"]["price"] == HOURS_PRICE
    if flops or rated:
        sliders.append(
            _control(name, "price", "Price of an hour" if rated else "Price of 10\u00b9\u2078 FLOPs")
        )
    outcome = decision.found.outcome
    heads = ["method", f"predicted {noun(outcome)}", "mean, 90%", "a new run, 90%", "best with"]
    heads += ["FLOPs"] if flops else []
    heads += ["time"] if rated else []
    heads += ["cost"] if flops or rated else []
    table = tag(
        "table",
        tag("caption", f"Predicted {heading(outcome)}"),
        tag("thead", tag("tr", *[tag("th", h, scope="col", **_look(h)) for h in heads])),
        tag("tbody"),
    )
    parts = [
        tag("div", *sliders, class_="sliders"),
        tag("p", class_="wrong link", role="alert"),
        tag("p", class_="headline verdict", aria_live="polite"),
        tag("p", class_="small why"),
        tag("div", table, class_="scroll", tabindex="0", role="group", aria_label="Predictions"),
        tag("div", class_="plot"),
        tag(
            "noscript",
            tag("p", "The explorer needs JavaScript; the same: finescale advise.", class_="missing"),
        ),
        Html(f'<script type="application/json" class="data">{_safe(data)}</script>'),
    ]
    have = len(decision.found.members)
    if have > SHOWN:
        words = f"The best {SHOWN} of {have} are shown; the probability is that of being the best of "
        words += "all." if have <= most else f"the {most} that lead at the advice's own question."
        parts.append(tag("p", words, class_="small"))
    return tag("div", join(*parts), class_="explorer", id=name)


def _control(name: str, what: str, label: str) -> Html:
    """A slider, the field beside it in which its number can be typed, and the line for what is wrong."""
    slider, field = f"{name}-{what}", f"{name}-{what}-typed"
    looks = {
        "class_": "typed",
        "autocomplete": "off",
        "spellcheck": "false",
        "aria_describedby": f"{field}-wrong",
    }
    return tag(
        "div",
        tag("label", label, for_=field, id=f"{field}-label"),
        tag("input", type="text", id=field, **looks),
        tag(
            "input",
            type="range",
            id=slider,
            min="0",
            max=str(STEPS),
            step="1",
            data_what=what,
            aria_labelledby=f"{field}-label",
        ),
        tag("p", class_="wrong", id=f"{field}-wrong", role="alert"),
    )


def _look(heading: str) -> dict[str, str]:
    return {} if heading == "method" else {"class_": "n"}


def _safe(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


SECTION = Section("explorer", "Ask for another model, data size or price", _fill)
