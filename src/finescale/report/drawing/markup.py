"""HTML without a template engine: every text is escaped unless it was made here."""

from __future__ import annotations

from html import escape
from typing import Any

from finescale.report.drawing.sheet import Sheet

WIDE = 7
"""Tables with more columns than this have their intervals on a line of their own."""

_LONG = 40
"""Longer texts may wrap."""
_VOID = frozenset({"meta", "link", "br", "img", "input"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: Any, **attributes: str) -> Html:
    """An element; children that are not ``Html`` are escaped.

    Args:
        name: The element's name.
        *children: Text or elements.
        **attributes: Attributes; a trailing underscore is dropped, others become hyphens (``class_``).
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"'
        for key, value in attributes.items()
    )
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{join(*children)}</{name}>")


def join(*children: Any) -> Html:
    """Children one after the other."""
    return Html("".join(child if isinstance(child, Html) else escape(str(child)) for child in children))


def paragraphs(*sentences: str) -> Html:
    """A paragraph for each text that is not empty."""
    return join(*[tag("p", text) for text in sentences if text])


def bullets(*items: str) -> Html:
    """A list; nothing without items."""
    return tag("ul", *[tag("li", item) for item in items]) if items else Html("")


def note(text: str) -> Html:
    """A remark that a reader must not overlook."""
    return tag("p", text, class_="note")


def table(sheet: Sheet) -> Html:
    """A table that scrolls inside its own frame on narrow screens."""
    head = [tag("th", c.heading, scope="col", **_heading_look(c.heading, c.numeric)) for c in sheet.shown]
    wide = len(sheet.shown) > WIDE
    body = []
    for cells in sheet.cells():
        marked = zip(cells, sheet.shown, strict=True)
        row = [tag("td", _cell(cell, wide), **_look(cell, column.numeric)) for cell, column in marked]
        body.append(tag("tr", *row))
    whole = tag("table", tag("caption", sheet.title), tag("thead", tag("tr", *head)), tag("tbody", *body))
    frame = tag("div", whole, class_="scroll", tabindex="0", role="group", aria_label=sheet.title)
    return join(frame, *[tag("p", text, class_="small") for text in sheet.notes])


def fold(summary: str, *children: Any) -> Html:
    """A part that opens on demand."""
    return tag("details", tag("summary", summary), *children)


def _cell(cell: str, wide: bool) -> str:
    """An interval under its number where the table would else be too wide to be seen whole."""
    number, bracket, interval = cell.partition(" [")
    return join(number, tag("br"), bracket.strip() + interval) if wide and bracket else cell


def _heading_look(heading: str, numeric: bool) -> dict[str, str]:
    """Headings of numbers flush right; long ones get room to wrap in."""
    looks = [name for name, has in (("n", numeric), ("w", len(heading) > _LONG)) if has]
    return {"class_": " ".join(looks)} if looks else {}


def _look(cell: str, numeric: bool) -> dict[str, str]:
    """Numbers flush right; long text may wrap."""
    return {"class_": "n"} if numeric else {"class_": "w"} if len(cell) > _LONG else {}
