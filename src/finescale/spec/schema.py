"""The JSON Schema of study files, made from the models that read them: for editors, and for other tools.

A study that the schema refuses is refused here, too. The reverse does not hold: what depends on several
fields (a method that no star runs, several candidates without a sweep) is found when the file is read.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from finescale.spec.study import PretrainStudy, Study

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE = "study.schema.json"
"""The name under which `finescale schema` and `finescale init` keep it."""


class _Described(GenerateJsonSchema):
    """With the docstring below a field as its description, and without titles that repeat names."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        made = super().model_schema(schema)
        words = _docstrings(schema["cls"])
        for name, field in made.get("properties", {}).items():
            field.pop("title", None)
            if words.get(name):
                field["description"] = words[name]
        made.pop("title", None)
        made["description"] = inspect.cleandoc(schema["cls"].__doc__ or "").partition("\n\nExample:")[0]
        return {name: value for name, value in made.items() if value != ""}


def study_schema() -> dict[str, Any]:
    """The JSON Schema of a study file, of either kind.

    Returns:
        Plain data.

    Example:
        >>> schema = study_schema()
        >>> schema["$defs"]["Study"]["properties"]["keep"]["enum"]
        ['nothing', 'adapters', 'weights']
    """
    kinds: list[tuple[type[BaseModel], Any]] = [(Study, "validation"), (PretrainStudy, "validation")]
    _, made = models_json_schema(kinds, by_alias=True, schema_generator=_Described)
    pretraining = {"properties": {"kind": {"const": "pretrain"}}, "required": ["kind"]}
    return {
        "$schema": DIALECT,
        "title": "A finescale study",
        "type": "object",
        "if": pretraining,
        "then": {"$ref": "#/$defs/PretrainStudy"},
        "else": {"$ref": "#/$defs/Study"},
        **_either(made),
    }


def schema_text() -> str:
    """The schema as it is written to a file."""
    return json.dumps(study_schema(), indent=1, ensure_ascii=False) + "\n"


def _either(value: Any) -> Any:
    """`anyOf` for every `oneOf` (an empty list is one of rates and of candidates); no key off a pattern."""
    if isinstance(value, dict):
        closed = {"additionalProperties": False} if "patternProperties" in value else {}
        return {"anyOf" if n == "oneOf" else n: _either(item) for n, item in value.items()} | closed
    return [_either(item) for item in value] if isinstance(value, list) else value


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below the fields of a model, by the name that a file gives the field."""
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        for field, words in _written(parent.__module__).get(parent.__name__.partition("[")[0], {}).items():
            if field in model.model_fields:
                found[model.model_fields[field].alias or field] = words
    return found


@cache
def _written(module: str) -> dict[str, dict[str, str]]:
    """The docstrings below the fields of each class of a module of ours."""
    if not module.startswith("finescale."):
        return {}
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    return {node.name: dict(_of_class(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, after in zip(node.body, node.body[1:], strict=False):
        said = after.value if isinstance(after, ast.Expr) else None
        name = field.target if isinstance(field, ast.AnnAssign) else None
        if isinstance(name, ast.Name) and isinstance(said, ast.Constant):
            yield name.id, " ".join(inspect.cleandoc(str(said.value)).split())
