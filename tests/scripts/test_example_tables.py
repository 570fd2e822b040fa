"""A study's records, scores and dev curves as tables."""

import json

import example_tables
import polars as pl
from example import plan
from inline import InlineExecutor

from finescale.records.records import read_records
from finescale.study.runner import run_study


def test_records_scores_and_the_curve_of_every_run_are_kept(tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    run_study(plan(study, "instant"), study, InlineExecutor())
    runs = pl.read_parquet(study / "records.parquet").filter(pl.col("finetune_examples") > 0)["run"].to_list()
    for number, run in enumerate(runs):
        (study / "runs" / run).mkdir(parents=True, exist_ok=True)
        curve = {"dev_loss": [[4, 3.0 + number], [8, 2.5]], "gradient_norm": []}
        (study / "runs" / run / "curve.json").write_text(json.dumps(curve))
    example_tables.main(study, tmp_path / "small.parquet")
    assert len(read_records(tmp_path / "small.parquet")) == len(read_records(study / "records.parquet"))
    assert (tmp_path / "small_scores.parquet").is_file()
    curves = pl.read_parquet(tmp_path / "small_curves.parquet")
    assert curves.height == 2 * len(runs)
    assert curves["run"].unique(maintain_order=True).to_list() == runs
    first = curves.filter(pl.col("run") == runs[1]).select("step", "dev_loss").rows()
    assert first == [(4, 4.0), (8, 2.5)]
    assert (
        curves.select("method", "learning_rate", "seed", "test_loss").null_count().sum_horizontal().item()
        == 0
    )
