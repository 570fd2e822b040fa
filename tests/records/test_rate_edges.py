"""A learning rate at the edge of its sweep is told, in studies and in tables of any source."""

from __future__ import annotations

import polars as pl
import pytest
from synthetic import study_frame

import finescale as fs
from finescale.records.rate_edges import rate_edges
from finescale.records.records import read_records


def test_a_studys_chosen_rate_at_the_edge_is_found_and_one_inside_is_not() -> None:
    (edge,) = rate_edges(read_records(study_frame()))
    assert (edge.method, edge.rate, edge.end) == ("prompt", 0.3, "highest")
    assert edge.words.startswith("Prompt tuning: the chosen learning rate 0.3 is the highest that was tried;")


def test_a_higher_rate_that_diverged_was_tried_too() -> None:
    frame = study_frame()
    swept = frame.filter((pl.col("method") == "prompt") & (pl.col("learning_rate") == 0.3)).tail(1)
    more = swept.with_columns(
        pl.lit(1.0).alias("learning_rate"),
        pl.lit("sweep").alias("purpose"),
        pl.lit("diverged").alias("status"),
        pl.lit(None, pl.Float64).alias("test_loss"),
        pl.lit("another").alias("run"),
    )
    assert rate_edges(read_records(pl.concat([frame, more]))) == ()


def a_table(best: float) -> pl.DataFrame:
    """Two methods, four data sizes, four rates at each; LoRA's best rate is the one that is given."""
    rows = [
        {"method": method, "finetune_examples": size, "learning_rate": rate, "seed": seed}
        | {"test_loss": 3 - 0.1 * size**0.1 + 0.3 * (method == "full") + abs(rate - good) + 0.001 * seed}
        for method, good in (("full", 2e-4), ("lora", best))
        for size in (100, 200, 400, 800)
        for rate in (1e-4, 2e-4, 4e-4, 8e-4)
        for seed in (0, 1)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(("best", "end"), [(1e-4, "lowest"), (4e-4, None), (8e-4, "highest")])
def test_a_tables_best_rates_at_the_edge_are_in_the_first_lines_of_the_advice(
    best: float, end: str | None
) -> None:
    advice = fs.recommend(a_table(best), bootstrap=20)
    if end is None:
        assert advice.cautions == ()
        return
    (words,) = advice.cautions
    assert f"LoRA: the chosen learning rate {best:g} is the {end} that was tried at 4 of 4 settings" in words
    assert advice._repr_html_().index(words) < advice._repr_html_().index("<table>")
    assert advice.to_dict()["cautions"] == [words]
