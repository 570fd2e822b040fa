"""What a study says of its examples: before it runs, in its records, and at the end."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from architectures import save_model
from chat_templates import GEMMA

from finescale.errors import UsageError
from finescale.models.hub import tokenizer_hash
from finescale.models.tokenizer import open_tokenizer, tokenizer_fingerprint
from finescale.runs.examples import example_notes
from finescale.runs.finetune import execute
from finescale.runs.prepare import encoded_split, open_base
from finescale.spec.expand import PlannedRun, expand
from finescale.spec.study import Study
from finescale.study.example_check import check_examples, needs_check, truncation_warnings
from finescale.study.resolve import resolver

pytestmark = pytest.mark.usefixtures("one_thread")
RATE = {"full": 1e-3}


def chats(count: int = 60) -> list[dict[str, Any]]:
    rows = []
    for i in range(count):
        texts = [
            ("user", f"file {i}?"),
            ("assistant", "offen"),
            ("user", "cell?"),
            ("assistant", "Zelle " * (i % 9)),
        ]
        rows.append({"messages": [{"role": role, "content": text or "ja"} for role, text in texts]})
    return rows


def pairs(count: int = 60) -> list[dict[str, Any]]:
    return [{"source": f"file cell open the {i}", "target": "klick den " * (1 + i % 9)} for i in range(count)]


def run_of(folder: Path, rows: list[dict[str, Any]], *, version: int = 2, **task: Any) -> PlannedRun:
    text = json.dumps(rows)
    file = (
        folder / f"rows-{hashlib.sha256(text.encode()).hexdigest()[:6]}.json"
    )  # a process reads a file once
    file.write_text(text)
    if not (folder / "model").exists():
        save_model(folder / "model")
    study = Study.model_validate_json(
        json.dumps(
            {
                "version": version,
                "name": "s",
                "task": {"name": "t", "train": str(file), **task},
                "models": {"mine": {"from": str(folder / "model"), "pretrain_tokens": 1000}},
                "test_examples": 6,
                "base": {"model": "mine"},
                "grids": [{"vary": "model", "values": ["mine"], "finetune_examples": {"full": [16]}}],
                "learning_rates": RATE,
                "train": {
                    "optimizer": "adamw",
                    "epochs": 1,
                    "evaluations": 1,
                    "dev_examples": 6,
                    "batch_size": 8,
                },
            }
        )
    )
    return expand(study, {}, resolver(study))[0]


@pytest.mark.parametrize("rows", [chats(), pairs()], ids=["chats", "pairs"])
def test_a_record_says_what_was_cut_and_the_loss_for_a_byte(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    item = run_of(tmp_path, rows, max_target_tokens=12, max_source_tokens=5)
    record: dict[str, Any] = execute(item, tmp_path / "runs" / "x")
    assert record["status"] == "done", record.get("error")
    base = open_base(item.run)
    test = encoded_split(item.run, base, "test", 6)
    for split in ("train", "dev", "test"):
        assert 0 < record[f"{split}_targets_truncated"] <= 1
        assert record[f"{split}_sources_truncated"] > 0
    assert record["test_targets_truncated"] == test.cut_targets / 6
    assert record["tokenizer"] == tokenizer_fingerprint(base.tokenizer)
    texts = []
    for one in test.examples:
        kept = [token for token in one.ids[one.predicted] if token != base.tokenizer.eos_token_id]
        texts.append(base.tokenizer.decode(kept).replace(" offen", "offen", 1).replace(" Zelle", "Zelle", 1))
    spaces = sum(text.startswith(" ") for text in texts)
    bytes_ = sum(len(text.encode()) for text in texts)
    assert abs(record["target_bytes"] - bytes_) <= spaces + 2 * len(texts)
    assert record["test_loss_per_byte"] * record["target_bytes"] == pytest.approx(
        record["test_loss"] * test.target_tokens
    )
    again = run_of(tmp_path, rows, max_target_tokens=12, max_source_tokens=5)
    stored: dict[str, Any] = execute(
        again, tmp_path / "runs" / "y"
    )  # the tokens are read from their file now
    names = ("test_loss", "finetune_tokens", "train_targets_truncated")
    assert [stored[name] for name in names] == [record[name] for name in names]


def test_a_look_tells_what_is_cut_and_what_version_2_would_change(tmp_path: Path) -> None:
    item = run_of(tmp_path, pairs(), version=1, max_target_tokens=8)
    notes = example_notes(item.run)["notes"]
    assert notes[0].startswith("targets longer than max_target_tokens (8) are cut: ")
    assert notes[1].startswith("under `version: 2` ")
    assert (
        "(a target that is cut has no end of sequence); this study keeps the meaning of version 1" in notes[1]
    )
    assert example_notes(run_of(tmp_path, pairs(), version=1).run)["notes"] == []
    assert len(example_notes(run_of(tmp_path, pairs(), max_target_tokens=8).run)["notes"]) == 1
    (note,) = example_notes(run_of(tmp_path, chats(), version=1).run)["notes"]
    assert "chats go through the tokenizer's own template, and every answer is a target" in note
    spelled = example_notes(
        run_of(tmp_path, [{**row, "target": row["target"] + "<|endoftext|>"} for row in pairs()]).run
    )
    assert spelled["notes"][0].endswith("targets end with <|endoftext|> themselves: no other is added")


def test_a_chat_that_the_template_refuses_is_told_before_anything_runs_and_each_note_once(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    items = [run_of(tmp_path, pairs(), version=1, max_target_tokens=8) for _ in range(2)]
    check_examples(items, said.append)
    assert len(said) == 2
    folder = save_model(tmp_path / "model")
    (folder / "chat_template.jinja").write_text(GEMMA)
    rows = chats()
    rows[7]["messages"].insert(0, {"role": "system", "content": "Be short."})
    with pytest.raises(
        UsageError, match=r"rows-.*json, line 1: the model's chat template does not take this chat"
    ):
        check_examples([run_of(tmp_path, rows)], said.append)


def test_a_test_example_that_the_model_cannot_read_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [{**row, "source": f"answer {i}"} for i, row in enumerate(pairs(12))]
    for split, rows in (
        ("dev", few[:6]),
        ("test", [*few[6:11], {"source": "file " * 300, "target": "offen"}]),
    ):
        (tmp_path / f"{split}.json").write_text(json.dumps(rows))
    files = {split: str(tmp_path / f"{split}.json") for split in ("dev", "test")}
    item = run_of(tmp_path, pairs(), **files, max_source_tokens=1_000)
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 64}))
    found = example_notes(item.run)["refused"]
    assert found["where"] == "test examples"
    assert found["wanted"] == "prompts below the 64 tokens that the model reads"
    with pytest.raises(UsageError, match="test examples: no target token is left"):
        check_examples([item], lambda _: None)

    def train(*_: object) -> None:
        raise AssertionError("trained before the test examples were fitted")

    monkeypatch.setattr("finescale.runs.finetune.train", train)
    record = execute(item, tmp_path / "run")
    assert record["status"] == "failed"
    assert str(record["error"]).startswith("test examples: no target token is left")


def test_a_study_of_bundled_data_and_models_needs_no_look() -> None:
    text = {"name": "s", "task": "mini-en-de", "test_examples": 5, "base": {"model": "nano-0.1m"}}
    grid = {"vary": "model", "values": ["nano-0.1m"], "finetune_examples": {"full": [16]}}
    study = Study.model_validate_json(json.dumps({**text, "grids": [grid], "learning_rates": RATE}))
    assert not needs_check(study)


def test_a_tokenizer_s_fingerprint_is_how_it_divides_text(tmp_path: Path) -> None:
    first = open_tokenizer(save_model(tmp_path / "a"))
    plain = tokenizer_fingerprint(first)
    first.chat_template = GEMMA
    first.backend_tokenizer.post_processor = None
    assert tokenizer_fingerprint(first) == plain
    first.add_tokens(["Dateimenü"])
    assert tokenizer_fingerprint(first) != plain


def test_a_chat_template_names_the_tokenizer_from_version_2_on(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "a")
    without = [tokenizer_hash(folder, "", version) for version in (1, 2)]
    assert without[0] == without[1]
    (folder / "chat_template.jinja").write_text(GEMMA)
    assert tokenizer_hash(folder, "", 1) == without[0]
    assert tokenizer_hash(folder, "", 2) != without[1]


def test_what_was_cut_is_said_at_the_end() -> None:
    records = pl.DataFrame(
        {"train_targets_truncated": [0.25, 0.125, None], "test_targets_truncated": [0.5, 0.0, 0.0]}
    )
    words = "Targets were cut to the tokens allowed: up to 25.0% of train, up to 50.0% of test."
    assert truncation_warnings(records, 2) == (words,)
    first, second = truncation_warnings(records, 1)
    assert (first, second[:12]) == (words, "A cut target")
    assert (
        truncation_warnings(
            records.with_columns(pl.lit(None, pl.Float64).alias(n) for n in records.columns), 1
        )
        == ()
    )
