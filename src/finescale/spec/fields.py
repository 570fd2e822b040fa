"""Field types, and the frozen models that study files and runs are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
File = Annotated[str, Field(min_length=1, max_length=1000)]
Column = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(gt=0, le=10**15)]
Rate = Annotated[float, Field(gt=0, le=10)]
Metric = Literal["bleu", "chrf", "rouge1", "rouge2", "rougeL", "exact_match", "bleurt", "comet"]
Shots = Annotated[int, Field(ge=0, le=32)]


canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""Plain data as canonical JSON, which is what fingerprints hash."""


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values of which none is there twice."""
    if len(set(values)) != len(values):
        raise ValueError("each value once")
    return values


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy without what was computed from the original (cached properties)."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            object.__delattr__(copied, name)
        return copied


class Hashed(Strict):
    """A part of a run that enters its fingerprint."""

    added: ClassVar[frozenset[str]] = frozenset()
    """Fields that came after fingerprint version 1: they count only where they differ from their default."""
    ignored: ClassVar[frozenset[str]] = frozenset()
    """Fields that never count: they change memory or speed, and results only by rounding."""

    def science(self) -> dict[str, Any]:
        """What of it changes the science, as plain data."""
        plain = self.model_dump(mode="json", exclude=set(self.ignored))
        fields = type(self).model_fields
        return {
            name: value
            for name, value in plain.items()
            if name not in self.added
            or getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }

    @cached_property
    def science_json(self) -> str:
        """`science` as canonical JSON, made once for all runs that share the part."""
        return canonical(self.science())
