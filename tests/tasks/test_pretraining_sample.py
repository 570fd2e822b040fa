from __future__ import annotations

from pathlib import Path

import pytest

from finescale.errors import UsageError
from finescale.models.bundled import find_checkpoint
from finescale.tasks import corpus
from finescale.tasks.pretraining import read_sample, sample_hash


@pytest.mark.parametrize(
    ("model", "corpus_name"), [("nano-1m", "parallel_en_de"), ("nano-zh-0.3m", "parallel_en_zh")]
)
def test_a_ladder_s_sample_has_its_licence_and_is_no_text_of_a_task(model: str, corpus_name: str) -> None:
    sample = find_checkpoint(model, "last").sample
    documents = read_sample(sample)
    assert len(documents) > 100
    assert "GNU GENERAL PUBLIC LICENSE" in (sample.parent / "LICENSE.GPL-2").read_text(encoding="utf-8")
    frame = corpus.load(corpus_name, "train")
    assert not set(documents) & {*frame["source"], *frame["target"]}


def test_own_samples_are_text_or_a_column_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\nTwo.", encoding="utf-8")
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n', encoding="utf-8")
    assert read_sample(str(tmp_path / "a.txt")) == ["One.\nTwo."]
    assert read_sample(str(tmp_path / "a.jsonl")) == ["One.", "Two."]
    assert sample_hash(["One.", "Two."]) != sample_hash(["One.\nTwo."])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b" \n", "no text"),
        ("a.txt", b"fine\n\xff", r"a.txt, line 2: not text"),
        ("a.jsonl", b'{"text": "x"}\n{"texts": "y"}\n', r"a.jsonl, line 2, text: a row without text"),
    ],
)
def test_a_sample_that_cannot_be_used_is_told_with_its_line(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_sample(str(tmp_path / name))
