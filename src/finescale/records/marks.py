"""What makes cells stand out: bold numbers, footnotes, links, and powers of ten written out."""

from __future__ import annotations

import re

import polars as pl

from finescale.records.values import EMPTY

_SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_POWER_OF_TEN = re.compile(
    rf"(?:(?P<many>\d[\d.,]*)\s*[×x*·]\s*)?10(?:\s*(?:\^|\*\*)\s*\{{?(?P<plain>\d{{1,2}})\}}?"
    rf"|<sup>\s*(?P<tag>\d{{1,2}})\s*</sup>|(?P<super>[{_SUPER}]{{1,2}}))"
)
"""10^3, 10³, 5×10<sup>3</sup>."""
_MARKUP = re.compile(
    r"<sup>[^<]*</sup>|\\(?:textbf|textit|underline|mathbf|emph|uline)\s*\{(?P<inner>[^{}]*)\}|</?(?:b|i|u|em|strong)>|\\bf(?:series)?\b"
)
_DIGITS = str.maketrans(_SUPER, "0123456789")
_MARKS = r"^[\s*_$`~]+|[\s*_$`†‡§¶⋆★⭐🏆↑↓¹²³]+$"
"""What stands around a number that a table wants to be looked at: **1.83**, 1.83*, 1.83†."""
_AROUND = re.compile(
    r"\*\*(?P<a>[^*]+)\*\*|__(?P<b>[^_]+)__|`(?P<c>[^`]+)`|\[(?P<d>[^\]]+)\]\([^)]*\)|"
    r"\\(?:textbf|textit|emph|underline)\s*\{(?P<e>[^{}]*)\}|<(?P<tag>b|i|em|strong)>(?P<f>[^<]*)</(?P=tag)>"
)
_FOOTNOTE = re.compile(rf"\s*(?:\[\^\w+\]|<sup>[^<]*</sup>|[{_SUPER}†‡§¶]+)$")


def plain_words(text: pl.Series) -> pl.Series:
    """Words without what makes them stand out, and without footnotes.

    Example:
        >>> plain_words(pl.Series(["**full**", "LoRA¹", "[DoRA](https://x.y)", "IA3*"])).to_list()
        ['full', 'LoRA', 'DoRA', 'IA3*']
    """
    made: dict[str, str] = {}
    for cell in text.unique().drop_nulls().to_list():
        bare = _FOOTNOTE.sub("", cell.strip())
        around = _AROUND.fullmatch(bare)
        if around:
            bare = next(around[name] for name in "abcdef" if around[name] is not None).strip()
        if bare and bare != cell.strip():
            made[cell] = _FOOTNOTE.sub("", bare)
    return text.replace(made) if made else text


def _powers_of_ten(text: pl.Series) -> pl.Series:
    """Cells like 10³ as numbers; where some cells are plain numbers, ³ may be a footnote's, and 10³ stays."""
    cells = [cell for cell in text.unique().drop_nulls().to_list() if cell.strip().lower() not in EMPTY]
    found = {cell: _POWER_OF_TEN.fullmatch(cell.strip()) for cell in cells}
    sure = len(cells) > 1 and all(found.values())
    made = {
        cell: f"{one['many'] or '1'}e{one['plain'] or one['tag'] or one['super'].translate(_DIGITS)}"
        for cell, one in found.items()
        if one and (sure or one["plain"] or one["many"])
    }
    return text.replace(made) if made else text


def without_marks(text: pl.Series) -> tuple[pl.Series, int]:
    r"""Cells without what makes the best number of a table stand out; and how many had it.

    Example:
        >>> cells, many = without_marks(pl.Series(["**1.83**", "\\textbf{1.9}", "2.0*", "7"]))
        >>> cells.to_list(), many
        (['1.83', '1.9', '2.0', '7'], 3)
    """
    if not text.str.contains(r"[*_$`~†‡§¶⋆★⭐🏆↑↓¹²³\\<^]").any():
        return text, 0
    text = _powers_of_ten(text)
    found = [
        cell for cell in text.unique().drop_nulls().to_list() if re.search(r"[*_$`~†‡§¶⋆★⭐🏆↑↓¹²³\\<]", cell)
    ]
    plain = {cell: re.sub(_MARKS, "", _MARKUP.sub(lambda one: one["inner"] or "", cell)) for cell in found}
    plain = {
        cell: bare
        for cell, bare in plain.items()
        if bare != cell.strip()
        and re.match(r"[-+]?[.\d]", bare)
        and not _POWER_OF_TEN.fullmatch(cell.strip())
    }
    return text.replace(plain), int(text.is_in(list(plain)).sum())
