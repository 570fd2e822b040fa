from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from finescale.errors import UsageError
from finescale.evaluation import learned
from finescale.evaluation.learned import checkpoint_hash, learned_scores, open_learned


@pytest.fixture(autouse=True)
def nothing_open():
    learned._open.cache_clear()
    yield
    learned._open.cache_clear()


@pytest.fixture
def bleurt(monkeypatch):
    """A package with the interface that bleurt-pytorch documents; its "model" scores by length."""

    class Model:
        @classmethod
        def from_pretrained(cls, folder: str):
            if folder == "missing":
                raise OSError("no such repository")
            return cls()

        def eval(self):
            return self

        def __call__(self, lengths):
            return SimpleNamespace(logits=lengths)

    class Tokenizer:
        @classmethod
        def from_pretrained(cls, folder: str):
            return cls()

        def __call__(self, references, outputs, **options):
            assert options["max_length"] == 512
            pairs = zip(references, outputs, strict=True)
            return {"lengths": torch.tensor([[float(len(out) - len(right))] for right, out in pairs])}

    package = ModuleType("bleurt_pytorch")
    package.BleurtForSequenceClassification = Model
    package.BleurtTokenizer = Tokenizer
    monkeypatch.setitem(sys.modules, "bleurt_pytorch", package)


def test_every_output_is_scored_against_its_own_reference_in_batches(bleurt) -> None:
    outputs = ["x" * n for n in range(40)]
    values, signature = learned_scores("bleurt", outputs, ["xx"] * 40, [], "some/where")
    assert values == [n - 2 for n in range(40)]
    assert signature == "bleurt_pytorch|checkpoint:where"


def test_a_checkpoint_that_cannot_be_opened_is_told_with_the_way_to_get_it(bleurt) -> None:
    with pytest.raises(UsageError) as caught:
        open_learned("bleurt", "missing")
    said = str(caught.value)
    assert said.startswith("evaluation.checkpoints: the checkpoint of bleurt cannot be opened")
    assert "no such repository" in said
    assert "hf download lucadiliello/BLEURT-20 --local-dir FOLDER" in said
    assert "evaluation: {checkpoints: {bleurt: FOLDER}}" in said


def test_a_checkpoint_is_named_by_its_content_wherever_it_lies(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(b"12")
    assert checkpoint_hash(str(tmp_path / "a")) == checkpoint_hash(str(tmp_path / "b"))
    (tmp_path / "b" / "weights").write_bytes(b"13")
    assert checkpoint_hash(str(tmp_path / "a")) != checkpoint_hash(str(tmp_path / "b"))
    assert checkpoint_hash("org/name") == "org/name"
