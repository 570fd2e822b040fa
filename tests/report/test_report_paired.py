"""Two methods over several sizes together, by the seeds that both ran."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import read_records
from finescale.report.evidence import gather
from finescale.report.findings import TaskAnswer, answer
from finescale.report.paired import paired

SIZES = [16, 32, 64, 128]


def table(
    gap: float = 0.03, *, seeds: int = 3, shared: float = 0.05, own: float = 0.002, draw: int = 0
) -> pl.DataFrame:
    """Full tuning and LoRA, a gap apart; most of the noise is their seed's, at all sizes."""
    rng = np.random.default_rng(draw)
    moved = shared * rng.standard_normal(seeds)
    rows = [
        {
            "method": method,
            "finetune_examples": size,
            "seed": seed,
            "test_loss": 3 - 0.1 * np.log2(size) + behind + moved[seed] + own * rng.standard_normal(),
        }
        for method, behind in (("full", 0.0), ("lora", gap))
        for size in SIZES
        for seed in range(seeds)
    ]
    return pl.DataFrame(rows)


def of(rows: pl.DataFrame, method: str) -> pl.DataFrame:
    return rows.filter(pl.col("method") == method).with_columns(pl.col("seed").cast(pl.String))


def told(rows: pl.DataFrame) -> TaskAnswer:
    (task,) = gather(read_records(rows), bootstrap=0).tasks
    return answer(task)


def test_the_interval_is_that_of_the_seeds_mean_differences() -> None:
    rows = table()
    found = paired(of(rows, "full"), of(rows, "lora"), TEST_LOSS)
    assert found is not None
    wide = rows.pivot("method", index=["finetune_examples", "seed"], values="test_loss")
    means = wide.group_by("seed").agg((pl.col("lora") - pl.col("full")).mean())["lora"].to_numpy()
    low, high = stats.ttest_1samp(means, 0).confidence_interval(0.9)
    assert (found.gap.value, found.gap.low, found.gap.high) == pytest.approx((means.mean(), low, high))
    assert (found.ahead, found.sizes, found.seeds, found.better, found.pairs) == (
        True,
        tuple(SIZES),
        3,
        12,
        12,
    )
    other = paired(of(rows, "lora"), of(rows, "full"), TEST_LOSS)
    assert other is not None
    assert (other.ahead, other.better) == (False, 12)
    assert other.gap == found.gap


def test_higher_scores_are_ahead() -> None:
    rows = table().rename({"test_loss": "accuracy"})
    found = paired(
        of(rows, "full"), of(rows, "lora"), Outcome("accuracy", "accuracy", "score", "higher", 0, 1)
    )
    assert found is not None
    assert not found.ahead


def test_only_sizes_that_the_same_seeds_ran_are_averaged() -> None:
    rows = table().filter(~((pl.col("finetune_examples") == 128) & (pl.col("seed") > 0)))
    found = paired(of(rows, "full"), of(rows, "lora"), TEST_LOSS)
    assert found is not None
    assert (found.sizes, found.seeds) == ((16, 32, 64), 3)
    assert paired(of(rows.filter(pl.col("seed") == 0), "full"), of(rows, "lora"), TEST_LOSS) is None
    assert paired(of(rows, "full").drop("seed"), of(rows, "lora"), TEST_LOSS) is None
    apart = of(rows, "lora").with_columns(seed="other " + pl.col("seed"))
    assert paired(of(rows, "full"), apart, TEST_LOSS) is None


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_methods_are_told_apart_in_a_tenth_of_tables(seeds: int) -> None:
    tables = [table(0.0, seeds=seeds, own=0.02, draw=draw) for draw in range(300)]
    found = [paired(of(rows, "full"), of(rows, "lora"), TEST_LOSS) for rows in tables]
    clear = np.mean([one is not None and one.gap.is_clear for one in found])
    assert clear == pytest.approx(0.1, abs=0.05)


def test_the_answer_says_what_sizes_tell_together_that_alone_do_not() -> None:
    found = told(table())
    assert found.headline.startswith("These records cannot tell full tuning and LoRA apart from 16 to 128")
    assert found.headline.endswith(
        ". Together the sizes from 16 to 128 examples tell that full tuning is ahead of LoRA."
    )
    words = (
        "Over 4 of the sizes that alone do not tell, 16 to 128 examples, full tuning is ahead of LoRA in 12 "
    )
    assert any(
        sentence.startswith(f"{words}of 12 pairs of runs of one seed (3 seeds), by 0.0")
        for sentence in found.support
    )


def test_what_does_not_tell_together_either_stays_untold() -> None:
    found = told(table(0.001, own=0.02))
    assert "Together" not in found.headline
    assert any("pairs of runs of one seed (3 seeds)" in sentence for sentence in found.support)
    clear = told(table(1.0))
    assert not any("pairs of runs" in sentence for sentence in clear.support)


def test_a_third_method_that_is_tied_keeps_it_out_of_the_headline() -> None:
    two = table()
    third = two.filter(pl.col("method") == "full").with_columns(
        pl.lit("prompt").alias("method"), pl.col("test_loss") - 0.01
    )
    found = told(pl.concat([two, third]))
    assert "Together" not in found.headline
    assert any("pairs of runs of one seed" in sentence for sentence in found.support)


def test_seeds_that_two_sizes_share_are_enough() -> None:
    rows = table(seeds=4).filter(
        ((pl.col("finetune_examples") == 16) & (pl.col("seed") < 3))
        | ((pl.col("finetune_examples") == 32) & (pl.col("seed") > 0))
    )
    found = paired(of(rows, "full"), of(rows, "lora"), TEST_LOSS)
    assert found is not None
    assert (found.sizes, found.seeds) == ((16, 32), 2)
