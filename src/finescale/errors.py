"""The errors that a user can cause: what was wanted, what came, and what to do, safe to show."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Self

_ALIKE = 0.5
"""Names at least so alike (difflib's ratio, capitals aside) are offered for a misspelt one."""
_UNSAFE = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 without tab and line feed: cursor, colours, window title
    "\u2028-\u202e\u2066-\u2069"  # line separators, and what turns the direction of writing around
    "\ud800-\udfff]"  # halves of surrogate pairs: no encoding can write them
)
UNPRINTABLE = re.compile(_UNSAFE)
"""Characters that do something to a terminal or cannot be written at all."""
FOR_POLARS = _UNSAFE.partition("\ud800")[0] + "]"
"""The same for polars, whose strings have no surrogates."""
INSTEAD = "\ufffd"


def printable(words: str) -> str:
    """The words with U+FFFD for every character that is unsafe to show; line breaks and tabs stay."""
    return UNPRINTABLE.sub(INSTEAD, words)


class FinescaleError(Exception):
    """A problem that is shown as a message, without a traceback.

    Attributes:
        problem, wanted, got, remedy, where: The parts of the message, as given.
        exit_code: The process's exit code where the command line reports the error.

    Example:
        >>> try:
        ...     fs.fit(records, "multiplicativ")
        ... except fs.FinescaleError as error:
        ...     print(error.problem, "-", error.remedy)
        no law is called `multiplicativ` - did you mean `multiplicative`?
    """

    exit_code = 1

    def __init__(
        self, problem: str, *, wanted: str = "", got: str = "", remedy: str = "", where: str = ""
    ) -> None:
        """Builds the message; what would do something to a terminal is replaced in it.

        Args:
            problem: One sentence: what is wrong.
            wanted: What would have been right.
            got: What came instead.
            remedy: What the user can do.
            where: File, line (or row) and field, e.g. ``study.yaml, line 7, grids[0].vary``.
        """
        self.problem, self.wanted, self.got, self.remedy, self.where = problem, wanted, got, remedy, where
        lines = [f"{where}: {problem}" if where else problem]
        lines += [
            f"  {label}: {text}"
            for label, text in (("wanted", wanted), ("got", got), ("remedy", remedy))
            if text
        ]
        super().__init__(printable("\n".join(lines)))

    def at(self, where: str) -> Self:
        """The same error at another place: ``raise error.at("study.yaml, line 3") from None``."""
        parts = {"wanted": self.wanted, "got": self.got, "remedy": self.remedy}
        return type(self)(self.problem, **parts, where=where)


class UsageError(FinescaleError, ValueError):
    """Wrong input: a file, a field, a flag (exit code 2).

    Example:
        >>> try:
        ...     fs.fit(records, by=["metod"])
        ... except fs.UsageError as error:
        ...     print(error.remedy)
        did you mean 'method'?
    """

    exit_code = 2


class DataError(FinescaleError, ValueError):
    """Valid input that does not allow the answer: too few runs, nothing left to fit (exit code 1).

    Example:
        >>> try:
        ...     fs.fit(records, "power", hold_out="finetune_examples > 128")
        ... except fs.DataError as error:
        ...     print(error.wanted)
        at least 4 (3 parameters and one to check them)
    """

    exit_code = 1


class Problems(UsageError):
    """Several problems of one kind, told together.

    Attributes:
        each: The problems.
    """

    def __init__(self, summary: str, each: Iterable[UsageError]) -> None:
        """Tells each problem under a summary.

        Args:
            summary: What they are, e.g. ``2 of 3 base models cannot be used``.
            each: The problems.
        """
        self.each = tuple(each)
        super().__init__("\n".join([f"{summary}:", *(str(error) for error in self.each)]))
        self.summary = summary

    def at(self, where: str) -> Problems:
        """The same: every problem has a place of its own."""
        del where
        return self


def combine(summary: str, found: Iterable[UsageError]) -> UsageError:
    """One problem as it is, several under a summary."""
    each = [part for error in found for part in (error.each if isinstance(error, Problems) else (error,))]
    return each[0] if len(each) == 1 else Problems(summary, each)


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one is most like; None where none is like it."""
    folded = {item.casefold(): item for item in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=_ALIKE)
    return folded[close[0]] if close else None


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'X'?`` for a misspelt name, or an empty string."""
    found = closest(name, known)
    return "" if found is None else f"did you mean {found!r}?"


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> UsageError:
    """The error for a name that does not exist."""
    known = sorted(known)
    return UsageError(
        f"unknown {kind} {name!r}",
        wanted="one of " + ", ".join(known),
        got=repr(name),
        remedy=nearest(name, known),
        where=where,
    )
