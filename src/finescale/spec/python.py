"""A study from Python's values: the schema and the messages of a study file."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from pydantic import BaseModel

from finescale.errors import UNPRINTABLE, UsageError
from finescale.spec.study import Study
from finescale.spec.yaml import write_yaml

LARGE = 1000
"""Whole floats from here on are whole numbers, as `7e9` is in a file; smaller ones may be rates or shares."""


def file_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Python's values as a file would have them.

    Args:
        fields: The study's fields: mappings, sequences, numbers (numpy's too), texts, paths, and parts of
            other studies.

    Raises:
        UsageError: A text with a control character; where it is.
    """
    return {str(name): _value(item, str(name)) for name, item in fields.items()}


def study_text(study: Study) -> str:
    """A study as the YAML of a file; defaults are left out.

    Args:
        study: The study.
    """
    data = study.model_dump(mode="json", exclude_defaults=True)
    return write_yaml({"kind": study.kind, "version": study.version, **data})


def _value(value: Any, where: str) -> Any:
    if isinstance(value, BaseModel):
        return _value(value.model_dump(by_alias=True, exclude_unset=True), where)
    if isinstance(value, Mapping):
        return {key: _value(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return tuple(_value(item, f"{where}[{place}]") for place, item in enumerate(value))
    if isinstance(value, PathLike):
        value = fspath(value)
    if callable(getattr(value, "tolist", None)):  # of numpy and torch
        return _value(value.tolist(), where)
    return _text(value, where) if isinstance(value, str) else _number(value)


def _text(text: str, where: str) -> str:
    found = UNPRINTABLE.search(text)
    if found is None:
        return text
    got = f"U+{ord(found[0]):04X} in {text[:80]!r}"
    raise UsageError("a control character", wanted="printable text", got=got, remedy="remove it", where=where)


def _number(value: Any) -> Any:
    whole = isinstance(value, float) and value.is_integer() and LARGE <= abs(value) < 2**53
    return int(value) if whole else value
