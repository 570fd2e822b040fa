"""A task: examples with a prompt template, and a hash of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from finescale.errors import UsageError


@dataclass(frozen=True)
class Example:
    """One example: the text before the target and the target.

    Attributes:
        source: The text that the template wraps (a sentence, a document).
        target: The text to be predicted.
        fields: Further fields of the template, e.g. `source_language`.
    """

    source: str
    target: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """A finetuning task.

    Attributes:
        name: The task's name in study files and records.
        template: What the model reads; `{source}` and the examples' fields are filled in. The target follows
            after one space.
        max_source_tokens: Longer sources are cut.
        max_target_tokens: Longer targets are cut.
        train: Training examples, shuffled once; subsets are seeded and nested.
        dev: Examples that choose the checkpoint.
        test: Test sets by name; the test loss is token-weighted over them.
        notes: What a reader of the results should know, e.g. how dev and test were set aside.
        zero_shot: Test sets of language pairs that the training never sees, by `NAME/LANGUAGE`, e.g.
            `zero-shot-to-de/fr`; the average over a NAME's languages is its zero-shot score.
    """

    name: str
    template: str
    max_source_tokens: int
    max_target_tokens: int
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: Mapping[str, tuple[Example, ...]]
    notes: tuple[str, ...] = ()
    zero_shot: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)

    def prompt(self, example: Example, source: str | None = None) -> str:
        """The text that the model reads before the target.

        Args:
            example: The example.
            source: Replaces the example's source (a cut one).
        """
        return self.template.format(source=example.source if source is None else source, **example.fields)

    def content_hash(self) -> str:
        """A hash of all that finetuning and its test put into a model: examples, template and lengths."""
        head = [self.template, self.max_source_tokens, self.max_target_tokens]
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
        if largest > len(self.train):
            raise UsageError(
                f"the task {self.name!r} has too little data",
                wanted=f"at most {len(self.train):,} finetuning examples",
                got=f"{largest:,}",
                remedy="lower the largest data size in `finetune_examples`",
                where=where,
            )
        available = sum(len(examples) for examples in self.test.values())
        if test_examples > available:
            raise UsageError(
                f"the task {self.name!r} has too few test examples",
                wanted=f"test_examples of at most {available:,}",
                got=f"{test_examples:,}",
                remedy="lower `test_examples`",
                where="test_examples",
            )


def _digest(head: Sequence[str | int], splits: Iterable[Sequence[Example]]) -> str:
    digest = hashlib.sha256(json.dumps(head).encode())
    for split in splits:
        for example in split:
            digest.update(json.dumps([example.source, example.target, dict(example.fields)]).encode())
    return digest.hexdigest()
