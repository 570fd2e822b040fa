"""From what the readers yield to the sets: filtered, split, without held-out text where a model trains."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from filters import Classify, clean, keep_documents, keep_pairs, keep_texts, template
from help_pages import ORIGIN as HELP
from splits import HeldOut, digest, split_of
from texts import LANGUAGES, Document, Pair, Text

Row = dict[str, str]
Sets = dict[str, list[Row]]
"""Rows by the name of their file, e.g. ``tasks/parallel_en_de/train``."""

Dropped = dict[str, Counter[str]]
"""How many rows were left out, by set and reason."""

_TRANSLATION = {"de": "tasks/parallel_en_de", "zh": "tasks/parallel_en_zh"}
_SUMMARIZATION = "tasks/summarization"
_TASKS = (*_TRANSLATION.values(), _SUMMARIZATION)
_ZERO_SHOT = "tasks/zero_shot_to_de/test"


def assemble(
    help_items: Iterable[Pair | Document],
    catalogues: Iterable[Pair],
    texts: Iterable[Text],
    classify: Classify,
    step: Callable[[str], object],
) -> tuple[Sets, Dropped]:
    """Makes the task sets and the pretraining text.

    The tasks are of LibreOffice's texts only and the pretraining text of all others, so that a base model has
    never seen the texts that it is finetuned on.

    Args:
        help_items: LibreOffice's help: pairs and documents.
        catalogues: The pairs of all message catalogues, LibreOffice's among them.
        texts: The paragraphs for pretraining.
        classify: Names the language of a text.
        step: Called with the name of each step as it begins.

    Returns:
        The sets, and what was left out.
    """
    dropped: Dropped = {}

    def count(name: str) -> Counter[str]:
        return dropped.setdefault(name, Counter())

    step("LibreOffice help")
    items = list(help_items)
    help_pairs = [item for item in items if isinstance(item, Pair)]
    documents = [item for item in items if isinstance(item, Document)]
    step("message catalogues")
    catalogue_pairs = list(catalogues)

    sets: Sets = {f"{task}/{split}": [] for task in _TASKS for split in ("train", "dev", "test")}
    other_programs: list[Pair] = []
    for language, name in _TRANSLATION.items():
        step(name)
        found = [pair for pair in chain(help_pairs, catalogue_pairs) if pair.language == language]
        for pair in keep_pairs(found, classify, count(name)):
            split = split_of(pair.group or template(pair.source))
            if _of_libreoffice(pair.origin):
                row = {"source": pair.source, "target": pair.target, "origin": pair.origin}
                sets[f"{name}/{split}"].append(row)
            elif split == "train":
                other_programs.append(pair)
    step(_SUMMARIZATION)
    for item in keep_documents(documents, classify, count(_SUMMARIZATION)):
        row = {
            "language": item.language,
            "document": item.document,
            "summary": item.summary,
            "origin": item.origin,
        }
        sets[f"{_SUMMARIZATION}/{split_of(item.group)}"].append(row)
    sets[_ZERO_SHOT] = list(zero_shot(help_pairs, sets[f"{_TRANSLATION['de']}/test"]))

    step("held-out texts")
    held_out = remove_held_out(sets, dropped)
    for language in LANGUAGES:
        sets[f"pretraining/{language}"] = []
    step("pretraining text")
    unseen = (text for text in texts if split_of(text.group) == "train")
    for text in keep_texts(chain(unseen, _both_sides(other_programs)), classify, count("pretraining")):
        if held_out.repeats(text.text):
            count("pretraining")["held out"] += 1
        else:
            row = {"language": text.language, "text": text.text, "origin": text.origin}
            sets[f"pretraining/{text.language}"].append(row)
    return {name: shuffled(rows) for name, rows in sets.items()}, dropped


def zero_shot(pairs: Iterable[Pair], test: list[Row]) -> Iterator[Row]:
    """Joins French and Spanish with the German of the En-De test set, through their common English.

    Args:
        pairs: Pairs of all languages, not filtered.
        test: The rows of the En-De test set.

    Yields:
        The rows, one for an English text and language.
    """
    german = {row["source"]: row["target"] for row in test}
    seen = set()
    for pair in pairs:
        english, source = clean(pair.source), clean(pair.target)
        target = german.get(english)
        key = pair.language, english
        if pair.language in ("fr", "es") and target and target != source and key not in seen:
            seen.add(key)
            yield {
                "source_language": pair.language,
                "source": source,
                "target": target,
                "origin": pair.origin,
            }


def remove_held_out(sets: Sets, dropped: Dropped) -> HeldOut:
    """Takes out the rows that repeat held-out text.

    A dev row must not repeat its own task's test set, a train row must not repeat any task's dev or test set.

    Args:
        sets: The task sets; changed in place.
        dropped: Counts what is left out.

    Returns:
        All held-out texts.
    """
    for task in _TASKS:
        _remove(sets, f"{task}/dev", HeldOut(_texts(sets[f"{task}/test"])), dropped)
    held_out = HeldOut(
        text for name, rows in sets.items() if name.endswith(("/dev", "/test")) for text in _texts(rows)
    )
    for task in _TASKS:
        _remove(sets, f"{task}/train", held_out, dropped)
    return held_out


def shuffled(rows: list[Row]) -> list[Row]:
    """Orders rows by the hash of their content: at random, and whatever order they were read in."""
    return sorted(rows, key=lambda row: digest("\0".join(row.values())))


def _of_libreoffice(origin: str) -> bool:
    return origin == HELP or origin.startswith("mo:libreoffice")


def _both_sides(pairs: Iterable[Pair]) -> Iterator[Text]:
    for pair in pairs:
        yield Text("en", pair.source, pair.origin)
        yield Text(pair.language, pair.target, pair.origin)


def _texts(rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        yield from (row[field] for field in ("source", "target", "document", "summary") if field in row)


def _remove(sets: Sets, name: str, held_out: HeldOut, dropped: Dropped) -> None:
    kept = [row for row in sets[name] if not any(map(held_out.repeats, _texts([row])))]
    dropped[name.rpartition("/")[0]]["held out"] += len(sets[name]) - len(kept)
    sets[name] = kept
