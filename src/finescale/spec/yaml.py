"""YAML as plain data in which every value and key still knows its line.

Built from libyaml's events, not from PyYAML's composer: a hostile file (deep nesting, alias bombs, tags that
name Python objects) ends in a `UsageError`. Plain scalars follow YAML 1.2: `1e-3` is a number, `yes` is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from finescale.errors import UNPRINTABLE, UsageError

MAX_DEPTH = 20
MAX_VALUES = 200_000

_NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d{1,3})?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "True": True, "false": False, "False": False}


@dataclass
class Node:
    """A value of the file.

    Attributes:
        line: Its line, from 1.
        value: Text, number, truth value or None; for a mapping or list see `items`.
        items: Keys (of a mapping) or positions (of a list) to nodes; None for a single value.
        key_lines: The line of each key of a mapping.
        kind: `value`, `mapping` or `list`.
        height: Levels from this node down.
    """

    line: int
    kind: str = "value"
    value: Any = None
    items: dict[Any, Node] = field(default_factory=dict)
    key_lines: dict[Any, int] = field(default_factory=dict)
    height: int = 1

    def plain(self) -> Any:
        """The data without lines: dictionaries, tuples and single values."""
        if self.kind == "mapping":
            return {key: item.plain() for key, item in self.items.items()}
        if self.kind == "list":
            return tuple(item.plain() for item in self.items.values())
        return self.value


def node_of(value: Any) -> Node:
    """Plain data of Python's as a file would have it; there are no lines, so each has the line 0."""
    if isinstance(value, Mapping):
        return Node(0, "mapping", items={key: node_of(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return Node(0, "list", items={place: node_of(item) for place, item in enumerate(value)})
    return Node(0, value=value)


def write_yaml(data: Mapping[str, Any], *, wide: bool = False) -> str:
    """YAML that `read_yaml` reads as the same data: text that would be read as a number is quoted.

    Args:
        data: Plain data.
        wide: Each value on one line, however long.
    """
    if wide:
        return "".join(f"{_flow(name)}: {_flow(value)}\n" for name, value in data.items())
    layout: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 110}
    return yaml.dump(data, Dumper=_Dumper, default_flow_style=None, **layout)


def _flow(value: Any) -> str:
    layout: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 100_000}
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, **layout)
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("...").rstrip("\n")


def read_yaml(text: str, name: str) -> Node | None:
    """Reads one YAML document.

    Args:
        text: The document.
        name: The file's name, for messages.

    Returns:
        The document's root, or None where the document is empty.

    Raises:
        UsageError: The text is no valid YAML, repeats a key, nests too deeply or asks for Python objects.
    """
    try:
        return _Reader(text, name).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {min(mark.line, text.count(chr(10))) + 1}" if mark else name
        raise UsageError(
            "not valid YAML",
            wanted="`key: value` lines, indented with spaces",
            got=error.problem or error.context or "",
            remedy="check indentation, quotes and brackets on this line and the one before",
            where=where,
        ) from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        got = (str(error).splitlines() or [""])[0]
        before = text.encode(errors="replace")[: getattr(error, "position", 0)]
        where = f"{name}, line {before.count(10) + 1}"
        raise UsageError("not valid YAML", wanted="printable text", got=got, where=where) from None


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self.name = name
        self.anchors: dict[str, Node] = {}
        self.sizes: dict[int, int] = {}
        self.count = 0

    def document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error("a second document (`---`)", event, wanted="one study in a file")
            elif not isinstance(event, yaml.StreamStartEvent | yaml.DocumentEndEvent | yaml.StreamEndEvent):
                root = self.node(event, 1)
        empty = root is not None and root.kind == "value" and root.value is None
        return None if empty else root

    def node(self, event: Any, depth: int) -> Node:
        self.count += 1
        known = self.anchors.get(event.anchor) if isinstance(event, yaml.AliasEvent) else None
        if depth + (known.height - 1 if known else 0) > MAX_DEPTH:
            raise self.error("nested too deeply", event, wanted=f"at most {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            if known is None:
                raise self.error(
                    f"alias *{event.anchor[:40]} has no complete value to repeat",
                    event,
                    wanted=f"an anchor &{event.anchor[:40]} before it",
                )
            node = known
            self.count += self.sizes[id(node)]
        else:
            before = self.count
            node = self.own(event, depth)
            node.height += max((item.height for item in node.items.values()), default=0)
            if event.anchor:
                self.anchors[event.anchor] = node
                self.sizes[id(node)] = self.count - before
        if self.count > MAX_VALUES:
            raise self.error(
                "too many values", event, wanted=f"at most {MAX_VALUES:,} values in a study file"
            )
        return node

    def own(self, event: Any, depth: int) -> Node:
        line = event.start_mark.line + 1
        if event.tag is not None and event.tag != "!":
            raise self.error(
                "a YAML tag", event, wanted="plain values", got=event.tag[:80], remedy="remove the tag"
            )
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(Node(line, "mapping"), depth)
        if isinstance(event, yaml.SequenceStartEvent):
            node = Node(line, "list")
            for item in self.until(yaml.SequenceEndEvent):
                node.items[len(node.items)] = self.node(item, depth + 1)
            return node
        text = self.text(event)
        return Node(line, value=_scalar(text) if event.style in (None, "") else text)

    def text(self, event: Any) -> str:
        """A scalar's text; what would do something to a terminal has no place in a study."""
        found = UNPRINTABLE.search(event.value)
        if found is not None:
            raise self.error(
                "a control character",
                event,
                wanted="printable text",
                got=f"U+{ord(found[0]):04X} in {event.value[:80]!r}",
                remedy="remove it",
            )
        return event.value

    def mapping(self, node: Node, depth: int) -> Node:
        for event in self.until(yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.error("a key that is no single word", event, wanted="`key: value`")
            key = self.text(event)
            if key in node.items:
                raise self.error(
                    f"key {key[:80]!r} is there twice",
                    event,
                    wanted="each key once",
                    got=f"first on line {node.key_lines[key]}",
                    remedy="remove or merge one of the two",
                )
            self.count += 1
            node.items[key] = self.node(next(self.events), depth + 1)
            node.key_lines[key] = event.start_mark.line + 1
        return node

    def until(self, end: type) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event

    def error(self, problem: str, event: Any, **words: str) -> UsageError:
        return UsageError(problem, where=f"{self.name}, line {event.start_mark.line + 1}", **words)


def _scalar(text: str) -> Any:
    """The value of an unquoted scalar: a number, true, false, null, or else text."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > 40 or not _NUMBER.fullmatch(text):
        return text
    digits = text.replace("_", "")
    if "." not in digits and "e" not in digits.lower():
        return int(digits)
    number = float(digits)
    whole = "e" in digits.lower() and number.is_integer() and abs(number) < 2**53
    return int(number) if whole else number


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes wherever it would not be read as this text; YAML's own rules see it otherwise."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _scalar(text) is text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted)
