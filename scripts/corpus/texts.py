"""What the readers yield: pairs of translations, documents with a summary, and plain texts."""

import re
from dataclasses import dataclass

LANGUAGES = ("en", "de", "zh", "fr", "es")


@dataclass(frozen=True, slots=True)
class Pair:
    """An English text and its translation.

    Attributes:
        language: The translation's language.
        source: The English text.
        target: The translation.
        origin: Where both are from: ``libreoffice-help`` or ``mo:PACKAGE``.
        group: What must not be divided between splits (a help page); empty if the pair stands alone.
    """

    language: str
    source: str
    target: str
    origin: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A document (its paragraphs joined by newlines) with a summary in the same language."""

    language: str
    document: str
    summary: str
    origin: str
    group: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph in one language."""

    language: str
    text: str
    origin: str
    group: str = ""


def squeeze(text: str) -> str:
    """Turns every run of white space into one blank."""
    return re.sub(r"\s+", " ", text).strip()
