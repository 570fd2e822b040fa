"""Which pairs, documents and texts are kept: length, script and language, markup, near duplicates."""

import importlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from texts import Document, Pair, Text

from finescale.errors import UsageError

Classify = Callable[[str], str]
"""Names the language of a text by its two-letter code."""

_HAN = re.compile(r"[\u3400-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")
_MARKUP = re.compile(r"[\\{}|=@]|&\w+;|--\w")
# Lines for the authors at the foot of LibreOffice's help pages.
_PAGE_TITLE = ("Title is:", "Titel ist:", "标题")
# Languages that the texts might be in by mistake are among those to tell apart.
_TOLD_APART = ["en", "de", "fr", "es", "zh", "it", "nl", "ja"]

# Lengths in characters.
_PAIR_LENGTH = range(15, 1001)
_PAIR_WORDS = 4
_LENGTH_RATIO = {"zh": (0.12, 0.75)}  # target to source; a Chinese character says more than a letter
_DEFAULT_LENGTH_RATIO = (0.6, 2.0)
_DOCUMENT_LENGTH = range(120, 6001)
_DOCUMENT_KEPT = 2000
_SUMMARY_LENGTH = range(12, 301)
_TEXT_LENGTH = {"zh": range(8, 5001)}
_DEFAULT_TEXT_LENGTH = range(30, 5001)


def load_classifier() -> Classify:
    """Loads the language identifier (py3langid), restricted to languages that occur.

    Raises:
        UsageError: If it is not installed.
    """
    try:
        identifier = importlib.import_module("py3langid")
    except ModuleNotFoundError as error:
        raise UsageError(
            "the language identifier is missing",
            wanted="py3langid",
            remedy="pip install -r scripts/corpus/requirements.txt",
        ) from error
    identifier.set_languages(_TOLD_APART)
    return lambda text: str(identifier.classify(text)[0])


def clean(text: str) -> str:
    """Normalises to NFC, drops invisible characters and joins runs of blanks; newlines stay."""
    text = unicodedata.normalize("NFC", text)
    return re.sub(r"[ \t\u00a0\r\f\v]+", " ", re.sub("[\u00ad\u200b\ufeff]", "", text)).strip()


def template(text: str) -> str:
    """Reduces a text to what near duplicates share.

    Texts that differ only in case, punctuation, numbers or program-like names (``--option``, ``fileName``)
    are equal.
    """
    return re.sub(r"(# ?)+", "# ", " ".join(map(_template_word, text.split()))).strip()


@lru_cache(maxsize=100_000)
def _template_word(word: str) -> str:
    bare = word.strip(".,;:!?()[]\"'„“”«»")
    odd = re.search(r"\d|[-_./:+@]|[a-z][A-Z]", bare) or (len(bare) > 1 and bare.isupper())
    return "#" if odd and not _HAN.search(bare) else bare.casefold()


def han(text: str) -> list[str]:
    """Returns the Chinese characters of a text, in order."""
    return _HAN.findall(text)


def is_language(text: str, language: str, classify: Classify) -> bool:
    """Whether a text is in a language.

    Chinese goes by its characters. Elsewhere most characters must be letters, and from 30 characters on,
    where it is reliable, the identifier must agree.
    """
    chinese = len(han(text))
    if language == "zh":
        return chinese >= 4 and chinese >= 0.25 * len(re.sub(r"\s", "", text))
    if chinese or len(_LETTER.findall(text)) < 0.6 * len(text.replace(" ", "")):
        return False
    return len(text) < 30 or classify(text) == language


def keep_pairs(pairs: Iterable[Pair], classify: Classify, dropped: Counter[str]) -> Iterator[Pair]:
    """Keeps usable translations; of near duplicates in one language the first.

    Args:
        pairs: The pairs, the most trusted origin first.
        classify: Names the language of a text.
        dropped: Counts what is left out, by reason.

    Yields:
        The kept pairs, cleaned.
    """
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        source, target = clean(pair.source), clean(pair.target)
        reason = _fault_of_pair(source, target, pair.language)
        keys = {(pair.language, template(source)), (pair.language, template(target))}
        if not reason and keys & seen:
            reason = "duplicate"
        if not reason and not (
            is_language(source, "en", classify) and is_language(target, pair.language, classify)
        ):
            reason = "language"
        if reason:
            dropped[reason] += 1
            continue
        seen |= keys
        yield Pair(pair.language, source, target, pair.origin, pair.group)


def _fault_of_pair(source: str, target: str, language: str) -> str:
    low, high = _LENGTH_RATIO.get(language, _DEFAULT_LENGTH_RATIO)
    if source == target or len(source.split()) < _PAIR_WORDS or len(source) not in _PAIR_LENGTH:
        return "length"
    if not low <= len(target) / len(source) <= high:
        return "length ratio"
    if _MARKUP.search(source + target):
        return "markup"
    return "page title" if source.startswith(_PAGE_TITLE) else ""


def keep_documents(
    documents: Iterable[Document], classify: Classify, dropped: Counter[str]
) -> Iterator[Document]:
    """Keeps documents whose summary says something and is not copied; of near duplicates the first.

    Args:
        documents: The documents.
        classify: Names the language of a text.
        dropped: Counts what is left out, by reason.

    Yields:
        The kept documents, cleaned and cut to 2,000 characters.
    """
    seen: set[tuple[str, str]] = set()
    for item in documents:
        document, summary = clean(item.document), clean(item.summary)
        keys = {(item.language, template(document[:400])), (item.language, template(summary))}
        if len(document) not in _DOCUMENT_LENGTH or len(summary) not in _SUMMARY_LENGTH:
            dropped["length"] += 1
        elif len(summary) > 0.6 * len(document) or len(summary.split()) < 3:
            dropped["length ratio"] += 1
        elif template(summary) in template(document):
            dropped["copied summary"] += 1
        elif keys & seen:
            dropped["duplicate"] += 1
        elif not is_language(document[:600], item.language, classify) or not is_language(
            summary, item.language, classify
        ):
            dropped["language"] += 1
        else:
            seen |= keys
            yield Document(item.language, document[:_DOCUMENT_KEPT], summary, item.origin, item.group)


def keep_texts(texts: Iterable[Text], classify: Classify, dropped: Counter[str]) -> Iterator[Text]:
    """Keeps running text; of near duplicates the first.

    Args:
        texts: The texts.
        classify: Names the language of a text.
        dropped: Counts what is left out, by reason.

    Yields:
        The kept texts, cleaned.
    """
    seen: set[str] = set()
    for item in texts:
        text = clean(item.text)
        if len(text) not in _TEXT_LENGTH.get(item.language, _DEFAULT_TEXT_LENGTH):
            dropped["length"] += 1
            continue
        key = template(text)
        if key in seen:
            dropped["duplicate"] += 1
        elif not is_language(text, item.language, classify):
            dropped["language"] += 1
        else:
            seen.add(key)
            yield Text(item.language, text, item.origin, item.group)
