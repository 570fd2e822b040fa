"""Tasks whose data is on the Hugging Face hub: the paper's, and any data set by its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finescale.errors import UsageError
from finescale.spec.run import FINGERPRINT_VERSION, TaskSpec, Version
from finescale.tasks.arrow import ArrowExamples, Part
from finescale.tasks.hub import data_folder, open_split, part_of
from finescale.tasks.layouts import Layout, layout_of, read_example, unread_note
from finescale.tasks.local import LOOKED, dropped_turns_note, template_fields
from finescale.tasks.mix import mixed_order
from finescale.tasks.newstest import newstest
from finescale.tasks.published import PUBLISHED, HubSet, Summarization, Translation, flores
from finescale.tasks.rows import Row
from finescale.tasks.summarization import TEMPLATE as SUMMARIZE
from finescale.tasks.task import Example, Task
from finescale.tasks.translation import LANGUAGES
from finescale.tasks.translation import TEMPLATE as TRANSLATE

if TYPE_CHECKING:
    import datasets


def published_task(spec: TaskSpec) -> Task:
    """One of the paper's tasks.

    Args:
        spec: Its name, and where copies lie.

    Raises:
        UsageError: A data set cannot be loaded.
    """
    stated, folder = PUBLISHED[spec.name], data_folder(spec)
    if isinstance(stated, Translation):
        return _translation(spec.name, stated, folder)
    return _summarization(spec.name, stated, folder)


def hub_task(spec: TaskSpec, version: Version = FINGERPRINT_VERSION) -> Task:
    """A task from any data set of the hub, by its columns; chats and other layouts are recognised.

    Args:
        spec: Data set, columns and template; `train`, `dev` and `test` name its splits (default: train,
            validation, test) or parts of them, e.g. `train[:1000]`.
        version: Of the study: what its chats mean.

    Raises:
        UsageError: The data set cannot be loaded, or lacks a split or column.
    """
    assert spec.dataset is not None
    splits = {"train": spec.train or "train", "dev": spec.dev or "validation", "test": spec.test or "test"}
    hub = HubSet(spec.dataset, spec.config, spec.source, spec.target, spec.revision, splits)
    opened = {split: open_split(hub, split, data_folder(spec)) for split in splits}
    layout = layout_of(spec, opened["train"][0]) if len(opened["train"]) else layout_of(spec, {})
    template = spec.template or layout.template
    fields = template_fields(template)
    if layout.kind != "pairs":
        return _recognised(spec, layout, opened, version)
    columns = {name: spec.language if name == "language" and spec.language else name for name in fields}
    read = {split: ArrowExamples([part_of(rows, hub, {}, columns)]) for split, rows in opened.items()}
    mix = "language" if spec.language is not None and "language" in fields else None
    return _task(spec.name, template, (spec.max_source_tokens, spec.max_target_tokens), read, mix=mix)


def _recognised(
    spec: TaskSpec, layout: Layout, opened: Mapping[str, datasets.Dataset], version: Version
) -> Task:
    """A task from rows of a layout that is recognised; the texts are in memory.

    Rows that are no examples are left out, as those of pairs that lack a side are; so are training rows that
    are also in dev or test.
    """
    fields = template_fields(spec.template or layout.template)
    notes = [f"{spec.dataset}: {layout.words}"] if layout.words else []
    looked = opened["train"].select(range(min(LOOKED, len(opened["train"]))))
    notes += unread_note(spec, layout, fields, version, (dict(values) for values in looked))
    read: dict[str, tuple[Example, ...]] = {}
    for split in ("dev", "test", "train"):
        held = {(e.source, e.target) for examples in read.values() for e in examples}
        place = Path(f"{spec.dataset}/{split}")
        examples, wrong, known = [], [], 0
        for number, values in enumerate(opened[split], start=1):
            try:
                example = read_example(spec, layout, place, Row(number, dict(values)), fields, version)
            except UsageError as error:
                wrong.append(error)
                continue
            if split == "train" and (example.source, example.target) in held:
                known += 1
            else:
                examples.append(example)
        if wrong and len(wrong) >= len(opened[split]) / 2:
            raise wrong[0]
        read[split] = tuple(examples)
        if wrong:
            why = f"{wrong[0].where}: {wrong[0].problem}"
            notes.append(f"{split}: {len(wrong):,} of {len(opened[split]):,} rows left out ({why})")
        notes += [f"{split}: {known:,} rows are also in dev or test, left out"] if known else []
    return Task(
        spec.name,
        spec.template or layout.template,
        spec.max_source_tokens,
        spec.max_target_tokens,
        read["train"],
        read["dev"],
        {"test": read["test"]},
        tuple(notes) + dropped_turns_note(read),
        separator=layout.separator,
        answers=spec.answers,
    )


def _task(
    name: str,
    template: str,
    lengths: tuple[int, int],
    splits: Mapping[str, ArrowExamples | tuple[Example, ...]],
    *,
    mix: str | None = None,
    tests: Mapping[str, tuple[Example, ...]] | None = None,
    zero_shot: Mapping[str, Sequence[Example]] | None = None,
) -> Task:
    """A task whose training rows are complete and in no other split."""
    train, notes = splits["train"], []
    held: dict[str, tuple[Example, ...]] = dict(tests or {})
    for split in ("dev", "test"):
        if split in splits:
            read = splits[split]
            complete, note = _complete(read, mix=mix) if isinstance(read, ArrowExamples) else (read, None)
            held[split] = tuple(complete)
            notes += [f"{split}: {note}"] if note else []
    assert isinstance(train, ArrowExamples)
    pairs = {(example.source, example.target) for examples in held.values() for example in examples}
    train, note = _complete(train, None, pairs)
    notes += [f"train: {note}"] if note else []
    dev = held.pop("dev")
    return Task(
        name,
        template,
        *lengths,
        train,
        dev,
        held,
        tuple(notes),
        zero_shot if zero_shot is not None else {},
        mix,
    )


def _complete(
    examples: ArrowExamples, mix: str | None, held: set[tuple[str, str]] | None = None
) -> tuple[ArrowExamples, str | None]:
    """Examples without those that lack a side, and without pairs that are held out; and words on both."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute  # noqa: PLC0415

    pc: Any = pyarrow.compute  # made when it is imported, so that its functions have no types
    sources = pa.array({source for source, _ in held or ()}, type=pa.string())
    empty, known, first = [], [], 0
    for part in examples.parts:
        for source, target in _aligned(part):
            lacks = np.zeros(len(source), dtype=bool)
            for side in (source, target):
                length = pc.binary_length(pc.utf8_trim_whitespace(side))
                lacks |= np.asarray(pc.fill_null(pc.equal(length, 0), True))
            empty.append(first + np.flatnonzero(lacks))
            if held:
                for row in np.flatnonzero(np.asarray(pc.is_in(source, sources.cast(source.type)))):
                    if (source[int(row)].as_py(), target[int(row)].as_py()) in held:
                        known.append(first + int(row))
            first += len(source)
    lacking = np.concatenate([np.zeros(0, dtype=np.int64), *empty])
    out = np.union1d(lacking, np.array(known, dtype=np.int64))
    words = [
        f"{count:,} of {first:,} rows {why}, left out"
        for count, why in ((len(lacking), "lack a side"), (len(known), "are also in dev or test"))
        if count
    ]
    kept: np.ndarray | None = None
    if len(out):
        keep = np.ones(first, dtype=bool)
        keep[out] = False
        kept = np.flatnonzero(keep).astype(np.int32 if first < 2**31 else np.int64)
    found = examples if kept is None else examples.ordered(kept)
    if mix is not None:
        order = mixed_order(found.strata(mix), np.random.default_rng(13))
        found = found.ordered(order if kept is None else kept[order])
    return found, "; ".join(words) or None


def _aligned(part: Part) -> Iterator[tuple]:
    """Source and target, chunk by chunk; the chunks of one table's columns have the same lengths."""
    for batch in part.rows.data.table.to_batches():
        yield batch.column(part.source), batch.column(part.target)


def _translation(name: str, stated: Translation, folder: Path | None) -> Task:
    """English into German or Chinese: the hub's training pairs, sacrebleu's tests."""
    source, target = stated.languages
    fields = {"source_language": LANGUAGES[source], "target_language": LANGUAGES[target]}

    def official(test: str) -> tuple[Example, ...]:
        return tuple(Example(*pair, fields) for pair in newstest(test, f"{source}-{target}", folder))

    train = ArrowExamples([part_of(open_split(stated.train, "train", folder), stated.train, fields)])
    dev: ArrowExamples | tuple[Example, ...]
    if stated.dev is None:
        dev = ArrowExamples([part_of(open_split(stated.train, "dev", folder), stated.train, fields)])
    else:
        dev = official(stated.dev)
    tests = {ours: official(theirs) for ours, theirs in stated.tests.items()}
    zero_shot = OnDemand(
        {f"flores/{code}": lambda code=code: flores_pairs(code, target, folder) for code in stated.zero_shot}
    )
    return _task(name, TRANSLATE, (256, 256), {"train": train, "dev": dev}, tests=tests, zero_shot=zero_shot)


def _summarization(name: str, stated: Summarization, folder: Path | None) -> Task:
    """Documents and summaries in several languages, concatenated; every subset keeps their mix."""
    splits = {
        split: ArrowExamples(
            [
                part_of(open_split(hub, split, folder), hub, {"language": LANGUAGES[code]})
                for code, hub in stated.languages.items()
            ]
        )
        for split in ("train", "dev", "test")
    }
    return _task(name, SUMMARIZE, (512, 256), splits, mix="language")


class OnDemand(Mapping[str, tuple[Example, ...]]):
    """Sets of examples that are loaded when they are first asked for."""

    def __init__(self, loaders: Mapping[str, Callable[[], tuple[Example, ...]]]) -> None:
        """Takes what loads each set.

        Args:
            loaders: Name of a set to what loads it.
        """
        self._loaders = loaders
        self._loaded: dict[str, tuple[Example, ...]] = {}

    def __getitem__(self, name: str) -> tuple[Example, ...]:
        """One set."""
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._loaders)

    def __len__(self) -> int:
        """How many sets."""
        return len(self._loaders)


def flores_pairs(source: str, target: str, folder: Path | None) -> tuple[Example, ...]:
    """The test sentences of Flores-200 from one language into another.

    Args:
        source: Language code of the sources.
        target: Language code of the targets.
        folder: A folder of copies.
    """
    sides = []
    for code in (source, target):
        hub = flores(code)
        rows = open_split(hub, "test", folder)
        sides.append((rows, part_of(rows, hub, {}).rows[hub.source]))
    (rows, sources), (others, targets) = sides
    ids = [side["id"] if "id" in side.column_names else list(range(len(side))) for side in (rows, others)]
    if ids[0] != ids[1]:
        raise UsageError(
            "the sides of Flores do not belong together",
            wanted="the same sentences in the same order",
            got=f"{len(sources)} sentences in {source!r}, {len(targets)} in {target!r}, or other ids",
            where=flores(source).dataset,
        )
    fields = {"source_language": LANGUAGES[source], "target_language": LANGUAGES[target]}
    return tuple(Example(text, into, fields) for text, into in zip(sources, targets, strict=True))
