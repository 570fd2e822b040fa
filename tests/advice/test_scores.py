"""Advice by a score: its own direction, scale and unit, and the same answer as by what it leaves out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import finescale as fs

SIZES = (64, 128, 256, 512, 1024, 2048)


def table(seed: int, *, noise: float = 0.1, seeds: int = 2) -> pl.DataFrame:
    """Accuracies of two methods that rise as sigmoids in log D from a chance level to an asymptote."""
    rng = np.random.default_rng(seed)
    rows = []
    for method in ("full", "lora"):
        chance, top = rng.uniform(0.2, 0.5), rng.uniform(0.75, 0.98)
        half, steep = rng.uniform(6, 11), rng.uniform(0.5, 1.2)
        for size in SIZES:
            mean = chance + (top - chance) / (1 + np.exp(-steep * (np.log2(size) - half)))
            for repeat in range(seeds):
                z = np.log(mean / (1 - mean)) + noise * rng.standard_normal()
                value = 1 / (1 + np.exp(-z))
                row = {"task": "t", "method": method, "finetune_examples": size, "seed": repeat}
                rows.append(row | {"accuracy": value, "error_rate": 1 - value, "lr_tuned": True})
    return pl.DataFrame(rows)


@pytest.mark.parametrize("seed", range(4))
def test_accuracy_and_error_rate_give_the_same_advice(seed: int) -> None:
    runs = table(seed)
    by_score = fs.recommend(fs.read_records(runs, score="accuracy"), examples=4096, bootstrap=200)
    by_error = fs.recommend(fs.read_records(runs, loss="error_rate"), examples=4096, bootstrap=200)
    assert [o.name for o in by_score.options] == [o.name for o in by_error.options]
    assert len(by_score.reasons) == len(by_error.reasons)
    for score, error in zip(by_score.options, by_error.options, strict=True):
        assert score.loss == pytest.approx(1 - error.loss, abs=1e-6)
        assert (score.low, score.high) == pytest.approx((1 - error.high, 1 - error.low), abs=1e-6)
        assert score.probability == pytest.approx(error.probability, abs=0.011)
        assert score.double_examples is not None
        assert error.double_examples is not None
        assert score.double_examples.nats == pytest.approx(error.double_examples.nats, abs=1e-6)


def test_the_higher_score_leads_and_every_sentence_has_its_unit() -> None:
    runs = table(1, noise=0.01).filter(pl.col("finetune_examples") > 64)
    advice = fs.recommend(runs, score="accuracy", examples=2048, bootstrap=200)
    last = runs.filter(pl.col("finetune_examples") == 2048).group_by("method").agg(pl.col("accuracy").mean())
    assert advice.options[0].name == last.sort("accuracy")["method"][-1]
    assert f"predicted accuracy {advice.options[0].loss:.3f}" in advice.sentence
    assert "above" in advice.sentence
    assert not any("nats" in words for words in (advice.sentence, *advice.notes, *advice.reasons))
    assert advice.to_dict()["outcome"]["better"] == "higher"


def test_nothing_leaves_the_bounds() -> None:
    for seed in range(6):
        runs = table(seed, noise=1.5)
        records = fs.read_records(runs, score="accuracy")
        for size in (2, 1e5, 1e9):
            for one in fs.forecast(records, draws=50).predict(finetune_examples=size):
                ends = [one.value, one.low, one.high, one.run_low, one.run_high]
                assert 0 <= min(ends) <= max(ends) <= 1
        fits = fs.fit(records, "power", bootstrap=30)
        for law in fits:
            told = law.predict(finetune_examples=[2, 1e5, 1e9])
            ends = np.stack([told.value, told.low, told.high, told.run_low, told.run_high])
            assert ((ends >= 0) & (ends <= 1)).all()


def test_a_target_score_asks_for_examples() -> None:
    records = fs.read_records(table(1, noise=0.01), score="accuracy")
    leader = fs.recommend(records, examples=1024, bootstrap=50).options[0]
    advice = fs.recommend(records, target_score=leader.loss, bootstrap=50)
    needed = {option.name: option.needed for option in advice.options}
    assert needed[leader.name].examples == pytest.approx(1024, rel=0.1)
    assert f"for an accuracy of {leader.loss:.3f}" in advice.sentence


def test_a_target_that_is_out_of_reach_names_the_ceilings() -> None:
    with pytest.raises(fs.DataError, match="ceiling") as told:
        fs.recommend(table(1, noise=0.01), score="accuracy", target_score=0.9999, bootstrap=50)
    assert "lower --target-score" in told.value.remedy


def test_targets_that_make_no_sense_are_refused() -> None:
    records = fs.read_records(table(1), score="accuracy")
    with pytest.raises(fs.UsageError, match="outside the bounds of accuracy"):
        fs.recommend(records, target_score=80)
    with pytest.raises(fs.UsageError, match="--target-loss"):
        fs.recommend(records, target_loss=0.5)
    hundred = fs.read_records(table(1).with_columns(pl.col("accuracy") * 100), score="accuracy")
    with pytest.raises(fs.UsageError, match="runs to 100 here") as told:
        fs.recommend(hundred, target_score=0.8)
    assert told.value.remedy == "--target-score 80"
    with pytest.raises(fs.UsageError, match="read by"):
        fs.recommend(fs.read_records(table(1), score="accuracy"), score="error_rate")


def test_a_score_without_bounds_may_be_negative() -> None:
    runs = table(2).with_columns((pl.col("accuracy") * 4 - 3).alias("reward"))
    advice = fs.recommend(runs, score="reward", examples=1024, bootstrap=100)
    best = runs.filter(pl.col("finetune_examples") == 1024).group_by("method").agg(pl.col("reward").mean())
    assert advice.options[0].name == best.sort("reward")["method"][-1]
    with pytest.raises(fs.UsageError, match="best value") as told:
        fs.fit(fs.read_records(runs, score="reward"), "power")
    assert "--bounds" in told.value.wanted


def test_advice_by_loss_names_the_leader_by_accuracy_where_that_is_another_one() -> None:
    runs = table(1, noise=0.01).with_columns(
        test_loss=pl.col("accuracy") + 0.1
    )  # the better, the worse its loss
    by_loss = fs.recommend(runs, examples=2048, bootstrap=100)
    by_score = fs.recommend(runs, score="accuracy", examples=2048, bootstrap=100)
    assert by_loss.options[0].name != by_score.options[0].name
    assert by_loss.otherwise.startswith("By accuracy it is otherwise: ")
    assert "probability" in by_loss.otherwise
    assert by_score.otherwise.startswith("By test loss it is otherwise: ")
    agreeing = runs.with_columns(test_loss=1.5 - pl.col("accuracy"))
    assert fs.recommend(agreeing, examples=2048, bootstrap=100).otherwise == ""


def test_a_method_that_leads_by_both_is_no_other_leader_where_only_one_has_models_of_their_own() -> None:
    rng = np.random.default_rng(0)
    apart = {
        1e8: 0.1,
        2e8: -0.3,
        4e8: 0.25,
        8e8: -0.2,
    }  # accuracy does not follow from the size, the loss does
    rows = [
        {"task": "t", "method": method, "model": f"m{size:g}", "model_params": size, "finetune_examples": n}
        | {"test_loss": 4 * size**-0.05 * n**-0.05 + worse + 0.001 * rng.standard_normal(), "lr_tuned": True}
        | {"accuracy": 0.5 + shift + 0.02 * np.log2(n / 64) - worse + 0.002 * rng.standard_normal()}
        for method, worse in (("full", 0.0), ("lora", 0.05))
        for size, shift in apart.items()
        for n in SIZES
    ]
    advice = fs.recommend(pl.DataFrame(rows), score="accuracy", examples=2048, bootstrap=50)
    assert advice.options[0].name == "full on m4e+08"
    assert advice.otherwise == ""


def test_a_constant_score_is_said_with_its_place_and_nothing_is_advised() -> None:
    runs = table(1).with_columns(accuracy=pl.lit(0.5))
    advice = fs.recommend(runs, score="accuracy", examples=1024, bootstrap=50)
    assert advice.best is None
    assert "every run has the accuracy 0.5 (the given frame, column accuracy)" in advice.reasons[0]


def test_runs_that_would_settle_it_name_the_rank_where_ranks_are_candidates() -> None:
    ranks = [
        table(seed, noise=0.02)
        .filter(pl.col("method") == "full")
        .with_columns(method=pl.lit("lora"), pet_size=rank)
        for seed, rank in ((1, pl.lit(4.0)), (2, pl.lit(16.0)))
    ]
    advice = fs.recommend(pl.concat(ranks), score="accuracy", examples=200_000, bootstrap=50)
    assert {run.pet_size for run in advice.settle} == {4.0, 16.0}
    assert any("LoRA r16 on " in run.words for run in advice.settle)
