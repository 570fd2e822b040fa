"""Multilingual summarization from the bundled mini corpus, with the paper's prompt."""

from __future__ import annotations

from finescale.tasks import corpus
from finescale.tasks.task import Example, Task
from finescale.tasks.translation import LANGUAGES

TEMPLATE = "Summarize the following document in {language}:\n{source}\n"


def mini_summarization(name: str) -> Task:
    """The bundled task: help pages and their first paragraph, in German, English, Spanish and French."""
    splits = {
        split: tuple(
            Example(row["document"], row["summary"], {"language": LANGUAGES[row["language"]]})
            for row in corpus.load("summarization", split).iter_rows(named=True)
        )
        for split in ("train", "dev", "test")
    }
    return Task(
        name=name,
        template=TEMPLATE,
        max_source_tokens=512,
        max_target_tokens=256,
        train=splits["train"],
        dev=splits["dev"],
        test={"libreoffice": splits["test"]},
        mix="language",
    )
