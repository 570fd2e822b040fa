"""Which split a text belongs to, and what repeats a held-out text."""

import hashlib
import re
from collections.abc import Iterable

from filters import han, template

# Shares of the groups.
_DEV, _TEST = 0.015, 0.03
_WORDS, _CHARACTERS = 5, 8  # length of an n-gram: words, or characters where a text is Chinese
_OVERLAP = 0.5


def digest(text: str) -> int:
    """Hashes a text to 64 bits, equally in every process (unlike Python's own hash)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def split_of(group: str) -> str:
    """Names the split of a group: ``train``, ``dev`` or ``test``.

    The group's own hash decides, so that a page stays in its split whatever else is added to the corpus.
    """
    share = digest(group) / 2**64
    return "dev" if share < _DEV else "test" if share < _DEV + _TEST else "train"


def ngrams(text: str) -> set[str]:
    """Returns the 5-grams of a text's words (8-grams of characters in Chinese), near duplicates being equal.

    A shorter text is one n-gram.
    """
    key = template(text)
    characters = han(key)
    chinese = len(characters) > _CHARACTERS
    units, size = (characters, _CHARACTERS) if chinese else (key.split(), _WORDS)
    return {" ".join(units[i : i + size]) for i in range(max(1, len(units) - size + 1))}


def plain(text: str) -> str:
    """Returns a text without case and punctuation."""
    return re.sub(r"\W+", " ", text.casefold()).strip()


class HeldOut:
    """Texts that a model must not have seen before it is tested on them."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Notes the texts.

        Args:
            texts: The held-out texts, every field of every row; newlines part a document's paragraphs.
        """
        self._exact: set[str] = set()
        self._ngrams: set[str] = set()
        for text in texts:
            self._exact.add(plain(text))
            for paragraph in text.split("\n"):
                self._ngrams |= ngrams(paragraph)

    def repeats(self, text: str) -> bool:
        """Whether a text equals a held-out one (up to case and punctuation) or shares most of its n-grams."""
        own = ngrams(text)
        return plain(text) in self._exact or len(own & self._ngrams) > _OVERLAP * len(own)
