"""The paper's tasks (Table 1): which data sets they are made of, where those are, what their columns mean.

Looked up in 2026: `datasets` 5 runs no loading scripts, so every data set here is Parquet on the hub. Test
sets that the hub lacks are those that sacrebleu downloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from finescale.spec.run import TaskSpec


@dataclass(frozen=True)
class HubSet:
    """A data set of the Hugging Face hub.

    Attributes:
        dataset: Its name, `org/name`.
        config: Its configuration.
        source: Column of the text that the model reads; `a.b` is the key `b` of the column `a`.
        target: Column of the text that it learns to give.
        revision: Revision of the hub.
        splits: Our name of a split to the data set's.
        gated: Whether the hub wants an account that accepted the data set's terms.
    """

    dataset: str
    config: str | None
    source: str
    target: str
    revision: str | None = None
    splits: Mapping[str, str] = field(
        default_factory=lambda: {"train": "train", "dev": "validation", "test": "test"}
    )
    gated: bool = False


@dataclass(frozen=True)
class TaskSizes:
    """What a dry run knows of a task without its data.

    Attributes:
        train: Training examples.
        test: Test examples.
        tokens: Estimated tokens of an example: prompt, cut source and target.
        target_tokens: Those of its target.
    """

    train: int
    test: int
    tokens: int
    target_tokens: int


@dataclass(frozen=True)
class Translation:
    """A translation task of the paper.

    Attributes:
        languages: Codes of source and target.
        train: Training pairs.
        dev: A test set of sacrebleu; None: the data set's own dev split.
        tests: Our name of a test set to sacrebleu's.
        zero_shot: Source languages, never trained on, from which Flores-200 translates into the target.
        sizes: What a dry run knows.
    """

    languages: tuple[str, str]
    train: HubSet
    dev: str | None
    tests: Mapping[str, str]
    zero_shot: tuple[str, ...]
    sizes: TaskSizes


@dataclass(frozen=True)
class Summarization:
    """The paper's multilingual summarization: one data set a language, concatenated, their mix kept.

    Attributes:
        languages: Language code to its data set.
        sizes: What a dry run knows.
    """

    languages: Mapping[str, HubSet]
    sizes: TaskSizes


def _mlsum(language: str) -> HubSet:
    """MLSum's own repository is a loading script; the hub's conversion of it is a revision."""
    return HubSet("reciTAL/mlsum", language, "text", "summary", revision="refs/convert/parquet")


NEWSTEST = {"newstest2020": "wmt20", "newstest2021": "wmt21", "newstest2022": "wmt22"}
"""Test sets by the names that sacrebleu gives them; 1,418, 1,002 and 2,037 sentences into either language."""

PUBLISHED: Mapping[str, Translation | Summarization] = {
    "wmt14-en-de": Translation(
        languages=("en", "de"),
        train=HubSet("wmt/wmt14", "de-en", "translation.en", "translation.de"),
        dev=None,  # validation is newstest2013
        tests=NEWSTEST,
        zero_shot=("fr", "zh", "hi", "tr", "pl"),
        sizes=TaskSizes(train=4_508_785, test=4_457, tokens=75, target_tokens=38),
    ),
    "wmt19-en-zh": Translation(
        languages=("en", "zh"),
        train=HubSet("wmt/wmt19", "zh-en", "translation.en", "translation.zh"),
        dev="wmt17/dev",  # newsdev2017; the hub's validation is another set
        tests=NEWSTEST,
        zero_shot=("fr", "de", "hi", "tr", "pl"),
        sizes=TaskSizes(train=25_984_574, test=4_457, tokens=70, target_tokens=34),
    ),
    "mlsum": Summarization(
        languages={
            "de": _mlsum("de"),
            "en": HubSet("abisee/cnn_dailymail", "3.0.0", "article", "highlights"),
            "es": _mlsum("es"),
            "fr": _mlsum("fr"),
        },
        sizes=TaskSizes(train=1_167_269, test=51_939, tokens=570, target_tokens=55),
    ),
}  # fmt: skip
"""The paper's tasks by name. The paper's `Po` is read as Polish."""

FLORES = {
    "de": "deu_Latn", "en": "eng_Latn", "es": "spa_Latn", "fr": "fra_Latn", "hi": "hin_Deva",
    "pl": "pol_Latn", "tr": "tur_Latn", "zh": "cmn_Hans",
}  # fmt: skip
"""Language code to the configuration of Flores+, the Flores-200 that is kept up."""


def flores(language: str) -> HubSet:
    """One language's side of Flores: sentence n is the same in every language."""
    name, splits = "openlanguagedata/flores_plus", {"test": "devtest"}
    return HubSet(name, FLORES[language], "text", "text", splits=splits, gated=True)


def on_hub(task: str | TaskSpec) -> bool:
    """Whether a task's data is from the hub, so that a plan that is only shown does without it."""
    if isinstance(task, str):
        return task in PUBLISHED
    return task.dataset is not None or (task.train is None and task.name in PUBLISHED)


def known_sizes(task: str | TaskSpec) -> TaskSizes | None:
    """The sizes of a published task, without its data."""
    name = task if isinstance(task, str) else task.name
    return PUBLISHED[name].sizes if name in PUBLISHED and on_hub(task) else None


def known_sets(task: str | TaskSpec) -> tuple[int, int]:
    """How many test sets, and zero-shot sets, a task from the hub has, without its data."""
    stated = PUBLISHED.get(task if isinstance(task, str) else task.name) if known_sizes(task) else None
    return (len(stated.tests), len(stated.zero_shot)) if isinstance(stated, Translation) else (1, 0)
