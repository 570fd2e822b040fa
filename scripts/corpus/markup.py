"""Paragraphs, headings and cells of HTML pages and of Mallard pages (GNOME's help format)."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from texts import squeeze

_BLOCKS = frozenset(["p", "li", "dt", "dd", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "title", "desc"])
_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
# What may stand inside a paragraph only by mistake: it ends the paragraph, as in a browser.
_ENDS_PARAGRAPH = _BLOCKS | frozenset(
    ["div", "dl", "ul", "ol", "table", "tr", "pre", "hr", "blockquote", "form", "fieldset"]
)


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of text that contains no other.

    Attributes:
        key: The element's id, else its tag: what is equal between two languages' editions of a page.
        text: Its text, white space squeezed.
    """

    key: str
    text: str


def html_blocks(page: str) -> list[Block]:
    """Reads the blocks in the body of an HTML page, or of a fragment without a body."""
    parser = _BlockParser()
    parser.feed(page)
    parser.close()
    return parser.finish()


def mallard_blocks(page: bytes) -> list[Block]:
    """Reads the blocks of a Mallard page.

    Raises:
        xml.etree.ElementTree.ParseError: If the page is not well-formed XML.
    """
    found = []
    for element in ET.fromstring(page).iter():
        if _tag(element) in _BLOCKS and not any(_tag(inner) in _BLOCKS for inner in _inside(element)):
            text = squeeze("".join(element.itertext()))
            if text:
                found.append(Block(element.get("id") or _tag(element), text))
    return found


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _inside(element: ET.Element) -> Iterator[ET.Element]:
    elements = element.iter()
    next(elements)  # the element itself
    return elements


@dataclass(slots=True)
class _Open:
    """An element whose end tag has not come yet."""

    tag: str
    key: str
    holds_block: bool = False
    parts: list[str] = field(default_factory=list)


class _BlockParser(HTMLParser):
    """Collects the blocks while it walks through the tags.

    Written on the standard library's tokenizer, so that the build needs no library for markup: the pages are
    XSLT output, and of a browser's repairs they need one (a paragraph ends where a block begins).
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[_Open] = []
        self._found: list[Block] = []

    def finish(self) -> list[Block]:
        while self._open:
            self._close()
        return self._found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":  # what the head holds is no text
            self._open.clear()
            self._found.clear()
        if self._open and self._open[-1].tag == "p" and tag in _ENDS_PARAGRAPH:
            self._close()
        if tag in _BLOCKS:
            for outer in self._open:
                outer.holds_block = True
        if tag not in _VOID:
            self._open.append(_Open(tag, dict(attrs).get("id") or tag))

    def handle_endtag(self, tag: str) -> None:
        if any(element.tag == tag for element in self._open):
            while self._close().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not any(element.tag in ("script", "style") for element in self._open):
            for element in reversed(self._open):
                if element.tag in _BLOCKS:
                    element.parts.append(data)
                    return

    def _close(self) -> _Open:
        element = self._open.pop()
        text = squeeze("".join(element.parts))
        if element.tag in _BLOCKS and not element.holds_block and text:
            self._found.append(Block(element.key, text))
        return element
