from __future__ import annotations

import re

import polars as pl
import pytest
from synthetic import base_only, study_frame

from finescale.errors import DataError
from finescale.records.noise import Noise, seed_noise
from finescale.records.records import read_records
from finescale.report.evidence import Evidence, gather, untuned_rates
from finescale.report.findings import answer
from finescale.report.noise import difference, smallest_difference
from finescale.report.sections.rates import learning_rates
from finescale.report.sections.regime import tokens_per_parameter
from finescale.report.sections.runs import costs, troubles
from finescale.report.shape import bend, bend_words
from finescale.wording import count, nats, slug


def test_the_base_setting_is_the_most_frequent_one(evidence: Evidence) -> None:
    (task,) = evidence.tasks
    assert task.base == {
        "model_params": 440_880,
        "pretrain_tokens": 6_800_000,
        "pet_size.lora": 4,
        "pet_size.prompt": 16,
    }
    assert task.at_base("lora")["finetune_examples"].to_list() == [128, 256, 512, 1024, 2048, 4096]


def test_seed_noise_is_the_one_that_was_put_in(evidence: Evidence) -> None:
    noise = evidence.tasks[0].noise
    assert {method: noise[method].freedom for method in noise} == {"full": 35, "lora": 48, "prompt": 48}
    assert all(0.0025 < noise[method].sd < 0.006 for method in noise)


def test_answer_tells_large_differences_and_abstains_on_small_ones(evidence: Evidence) -> None:
    found = answer(evidence.tasks[0])
    assert "full tuning from 2,048 to 4,096 examples" in found.headline
    assert "cannot tell" in found.headline
    assert "1,024" in found.headline
    assert found.verdicts[-1].best == "full"
    assert found.verdicts[-1].lead.low > 0.1
    assert any("Noise between seeds" in words for words in found.support)
    assert any("By the laws' means at 2,048 examples" in words for words in found.support)


def test_answer_warns_of_untuned_learning_rates(evidence: Evidence) -> None:
    assert any("not evidence" in words for words in answer(evidence.tasks[0], ["lora"]).support)


def test_one_seed_means_no_verdict(frame: pl.DataFrame) -> None:
    one = base_only(frame).filter(pl.col("seed") == 0)
    found = answer(gather(read_records(one), bootstrap=0).tasks[0])
    assert found.headline.startswith("Without runs that were repeated the means alone do not tell")
    assert any("the noise is unknown" in words for words in found.support)


def test_one_method_has_nothing_to_compare() -> None:
    found = answer(gather(read_records(base_only(study_frame(methods=("lora",)))), bootstrap=0).tasks[0])
    assert found.headline.startswith("Only one method (LoRA)")
    assert found.verdicts == ()


def test_full_tuning_that_bends_downwards_is_noticed(evidence: Evidence) -> None:
    (task,) = evidence.tasks
    found = bend(task, "full")
    assert found is not None
    assert found.downwards
    assert found.large > 2 * found.small
    lora = bend(task, "lora")
    assert lora is not None
    assert not lora.downwards
    (words,) = bend_words(task)
    assert words.startswith("Full tuning bends downwards")


def test_chosen_rate_at_the_edge_of_the_sweep_is_said(evidence: Evidence) -> None:
    sheet = learning_rates(evidence)
    assert len(sheet.rows) == 9
    assert [row["learning_rate"] for row in sheet.rows if row["outcome"] == "chosen"] == [0.01, 0.01, 0.3]
    assert any("Prompt tuning" in words and "0.3 is the highest" in words for words in sheet.notes)
    assert not any("Full tuning" in words for words in sheet.notes)


def test_a_chosen_candidate_that_is_a_run_of_the_study_is_in_the_sweep_s_table(frame: pl.DataFrame) -> None:
    chosen = pl.struct("method", "learning_rate").is_in(
        [
            {"method": "full", "learning_rate": 0.01},
            {"method": "lora", "learning_rate": 0.01},
            {"method": "prompt", "learning_rate": 0.3},
        ]
    )
    merged = frame.filter(~((pl.col("purpose") == "sweep") & chosen))
    assert merged.height == frame.height - 3
    sheet = learning_rates(gather(read_records(base_only(merged)), bootstrap=0))
    assert len(sheet.rows) == 9
    assert [row["learning_rate"] for row in sheet.rows if row["outcome"] == "chosen"] == [0.01, 0.01, 0.3]


def test_batch_sizes_are_part_of_what_was_tried(frame: pl.DataFrame) -> None:
    note = "The batch size was not tuned for full tuning"
    assert any(note in told for told in learning_rates(gather(read_records(frame), bootstrap=0)).notes)
    swept = frame.filter((pl.col("purpose") == "sweep") & (pl.col("method") == "full"))
    other = swept.with_columns(
        batch_size=pl.lit(8, dtype=frame["batch_size"].dtype), run=pl.col("run") + "-8"
    )
    sheet = learning_rates(gather(read_records(pl.concat([frame, other])), bootstrap=0))
    full = [row for row in sheet.rows if row["method"] == "full"]
    assert {row["batch_size"] for row in full} == {8, 16}
    assert [row["batch_size"] for row in full if row["outcome"] == "chosen"] == [16]
    assert not any(note in told for told in sheet.notes)
    assert any("was not tuned for LoRA" in told for told in sheet.notes)


def test_a_candidate_that_lost_a_race_is_told_with_its_steps() -> None:
    frame = study_frame()
    there = (pl.col("method") == "prompt") & (pl.col("learning_rate") == 0.3)
    lost = frame.filter(there).tail(1)
    changes = {"learning_rate": 0.9, "purpose": "sweep", "status": "stopped", "steps": 6, "dev_loss": 4.5}
    lost = lost.with_columns(
        *(pl.lit(value).cast(frame.schema[name]).alias(name) for name, value in changes.items())
    )
    lost = lost.with_columns(pl.lit(None, pl.Float64).alias("test_loss"), pl.lit("lost").alias("run"))
    sheet = learning_rates(gather(read_records(pl.concat([frame, lost])), bootstrap=0))
    (row,) = [row for row in sheet.rows if row["learning_rate"] == 0.9]
    assert (row["outcome"], row["dev_loss"]) == ("stopped after 6 steps", 4.5)
    assert any("The sweep was a race" in told for told in sheet.notes)


def test_untuned_learning_rates_come_from_the_records(frame: pl.DataFrame) -> None:
    stated = frame.with_columns(
        pl.when(pl.col("method") == "lora").then(False).otherwise("lr_tuned").alias("lr_tuned")
    )
    evidence = gather(read_records(base_only(stated)), bootstrap=0)
    assert untuned_rates(evidence) == ["lora"]


def test_data_limited_regime_is_left_by_small_adapters(evidence: Evidence) -> None:
    sheet = tokens_per_parameter(evidence)
    row = next(row for row in sheet.rows if row["method"] == "full" and row["finetune_examples"] == 128)
    assert row["tokens_per_parameter"] == pytest.approx(128 * 45 / 440_880)
    assert any("LoRA" in words and "from 1,024 examples on" in words for words in sheet.notes)
    assert not any("Full tuning" in words for words in sheet.notes)


def test_diverged_run_is_listed_with_its_reason(evidence: Evidence) -> None:
    (row,) = troubles(evidence).rows
    assert (row["status"], row["error"]) == ("diverged", "the loss became nan at step 31")


def test_candidates_that_a_race_stopped_are_counted_and_are_no_trouble(frame: pl.DataFrame) -> None:
    stopped = frame.head(2).with_columns(status=pl.lit("stopped"), purpose=pl.lit("sweep"))
    evidence = gather(read_records(pl.concat([frame, stopped])), bootstrap=0)
    assert "stopped" not in {row["status"] for row in troubles(evidence).rows}
    assert costs(evidence).rows[-1]["stopped"] == 2
    assert "stopped" in costs(evidence).frame.columns


def test_all_runs_diverged_leaves_no_task_but_a_list(frame: pl.DataFrame) -> None:
    bad = frame.with_columns(
        pl.lit("diverged").alias("status"), pl.lit(None, dtype=pl.Float64).alias("test_loss")
    )
    evidence = gather(read_records(bad), bootstrap=0)
    assert evidence.tasks == ()
    assert len(troubles(evidence).rows) == frame.height


def test_a_table_without_rows_is_refused_in_words(frame: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="the table has no run"):
        gather(read_records(frame.clear()))


def test_difference_interval_is_welch_s() -> None:
    noise = Noise(0.01, 10, 10)
    gap = difference((4.1, 2, noise), (4.0, 2, noise))
    assert gap.value == pytest.approx(0.1)
    assert gap.high - gap.value == pytest.approx(1.7247 * 0.01, rel=1e-3)
    assert gap.is_clear
    wider = difference((4.1, 2, noise), (4.0, 2, noise), comparisons=6)
    assert wider.low < gap.low
    assert smallest_difference(noise, 2) == pytest.approx(1.8125 * 0.01, rel=1e-3)


def test_unknown_noise_tells_nothing() -> None:
    unknown = seed_noise(
        pl.DataFrame({"runs": [1], "variance": [None]}, schema_overrides={"variance": pl.Float64})
    )
    assert not unknown.known
    assert not difference((4.1, 1, unknown), (3.0, 1, unknown)).is_clear


def test_numbers_read_well() -> None:
    assert [count(value) for value in (128, 4096, 440_880, 6_800_000, 1.6e10)] == [
        "128",
        "4,096",
        "441K",
        "6.8M",
        "16B",
    ]
    assert [nats(value) for value in (4.00891, 0.0004, 0.00001, None)] == ["4.009", "0.0004", "0.000", "-"]
    assert re.fullmatch(r"script-alert-1-script-[0-9a-f]{8}", slug("<script>alert(1)</script>"))
    names = ["mini-en-de", "a b", "a-b", "A-b", "../../a-b", "翻译", "摘要", "x" * 61, "x" * 62]
    assert slug(names[0]) == names[0]
    assert len({slug(name) for name in names}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]{1,70}", slug(name)) for name in names)


def test_costs_show_the_time_of_each_part_of_an_evaluation_that_was_measured(frame: pl.DataFrame) -> None:
    columns = {"generation_seconds": 3.0, "few_shot_seconds": None, "zero_shot_seconds": 0.0}
    timed = frame.with_columns(pl.lit(value, pl.Float64).alias(name) for name, value in columns.items())
    sheet = costs(gather(read_records(timed), bootstrap=0))
    assert sheet.rows[-1]["generation_seconds"] == 3.0 * frame.height
    headings = [column.heading for column in sheet.shown]
    assert [name for name in headings if name.startswith("of it")] == ["of it: generation"]
