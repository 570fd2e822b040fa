"""Reads a study file: YAML -> `Study` or `PretrainStudy`; every error names file, line and field."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from finescale.errors import Problems, UsageError, nearest
from finescale.spec.fields import Strict
from finescale.spec.own import FieldError, UnknownKey
from finescale.spec.places import base_folder
from finescale.spec.study import PretrainStudy, Study
from finescale.spec.yaml import Node, read_yaml

MAX_BYTES = 1_000_000
KINDS: dict[str, type[Strict]] = {"finetune": Study, "pretrain": PretrainStudy}
SHOWN_PROBLEMS = 5

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text (put it in quotes if it looks like a number)",
    "bool_type": "true or false",
    "tuple_type": "a list, e.g. [1, 2]",
    "model_type": "a mapping of `key: value`",
    "dict_type": "a mapping of `key: value`",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} item(s)",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "letters, digits and . _ - (at most 80, the first a letter or digit)",
    "union_tag_invalid": "one of {expected_tags}",
}
_FORMS = {
    "models": "models: {small: {from: ./my-model}}",
    "methods": "methods: {dora: {peft: LoraConfig, use_dora: true}}",
    "task": "task: {name: notes, train: pairs.jsonl}",
    "base": "base: {model: small, pet_size: {lora: 8}}",
    "pet_size": "pet_size: {lora: 8, prompt: 16}",
    "finetune_examples": "finetune_examples: {full: [100, 1000], lora: [100, 1000]}",
    "learning_rates": "learning_rates: {full: [0.0001, 0.0003], lora: [0.001, 0.003]}",
    "sweep": "sweep: {model: small, finetune_examples: 100}",
}
"""How a field is written that wants a mapping."""


def load_study(path: str | Path) -> Study | PretrainStudy:
    """Reads a study file as a specification; ``fs.load_study`` makes of it what can be run.

    Args:
        path: A YAML file; files and folders that it names are taken relative to it.

    Raises:
        UsageError: The file is missing or not a valid study; the message names file, line and field.
    """
    path = Path(path)
    study = parse_study(_text(path), path.name)
    if not isinstance(study, Study):
        return study
    try:
        return study.resolve_paths(base_folder(path))
    except UsageError as error:
        raise with_location(error, path) from None


def parse_study(text: str, name: str = "study.yaml") -> Study | PretrainStudy:
    """Like `load_study`, from the file's text.

    Args:
        text: YAML.
        name: The file's name, for messages.

    Returns:
        The study, validated.
    """
    root = read_yaml(text, name)
    if root is None:
        raise UsageError(
            "the file is empty", wanted="a study (name, task, base, grids, ...)", where=f"{name}, line 1"
        )
    if root.kind != "mapping":
        raise UsageError(
            "not a study",
            wanted="a mapping of `key: value` (name, task, base, grids, ...)",
            got=_shown(root),
            where=f"{name}, line {root.line}",
        )
    kind = root.items.get("kind")
    if kind is not None and kind.value not in KINDS:
        raise UsageError(
            "unknown kind of study",
            wanted="finetune or pretrain",
            got=_shown(kind),
            remedy=nearest(str(kind.value), KINDS),
            where=f"{name}, line {kind.line}, kind",
        )
    model = KINDS[kind.value if kind is not None else "finetune"]
    try:
        return model.model_validate(root.plain())  # pyright: ignore[reportReturnType]
    except ValidationError as error:
        raise in_our_words(error, root, model, name) from None


def with_location(error: UsageError, path: str | Path) -> UsageError:
    """An error about a field of a study, told with the file and the line where the field is.

    Args:
        error: Its `where` is a field as a user writes it, e.g. `grids[0].values`.
        path: The study file.

    Returns:
        The error with file, line and field; the error itself where the file does not hold the field.
    """
    path = Path(path)
    if isinstance(error, Problems):
        return Problems(error.summary, [with_location(part, path) for part in error.each])
    root = read_yaml(_text(path), path.name)
    parts = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", error.where)]
    if root is None or not parts or parts[0] not in root.items:
        return error
    _, line, _ = _place(root, tuple(parts))
    where = f"{path.name}, line {line}, {error.where}"
    return UsageError(error.problem, wanted=error.wanted, got=error.got, remedy=error.remedy, where=where)


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            inside = sorted(item.name for item in path.iterdir() if item.suffix in (".yaml", ".yml"))
            remedy = f"name a file in it: {', '.join(inside[:5])}" if inside else ""
            raise UsageError(
                "a folder, not a file", wanted="a study file (YAML)", remedy=remedy, where=str(path)
            )
        if not path.exists():
            beside = path.parent.iterdir() if path.parent.is_dir() else iter(())
            names = sorted(item.name for item in beside if item.suffix in (".yaml", ".yml"))
            remedy = nearest(path.name, names) or (f"there is: {', '.join(names[:5])}" if names else "")
            raise UsageError("no such file", wanted="a study file (YAML)", remedy=remedy, where=str(path))
        if not path.is_file():
            raise UsageError("not a regular file", wanted="a study file (YAML)", where=str(path))
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UsageError(
                "too large for a study file",
                wanted=f"at most {MAX_BYTES:,} bytes",
                got=f"{size:,} bytes",
                where=str(path),
            )
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(
            "not a text file", wanted="YAML in UTF-8", where=f"{path.name}, line {line}"
        ) from None
    except OSError as error:
        raise UsageError(
            "the file cannot be read",
            wanted="a readable study file",
            got=str(error.strerror),
            where=str(path),
        ) from None


def in_our_words(error: ValidationError, root: Node, model: type[Strict], name: str) -> UsageError:
    """Every problem of a study in our words, in the order of its lines.

    Args:
        error: What pydantic found.
        root: The study's values; those that come from no file have the line 0.
        model: The kind of study.
        name: The file's name.
    """
    found: dict[str, tuple[int, UsageError]] = {}
    for problem in error.errors(include_url=False):
        node, line, field = _place(root, _location(problem))
        if problem["type"] == "too_short" and node.items:
            continue  # pydantic counts the valid items only; the invalid one has an error of its own
        where = ", ".join(filter(None, (name, f"line {line}" if line else "", field)))
        found.setdefault(where, (line, _translate_error(problem, node, where, model)))
    told = [item for _, item in sorted(found.values(), key=lambda pair: pair[0])]
    if len(told) == 1:
        return told[0]
    shown = "\n".join(str(item) for item in told[:SHOWN_PROBLEMS])
    more = len(told) - SHOWN_PROBLEMS
    return UsageError(shown + (f"\n... and {more} more" if more > 0 else ""))


def _location(problem: Any) -> tuple[Any, ...]:
    """Where a problem is, to the field that the user has to change."""
    location, context = problem["loc"], problem.get("ctx", {})
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return (*location, context["discriminator"].strip("'"))
    error = context.get("error")
    return (*location, *error.field) if isinstance(error, FieldError) else location


def _place(root: Node, location: tuple[Any, ...]) -> tuple[Node, int, str]:
    """The node that a location means, its line, and its path as a user writes it (`grids[0].vary`).

    A location may hold names of pydantic's branches and fields that a short form leaves out; both are no
    part of the file and are passed over.
    """
    node, line, field = root, root.line, ""
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if part in node.items:
            line = node.key_lines.get(part, node.items[part].line)
            node = node.items[part]
        elif not (last and node.kind == "mapping" and not str(part).startswith("(")):
            continue
        key = str(part)[:80]
        key = key if key.strip() and key.isprintable() else repr(key)
        field += f"[{part}]" if isinstance(part, int) else f".{key}" if field else key
    return node, line, field


def _translate_error(problem: Any, node: Node, where: str, model: type[Strict]) -> UsageError:
    kind, context = problem["type"], problem.get("ctx", {})
    key = str(problem["loc"][-1]) if problem["loc"] else ""
    error = context.get("error")
    if kind == "extra_forbidden" or isinstance(error, UnknownKey):
        if isinstance(error, UnknownKey):
            key, known = str(error.field[-1]), list(error.known)
        else:
            known = sorted(_known_keys(model, problem["loc"][:-1]))
        return UsageError(
            f"unknown key {key[:80]!r}",
            wanted="one of " + ", ".join(known),
            got=repr(key[:80]),
            remedy=nearest(key, known),
            where=where,
        )
    if kind == "missing":
        return UsageError(f"{key} is missing", wanted=f"a value for {key}", where=where)
    if kind == "union_tag_not_found":
        key = context["discriminator"].strip("'")
        misspelt = get_close_matches(key, [str(item) for item in node.items], n=1)
        if misspelt:
            remedy = f"did you mean {key!r}?"
            return UsageError(
                f"unknown key {misspelt[0]!r}", wanted=key, got=repr(misspelt[0]), remedy=remedy, where=where
            )
        return UsageError(f"{key} is missing", wanted=f"a value for {key}", where=where)
    if kind == "value_error":
        wanted = str(context.get("error", ""))
    else:
        wanted = _WANTED.get(kind, "a valid value").format_map(
            {name: str(item).replace("'", "") for name, item in context.items()}
        )
    got = _shown(node)
    remedy = ""
    if kind in ("model_type", "dict_type") and key in _FORMS:
        wanted += f", e.g. {_FORMS[key]}"
    if kind == "literal_error" and isinstance(node.value, str):
        remedy = nearest(node.value, wanted.replace(" or ", ", ").split(", "))
    elif kind == "union_tag_invalid":
        remedy = nearest(str(context["tag"]), wanted.removeprefix("one of ").split(", "))
    return UsageError("a value that cannot be right", wanted=wanted, got=got, remedy=remedy, where=where)


def _shown(node: Node) -> str:
    if node.kind == "mapping":
        keys = ", ".join(str(key)[:40] for key in list(node.items)[:5])
        return f"a mapping with the keys {keys}" if keys else "an empty mapping"
    if node.kind == "list":
        return f"a list of {len(node.items)}" if node.items else "an empty list"
    if node.value is None:
        return "nothing"
    return repr(node.value)[:120] if isinstance(node.value, str) else str(node.value).lower()


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    """The keys that are known at a location of a study."""
    kinds: list[Any] = [model]
    for part in location:
        inner = [item for kind in kinds for item in _inside(kind, part)]
        kinds = inner or kinds
    models = (model for kind in kinds for model in _models(kind))
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models among the branches of a type."""
    for branch in _branches(annotation):
        if isinstance(branch, type) and issubclass(branch, BaseModel):
            yield branch


def _inside(annotation: Any, part: Any) -> Iterator[Any]:
    """The types of a field, item or value of a type."""
    for branch in _branches(annotation):
        if isinstance(branch, type) and issubclass(branch, BaseModel):
            for name, field in branch.model_fields.items():
                if part == (field.alias or name):
                    yield field.annotation
        elif get_origin(branch) is tuple and isinstance(part, int):
            yield get_args(branch)[0]
        elif get_origin(branch) in (dict, Mapping):
            yield get_args(branch)[1]


def _branches(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for item in get_args(annotation):
            yield from _branches(item)
    else:
        yield annotation
