"""What a first study consists of: data sizes, seeds, rates, lengths; richer and poorer ones for a budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finescale.errors import UsageError, nearest
from finescale.start.data import DataLook, Lengths, lengths, read_texts, spread
from finescale.start.models import ModelLook
from finescale.start.rates import Candidates, candidates

METHODS: Mapping[str, tuple[int | None, dict[str, Any]]] = {
    "full": (None, {}),
    "lora": (8, {}),
    "prompt": (16, {}),
    "dora": (8, {"peft": "LoraConfig", "use_dora": True}),
    "rslora": (8, {"peft": "LoraConfig", "use_rslora": True}),
    "ia3": (None, {"peft": "IA3Config"}),
}
"""The methods that are offered: PET size, and the configuration of those that are not built in."""
SCORES = {"accuracy": "exact_match"}
"""Scores by another name than the metric's."""
FEWEST, DOUBLINGS = 16, 7
"""Examples of the smallest data size, and how many doublings there are from it to the largest at most."""
FEW_SIZES = 5
"""A law of the data size wants four fitted sizes, and one is held out."""
SEEDS = ((3, 3), (2, 3), (2, 2), (1, 2))
"""Seeds at the larger data sizes and at the smaller half, from the richest study to the poorest."""
BEGINNING = 4
"""Tokens that a tokenizer may put before and after a text."""
CUT_ACTIVATIONS = 0.3
"""A step's activations take at most this share of the memory; else a batch is cut into parts."""


@dataclass(frozen=True)
class Machine:
    """What runs can have.

    Attributes:
        cores: Usable cores.
        memory: Bytes for all runs: of the GPU where there is one, else free; None: not known.
        gpu: The GPU's name.
    """

    cores: int
    memory: int | None
    gpu: str | None = None


@dataclass(frozen=True)
class Design:
    """A first study.

    Attributes:
        data: The data.
        models: The models, the smallest first.
        methods: For each method the names of the models that it is run on.
        sizes: Data sizes, ascending; the largest is held out.
        seeds: Seeds at the larger sizes, and at the smaller half.
        rates: Candidates of each method.
        epochs: Passes over the data.
        batch: Examples of a batch.
        micro_batch: Examples of a forward pass; None: the whole batch.
        checkpointing: Whether activations are computed again.
        source: Lengths of what is read.
        target: Lengths of what is learned.
        test_examples: Test examples.
        dev_examples: Dev examples.
        metric: The score that is measured; None: losses alone.
        machine: The machine.
        dropped: What does not fit into memory, in sentences.
    """

    data: DataLook
    models: tuple[ModelLook, ...]
    methods: Mapping[str, tuple[str, ...]]
    sizes: tuple[int, ...]
    seeds: tuple[int, int]
    rates: Mapping[str, Candidates]
    epochs: int
    batch: int
    micro_batch: int | None
    checkpointing: bool
    source: Lengths
    target: Lengths
    test_examples: int
    dev_examples: int
    metric: str | None
    machine: Machine
    dropped: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """What to know of how the models were found, in sentences."""
        return tuple(look.note for look in self.models if look.note)

    @property
    def cheap(self) -> tuple[int, ...]:
        """The smaller half of the data sizes."""
        return self.sizes[: (len(self.sizes) + 1) // 2]

    @property
    def sweep_size(self) -> int:
        """The data size of the sweep: the middle one."""
        return self.sizes[len(self.sizes) // 2]

    def poorer(self) -> Iterator[Design]:
        """This one and cheaper ones: fewer seeds, shorter evaluations, less data, fewer passes and rates."""
        yield from (replace(self, seeds=seeds) for seeds in SEEDS)
        few = {"dev_examples": min(self.dev_examples, 64), "test_examples": min(self.test_examples, 200)}
        sizes = self.sizes
        while True:
            yield from (replace(self, **few, sizes=sizes, seeds=seeds) for seeds in SEEDS[1:])
            if len(sizes) <= FEW_SIZES:
                break
            sizes = sizes[:-1]
        least = replace(self, **few, sizes=sizes, seeds=SEEDS[-1])
        for epochs in range(self.epochs - 1, 0, -1):
            yield replace(least, epochs=epochs)
        fewer = {name: replace(found, rates=found.rates[:3]) for name, found in self.rates.items()}
        yield replace(least, epochs=1, rates=fewer, seeds=(1, 1))


def first_design(
    data: DataLook, models: Sequence[ModelLook], methods: Sequence[str], score: str | None, machine: Machine
) -> Design:
    """The richest design for data and models.

    Args:
        data: The data.
        models: The models, the smallest first.
        methods: Methods; empty: full tuning and LoRA.
        score: The score that counts beside the loss.
        machine: The machine.

    Raises:
        UsageError: An unknown method, a score that the data does not allow, nothing that fits into memory.
    """
    for name in methods:
        if name not in METHODS:
            wanted = ", ".join(METHODS)
            remedy = nearest(name, METHODS) or "other methods of PEFT: state them in the file"
            raise UsageError("unknown method", wanted=wanted, got=name, remedy=remedy, where="--methods")
    source, target = _lengths(data, models)
    top = 2 ** ((len(data.task.train)).bit_length() - 1)
    low = max(min(FEWEST, top // 2**3), top // 2**DOUBLINGS, 1)
    sizes = tuple(low * 2**power for power in range((top // low).bit_length()))
    batch = 16 if low >= 64 else 8 if low >= 16 else 4
    asked = tuple(dict.fromkeys(methods)) or ("full", "lora")
    tokens = batch * (source.limit + target.limit)
    micro, checkpointing = _parts(models, asked, batch, source.limit + target.limit, machine)
    fits, dropped = _fitting(models, asked, tokens * (micro or batch) // batch, machine, bool(methods))
    return Design(
        data=data,
        models=tuple(models),
        methods=fits,
        sizes=sizes,
        seeds=SEEDS[0],
        rates={name: candidates(name, models[0].params) for name in fits},
        epochs=3,
        batch=batch,
        micro_batch=micro,
        checkpointing=checkpointing,
        source=source,
        target=target,
        test_examples=min(500, sum(len(found) for found in data.task.test.values())),
        dev_examples=min(128, len(data.task.dev)),
        metric=None if score is None else _metric(data, score),
        machine=machine,
        dropped=dropped,
    )


def _lengths(data: DataLook, models: Sequence[ModelLook]) -> tuple[Lengths, Lengths]:
    """Lengths of what is read and learned, with the tokenizer that makes most tokens of it."""
    sources, targets = read_texts(spread(data.task.train))
    context = min((look.context for look in models if look.context), default=2**20)
    learned = max((look.tokens_of(targets) for look in models), key=sum)
    target = lengths(learned, max(1, context // 2))
    read = max((look.tokens_of(sources) for look in models), key=sum) if sources else [1]
    around = max(max(look.tokens_of(_around(data)), default=0) for look in models)
    room = context - target.limit - max(around + BEGINNING, min(64, context // 8))
    return lengths(read, max(1, room)), target


def _around(data: DataLook) -> list[str]:
    """What the template puts around the sources; a chat has none."""
    examples = [example for example in spread(data.task.train) if example.chat is None]
    return list({data.task.prompt(example, "") for example in examples})


def _metric(data: DataLook, score: str) -> str:
    """The metric that a score means; accuracy is only that of one-word answers."""
    from typing import get_args  # noqa: PLC0415

    from finescale.spec.fields import Metric  # noqa: PLC0415

    known = get_args(Metric)
    if score not in (*SCORES, *known):
        wanted = ", ".join((*SCORES, *known))
        remedy = nearest(score, (*SCORES, *known))
        raise UsageError("unknown score", wanted=wanted, got=score, remedy=remedy, where="--score")
    if score == "accuracy" and data.one_word < 0.95:
        raise UsageError(
            "accuracy is the exact match of one-word targets",
            wanted="targets of one word",
            got=f"{1 - data.one_word:.0%} of the targets have more words",
            remedy="--score exact_match for the whole text, chrf or rougeL for text",
            where="--score",
        )
    return SCORES.get(score, score)


def _parts(
    models: Sequence[ModelLook], methods: Sequence[str], batch: int, length: int, machine: Machine
) -> tuple[int | None, bool]:
    """How a batch is cut so that its activations fit, and whether they are computed again."""
    if machine.memory is None:
        return None, False
    least = "full" if methods == ("full",) else "lora"
    allowed = CUT_ACTIVATIONS * machine.memory
    size = batch
    while size > 1 and max(m.memory(least, size * length) - m.memory(least, 0) for m in models) > allowed:
        size //= 2
    too_much = max(m.memory(least, size * length) - m.memory(least, 0) for m in models) > allowed
    return (None if size == batch else size), too_much


def _fitting(
    models: Sequence[ModelLook], methods: Sequence[str], tokens: int, machine: Machine, asked: bool
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The models that each method fits on, and what does not fit; what was asked for stays, and is told."""
    fits: dict[str, tuple[str, ...]] = {}
    dropped = []
    for method in methods:
        names = []
        for look in models:
            needed = look.memory(method, tokens)
            if machine.memory is not None and needed > machine.memory:
                wants = f"{method} tuning of {look.name} wants about {needed / 1e9:.2g} GB"
                dropped.append(f"{wants} of memory, {machine.memory / 1e9:.2g} GB are there")
                if not asked:
                    continue
            names.append(look.name)
        if names:
            fits[method] = tuple(names)
    if not fits:
        raise UsageError(
            "no method fits into this machine's memory",
            wanted="a smaller model, or a machine with more",
            got="; ".join(dropped),
            where="--model",
        )
    return fits, tuple(dropped)
