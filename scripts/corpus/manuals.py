"""Manuals of free programs in several languages, and the descriptions of programs in AppStream's metadata."""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markup import html_blocks, mallard_blocks
from texts import Text, squeeze

from finescale.errors import DataError

# PyYAML has the fast parser only where it was built with libyaml.
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_APPSTREAM_LOCALES = {"C": "en", "de": "de", "zh_CN": "zh", "fr": "fr", "es": "es"}


@dataclass(frozen=True)
class Manual:
    """A manual in several languages.

    Attributes:
        origin: Its name in the ``origin`` column.
        pages: Pattern of its pages' paths in the folder of unpacked packages; ``{}`` is the language's code.
        codes: The codes that the manual uses, by language.
    """

    origin: str
    pages: str
    codes: dict[str, str]


_MANUALS = (
    Manual(
        "debian-handbook",
        "debian-handbook/usr/share/doc/debian-handbook/html/{}/*.html",
        {"en": "en-US", "de": "de-DE", "fr": "fr-FR", "es": "es-ES", "zh": "zh-CN"},
    ),
    Manual(
        "gnome-user-docs",
        "gnome-user-docs/usr/share/help/{}/**/*.page",
        {"en": "C", "de": "de", "fr": "fr", "es": "es", "zh": "zh_CN"},
    ),
    Manual(
        "evolution-help",
        "evolution-common/usr/share/help/{}/**/*.page",
        {"en": "C", "de": "de", "fr": "fr", "es": "es", "zh": "zh_CN"},
    ),
    Manual(
        "gimp-help",
        "gimp-help-*/usr/share/gimp/2.0/help/{}/*.html",
        {"en": "en", "de": "de", "fr": "fr", "es": "es", "zh": "zh_CN"},
    ),
    Manual(
        "installation-guide",
        "installation-guide-amd64/usr/share/doc/installation-guide-amd64/{}/*.html",
        {"en": "en", "de": "de", "fr": "fr", "es": "es", "zh": "zh_CN"},
    ),
    Manual(
        "debian-reference",
        "debian-reference-*/usr/share/debian-reference/*.{}.html",
        {"en": "en", "de": "de", "fr": "fr", "es": "es", "zh": "zh-cn"},
    ),
)


def read_manuals(texts: Path) -> Iterator[Text]:
    """Reads the pages of every manual.

    Args:
        texts: The folder with the unpacked packages.

    Yields:
        Their blocks; a page in all its languages is one group.

    Raises:
        DataError: If a manual has no pages in one of its languages, or a page cannot be read.
    """
    for manual in _MANUALS:
        for language, code in manual.codes.items():
            pattern = manual.pages.format(code)
            paths = sorted(texts.glob(pattern))
            if not paths:
                raise DataError(
                    f"{manual.origin} has no pages in {language}",
                    wanted=f"{texts}/{pattern}",
                    remedy="remove the package's folder and run again; releases may be laid out differently",
                )
            for path in paths:
                name = path.name.replace(f".{code}.html", ".en.html")
                for text in _page_texts(path):
                    yield Text(language, text, manual.origin, f"{manual.origin}:{name}")


def _page_texts(path: Path) -> list[str]:
    try:
        if path.suffix == ".page":
            return [block.text for block in mallard_blocks(path.read_bytes())]
        return [block.text for block in html_blocks(path.read_text(encoding="utf-8"))]
    except (SyntaxError, UnicodeDecodeError) as error:
        raise DataError("this page cannot be read", got=str(error), where=str(path)) from error


def read_appstream(lists: Path) -> Iterator[Text]:
    """Reads the programs' descriptions in apt's AppStream metadata (DEP-11).

    Args:
        lists: apt's folder of package lists.

    Yields:
        The paragraphs of the descriptions; packages of one family (``libfoo1``, ``foo-doc``) are one group.

    Raises:
        DataError: If there are no such metadata.
    """
    paths = sorted(lists.glob("*Components-*.yml.gz"))
    if not paths:
        raise DataError(
            "apt got no AppStream metadata",
            wanted=f"{lists}/*Components-*.yml.gz",
            remedy="name the sources of a Debian archive that has them (dep11) with --sources",
        )
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as metadata:
            for stanza in metadata.read().split("\n---\n"):
                if "\nDescription:" in stanza:
                    yield from _descriptions(yaml.load(stanza.removeprefix("---\n"), Loader=_YAML_LOADER))


def _descriptions(component: dict[str, Any]) -> Iterator[Text]:
    group = f"pkg:{family(str(component.get('Package', '')))}"
    for locale, description in (component.get("Description") or {}).items():
        if locale in _APPSTREAM_LOCALES and description:
            for block in html_blocks(str(description)):
                yield Text(_APPSTREAM_LOCALES[locale], squeeze(block.text), "debian-appstream", group)


def family(package: str) -> str:
    """Names a package's family: siblings share most of their description.

    ``libfoo1.2-dev``, ``python3-foo`` and ``foo-doc`` are all of the family ``foo``.
    """
    name = re.sub(
        r"^(lib|python3?-|ruby-|node-|golang-|r-cran-|r-bioc-|fonts-|php-|elpa-)", "", package.lower()
    )
    return re.split(r"[-.+]|\d", name)[0] or package
