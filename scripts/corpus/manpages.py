"""Manual pages: the running text of their roff sources."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from texts import LANGUAGES, Text, squeeze

ORIGIN = "manpages"

# A page of fewer compressed bytes only refers to another one.
_SMALLEST_PAGE = 400
_FONT_MACROS = frozenset(["B", "I", "BR", "IR", "BI", "IB", "RB", "RI", "SM", "SB", "UR", "MT"])
_MACRO = re.compile(r"^[.']\s*([A-Za-z]+)\s*(.*)$")
_ARGUMENT = re.compile(r'"([^"]*)"|(\S+)')
_FONT = re.compile(r"\\f(\[[^]]*\]|\(..|.)")
_ESCAPES = {
    "\\-": "-",
    "\\&": "",
    "\\~": " ",
    "\\(aq": "'",
    "\\(dq": '"',
    "\\(en": "–",
    "\\(bu": "•",
    "\\e": "\\",
    "\\(lq": "“",
    "\\(rq": "”",
}


def read_manpages(texts: Path) -> Iterator[Text]:
    """Reads the manual pages of the packages ``manpages*``.

    Args:
        texts: The folder with the unpacked packages.

    Yields:
        Their paragraphs; a page in all its languages is one group.
    """
    for language in LANGUAGES:
        suffix = "" if language == "en" else f"-{language}"
        pages = {}
        for package in (f"manpages{suffix}", f"manpages{suffix}-dev"):
            for path in sorted((texts / package).rglob("man/**/*.gz")):
                if "zh_TW" not in path.parts and path.stat().st_size >= _SMALLEST_PAGE:
                    pages[path.name] = path
        for name, path in pages.items():
            with gzip.open(path, "rt", encoding="utf-8", errors="ignore") as page:
                for paragraph in paragraphs(page.read()):
                    yield Text(language, paragraph, ORIGIN, f"man:{name}")


def paragraphs(roff: str) -> list[str]:
    """Reads the paragraphs and headings of a page; examples and tables are left out."""
    found: list[str] = []
    lines: list[str] = []
    skipping = False

    def end_paragraph() -> None:
        text = _unescape(" ".join(lines))
        if text:
            found.append(text)
        lines.clear()

    for line in roff.split("\n"):
        macro = _MACRO.match(line)
        if line.startswith((".EX", ".nf", ".TS")):
            end_paragraph()
            skipping = True
        elif line.startswith((".EE", ".fi", ".TE")):
            skipping = False
        elif skipping or line.startswith(('.\\"', "'\\\"", ".TH")):
            continue
        elif macro is None:
            lines.append(line)
        elif macro[1] in _FONT_MACROS:
            arguments = [quoted or plain for quoted, plain in _ARGUMENT.findall(macro[2])]
            lines.append((" " if macro[1] in ("B", "I") else "").join(arguments))
        else:
            end_paragraph()
            if macro[1] in ("SH", "SS"):
                lines.append(macro[2].strip('"'))
                end_paragraph()
    end_paragraph()
    return found


def _unescape(text: str) -> str:
    text = _FONT.sub("", squeeze(text))
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    return squeeze(text)
