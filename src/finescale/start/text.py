"""A design as a commented study file: every choice with the reason for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finescale.spec.schema import FILE
from finescale.spec.yaml import write_yaml
from finescale.start.design import FEW_SIZES, METHODS, Design
from finescale.start.languages import can_tell_languages
from finescale.start.models import ModelLook

WIDTH = 110
OPTIMIZER = "adamw"
"""Of every method whose known rates are not another optimiser's."""


def design_text(
    design: Design,
    name: str,
    head: Sequence[str],
    commands: Sequence[str] = (),
    stars: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The study file.

    Args:
        design: The design.
        name: The study's name.
        head: What the file begins with, in sentences.
        commands: Command lines for its head.
        stars: Planned runs, in place of the design's own.

    Returns:
        YAML that `finescale run` takes.
    """
    lines = [f"# yaml-language-server: $schema={FILE}", *(line for text in head for line in _comment(text))]
    lines += ["#", *(f"#   {command}" for command in commands)]
    lines += ["kind: finetune", "version: 2", _one("name", name)]
    grids = _grids(design) if stars is None else _planned(stars)
    for part in (_task(design), _models(design), grids, _rates(design), _train(design), _evaluation(design)):
        lines += ["", *part]
    return "\n".join(lines) + "\n"


def _one(key: str, value: Any) -> str:
    """A field on one line."""
    if isinstance(value, str) and "\n" in value:  # YAML reads JSON's strings
        return f"{key}: {json.dumps(value, ensure_ascii=False)}"
    return write_yaml({key: value}, wide=True).rstrip("\n")


def _comment(text: str) -> Iterator[str]:
    """A comment, broken between words."""
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _task(design: Design) -> Iterator[str]:
    data = design.data
    test = sum(len(found) for found in data.task.test.values())
    counts = f"{len(data.task.train):,} examples to train on, {len(data.task.dev):,} dev, {test:,} test."
    notes = (f"{note[0].upper()}{note[1:]}." for note in data.task.notes)
    yield from _comment(" ".join(("Data:", counts, *notes)))
    again = f"{data.repeats:,} of them repeat earlier ones" if data.repeats else "None repeats another"
    read, learned = (
        (script or "no script") + (f" ({language})" if language else "")
        for script, language in zip(data.scripts, data.languages, strict=True)
    )
    yield from _comment(f"{again}. What is read is written in {read}, what is learned in {learned}.")
    if not can_tell_languages():
        yield from _comment('Scripts, not languages: pip install "finescale[languages]" tells them.')
    yield from _comment(f"What is read: {design.source.words}.")
    yield from _comment(f"What is learned: {design.target.words}.")
    limits = {"max_source_tokens": design.source.limit, "max_target_tokens": design.target.limit}
    yield "task:"
    for key, value in (data.spec.model_dump(exclude_defaults=True) | limits).items():
        yield "  " + _one(key, value)
    why = "all of them" if design.test_examples == test else "more would narrow intervals little"
    yield f"{_one('test_examples', design.test_examples)}   # {why}"


def _models(design: Design) -> Iterator[str]:
    own = [look for look in design.models if look.source is not None]
    for look in design.models:
        known = f"{look.pretrain_tokens:.2g} tokens of pretraining" if look.pretrain_tokens else ""
        context = f"context of {look.context:,} tokens" if look.context else ""
        facts = [look.architecture, f"{look.params:,} parameters", context, known]
        yield from _comment(f"{look.name}: {', '.join(filter(None, facts))}.")
    if any(look.pretrain_tokens is None for look in own):
        yield from _comment(
            "The tokens that a model was pretrained on are not known; if you know them add"
            " `pretrain_tokens: 3.0e11`."
        )
    if own:
        yield "models:"
        for look in own:
            yield f"  {_one(look.name, _source(look))}"
    sizes = {name: METHODS[name][0] for name in design.methods if METHODS[name][0]}
    others = {name: METHODS[name][1] for name in design.methods if METHODS[name][1]}
    if others:
        yield _one("methods", others)
    if sizes:
        words = "PET sizes: LoRA's rank is PEFT's default, 8. A star over pet_size would vary them."
        yield from _comment(words)
    base: dict[str, Any] = {"model": design.models[-1].name}
    yield _one("base", base | ({"pet_size": sizes} if sizes else {}))


def _source(look: ModelLook) -> dict[str, Any]:
    assert look.source is not None
    return look.source.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)


def _grids(design: Design) -> Iterator[str]:
    sizes, (most, few) = design.sizes, design.seeds
    yield from _comment(
        f"Data sizes: powers of two up to what is there. The largest ({sizes[-1]:,}) is held out: the"
        " laws have to predict it, which shows how far they can be trusted."
    )
    if len(sizes) < FEW_SIZES:
        yield from _comment(
            f"A law wants {FEW_SIZES - 1} others beside it: so little data does not have them."
        )
    more = f"{few} at the smaller sizes, where they are cheap, and " if few > most else ""
    why = "their spread is the noise of every comparison" if few > 1 else "the budget pays for no more"
    yield from _comment(f"Seeds: {more}{most} at {'the larger' if more else 'all'} sizes: {why}.")
    for sentence in design.dropped:
        yield from _comment(f"Memory: {sentence}.")
    yield "grids:"
    for names, methods in _together(design):
        yield from _star(names, methods, sizes, range(most))
        if few > most:
            yield from _star(names, methods, design.cheap, range(most, few))
    yield _one("hold_out", f"finetune_examples == {sizes[-1]}")


def _planned(stars: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from _comment(
        "The runs that tell most about the target for their cost, by `finescale plan` on the table. None is"
        " held out: with the table's runs they all enter the fits."
    )
    yield "grids:"
    for star in stars:
        yield f"  - {_one('vary', star['vary'])}"
        yield from (f"    {_one(key, value)}" for key, value in star.items() if key != "vary")


def _together(design: Design) -> Iterator[tuple[list[str], list[str]]]:
    """Models with the same methods, and those methods."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for look in design.models:
        methods = tuple(name for name, models in design.methods.items() if look.name in models)
        groups.setdefault(methods, []).append(look.name)
    for methods, names in groups.items():
        if methods:
            yield names, list(methods)


def _star(models: list[str], methods: list[str], sizes: Sequence[int], seeds: Sequence[int]) -> Iterator[str]:
    yield "  - vary: model"
    yield f"    {_one('values', models)}"
    yield f"    {_one('finetune_examples', {name: list(sizes) for name in methods})}"
    yield f"    {_one('seeds', list(seeds))}"


def _rates(design: Design) -> Iterator[str]:
    smallest = design.models[0].name
    yield from _comment(
        f"Learning rates: the best of each method by dev loss, tried on {smallest} with {design.sweep_size:,}"
        " examples. A comparison of methods with untuned rates is no evidence. The sweep is a race: a rate"
        " that will not win is stopped early."
    )
    yield "learning_rates:"
    for method, found in design.rates.items():
        yield from (f"  {line}" for line in _comment(f"{method}: {found.why}"))
        rates = list(found.rates)
        other = found.optimizer != OPTIMIZER
        yield f"  {_one(method, [{'optimizer': found.optimizer, 'rates': rates}] if other else rates)}"
    yield _one("sweep", {"model": smallest, "finetune_examples": design.sweep_size, "race": True})


def _train(design: Design) -> Iterator[str]:
    steps = max(1, design.sizes[0] // design.batch)
    passes = f"{design.epochs} passes" if design.epochs > 1 else "One pass"
    yield from _comment(
        f"Batches of {design.batch}: {steps} steps for a pass over the smallest data size. {passes}:"
        " the dev loss chooses the checkpoint, so that more cost time and seldom lose anything."
    )
    train: dict[str, Any] = {"optimizer": OPTIMIZER, "batch_size": design.batch, "epochs": design.epochs}
    train |= {"evaluations": 4, "dev_examples": design.dev_examples}
    if design.machine.gpu:
        yield from _comment(f"bf16: {design.machine.gpu} computes in it; weights and optimiser stay float32.")
        train["precision"] = "bf16"
    if design.micro_batch:
        yield from _comment("A batch is computed in parts, so that its activations fit into memory.")
        train["micro_batch_size"] = design.micro_batch
    if design.checkpointing:
        train["gradient_checkpointing"] = True
    yield _one("train", train)


def _evaluation(design: Design) -> Iterator[str]:
    if design.metric is None:
        yield from _comment(
            "Measured is the loss on the test set, in nats per token of the targets. For a score of generated"
            " text beside it: evaluation: {metrics: [exact_match]}, or chrf, bleu, rougeL."
        )
        return
    examples = min(200, design.test_examples)
    yield from _comment(
        f"{design.metric} of generated text beside the loss, on {examples} test examples: decoding takes"
        " longer than the loss. New tokens: as many as the targets' limit, and the end."
    )
    settings = {"metrics": [design.metric], "examples": examples, "max_new_tokens": design.target.limit + 1}
    yield _one("evaluation", settings)
