"""What makes cells stand out is no part of them; powers of ten are numbers."""

from __future__ import annotations

import polars as pl
import pytest

import finescale as fs
from finescale.records.marks import plain_words, without_marks


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["10²", "10³", "10⁴"], ["1e2", "1e3", "1e4"]),
        (["10<sup>2</sup>", "10^3", "5×10<sup>3</sup>"], ["1e2", "1e3", "5e3"]),
        (["100", "10^3"], ["100", "1e3"]),
        (["8000<sup>1</sup>", "1.87²", "**1.9**"], ["8000", "1.87", "1.9"]),
        (["10³", "20", "30"], ["10³", "20", "30"]),  # a footnote, or a thousand: no number
    ],
)
def test_powers_of_ten_are_numbers_and_footnotes_are_none(cells: list[str], numbers: list[str]) -> None:
    """10², 10³ and 10⁴ were 10; 8000<sup>1</sup> was 80001."""
    assert without_marks(pl.Series(cells))[0].to_list() == numbers


def test_words_that_stand_out_are_the_words() -> None:
    """The best row, in bold, was a run of another method on another model."""
    cells = ["| method | model | samples | test_loss |", "|---|---|---|---|", "| full | opt | 1000 | 2.0 |"]
    cells += ["| full¹ | [opt](https://x.y) | 2000 | 1.8 |", "| **full** | **opt** | **8000** | **1.55** |"]
    words = [row.strip("|").split("|")[0] for row in cells[2:]]
    assert set(plain_words(pl.Series(words)).str.strip_chars()) == {"full"}
    frame = pl.DataFrame({
        "method": ["full", "full¹", "**full**"], "model": ["opt", "[opt](https://x.y)", "**opt**"],
        "finetune_examples": [1000, 2000, 8000], "test_loss": [2.0, 1.8, 1.55],
    })  # fmt: skip
    records = fs.read_records(frame)
    assert records.frame.select("method", "model").unique().rows() == [("full", "opt")]
