"""Translation tasks of the mini corpus; the prompt is the few-shot format of Garcia et al. (2023)."""

from __future__ import annotations

import polars as pl

from finescale.tasks import corpus
from finescale.tasks.task import Example, Task

TEMPLATE = "{source_language}: {source}\n{target_language}:"
LANGUAGES = {
    "ar": "Arabic", "bn": "Bengali", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sv": "Swedish", "sw": "Swahili",
    "ta": "Tamil", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese",
    "zh": "Chinese",
}  # fmt: skip
"""ISO 639-1 codes to the names that prompts use."""


def translation_examples(frame: pl.DataFrame, source: str, target: str) -> tuple[Example, ...]:
    """Examples from the columns `source` and `target`.

    Args:
        frame: One row an example.
        source: Language code of the sources.
        target: Language code of the targets.
    """
    fields = {"source_language": LANGUAGES[source], "target_language": LANGUAGES[target]}
    return tuple(Example(row["source"], row["target"], fields) for row in frame.iter_rows(named=True))


def mini_translation(target: str, name: str) -> Task:
    """The bundled English-to-`target` task (LibreOffice help and interface texts)."""
    corpus_name = f"parallel_en_{target}"
    splits = {
        split: translation_examples(corpus.load(corpus_name, split), "en", target)
        for split in ("train", "dev", "test")
    }
    return Task(
        name=name,
        template=TEMPLATE,
        max_source_tokens=256,
        max_target_tokens=256,
        train=splits["train"],
        dev=splits["dev"],
        test={"libreoffice": splits["test"]},
        zero_shot=_zero_shot_to_german() if target == "de" else {},
    )


def _zero_shot_to_german() -> dict[str, tuple[Example, ...]]:
    """The sentences of the En-De test set from French and Spanish, which the finetuning never saw."""
    frame = corpus.load("zero_shot_to_de", "test")
    return {
        f"zero-shot-to-de/{source}": translation_examples(
            frame.filter(pl.col("source_language") == source), source, "de"
        )
        for source in ("fr", "es")
    }
