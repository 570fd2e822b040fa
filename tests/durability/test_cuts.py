"""CI's share of `benchmarks/durability_cuts.py`: each method and optimiser is cut once and goes on."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cutting
import killing
import polars as pl
import pytest

from finescale.study.ledger import Ledger


@pytest.mark.slow
def test_runs_that_kill_9_cuts_end_with_the_same_bits(tmp_path: Path) -> None:
    cutting.make(tmp_path / "undisturbed")
    kinds = dict(zip(cutting.SETTINGS, [*cutting.KINDS, "file"], strict=True))
    orders = cutting.drawn(tmp_path / "undisturbed", kinds, random.Random(0))
    cutting.make(tmp_path / "cut", orders)
    cuts = cutting.outcomes(tmp_path / "undisturbed", tmp_path / "cut", orders)
    assert {cut.setting for cut in cuts} == set(cutting.SETTINGS)
    assert all(cut.killed for cut in cuts if cut.kind != "seconds")
    assert all(cut.identical for cut in cuts)
    assert any(cut.resumed for cut in cuts)


@pytest.mark.slow
def test_pretraining_that_kill_9_cuts_ends_with_the_same_bits(tmp_path: Path) -> None:
    words = ["open", "close", "the", "file", "menu", "print", "save", "window", "page", "table", "text"]
    rows = [" ".join(words[(i * 7 + j * j) % len(words)] for j in range(12)) + "." for i in range(400)]
    text, undisturbed, study = (tmp_path / name for name in ("text", "undisturbed", "study"))
    text.mkdir()
    pl.DataFrame({"text": rows}).write_parquet(text / "en.parquet")
    cutting.pretrain(undisturbed, text)
    with Ledger(undisturbed / "ledger.sqlite", create=False) as ledger:
        small, large = (row["run"] for row in ledger.plan())
    steps = int(cutting.moments(undisturbed, small)["step"])
    files = int(cutting.moments(undisturbed, large)["file"])
    cutting.pretrain(study, text, {small: ("step", steps * 2 // 3), large: ("file", files // 2)})
    with Ledger(study / "ledger.sqlite", create=False) as ledger:
        for run in (small, large):
            assert ["SIGKILL" in (attempt["error"] or "") for attempt in ledger.attempts(run)] == [
                True,
                False,
            ]
            history = json.loads((study / "runs" / run / "curve.json").read_text())["checkpoints"]
            assert history[-1].startswith("resumed at step")
    tables = [pl.read_parquet(folder / "records.parquet") for folder in (undisturbed, study)]
    first, second = (killing.scientific(table) for table in tables)
    assert first.height == 5
    assert first.equals(second)
    assert _contents(study / "models") == _contents(undisturbed / "models")


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
