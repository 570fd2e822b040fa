"""Forecasts of tables whose future is known, and what must hold for every table."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from futures import SIZES, power, table
from table_kinds import check

import finescale as fs
from finescale.errors import DataError, UsageError

LAW = power(8.0, 0.25, 0.6)
FAR = SIZES[-1] * 2.0 ** np.arange(1, 6)


def test_the_data_of_a_law_forecast_the_law():
    found = fs.forecast(table({"full": LAW, "lora": power(4.0, 0.15, 0.7)}, noise=0.002))
    told = found.only(method="full").predict(finetune_examples=FAR[:3])
    assert told.value == pytest.approx(LAW(FAR[:3]), rel=0.04)
    assert np.all((told.low < LAW(FAR[:3])) & (LAW(FAR[:3]) < told.high))
    assert sum(member.weight for member in found[0].members) == pytest.approx(1)


def test_a_law_that_breaks_beyond_the_data_is_inside_the_band():
    broken = lambda D: LAW(np.minimum(D, SIZES[-1] * 2)) + 0 * D  # noqa: E731 - it stops improving
    told = fs.forecast(table({"full": LAW}))[0].predict(finetune_examples=FAR[:3])
    assert np.all((told.run_low < broken(FAR[:3])) & (broken(FAR[:3]) < told.run_high))


def test_curves_that_keep_to_a_law_are_forecast_closer_than_the_prior_alone_would():
    clean = fs.forecast(table({"full": LAW, "lora": power(4.0, 0.15, 0.7)}, noise=0.002))
    short = fs.forecast(table({"full": LAW, "lora": power(4.0, 0.15, 0.7)}, noise=0.002, sizes=SIZES[-2:]))
    widths = [
        np.log(told.high / told.low)
        for told in (f[0].predict(finetune_examples=FAR[1]) for f in (clean, short))
    ]
    assert widths[0] < 0.5 * widths[1]
    draws = clean.draws(finetune_examples=FAR[1])
    truth = [float(law(FAR[1])) for law in (LAW, power(4.0, 0.15, 0.7))]
    best = np.mean(draws.argmin(axis=1) == int(np.argmin(truth)))
    assert best > 0.9


def test_intervals_grow_with_the_distance_from_the_data():
    told = fs.forecast(table({"full": LAW, "lora": power(4.0, 0.15, 0.7)}))[0].predict(finetune_examples=FAR)
    width = np.log(told.high / told.low)
    assert np.all(np.diff(width) > 0)
    assert np.all(told.run_low <= told.low)
    assert np.all(told.run_high >= told.high)


def test_the_difference_of_two_equal_methods_is_symmetric_about_zero():
    found = fs.forecast(table({"a": LAW, "b": LAW}, noise=0.0), draws=20_000)
    draws = found.draws(finetune_examples=FAR[1])
    assert draws.shape == (20_000, 2)
    assert np.mean(draws[:, 0] < draws[:, 1]) == pytest.approx(0.5, abs=0.015)
    apart, whole = np.std(np.log(draws[:, 0] / draws[:, 1])), np.std(np.log(draws[:, 0]))
    assert apart < np.sqrt(2) * whole  # errors of two methods go together


def test_draws_agree_with_the_intervals():
    found = fs.forecast(table({"a": LAW, "b": power(4.0, 0.15, 0.7)}), draws=20_000)
    told = found[0].predict(finetune_examples=FAR[2])
    low, high = np.percentile(found.draws(finetune_examples=FAR[2])[:, 0], [5, 95])
    assert np.log(low) == pytest.approx(np.log(told.low), abs=0.02)
    assert np.log(high) == pytest.approx(np.log(told.high), abs=0.02)


def test_neither_units_nor_the_order_of_rows_matter():
    runs = table({"full": LAW, "lora": power(4.0, 0.15, 0.7)})
    plain = fs.forecast(runs).only(method="lora").predict(finetune_examples=FAR)
    thousands = runs.with_columns(pl.col("finetune_examples") * 1000, pl.col("test_loss") * 8)
    other = fs.forecast(thousands).only(method="lora").predict(finetune_examples=FAR * 1000)
    shuffled = fs.forecast(runs.sample(fraction=1, shuffle=True, seed=1)).only(method="lora")
    for name in ("value", "low", "high", "run_low", "run_high"):
        assert getattr(other, name) == pytest.approx(8 * getattr(plain, name), rel=1e-4)
        again = getattr(shuffled.predict(finetune_examples=FAR), name)
        assert again == pytest.approx(getattr(plain, name), rel=1e-9)


@pytest.mark.parametrize("sizes", [SIZES[:1], SIZES[:2], SIZES[:3]])
def test_few_sizes_are_answered_from_what_was_observed(sizes):
    for curves in ({"full": LAW}, {"full": LAW, "lora": power(4.0, 0.15, 0.7)}):
        group = fs.forecast(table(curves, sizes))[0]
        here, near, far = (group.predict(finetune_examples=sizes[-1] * times) for times in (1, 2, 8))
        assert here.value == pytest.approx(LAW(sizes[-1]), rel=0.02)
        assert here.runs == 3
        assert here.measured == pytest.approx(LAW(sizes[-1]), rel=0.02)
        assert here.high - here.low < near.high - near.low < far.high - far.low


@pytest.mark.parametrize("members", [None, ["power"]])
def test_one_size_has_no_slope(members):
    group = fs.forecast(table({"full": LAW}, SIZES[:1]), members=members)[0]
    here, far = (group.predict(finetune_examples=SIZES[0] * times) for times in (1, 20))
    assert far.value == pytest.approx(here.value, rel=1e-6)
    assert far.low < 0.8 * here.value < 1.2 * here.value < far.high


def test_a_curve_that_is_too_short_spoils_no_other():
    runs = table({"full": LAW, "lora": power(4.0, 0.15, 0.7)})
    short = runs.filter((pl.col("method") == "full") | (pl.col("finetune_examples") == SIZES[0]))
    told = fs.forecast(short).only(method="full").predict(finetune_examples=FAR[0])
    assert told.value == pytest.approx(LAW(FAR[0]), rel=0.03)
    assert np.isfinite(fs.forecast(short).only(method="lora").predict(finetune_examples=FAR[0]).value)


def test_the_measured_mean_weighs_in():
    runs = table({"full": LAW}, noise=0.001)
    last = pl.col("finetune_examples") == SIZES[-1]
    moved = runs.with_columns(pl.when(last).then(pl.col("test_loss") * 0.8).otherwise(pl.col("test_loss")))
    told = fs.forecast(moved)[0].predict(finetune_examples=SIZES[-1])
    assert told.measured == pytest.approx(0.8 * LAW(SIZES[-1]), rel=0.01)
    assert told.value == pytest.approx(float(told.measured), rel=0.03)


def test_a_rising_curve_does_not_explode():
    rising = lambda D: 0.3 * (np.asarray(D) / 100) ** 0.4  # noqa: E731 - an overfitted class loss
    runs = table({"full": rising, "lora": power(1.0, 0.1, 0.2)})
    told = fs.forecast(runs).only(method="full").predict(finetune_examples=SIZES[-1] * 64)
    seen = runs["test_loss"]
    assert told.value <= seen.max() + (seen.max() - seen.min()) + 1e-9  # pyright: ignore


def test_below_the_smallest_size_the_untuned_model_is_reached():
    runs = table({"full": LAW})
    bare = pl.DataFrame({"task": ["t"], "method": ["none"], "finetune_examples": [0.0], "test_loss": [4.0]})
    told = fs.forecast(pl.concat([runs, bare], how="diagonal_relaxed")).only(method="full")
    values = told.predict(finetune_examples=[0.2, 5, 50, 100]).value
    assert np.all(np.diff(values) < 0)
    assert values[0] == pytest.approx(4.0, rel=0.05)


def test_a_score_is_forecast_between_its_bounds_and_higher_is_better():
    from finescale.records.outcomes import Outcome

    sizes = SIZES[:6]
    good = lambda D: 1 - 0.5 * (np.asarray(D) / 100) ** -0.6  # noqa: E731
    runs = table({"full": good}, sizes, noise=0.002).rename({"test_loss": "accuracy"})
    outcome = Outcome("accuracy", "accuracy", "score", "higher", 0.0, 1.0)
    records = fs.read_records(runs, loss="accuracy")
    told = fs.forecast(records, outcome=outcome)[0].predict(finetune_examples=FAR * 100)
    assert np.all((told.run_low > 0) & (told.run_high < 1) & (told.low < told.value))
    assert np.all(told.value > good(sizes[-1]))


def test_across_models_a_run_model_is_its_own_curve_and_another_is_wider():
    rows = []
    for params in (1e8, 2e8, 4e8):
        curve = lambda D, p=params: 200 * p**-0.2 * np.asarray(D) ** -0.1 + 0.4  # noqa: E731
        rows.append(table({"full": curve, "lora": curve}).with_columns(model_params=pl.lit(params)))
    group = fs.forecast(pl.concat(rows)).only(method="full")
    assert group.factors == ("model_params",)
    here = group.predict(model_params=4e8, finetune_examples=SIZES[3])
    larger = group.predict(model_params=8e8, finetune_examples=SIZES[3])
    truth = 200 * 8e8**-0.2 * SIZES[3] ** -0.1 + 0.4
    assert here.value == pytest.approx(float(here.measured), rel=0.01)
    assert larger.low < truth < larger.high
    assert np.log(larger.high / larger.low) > np.log(here.high / here.low)
    assert any("model_params lies 2x outside" in status for status in larger.status)


def test_a_table_without_methods_is_one_group_along_the_model_size_too():
    own = [table({"full": LAW}).with_columns(model_params=pl.lit(params)) for params in (1e8, 2e8, 4e8)]
    found = fs.forecast(pl.concat(own).drop("task", "method", strict=False))
    assert [dict(group.by) for group in found] == [{}]
    assert found[0].predict(model_params=8e8, finetune_examples=SIZES[3]).value > 0


def test_a_pet_size_of_0_is_none():
    full = table({"full": LAW}).with_columns(pet_size=pl.lit(0.0))
    lora = [table({"lora": LAW}).with_columns(pet_size=pl.lit(rank)) for rank in (8.0, 16.0)]
    found = fs.forecast(pl.concat([full, *lora]))
    assert found.only(method="full").factors == ()
    assert found.only(method="lora").factors == ("pet_size",)


def test_what_sets_a_model_apart_is_shared_by_its_methods():
    rows = []
    for params, own in ((1e8, 0.03), (2e8, -0.02), (4e8, 0.02), (8e8, -0.03)):
        curves = {
            "full": lambda D, p=params, o=own: np.exp(o) * 200 * p**-0.2 * np.asarray(D) ** -0.12,
            "lora": lambda D, p=params, o=own: np.exp(o) * 215 * p**-0.2 * np.asarray(D) ** -0.12,
        }
        rows.append(table(curves).with_columns(model_params=pl.lit(params)))
    found = fs.forecast(pl.concat(rows))
    draws = np.log(found.draws(model_params=2.8e8, finetune_examples=SIZES[3]))
    assert np.std(draws[:, 0] - draws[:, 1]) < np.std(draws[:, 0])  # sqrt(2) times as much if they were apart
    assert np.mean(draws[:, 0] < draws[:, 1]) > 0.8
    between, beyond = (found[0].predict(model_params=p, finetune_examples=SIZES[3]) for p in (2.8e8, 1.6e9))
    assert np.log(between.high / between.low) < np.log(beyond.high / beyond.low)


def test_a_law_of_ones_own_is_a_member_once_registered():
    from finescale.laws.formulas import LAWS

    @fs.law(linear=("A", "E"), nonlinear={"c": (0.01, 1.0)}, per_curve=True)
    def logarithmic(D, A, c, E):
        r"""$$A / (1 + c \log D) + E$$."""
        return A / (1 + c * np.log(D)) + E

    try:
        assert "logarithmic" in [member.name for member in fs.forecast(table({"full": LAW}))[0].members]
    finally:
        LAWS.pop("logarithmic")
    alone = fs.forecast(table({"full": LAW}), members=[logarithmic])[0]
    assert [(member.name, member.weight) for member in alone.members] == [("logarithmic", 1.0)]


def test_mistakes_are_told_in_words():
    runs = table({"full": LAW})
    found = fs.forecast(runs)
    with pytest.raises(UsageError, match="a forecast needs finetune_examples"):
        found[0].predict()
    with pytest.raises(UsageError, match="says nothing on model_params"):
        found[0].predict(finetune_examples=100, model_params=1e9)
    with pytest.raises(UsageError, match="must be a positive number"):
        found[0].predict(finetune_examples=-1)
    with pytest.raises(UsageError, match="no member is called `powr`"):
        fs.forecast(runs, members=["powr"])
    with pytest.raises(DataError, match="every run is held out"):
        fs.forecast(runs, hold_out="finetune_examples > 0")


@pytest.mark.parametrize("first", range(0, 40, 5))
def test_random_tables_are_answered_in_bounds_and_without_warnings(first: int):
    reasons = [check(seed) for seed in range(first, first + 5)]
    assert reasons.count("") >= 3, reasons  # else there are reasons, in the tool's own words


def test_equal_methods_are_told_apart_in_few_tables():
    rng, sure = np.random.default_rng(3), 0
    for _ in range(24):
        runs = table({"a": LAW, "b": LAW, "c": LAW}, SIZES[:5], seeds=2, noise=0.02, rng=rng)
        draws = fs.forecast(runs, draws=400).draws(finetune_examples=SIZES[4] * rng.choice([1, 2, 8]))
        sure += bool(np.bincount(draws.argmin(axis=1), minlength=3).max() > 0.8 * 400)
    assert sure <= 3  # abstains in 85% and more
