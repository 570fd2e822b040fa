"""What a study measures of a model: losses, scores of generated text, few-shot, zero-shot, forgetting."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from finescale.batches.batching import Encoded
from finescale.batches.encoded import EncodedSet
from finescale.batches.encoding import encode
from finescale.batches.rendering import ends_of_answers
from finescale.errors import UsageError
from finescale.evaluation.decoding import decode
from finescale.evaluation.loss import evaluate, evaluation_batches, example_losses
from finescale.evaluation.metrics import Score, average, mean_loss, score
from finescale.evaluation.packing import packing_agrees
from finescale.evaluation.prompting import few_shot_prompts
from finescale.models.bundled import find_checkpoint
from finescale.models.tokenizer import MODES
from finescale.runs.prepare import LoadedBase, encoded_split, task_of, virtual_tokens
from finescale.spec.run import RunSpec
from finescale.tasks.pretraining import read_sample
from finescale.tasks.task import Example
from finescale.training.sharding import ranks
from finescale.tuning.full import wrap_none
from finescale.tuning.tuned import Tuned

ROW_TOKENS = 1_024
"""Tokens of a row of pretraining text; fewer where the model reads fewer beside its virtual tokens."""

_before: dict[tuple[object, ...], float] = {}
_newlines: dict[Path, frozenset[int]] = {}


@dataclass
class RunMeasurements:
    """What was measured.

    Attributes:
        record: Columns of the record, `test_loss` among them.
        scores: Rows of the table of scores.
        seconds: What each part took: `test`, `generation`, `few_shot`, `zero_shot`, `forgetting`.
        dropped: Demonstrations that had no room in the model's context, by number of shots.
    """

    record: dict[str, object] = field(default_factory=dict)
    scores: list[dict[str, object]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    dropped: dict[int, int] = field(default_factory=dict)

    def fields(self) -> dict[str, object]:
        """Columns of the record, with the time that each part took, and the scores."""
        took = {f"{part}_seconds": seconds for part, seconds in self.seconds.items()}
        return {**self.record, **took, "scores": self.scores}

    def add(self, dataset: str, split: str, shots: int, found: Score) -> None:
        """Adds a row to the table of scores."""
        low, high = found.interval
        self.scores.append(
            {
                "dataset": dataset,
                "split": split,
                "shots": shots,
                "metric": found.metric,
                "value": found.value,
                "low": low,
                "high": high,
                "examples": found.examples,
                "signature": found.signature,
            }
        )

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Adds what happens inside to a part's seconds."""
        began = time.monotonic()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - began


def pretraining_loss_before(spec: RunSpec, base: LoadedBase) -> float | None:
    """Loss of the untouched base model on the sample of pretraining text, computed once in a process.

    Args:
        spec: The run; it says whether forgetting is measured, and how.
        base: Its base model, before a method has wrapped it.

    Returns:
        Nats per token; None where the run does not ask for it.

    Raises:
        UsageError: The run asks for more than losses, but several processes share it.
    """
    if ranks() > 1 and spec.evaluation.science():
        raise UsageError(
            "a run that several processes share is measured by its losses only",
            wanted="resources with workers: 1, or a study without `evaluation`",
            got=f"workers: {ranks()}",
            where="evaluation",
        )
    if spec.evaluation.forgetting is None:
        return None
    rows = pretraining_rows(spec, base)
    key = (spec.content.get("weights"), spec.content.get("tokenizer"), spec.method.quantize)
    key = (*key, spec.content.get("pretraining_text"), len(rows), len(rows[0].ids))
    if None in key[:2] or key not in _before:
        _before[key] = _pretraining_loss(wrap_none(base.model), base, rows)
    return _before[key]


def pretraining_rows(spec: RunSpec, base: LoadedBase) -> list[Encoded]:
    """Rows of the sample of pretraining text (`causal_rows`): the run's own, or the ladder's."""
    settings = spec.evaluation.forgetting
    assert settings is not None
    sample = settings.text or find_checkpoint(spec.model.name, spec.model.pretrain_tokens or "last").sample
    width = ROW_TOKENS if base.context is None else min(ROW_TOKENS, base.context)
    return causal_rows(base.tokenizer, read_sample(sample), width - virtual_tokens(spec), settings.rows)


def causal_rows(
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[str], width: int, most: int
) -> list[Encoded]:
    """Rows of text as in causal pretraining.

    Documents follow one another, each with the end of sequence after it; a row begins with the causal mode
    token of the ladder's tokenizers, with the start token of one that has it, or with nothing.

    Args:
        tokenizer: The model's tokenizer.
        documents: The text.
        width: Tokens of a row; the last incomplete row is left out, unless it is the only one.
        most: Rows at most.
    """
    start = tokenizer.get_vocab().get(MODES["causal"], tokenizer.bos_token_id)
    head = [] if start is None else [start]
    width -= len(head)
    ids = tokenizer(list(documents), add_special_tokens=False, verbose=False)["input_ids"]
    stream = [token for document in ids for token in (*document, tokenizer.eos_token_id)]
    starts = range(0, max(1, min(len(stream) // width, most)) * width, width)
    return [Encoded(np.array([*head, *stream[at : at + width]], dtype=np.int32), 1) for at in starts]


def _pretraining_loss(tuned: Tuned, base: LoadedBase, rows: Sequence[Encoded]) -> float:
    packed = packing_agrees(tuned, rows[:2], base.pad)
    return evaluate(tuned, evaluation_batches(rows, base.pad, tuned.prompt_length, packed)).mean


def check_measured(spec: RunSpec, base: LoadedBase, prompt_length: int = 0) -> None:
    """Refuses examples that the model cannot be measured with: before it is trained, not after it.

    Args:
        spec: The run.
        base: Its base model.
        prompt_length: Positions of the method's soft prompt.

    Raises:
        UsageError: A test or zero-shot example that does not fit the model.
    """
    sets = {"test": encoded_split(spec, base, "test", spec.test_examples)}
    if spec.evaluation.zero_shot:
        task, most = task_of(spec), spec.evaluation.examples
        sets |= {name: encode(task, rows[:most], base.tokenizer) for name, rows in task.zero_shot.items()}
    for name, encoded in sets.items():
        try:
            base.fit(encoded, prompt_length)
        except UsageError as error:
            raise error.at(f"{name} examples") from None


def measure(  # noqa: PLR0917 - one call
    spec: RunSpec, base: LoadedBase, tuned: Tuned, folder: Path, packed: bool, before: float | None
) -> RunMeasurements:
    """Measures a tuned (or untuned) model.

    Args:
        spec: The run.
        base: Its base model.
        tuned: That model under the run's method.
        folder: The run's folder; generated texts go to `decoded/` there.
        packed: Whether batches are packed.
        before: What `pretraining_loss_before` gave.

    Returns:
        The columns, scores and seconds.
    """
    measured, settings, task = RunMeasurements(), spec.evaluation, task_of(spec)
    with measured.timed("test"):
        whole = base.fit(encoded_split(spec, base, "test", spec.test_examples), tuned.prompt_length)
        test = whole.examples
        measured.record |= {"tokenizer": base.tokenizer_fingerprint, **whole.shares_cut("test")}
        if ranks() > 1:  # every process has its part of the examples: the sum is shared, the parts are not
            batches = evaluation_batches(test, base.pad, tuned.prompt_length, packed)
            measured.record["test_loss"] = evaluate(tuned, batches).mean
            measured.record |= _per_byte(measured.record["test_loss"], whole)
            return measured
        nats, tokens = example_losses(tuned, test, base.pad, packed)
        measured.record["test_loss"] = float(nats.sum() / tokens.sum())
        measured.record |= _per_byte(measured.record["test_loss"], whole)
        start = 0
        for name in sorted(task.test):
            part = slice(start, start + len(task.test[name]))
            start = part.stop
            if len(nats[part]):
                measured.add(name, "test", 0, mean_loss(nats[part], tokens[part]))
    if settings.metrics:
        chosen = {name: task.test[name][: settings.examples] for name in sorted(task.test)}
        for shots in sorted(settings.shots):
            with measured.timed("few_shot" if shots else "generation"):
                _generate(measured, spec, base, tuned, folder, "test", chosen, shots)
    if settings.zero_shot:
        chosen = {name: task.zero_shot[name][: settings.examples] for name in sorted(task.zero_shot)}
        with measured.timed("zero_shot"):
            _zero_shot_losses(measured, spec, base, tuned, chosen, packed)
            if settings.metrics:
                _generate(measured, spec, base, tuned, folder, "zero_shot", chosen, 0)
    if before is not None:
        measured.record["pretrain_loss_before"] = before
        if spec.finetune_examples:
            with measured.timed("forgetting"):
                after = _pretraining_loss(tuned, base, pretraining_rows(spec, base))
            measured.record["pretrain_loss_after"] = after
    return measured


def _per_byte(loss: float, test: EncodedSet) -> dict[str, object]:
    """The bytes of the test targets as far as they were not cut, and the loss for one of them."""
    if test.target_bytes is None:
        return {}
    count = int(test.target_bytes.sum())
    return {"target_bytes": count, "test_loss_per_byte": loss * test.target_tokens / count}


def _zero_shot_losses(  # noqa: PLR0917 - one call
    measured: RunMeasurements,
    spec: RunSpec,
    base: LoadedBase,
    tuned: Tuned,
    chosen: Mapping[str, Sequence[Example]],
    packed: bool,
) -> None:
    losses = {}
    for name, examples in chosen.items():
        encoded = base.fit(encode(task_of(spec), examples, base.tokenizer), tuned.prompt_length).examples
        losses[name] = mean_loss(*example_losses(tuned, encoded, base.pad, packed))
        measured.add(name, "zero_shot", 0, losses[name])
    _add_averages(measured, losses, 0)


def _add_averages(measured: RunMeasurements, found: Mapping[str, Score], shots: int) -> None:
    """The mean over the languages of each group of zero-shot sets, under the group's name."""
    groups: dict[str, list[Score]] = {}
    for name, one in found.items():
        groups.setdefault(name.rpartition("/")[0], []).append(one)
    for group, scores in groups.items():
        measured.add(group, "zero_shot", shots, average(scores))


def _generate(  # noqa: PLR0917 - one call
    measured: RunMeasurements,
    spec: RunSpec,
    base: LoadedBase,
    tuned: Tuned,
    folder: Path,
    split: str,
    chosen: Mapping[str, Sequence[Example]],
    shots: int,
) -> None:
    """Generates texts for sets of examples, keeps and scores them."""
    settings, tokenizer = spec.evaluation, base.tokenizer
    eos = tokenizer.eos_token_id
    assert isinstance(eos, int)
    room = None
    if base.context is not None:
        room = base.context - virtual_tokens(spec) - settings.max_new_tokens
    found: dict[str, dict[str, Score]] = {metric: {} for metric in settings.metrics}
    for name, examples in chosen.items():
        prompts = few_shot_prompts(task_of(spec), examples, shots, tokenizer, room)
        if shots:
            measured.dropped[shots] = measured.dropped.get(shots, 0) + prompts.dropped
        chats = examples[0].chat is not None
        last = ends_of_answers(tokenizer) if chats else _line_ends(base) if shots else ()
        made = decode(tuned, prompts.ids, pad=base.pad, eos=eos, limit=settings.max_new_tokens, last=last)
        outputs = [text.strip() for text in tokenizer.batch_decode(made, skip_special_tokens=True)]
        if shots and not chats:
            outputs = [(text.splitlines() or [""])[0] for text in outputs]
        _keep(folder / "decoded" / f"{name.replace('/', '-')}-{shots}.jsonl", name, shots, examples, outputs)
        sources = [example.source for example in examples]
        references = [example.target for example in examples]
        for metric in settings.metrics:
            checkpoint = settings.checkpoints.get(metric)  # pyright: ignore[reportArgumentType]
            found[metric][name] = score(metric, outputs, references, sources, checkpoint)
            measured.add(name, split, shots, found[metric][name])
    if split == "zero_shot":
        for metric in settings.metrics:
            _add_averages(measured, found[metric], shots)


def _line_ends(base: LoadedBase) -> frozenset[int]:
    """Tokens with a line break in them."""
    if base.tokenizer_folder not in _newlines:
        texts = base.tokenizer.batch_decode([[token] for token in range(len(base.tokenizer))])
        found = frozenset(token for token, text in enumerate(texts) if "\n" in text)
        _newlines[base.tokenizer_folder] = found
    return _newlines[base.tokenizer_folder]


def _keep(file: Path, dataset: str, shots: int, examples: Sequence[Example], outputs: Sequence[str]) -> None:
    """Writes what was generated, one JSON object a line, aside and renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(f".{os.getpid()}")
    with aside.open("w", encoding="utf-8") as lines:
        for example, output in zip(examples, outputs, strict=True):
            row = {"dataset": dataset, "shots": shots, "source": example.source}
            row |= {"reference": example.target, "output": output}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    aside.replace(file)
