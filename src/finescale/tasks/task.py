"""A task: examples with a prompt template, and a hash of their content."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from finescale.errors import UsageError
from finescale.spec.run import FINGERPRINT_VERSION, Version
from finescale.tasks.chats import Chat

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Example:
    """One example: the text before the target and the target.

    Attributes:
        source: The text that the template wraps (a sentence, a document).
        target: The text to be predicted.
        fields: Further fields of the template, e.g. `source_language`.
        chat: The chat that source and target are a plain text of; None where they are all there is.
    """

    source: str
    target: str
    fields: Mapping[str, str]
    chat: Chat | None = None


class LazyExamples(Sequence[Example]):
    """Examples that are not in memory: read where they are asked for, hashed without becoming objects."""

    @abstractmethod
    def take(self, places: Sequence[int] | np.ndarray) -> list[Example]:
        """The examples at some places, in the order given."""

    @abstractmethod
    def strata(self, name: str) -> np.ndarray:
        """Which of a field's values each example has, as whole numbers [examples]."""

    @abstractmethod
    def digest(self) -> str:
        """A hash of the examples' content."""


@dataclass(frozen=True)
class Task:
    """A finetuning task.

    Attributes:
        name: The task's name in study files and records.
        template: What the model reads; `{source}` and the examples' fields are filled in. The target follows
            after the separator.
        max_source_tokens: Longer sources are cut.
        max_target_tokens: Longer targets are cut.
        train: Training examples, shuffled once; subsets are seeded and nested.
        dev: Examples that choose the checkpoint.
        test: Test sets by name; the test loss is token-weighted over them.
        notes: What a reader of the results should know, e.g. how dev and test were set aside.
        zero_shot: Test sets of language pairs that the training never sees, by `NAME/LANGUAGE`, e.g.
            `zero-shot-to-de/fr`; the average over a NAME's languages is its zero-shot score.
        mix: A field (`language`) whose values keep their shares in every subset of `train`; None: none does.
        separator: What stands between prompt and target.
        answers: Which answers of a chat carry the loss.
        version: Of the study: what chats, special tokens and cuts mean (`Version`).
    """

    name: str
    template: str
    max_source_tokens: int
    max_target_tokens: int
    train: Sequence[Example]
    dev: Sequence[Example]
    test: Mapping[str, Sequence[Example]]
    notes: tuple[str, ...] = ()
    zero_shot: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    mix: str | None = None
    separator: str = " "
    answers: Literal["all", "last"] = "all"
    version: Version = FINGERPRINT_VERSION

    def prompt(self, example: Example, source: str | None = None) -> str:
        """The text that the model reads before the target.

        Args:
            example: The example.
            source: Replaces the example's source (a cut one).
        """
        return self.template.format(source=example.source if source is None else source, **example.fields)

    def strata(self) -> np.ndarray | None:
        """Which value of `mix` each training example has, as whole numbers [train]; None without a mix."""
        if self.mix is None:
            return None
        if isinstance(self.train, LazyExamples):
            return self.train.strata(self.mix)
        import numpy as np  # noqa: PLC0415 - a task without a mix does without

        return np.unique([example.fields[self.mix] for example in self.train], return_inverse=True)[1]

    def content_hash(self) -> str:
        """A hash of all that finetuning and its test put into a model: examples, template and lengths."""
        head: list[str | int] = [self.template, self.max_source_tokens, self.max_target_tokens]
        head += [] if self.mix is None else [f"mix of {self.mix}"]
        head += [] if self.separator == " " else [f"after {self.separator!r}"]
        head += [] if self.answers == "all" else [f"answers: {self.answers}"]
        splits = (self.train, self.dev, *(self.test[name] for name in sorted(self.test)))
        return _digest(head, splits)

    def zero_shot_hash(self) -> str:
        """A hash of the zero-shot sets; they enter a run's content only where it is evaluated on them."""
        names = sorted(self.zero_shot)
        return _digest(names, [self.zero_shot[name] for name in names])

    def check_sizes(self, largest: int, test_examples: int, where: str = "") -> None:
        """Refuses a study that asks for more examples than there are.

        Raises:
            UsageError: More finetuning or test examples than the task has.
        """
        available = sum(len(examples) for examples in self.test.values())
        check_sizes(self.name, (len(self.train), available), (largest, test_examples), where)


def check_sizes(name: str, available: tuple[int, int], asked: tuple[int, int], where: str = "") -> None:
    """Refuses a study that asks for more examples than a task has.

    Args:
        name: The task's name.
        available: Training and test examples that there are.
        asked: Finetuning and test examples that the study asks for.
        where: Field of the largest data size.

    Raises:
        UsageError: More finetuning or test examples than the task has.
    """
    if asked[0] > available[0]:
        raise UsageError(
            f"the task {name!r} has too little data",
            wanted=f"at most {available[0]:,} finetuning examples",
            got=f"{asked[0]:,}",
            remedy="lower the largest data size in `finetune_examples`",
            where=where,
        )
    if asked[1] > available[1]:
        raise UsageError(
            f"the task {name!r} has too few test examples",
            wanted=f"test_examples of at most {available[1]:,}",
            got=f"{asked[1]:,}",
            remedy="lower `test_examples`",
            where="test_examples",
        )


def _digest(head: Sequence[str | int], splits: Iterable[Sequence[Example]]) -> str:
    digest = hashlib.sha256(json.dumps(head).encode())
    for split in splits:
        if isinstance(split, LazyExamples):
            digest.update(split.digest().encode())
            continue
        for example in split:
            content = [example.source, example.target, dict(example.fields)]
            content += [] if example.chat is None else example.chat.plain()
            digest.update(json.dumps(content, default=str).encode())
    return digest.hexdigest()
