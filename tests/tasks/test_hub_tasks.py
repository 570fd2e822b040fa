"""The paper's tasks, and any data set of the hub, from small copies in the hub's own layouts; no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finescale.batches.batching import subset
from finescale.errors import UsageError
from finescale.spec.run import TaskSpec
from finescale.tasks import published
from finescale.tasks.catalog import open_task
from finescale.tasks.task import Example, LazyExamples, Task

Rows = Sequence[dict[str, Any]]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty cache and no hub; sacrebleu's own folder is empty too."""
    import datasets
    import sacrebleu.dataset
    import sacrebleu.utils

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    for name in ("wmt20", "wmt21", "wmt22", "wmt17/dev"):
        test_set = sacrebleu.dataset.DATASETS[name]
        monkeypatch.setattr(test_set, "_outdir", str(tmp_path / "own" / name))
        monkeypatch.setattr(test_set, "_rawdir", str(tmp_path / "own" / name / "raw"))
    open_task.cache_clear()
    yield
    open_task.cache_clear()


def write(folder: Path, name: str, rows: Rows, shards: int = 1) -> None:
    """Rows as the hub has them: `NAME-00000-of-00002.parquet`, or one file if the name ends in .parquet."""
    table = pa.Table.from_pylist(list(rows))
    size = -(-len(table) // shards)
    for shard in range(shards):
        file = name if name.endswith(".parquet") else f"{name}-{shard:05d}-of-{shards:05d}.parquet"
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(shard * size, size), path)


def pairs(language: str, what: str, count: int) -> list[dict[str, Any]]:
    return [
        {"translation": {language: f"{language} {what} {i}", "en": f"en {what} {i}"}} for i in range(count)
    ]


def sacrebleu_copy(folder: Path, name: str, pair: str, count: int, reference: str = "ref") -> None:
    target = folder / "sacrebleu" / name
    target.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('/', '_')}.{pair}"
    source, to = pair.split("-")
    for kind, language in (("src", source), (reference, to)):
        lines = [f"{language} {name} {i}\n" for i in range(count)]
        (target / f"{stem}.{kind}").write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Small copies of everything that the paper's tasks read."""
    folder = tmp_path / "copies"
    write(folder / "wmt/wmt14/de-en", "train", pairs("de", "train", 40), shards=3)
    write(folder / "wmt/wmt14/de-en", "validation", pairs("de", "newstest2013", 5))
    write(folder / "wmt/wmt19/zh-en", "train", pairs("zh", "train", 30), shards=2)
    for number, year in enumerate(("wmt20", "wmt21", "wmt22")):
        sacrebleu_copy(folder, year, "en-de", 3 + number, "ref-A" if year == "wmt21" else "ref")
        sacrebleu_copy(folder, year, "en-zh", 3 + number)
    sacrebleu_copy(folder, "wmt17/dev", "en-zh", 4)
    for code, config in published.FLORES.items():
        rows = [{"id": i, "text": f"{code} flores {i}"} for i in range(6)]
        write(folder / "openlanguagedata/flores_plus/devtest", f"{config}.parquet", rows)
    for code, count in {"de": 60, "es": 30, "fr": 100}.items():
        for split, share in {"train": 1, "validation": 10, "test": 5}.items():
            rows = [
                {"text": f"{code} {split} document {i}", "summary": f"{code} {split} {i}", "topic": "t"}
                for i in range(count // share)
            ]
            write(folder / "reciTAL/mlsum" / code / split, "0000.parquet", rows)
    for split, count in {"train": 70, "validation": 7, "test": 14}.items():
        rows = [
            {"article": f"en {split} document {i}", "highlights": f"en {split} {i}", "id": i}
            for i in range(count)
        ]
        write(folder / "abisee/cnn_dailymail/3.0.0", split, rows, shards=2)
    return folder


def opened(name: str, folder: Path, **more: str) -> Task:
    return open_task(TaskSpec(name=name, data_dir=str(folder), **more))


def texts(examples: Sequence[Example]) -> list[tuple[str, str]]:
    return [(example.source, example.target) for example in examples]


def test_wmt14_is_the_hub_s_pairs_with_newstest2013_and_sacrebleu_s_tests(copies: Path) -> None:
    task = opened("wmt14-en-de", copies)
    assert texts(task.train) == [(f"en train {i}", f"de train {i}") for i in range(40)]
    assert texts(task.dev) == [(f"en newstest2013 {i}", f"de newstest2013 {i}") for i in range(5)]
    assert {name: len(examples) for name, examples in task.test.items()} == {
        "newstest2020": 3, "newstest2021": 4, "newstest2022": 5
    }  # fmt: skip
    assert texts(task.test["newstest2021"])[3] == ("en wmt21 3", "de wmt21 3")
    assert task.prompt(task.train[7]) == "English: en train 7\nGerman:"
    assert (task.max_source_tokens, task.max_target_tokens, task.mix) == (256, 256, None)
    assert task.notes == ()


def test_wmt19_has_newsdev2017_from_sacrebleu(copies: Path) -> None:
    task = opened("wmt19-en-zh", copies)
    assert texts(task.dev)[3] == ("en wmt17/dev 3", "zh wmt17/dev 3")
    assert (len(task.train), len(task.test["newstest2022"])) == (30, 5)
    assert task.prompt(task.train[0]) == "English: en train 0\nChinese:"


@pytest.mark.parametrize(
    ("name", "target", "sources"),
    [("wmt14-en-de", "de", "fr zh hi tr pl"), ("wmt19-en-zh", "zh", "fr de hi tr pl")],
)
def test_flores_is_read_when_it_is_asked_for(copies: Path, name: str, target: str, sources: str) -> None:
    task = opened(name, copies)
    assert list(task.zero_shot) == [f"flores/{code}" for code in sources.split()]
    assert texts(task.zero_shot["flores/tr"])[5] == ("tr flores 5", f"{target} flores 5")
    assert task.prompt(task.zero_shot["flores/hi"][0]).startswith("Hindi: hi flores 0\n")
    assert len(task.zero_shot_hash()) == 64
    rows = [{"id": i + 1, "text": "other"} for i in range(6)]
    write(copies / "openlanguagedata/flores_plus/devtest", "tur_Latn.parquet", rows)
    open_task.cache_clear()
    with pytest.raises(UsageError, match="the sides of Flores do not belong together"):
        opened(name, copies).zero_shot["flores/tr"]


def test_mlsum_keeps_its_mix_of_languages_in_every_subset_and_in_dev_and_test(copies: Path) -> None:
    task = opened("mlsum", copies)
    assert task.prompt(task.train[0]) == (
        "Summarize the following document in German:\nde train document 0\n"
    )
    assert (task.max_source_tokens, task.max_target_tokens) == (512, 256)
    counts = Counter(example.fields["language"] for example in task.train)
    assert counts == {"German": 60, "English": 70, "Spanish": 30, "French": 100}
    for size in (26, 130, 200):
        for seed in (0, 1):
            rows = subset(len(task.train), size, seed, task.strata())
            mix = Counter(example.fields["language"] for example in (task.train[int(i)] for i in rows))
            assert all(abs(mix[name] - size * count / 260) <= 1 for name, count in counts.items()), mix
            assert list(rows[:20]) == list(subset(len(task.train), 20, seed, task.strata()))
    assert (
        Counter(e.fields["language"] for e in task.dev[:13]).most_common(1)[0] == ("English", 4)
        or len({e.fields["language"] for e in task.dev[:13]}) == 4
    )
    assert sorted(Counter(e.fields["language"] for e in task.test["test"]).values()) == [6, 12, 14, 20]
    assert {e.fields["language"] for e in task.test["test"][:10]} == {
        "German",
        "English",
        "Spanish",
        "French",
    }


def test_the_environment_may_name_the_folder_of_copies(copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINESCALE_DATA", str(copies))
    assert open_task("mlsum").content_hash() == opened("mlsum", copies).content_hash()


def test_the_content_hash_depends_on_texts_not_on_files(copies: Path, tmp_path: Path) -> None:
    first = opened("wmt14-en-de", copies).content_hash()
    rows = pairs("de", "train", 40)
    for file in (copies / "wmt/wmt14/de-en").glob("train-*"):
        file.unlink()
    write(copies / "wmt/wmt14/de-en", "train", rows, shards=2)
    open_task.cache_clear()
    assert opened("wmt14-en-de", copies).content_hash() == first
    for change in ({"de": "de train 3!", "en": "en train 3"}, {"de": "de train ", "en": "3en train 3"}):
        rows[3] = {"translation": change}
        write(copies / "wmt/wmt14/de-en", "train", rows, shards=2)
        open_task.cache_clear()
        assert opened("wmt14-en-de", copies).content_hash() != first


def test_rows_without_a_side_and_pairs_of_dev_or_test_are_left_out_and_told(copies: Path) -> None:
    rows = pairs("de", "train", 10)
    rows[2]["translation"]["de"] = " "
    rows[5]["translation"]["en"] = None
    rows[7] = pairs("de", "newstest2013", 2)[1]
    for file in (copies / "wmt/wmt14/de-en").glob("train-*"):
        file.unlink()
    write(copies / "wmt/wmt14/de-en", "train", rows)
    task = opened("wmt14-en-de", copies)
    assert [example.source for example in task.train] == [f"en train {i}" for i in (0, 1, 3, 4, 6, 8, 9)]
    assert task.train[-1].target == "de train 9"
    assert task.notes == (
        "train: 2 of 10 rows lack a side, left out; 1 of 10 rows are also in dev or test, left out",
    )


def test_training_examples_stay_on_disk_and_can_be_taken_in_any_order(copies: Path) -> None:
    train = opened("mlsum", copies).train
    assert isinstance(train, LazyExamples)
    order = np.random.default_rng(0).permutation(len(train))
    everything = list(train)
    assert train.take(order) == [everything[i] for i in order]
    assert train[-1] == everything[-1]
    assert train[58:62] == everything[58:62]


@pytest.mark.parametrize(
    ("task", "gone", "words"),
    [
        ("wmt14-en-de", "wmt/wmt14/de-en", "wmt/wmt14, de-en, split train"),
        ("mlsum", "reciTAL/mlsum/fr/train", "reciTAL/mlsum, fr, split train, revision refs/convert/parquet"),
        ("wmt14-en-de", "sacrebleu/wmt21", "sacrebleu's wmt21, en-de"),
        ("wmt19-en-zh", "sacrebleu/wmt17", "sacrebleu's wmt17/dev, en-zh"),
    ],
)
def test_what_is_missing_is_told_with_where_it_was_looked_for_and_how_to_get_it(
    copies: Path, tmp_path: Path, task: str, gone: str, words: str
) -> None:
    (copies / gone).rename(tmp_path / "gone")
    with pytest.raises(UsageError) as caught:
        opened(task, copies)
    message = str(caught.value)
    assert words in message
    assert str(copies) in message
    assert "where there is a network: " in message
    assert "DATA" in message


def test_gated_data_says_so_and_a_folder_that_is_not_there_is_told(copies: Path, tmp_path: Path) -> None:
    (copies / "openlanguagedata").rename(tmp_path / "gone")
    with pytest.raises(UsageError, match="accept its terms"):
        opened("wmt14-en-de", copies).zero_shot["flores/fr"]
    with pytest.raises(UsageError, match="no such folder of data"):
        opened("mlsum", tmp_path / "nowhere")


def own(folder: Path, **more: Any) -> TaskSpec:
    stated = {
        "name": "mine",
        "dataset": "org/set",
        "data_dir": str(folder),
        "source": "q.text",
        "target": "a",
    }
    return TaskSpec(**{**stated, **more})


@pytest.fixture
def own_set(tmp_path: Path) -> Path:
    for split, count in {"train": 20, "validation": 4, "test": 5}.items():
        rows = [
            {"q": {"text": f"{split} {i}"}, "a": f"answer {i}", "lang": ("de", "fr")[i % 4 == 0], "n": i}
            for i in range(count)
        ]
        write(tmp_path / "copies" / "org/set/data", split, rows)
    return tmp_path / "copies"


def test_any_data_set_is_a_task_by_its_columns_and_template(own_set: Path) -> None:
    task = open_task(own(own_set, template="In {language}: {source}", language="lang"))
    assert task.prompt(task.train[0]) == "In fr: train 0"
    assert (len(task.train), len(task.dev), len(task.test["test"])) == (20, 4, 5)
    assert task.mix == "language"
    rows = subset(20, 8, 0, task.strata())
    assert sum(int(i) % 4 == 0 for i in rows) == 2
    parts = open_task(own(own_set, train="train[5:]", dev="train[:5]"))
    assert (len(parts.train), len(parts.dev)) == (15, 5)
    assert parts.prompt(parts.train[0]) == "train 5\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "q"}, "no column 'q'"),
        ({"target": "b"}, "org/set, b: no column 'b'"),
        ({"target": "n"}, "org/set, n: not text"),
        ({"template": "{source} {topic}"}, "org/set, topic: no column 'topic'"),
        ({"template": "{sauce}"}, "leaves out the source"),
        ({"dev": "dev"}, "org/set, split dev"),
        ({"config": "de"}, "org/set, de, split train"),
    ],
)
def test_a_wrong_mapping_is_told(own_set: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_task(own(own_set, **change))
    assert words in str(caught.value)


def test_chats_of_the_hub_are_recognised_and_rows_that_are_none_are_left_out(tmp_path: Path) -> None:
    def chat(what: str, number: int) -> dict[str, Any]:
        turns = [("user", f"{what} {number}?"), ("assistant", f"yes {number}")]
        messages = [{"role": role, "content": text} for role, text in turns]
        return {"prompt_id": str(number), "messages": messages if number % 10 else messages[:1]}

    folder = tmp_path / "copies" / "org" / "chats" / "data"
    for split, count in (("train_sft", 40), ("test_sft", 10)):
        write(folder, split, [chat(split, number) for number in range(count)] + [chat("both", 1)])
    spec = TaskSpec(
        name="chats",
        dataset="org/chats",
        train="train_sft",
        dev="test_sft[:5]",
        test="test_sft[5:]",
        data_dir=str(tmp_path / "copies"),
    )
    task = open_task(spec, 2)
    assert (len(task.train), len(task.dev), len(task.test["test"])) == (36, 4, 6)
    assert "train: 4 of 41 rows left out (org/chats/train, line 1, messages: not a chat)" in task.notes
    assert "train: 1 rows are also in dev or test, left out" in task.notes
    first = task.train[0].chat
    assert first is not None
    assert first.place == "org/chats/train, line 2"
    assert open_task(spec).train[0].source.startswith("User: train_sft")
