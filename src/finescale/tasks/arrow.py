"""Examples that stay on disk: rows of memory-mapped Arrow tables, read when they are asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from finescale.tasks.task import Example, LazyExamples

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

BLOCK = 1_000
"""Rows that are read at a time where all are read."""


@dataclass(frozen=True)
class Part:
    """Rows of one data set.

    Attributes:
        rows: The data set; `source`, `target` and the columns of `columns` are text.
        source: Column of the sources.
        target: Column of the targets.
        constants: Fields of the template that are the same in every row.
        columns: Field of the template to the column that has it.
    """

    rows: datasets.Dataset
    source: str
    target: str
    constants: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def read(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys((self.source, self.target, *self.columns.values())))

    def chunks(self, column: str) -> Iterator[pa.Array]:
        """A column as it lies on disk, chunk by chunk."""
        yield from self.rows.data.column(column).chunks


class ArrowExamples(LazyExamples):
    """Rows of one or several data sets, one after another, or some of them in an order of their own."""

    def __init__(self, parts: Sequence[Part], order: np.ndarray | None = None) -> None:
        """Takes the data sets.

        Args:
            parts: The data sets.
            order: Which rows, counted over all parts, in which order; None: all as they come.
        """
        self._parts = parts
        self._ends = np.cumsum([len(part.rows) for part in parts])
        self._order = order

    @property
    def parts(self) -> Sequence[Part]:
        """The data sets."""
        return self._parts

    def ordered(self, order: np.ndarray) -> ArrowExamples:
        """Other rows of the same data sets, counted over all parts."""
        return ArrowExamples(self._parts, order)

    def __len__(self) -> int:
        """How many examples."""
        return int(self._ends[-1]) if self._order is None else len(self._order)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        """One example, or several."""
        places = np.arange(len(self))[index] if isinstance(index, slice) else [range(len(self))[index]]
        found = self.take(places)
        return found if isinstance(index, slice) else found[0]

    def __iter__(self) -> Iterator[Example]:
        """Every example, read in blocks."""
        for start in range(0, len(self), BLOCK):
            yield from self.take(np.arange(start, min(start + BLOCK, len(self))))

    def take(self, places: Sequence[int] | np.ndarray) -> list[Example]:
        """The examples at some places, in the order given."""
        rows = np.asarray(places, dtype=np.int64)
        rows = rows if self._order is None else self._order[rows].astype(np.int64)
        found: list[Example | None] = [None] * len(rows)
        of_part = np.searchsorted(self._ends, rows, side="right")
        for index, part in enumerate(self._parts):
            mine = np.flatnonzero(of_part == index)
            if len(mine):
                first = int(self._ends[index - 1]) if index else 0
                for place, example in zip(mine, _examples(part, rows[mine] - first), strict=True):
                    found[place] = example
        return [example for example in found if example is not None]

    def strata(self, name: str) -> np.ndarray:
        """Which of a field's values each example has, as whole numbers [examples]."""
        values: list[np.ndarray] = []
        known: dict[str, int] = {}
        for part in self._parts:
            if name in part.constants:
                code = known.setdefault(part.constants[name], len(known))
                values.append(np.full(len(part.rows), code))
            else:
                values += [
                    np.array([known.setdefault(value, len(known)) for value in chunk.to_pylist()])
                    for chunk in part.chunks(part.columns[name])
                ]
        every = np.concatenate(values)
        return every if self._order is None else every[self._order]

    def digest(self) -> str:
        """A hash of the texts, from Arrow's own buffers: no row becomes an object.

        It does not depend on files, chunks or where they lie: for each column that is read, the bytes of all
        texts and their lengths are hashed as two streams.
        """
        parts = [
            {
                "constants": dict(part.constants),
                "columns": {name: _column_digest(part, name) for name in part.read},
                "roles": [part.source, part.target, dict(part.columns)],
            }
            for part in self._parts
        ]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
        if self._order is not None:
            digest.update(self._order.astype("<i8").tobytes())
        return digest.hexdigest()


def _examples(part: Part, rows: np.ndarray) -> list[Example]:
    read: Mapping[str, Any] = part.rows[rows.tolist()]
    names = list(part.columns)
    values = zip(*(read[part.columns[name]] for name in names), strict=True) if names else ((),) * len(rows)
    return [
        Example(source, target, {**part.constants, **dict(zip(names, fields, strict=True))})
        for source, target, fields in zip(read[part.source], read[part.target], values, strict=True)
    ]


def _column_digest(part: Part, column: str) -> str:
    text, lengths = hashlib.sha256(), hashlib.sha256()
    for chunk in part.chunks(column):
        if len(chunk):
            ends, data = _buffers(chunk)
            lengths.update(np.diff(ends).astype("<i8").tobytes())
            text.update(memoryview(data)[int(ends[0]) : int(ends[-1])])
    return lengths.hexdigest() + text.hexdigest()


def _buffers(chunk: pa.Array) -> tuple[np.ndarray, pa.Buffer | bytes]:
    """A chunk's offsets [texts + 1] and the bytes that they count in."""
    import pyarrow as pa  # noqa: PLC0415 - only where a data set is read

    if not pa.types.is_string(chunk.type):
        chunk = chunk.cast(pa.large_string())
    width = np.int32 if pa.types.is_string(chunk.type) else np.int64
    _, offsets, data = chunk.buffers()
    ends = np.frombuffer(offsets, dtype=width)[chunk.offset : chunk.offset + len(chunk) + 1]
    return ends, data if data is not None else b""
