"""Rates that were checked at a study's corners: what moved is told on the page and in the advice."""

from __future__ import annotations

import math

import polars as pl
from synthetic import study_frame

import finescale as fs
from finescale.records.rate_moves import rate_checks
from finescale.records.records import read_records
from finescale.report.evidence import gather
from finescale.report.sections.rates import learning_rates, rate_corners


def a_study(best: float, used: float = 4e-3) -> pl.DataFrame:
    """A study of two methods, swept at 256 examples and checked at 4,096, where another rate is best."""
    rows: list[dict[str, object]] = []

    def add(purpose: str, method: str, examples: int, rate: float, good: float, seed: int = 0) -> None:
        away = math.log2(rate / good) ** 2
        loss = 3.0 - 0.05 * math.log2(examples / 64) + 0.2 * (method == "lora") + 0.01 * away + 0.001 * seed
        rows.append(
            {"purpose": purpose, "task": "t", "method": method, "model": "nano", "seed": seed}
            | {"finetune_examples": examples, "learning_rate": rate, "status": "done"}
            | {"dev_loss": loss, "test_loss": loss}
            | {"lr_tuned": purpose == "study", "lr_tuned_at": "nano at 256" if purpose == "study" else None}
            | {"run": f"{purpose}{method}{examples}{rate}{seed}", "optimizer": "adamw", "batch_size": 16}
        )

    for method in ("full", "lora"):
        for rate in (2e-3, 4e-3, 8e-3):
            add("sweep", method, 256, rate, 4e-3)
        for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3):
            add("sweep", method, 4096, rate, best if method == "full" else 4e-3)
        for examples in (128, 256, 512, 1024, 2048, 4096):
            for seed in (0, 1):
                rate = used if (method, examples) == ("full", 4096) else 4e-3
                add("study", method, examples, rate, 4e-3, seed)
    return pl.DataFrame(rows)


def test_a_rate_that_moved_by_more_than_a_step_is_told_and_one_that_held_is_not() -> None:
    full, lora = rate_checks(read_records(a_study(1e-3)))
    assert (full.method, full.examples, full.chosen, full.best, full.steps) == ("full", 4096, 4e-3, 1e-3, -2)
    assert (full.moved, lora.moved, lora.steps) == (True, False, 0)
    assert full.words == (
        "Full tuning: at 4,096 examples on nano the best learning rate is 0.001, 2 steps below the sweep's"
        " 0.004; there the method is worse than it could be (finescale run --retune)."
    )


def test_rates_that_follow_are_told_as_such() -> None:
    full, _ = rate_checks(read_records(a_study(1e-3, used=1e-3)))
    assert full.followed
    assert full.words.endswith("the study's rates follow it, interpolated between the corners.")


def test_one_step_is_no_move() -> None:
    assert [check.steps for check in rate_checks(read_records(a_study(2e-3)))] == [-1, 0]
    assert not any(check.moved for check in rate_checks(read_records(a_study(2e-3))))


def test_the_advice_names_a_rate_that_moved() -> None:
    advice = fs.recommend(a_study(1e-3), bootstrap=20)
    assert any("2 steps below the sweep's 0.004" in caution for caution in advice.cautions)


def test_a_study_that_was_swept_at_one_setting_has_no_checks() -> None:
    assert rate_checks(read_records(study_frame())) == ()


def test_the_page_has_every_rate_that_was_tried_at_a_corner() -> None:
    evidence = gather(read_records(a_study(1e-3)), bootstrap=0)
    sheet = rate_corners(evidence)
    full = [row for row in sheet.rows if row["method"] == "full"]
    assert [row["outcome"] for row in full] == ["tried", "best", "tried", "the sweep's", "tried"]
    assert any("2 steps below the sweep's 0.004" in told for told in sheet.notes)
    assert (
        sheet.notes[-1]
        == "The best rate lies within a step of the sweep's for LoRA at 4,096 examples on nano."
    )
    main = [(row["method"], row["learning_rate"], row["outcome"]) for row in learning_rates(evidence).rows]
    assert main == [
        (method, rate, "chosen" if rate == 4e-3 else "tried")
        for method in ("full", "lora")
        for rate in (2e-3, 4e-3, 8e-3)
    ]
