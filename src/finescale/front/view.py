"""What a study says of itself: data by name, the command's text in `print`, the same in Jupyter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from rich.console import RenderableType

from finescale.cells import as_text


class StudyView(Mapping[str, Any]):
    """A mapping that prints as the command line does.

    Example:
        >>> view = fs.StudyView("a study", {"runs": 3}, ["3 runs, none of them made"])
        >>> print(view)
        3 runs, none of them made
        >>> view["runs"], view
        (3, StudyView(a study))
    """

    def __init__(self, name: str, data: Mapping[str, Any], parts: Sequence[RenderableType]) -> None:
        """Takes data and what a terminal shows of it.

        Args:
            name: What it is, in a few words.
            data: By name.
            parts: Tables and sentences.
        """
        self._name, self._data, self._parts = name, data, parts

    def __getitem__(self, name: str) -> Any:
        return self._data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        return f"StudyView({self._name})"

    def __str__(self) -> str:
        return as_text(*self._parts)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(as_text(*self._parts, width=120))}</pre>"
