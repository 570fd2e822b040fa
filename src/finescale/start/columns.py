"""Which columns of a user's data are read, which is learned, and which stand beside the question."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.spec.run import TaskSpec
from finescale.tasks.layouts import RECOGNISED, layout_of
from finescale.tasks.rows import Row

WHOLE = (("source", "target"), ("src", "tgt"), ("x", "y"))
"""Names that say both sides of a pair together; `source` or `x` alone say nothing."""
QUESTIONS = ("question", "query", "instruction", "prompt", "problem", "request", "user", "human")
BODIES = ("dialogue", "article", "document", "input", "text", "sentence", "review")
LEARNED = (
    "answer", "response", "output", "completion", "reply", "assistant", "solution", "highlights", "summary",
    "target", "label",
)  # fmt: skip
"""Names of columns that data sets give to what is read (questions, or texts) and to what is learned."""
SYSTEM = ("system", "system_prompt")
CONTEXT = ("context", "passage", "paragraph", "article", "document", "dialogue", "story", "input", "options")
"""Names of columns that stand before the question, and beside it."""
AFTER = ("instruction", "prompt", "problem", "request", "user", "human")
"""What a context comes after, as in Alpaca and Dolly; before a question, as in SQuAD ..."""
ALWAYS_AFTER = ("input", "options")
"""... but these come after anything."""
CHOICES = "ABCDEFGH"
TABLES = (".csv", ".tsv")
"""Files whose first line names the columns."""
LOOKED = 1_000
"""Rows whose values tell what a column holds."""
NO_TEXT = re.compile(
    r"\s*|[-+]?[\d.,]+([eE][-+]?\d+)?%?"  # numbers
    r"|(https?|ftp|s3|gs)://\S+|www\.\S+"
    r"|\d{4}-\d\d-\d\d([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}([T ].*)?"  # dates
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9a-f]{16,}"  # UUIDs and hashes
)
"""Values that are neither read nor learned where nothing else speaks for their column ..."""
NUMBERED = re.compile(r"[A-Za-z]{1,12}[-_:/]?\d+")
"""... and doc-17."""
IDENTIFIER = re.compile(
    r"|(.*[ _-])?(ids?|idx|index|uuid|guid|hash|url|uri|link|date|time|timestamp|path|file)"
)
"""Names of columns that are not, either (the index of a data frame has none)."""
REFUSED = ("rejected", "reject", "rejected_response")
ACCEPTED = ("chosen", "accepted", "preferred", "chosen_response")


def pair_columns(
    spec: TaskSpec, rows: Sequence[Row], train: Path, source: str | None, target: str | None
) -> dict[str, str]:
    """The task's `source`, `target` and `template`, as far as the layout itself does not say them.

    Args:
        spec: The task, without columns.
        rows: The training rows, at least one.
        train: Their file.
        source: Column that the user names.
        target: The other one.

    Raises:
        UsageError: They cannot be told.
    """
    first = rows[0].values
    texts = _texts(rows)
    if source and target:
        return {"source": source, "target": target}
    if not source and not target:
        if (kind := layout_of(spec, first).kind) != "pairs":
            _refuse_judged(kind, first, train)
            return {}
        if {"source", "target"} <= first.keys():
            return {}
        _refuse_preferences(first, train)
    found = _pair(texts, source, target)
    if found is None:
        raise _asked(first, [name for name in texts if not _names_rows(name, rows)], train)
    if source or target:
        return {"source": found[0], "target": found[1]}
    asked, learned = found
    return _prompt(asked, [name for name in texts if name not in found], rows) | {"target": learned}


def _texts(rows: Sequence[Row]) -> list[str]:
    """The columns that hold text somewhere."""
    held: dict[str, None] = {}
    for row in rows[:LOOKED]:
        held |= dict.fromkeys(name for name, value in row.values.items() if isinstance(value, str))
    order = list(rows[0].values)
    return sorted(held, key=lambda name: order.index(name) if name in order else len(order))


def _pair(texts: Sequence[str], source: str | None, target: str | None) -> tuple[str, str] | None:
    """What is read and learned by known names, where these leave one answer; what is stated stays."""
    names = {name.casefold(): name for name in texts}
    for one, other in WHOLE:
        if one in names and other in names and {source, target} <= {None, names[one], names[other]}:
            return names[one], names[other]
    learned = [names[name] for name in LEARNED if name in names and names[name] != source]
    learned = [target] if target else learned
    asked, bodies = (
        [names[name] for name in known if name in names and names[name] not in learned]
        for known in (QUESTIONS, BODIES)
    )
    read = [*asked, *(name for name in bodies if not asked or name.casefold() not in CONTEXT)]
    read = [source] if source else read
    return (read[0], learned[0]) if len(read) == len(learned) == 1 else None


def _prompt(question: str, others: Sequence[str], rows: Sequence[Row]) -> dict[str, str]:
    """The task's source, and a template where further columns belong to the question.

    The longest of them is the source, whatever is asked: the source alone is cut where it is too long.
    """
    names = {name.casefold(): name for name in others if name.isidentifier()}
    system = [names[name] for name in SYSTEM if name in names][:1]
    context = [names[name] for name in CONTEXT if name in names]
    later = question.casefold() in AFTER
    after = [name for name in context if later or name.casefold() in ALWAYS_AFTER]
    before = [name for name in context if name not in after]
    source = max((question, *context), key=lambda name: _characters(name, rows))
    parts = ["{source}" if name == source else f"{{{name}}}" for name in (*system, *before, question, *after)]
    if {"A", "B"} <= set(others):
        parts.append("\n".join(f"{letter}. {{{letter}}}" for letter in CHOICES if letter in others))
    return {"source": source} | ({"template": "\n\n".join(parts) + "\n"} if len(parts) > 1 else {})


def _characters(name: str, rows: Sequence[Row]) -> int:
    return sum(len(str(row.values.get(name) or "")) for row in rows[:LOOKED])


def _refuse_preferences(first: Mapping[str, Any], train: Path) -> None:
    """Refuses answers that are liked and disliked: a study would learn both."""
    names = {name.casefold(): name for name in first}
    bad = next((names[name] for name in REFUSED if name in names), None)
    if bad is None:
        return
    good = next((names[name] for name in ACCEPTED if name in names), None)
    question = next((names[name] for name in (*QUESTIONS, *BODIES) if name in names), None)
    remedy = "write the good answers into a file of pairs"
    if good is not None and not isinstance(first[good], str):
        remedy = (
            f"for the chosen answers alone write `{good}` into a file of its own, as the column `messages`"
        )
    elif good is not None and question is not None:
        remedy = f"for the chosen answers alone: --source {question} --target {good}"
    elif good is not None:
        remedy = f"cut each `{good}` into what is read and what is learned: two columns, source and target"
    raise UsageError(
        f"preferences, with answers that are to be avoided in `{bad}`",
        wanted="what is read, and the one text that is to be learned",
        got=", ".join(map(str, first))[:200],
        remedy=remedy,
        where=f"--data {train}",
    )


def _refuse_judged(kind: str, first: Mapping[str, Any], train: Path) -> None:
    """Refuses completions that a label calls good or bad (KTO)."""
    if "completion" in kind and str(first.get("label")).casefold() in ("true", "false"):
        raise UsageError(
            "completions that `label` calls good or bad: all would be learned",
            wanted="completions that are to be learned",
            got=", ".join(map(str, first))[:200],
            remedy="keep the rows whose label is true, without that column",
            where=f"--data {train}",
        )


def _names_rows(name: str, rows: Sequence[Row]) -> bool:
    """Whether a column holds ids, addresses, numbers or dates alone."""
    if IDENTIFIER.fullmatch(name.casefold()):
        return True
    values = {str(row.values.get(name) or "").strip() for row in rows[:LOOKED]}
    if all(NO_TEXT.fullmatch(value) for value in values):
        return True
    return len(values) == min(LOOKED, len(rows)) and all(NUMBERED.fullmatch(value) for value in values)


def _asked(first: Mapping[str, Any], able: Sequence[str], train: Path) -> UsageError:
    """What is said where nobody can tell what is read and what is learned."""
    got = ", ".join(map(str, first))[:200]
    if train.suffix.lower() in TABLES and any(map(_is_data, first)):
        return UsageError(
            "the first line looks like data, not like names of columns",
            wanted="a line of names before the rows, e.g. source,target",
            got=got,
            remedy=_named(train, len(first)),
            where=f"--data {train}",
        )
    named = " and ".join(f"`{name}`" for name in able)
    others = [name for name, value in first.items() if not isinstance(value, str) and value is not None]
    got += f" (no text: {', '.join(others)[:80]})" if others else ""
    written = f"write `{others[-1]}` as text where that is what is learned" if others else ""
    if len(able) < 2:
        return UsageError(
            "no two columns of text: one that is read, one that is learned",
            wanted=f"columns as one of: source, target; {RECOGNISED}; or --source COLUMN --target COLUMN",
            got=f"{got}: of these {named or 'none'} is text that could be read or learned",
            remedy=written,
            where=f"--data {train}",
        )
    one, other = (shlex.quote(name) for name in able[:2])
    flags = f"--source {one} --target {other}, or --source {other} --target {one}"
    flags = flags if len(able) == 2 else f"two of {named}; `template` in the study takes further ones"
    header = "; the file's first line has to name its columns" if train.suffix.lower() in TABLES else ""
    return UsageError(
        "which column is read, and which is learned?",
        wanted=f"--source COLUMN --target COLUMN{header}",
        got=got,
        remedy=f"{flags}; {written}" if written else flags,
        where="--data",
    )


def _named(train: Path, columns: int) -> str:
    """The line that puts names before a file's rows."""
    mark = "\\t" if train.suffix.lower() == ".tsv" else ","
    names = mark.join(("source", "target", *(f"column{number}" for number in range(3, columns + 1))))
    return f"(printf '{names}\\n'; cat {train.name}) > named{train.suffix}, the names in the file's order"


def _is_data(name: str) -> bool:
    """Whether a CSV file's first line has something that is no name of a column."""
    words = name.split()
    sentence = len(words) > 6 or (len(words) > 2 and name.rstrip().endswith((".", "?", "!")))
    return bool(name.strip()) and (sentence or bool(NO_TEXT.fullmatch(name)))
