from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finescale.errors import UsageError
from finescale.records.defused import as_meant, csv_text
from finescale.records.records import read_records
from finescale.records.tables import read_table


@given(st.lists(st.text("=+-@'a1 .\t", min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=5))
def test_every_text_is_read_back_as_it_was_and_none_begins_like_a_formula(texts: list[str]) -> None:
    frame = pl.DataFrame({"n": range(len(texts)), "text": texts})
    text = csv_text(frame)
    written = pl.read_csv(text.encode(), infer_schema=False)["text"].to_list()
    for cell, meant in zip(written, texts, strict=True):
        number = pl.Series([meant]).cast(pl.Float64, strict=False)[0] is not None
        assert cell[0] not in "=+-@\t" or (number and cell == meant)
    assert as_meant(pl.read_csv(text.encode(), infer_schema=False))["text"].to_list() == texts


def test_a_table_s_numbers_stay_numbers_and_its_names_come_back(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"method": ["=HYPERLINK(1)", "@lora"], "finetune_examples": [100, 200], "test_loss": [2.0, 1.5]}
    )
    (tmp_path / "runs.csv").write_text(csv_text(frame.with_columns(change=pl.Series([-1.5, 2.0]))))
    table, _, _ = read_table(tmp_path / "runs.csv")
    assert table["method"].to_list() == ["=HYPERLINK(1)", "@lora"]
    assert table["change"].to_list() == ["-1.5", "2.0"]


@pytest.mark.parametrize("loss", [1e300, 1e-300, 3e-31])
def test_a_loss_that_is_a_broken_number_is_refused_with_its_row(loss: float) -> None:
    table = pl.DataFrame({"finetune_examples": [1, 2, 3], "test_loss": [1.0, loss, 2.0]})
    with pytest.raises(UsageError, match="between 1e-30 and 1e") as told:
        read_records(table)
    assert "row 2" in str(told.value) or "row 1" in str(told.value)
