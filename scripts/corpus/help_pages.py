"""LibreOffice's help: the same pages in five languages, their paragraphs carrying the same ids."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

from markup import Block, html_blocks
from texts import Document, Pair

from finescale.errors import DataError

ORIGIN = "libreoffice-help"

# Debian package and folder of each language's edition. English comes first: the others are aligned with it.
_EDITIONS = {
    "en": ("libreoffice-help-en-us", "en-US"),
    "de": ("libreoffice-help-de", "de"),
    "fr": ("libreoffice-help-fr", "fr"),
    "es": ("libreoffice-help-es", "es"),
    "zh": ("libreoffice-help-zh-cn", "zh-CN"),
}


def read_help(texts: Path) -> Iterator[Pair | Document]:
    """Reads every help page in every language.

    Args:
        texts: The folder with the unpacked packages.

    Yields:
        A page's pairs (English with each other language), then its summaries (the Chinese ones left out).

    Raises:
        DataError: If an edition has no pages.
    """
    folders = {
        language: texts / package / "usr/share/libreoffice/help" / code / "text"
        for language, (package, code) in _EDITIONS.items()
    }
    for language, folder in folders.items():
        if not folder.is_dir():
            raise DataError(
                f"there are no LibreOffice help pages in {language}",
                wanted=f"HTML pages in {folder}",
                remedy="remove the package's folder and run again; releases may be laid out differently",
            )
    for english in sorted(folders["en"].rglob("*.html")):
        name = english.relative_to(folders["en"])
        editions = {
            language: html_blocks((folder / name).read_text(encoding="utf-8"))
            for language, folder in folders.items()
            if (folder / name).exists()
        }
        group = f"{ORIGIN}:{name.name}"
        for language, page in editions.items():
            if language != "en":
                for source, target in align(editions["en"], page):
                    yield Pair(language, source, target, ORIGIN, group)
        for language, page in editions.items():
            parts = summarised(page)
            if parts and language != "zh":
                yield Document(language, *parts, ORIGIN, group)


def align(source: list[Block], target: list[Block]) -> Iterator[tuple[str, str]]:
    """Pairs the texts of two editions of a page, along the runs of equal keys."""
    keys = [block.key for block in source], [block.key for block in target]
    for run in SequenceMatcher(None, *keys, autojunk=False).get_matching_blocks():
        for i in range(run.size):
            yield source[run.a + i].text, target[run.b + i].text


def summarised(page: list[Block]) -> tuple[str, str] | None:
    """Divides a page into document and summary.

    The paragraph after the first heading says what the page is for: it summarises the rest.

    Returns:
        The document, its paragraphs joined by newlines, and the summary; nothing if the page has no such
        paragraph.
    """
    heading = next((i for i, block in enumerate(page) if block.key.startswith("hd_")), len(page))
    if heading + 2 >= len(page) or not page[heading + 1].key.startswith("par_"):
        return None
    rest = [block.text for block in page[heading + 2 :] if block.key.startswith(("par_", "hd_"))]
    return "\n".join(rest), page[heading + 1].text
