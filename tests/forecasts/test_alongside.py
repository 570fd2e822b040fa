"""A method with few sizes moves on as others on its model did where they were measured."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import finescale as fs
from finescale.forecasts.alongside import ALONE, PRIOR, alongside, others_share
from finescale.forecasts.backtest import origins
from finescale.forecasts.trend import stacked

SIZES = np.array([16, 32, 64, 128, 256, 512])


def loss(level: float, sizes: np.ndarray | list[int], slope: float = 0.12) -> np.ndarray:
    return level * (np.asarray(sizes) / 16.0) ** -slope


def table(
    methods: dict[str, tuple[float, list[int], float]], *, untuned: float | None = None, noise: float = 0.0
) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "method": method,
            "finetune_examples": size,
            "test_loss": value * np.exp(noise * rng.standard_normal()),
        }
        for method, (level, sizes, slope) in methods.items()
        for size, value in zip(sizes, loss(level, sizes, slope), strict=True)
    ]
    if untuned is not None:
        rows.append({"method": "none", "finetune_examples": 0, "test_loss": untuned})
    return pl.DataFrame(rows)


def at(rows: pl.DataFrame, method: str, size: float) -> fs.Predicted:
    return fs.forecast(rows).only(method=method).predict(finetune_examples=size)


def chance(rows: pl.DataFrame, method: str, size: float) -> float:
    """The probability that a method is best."""
    found = fs.forecast(rows)
    best = found.draws(finetune_examples=size).argmin(axis=1)
    return float((best == [group.by["method"] for group in found].index(method)).mean())


def test_a_method_of_one_size_falls_as_the_others_did() -> None:
    sizes = SIZES.tolist()
    rows = table(
        {"full": (2.7, [16], 0.12), "lora": (2.8, sizes, 0.12), "prompt": (3.2, sizes, 0.12)}, noise=0.005
    )
    told = at(rows, "full", 512)
    truth = float(loss(2.7, [512])[0])
    assert told.value == pytest.approx(truth, rel=0.06)
    assert told.run_low < truth < told.run_high
    assert 0.5 < chance(rows, "full", 512) < 0.9  # it led where all were run; that is long ago


def test_a_method_of_the_largest_size_alone_was_above_it_before() -> None:
    sizes = SIZES.tolist()
    for untuned in (None, 3.5):
        rows = table({"full": (2.7, [512], 0.12), "lora": (2.8, sizes, 0.12)}, untuned=untuned)
        assert at(rows, "full", 64).value == pytest.approx(float(loss(2.7, [64])[0]), rel=0.04)


def test_a_method_of_one_size_does_not_halve_the_movement_of_the_other() -> None:
    sizes = SIZES.tolist()
    alone = at(table({"lora": (2.8, sizes, 0.12)}), "lora", 2048).value
    beside = table({"full": (2.7, [512], 0.12), "lora": (2.8, sizes, 0.12)})
    assert at(beside, "lora", 2048).value == pytest.approx(alone, rel=0.005)
    assert at(beside, "full", 2048).value < 0.93 * float(loss(2.7, [512])[0])


def test_methods_that_differ_in_slope_at_all_sizes_keep_their_own() -> None:
    """The weight is learned: where the others' movement misses, it counts for little."""
    sizes = [16 * 2**k for k in range(10)]
    steep, flat = loss(2.7, sizes, 0.2), loss(2.9, sizes, 0.02)
    u = np.log2(np.array(sizes, float))
    paths = stacked([(u, np.log(z), np.full(u.size, 1e-8)) for z in (steep, flat)])
    cuts = origins(paths)
    assert cuts is not None
    last = cuts.known.z[np.arange(len(cuts.path)), cuts.known.count - 1]
    own = (cuts.z - last[:, None]) * 1.02
    assert others_share(own, cuts, paths, (np.array([0, 0]),)) < 0.1
    assert others_share(np.zeros_like(own), cuts, paths, (np.array([0, 0]),)) > 0.1
    assert others_share(own, cuts, paths, (np.array([0, 1]),)) == PRIOR  # nobody beside
    assert others_share(own, None, paths, (np.array([0, 0]),)) == PRIOR


def test_the_longest_curves_are_as_they_were_and_units_do_not_mix() -> None:
    u = np.log2(SIZES.astype(float))
    z = np.log(loss(2.8, SIZES))
    paths = stacked([(u, z, u * 0), (u[:1], z[:1] - 0.1, u[:1] * 0), (u[:1], z[:1], u[:1] * 0)])
    centre = np.stack([z, np.full(6, z[0] - 0.1), np.full(6, z[0])])
    made, _ = alongside(centre, u, paths, (np.array([0, 0, 1]),), share=0.5, step=0.0)
    assert (made[0] == z).all()
    assert (made[2] == z[0]).all()
    assert made[1] == pytest.approx(z[0] - 0.1 + ALONE * (z - z[0]))


def test_cut_at_any_size_the_others_movement_errs_less_than_no_change() -> None:
    rng = np.random.default_rng(11)
    errors, still, held = [], [], 0
    for _ in range(30):
        slope = rng.uniform(0.03, 0.2)
        own = {
            name: (rng.uniform(2, 4), slope * rng.uniform(0.7, 1.3)) for name in ("full", "lora", "prompt")
        }
        known = int(rng.integers(1, 4))
        methods = {
            name: (level, SIZES.tolist()[: known if name == "full" else 6], rate)
            for name, (level, rate) in own.items()
        }
        told = at(table(methods, noise=0.004), "full", 512)
        truth = float(loss(own["full"][0], [512], own["full"][1])[0])
        errors.append(abs(np.log(told.value / truth)))
        still.append(abs(np.log(loss(own["full"][0], [SIZES[known - 1]], own["full"][1])[0] / truth)))
        held += bool(told.low < truth < told.high)
    assert np.mean(errors) < 0.4 * np.mean(still)
    assert held >= 25


def test_curves_of_hundreds_of_sizes_are_read_too() -> None:
    """They are thinned for the test of the weight; sizes of one method are not those of the other."""
    long, other = [16 + 7 * k for k in range(300)], [20 + 11 * k for k in range(100)]
    rows = table(
        {"full": (2.7, long, 0.12), "lora": (2.8, other, 0.12), "prompt": (3.0, [40], 0.12)}, noise=0.01
    )
    assert at(rows, "prompt", 1500).value == pytest.approx(float(loss(3.0, [1500])[0]), rel=0.06)
    assert at(rows, "lora", 2000).value == pytest.approx(float(loss(2.8, [2000])[0]), rel=0.02)


def test_a_model_of_one_size_falls_as_other_models_did() -> None:
    """Full tuning alone, on three models of which one was run at one size."""
    models = (("a", 1e8, 3.0, SIZES.tolist()), ("b", 4e8, 2.7, [16]), ("c", 1.6e9, 2.4, SIZES.tolist()))
    runs = [
        table({"full": (level, sizes, 0.12)}, noise=0.003).with_columns(
            pl.lit(name).alias("model"), pl.lit(params).alias("model_params")
        )
        for name, params, level, sizes in models
    ]
    rows = pl.concat(runs)
    told = fs.forecast(rows).only(method="full").predict(finetune_examples=512, model_params=4e8)
    truth = float(loss(2.7, [512])[0])
    assert told.value == pytest.approx(truth, rel=0.06)
    assert told.run_low < truth < told.run_high
    by_model = fs.forecast(rows, ("task", "method", "model")).only(model="b").predict(finetune_examples=512)
    assert by_model.value == pytest.approx(truth, rel=0.06)


def test_the_mean_of_methods_and_of_models_is_followed() -> None:
    u = np.log2(SIZES.astype(float))
    steep, flat = np.log(loss(2.8, SIZES, 0.2)), np.log(loss(2.8, SIZES, 0.1))
    paths = stacked([(u, steep, u * 0), (u, flat, u * 0), (u[:1], flat[:1], u[:1] * 0)])
    centre = np.stack([steep, flat, np.full(6, flat[0])])
    kinds = (np.array([0, 1, 0]), np.array([0, 1, 1]))  # one model with the first, one method with the second
    made, _ = alongside(centre, u, paths, kinds, share=0.5, step=0.0)
    mean = 0.5 * (steep - steep[0] + flat - flat[0])
    assert made[2] == pytest.approx(flat[0] + ALONE * mean)


@pytest.mark.parametrize("size", [500, 512, 520, 700])
def test_one_size_more_or_less_than_the_others_changes_little(size: int) -> None:
    """A method of one size near the others' last one falls on with them, whichever ends first."""
    rows = table({"full": (2.7, [size], 0.12), "lora": (2.8, SIZES.tolist(), 0.12)}, noise=0.002)
    assert at(rows, "full", 2048).value == pytest.approx(float(loss(2.7, [2048])[0]), rel=0.04)
    assert 0.6 < chance(rows, "full", 2048) < 0.95


def test_a_model_of_the_largest_size_alone_falls_on_as_other_models_do() -> None:
    rows = [
        table({"full": (level, sizes, 0.12)}, noise=0.003).with_columns(
            pl.lit(name).alias("model"), pl.lit(params).alias("model_params")
        )
        for name, params, level, sizes in (("a", 1e8, 3.0, SIZES.tolist()), ("b", 4e8, 2.7, [512]))
    ]
    told = fs.forecast(pl.concat(rows), ("task", "method", "model")).only(model="b")
    assert told.predict(finetune_examples=2048).value == pytest.approx(float(loss(2.7, [2048])[0]), rel=0.04)


def test_curves_that_do_not_overlap_go_their_own_way() -> None:
    """Nobody was measured at the end of the first one: half a slope is not followed."""
    rows = table({"full": (2.7, [16, 32, 64], 0.12), "lora": (2.8, [256, 512, 1024], 0.12)})
    for size in (256, 1024, 4096):
        assert at(rows, "full", size).value == pytest.approx(float(loss(2.7, [size])[0]), rel=0.01)


def test_below_the_smallest_size_intervals_allow_for_no_slope_and_for_all_of_it() -> None:
    """On clean power laws nine in ten hold the truth at half, a quarter and an eighth of it."""
    rng, held = np.random.default_rng(3), []
    for _ in range(15):
        own = {name: (rng.uniform(2, 6), rng.uniform(0.05, 0.4)) for name in ("full", "lora")}
        rows = table(
            {name: (level, SIZES.tolist(), slope) for name, (level, slope) in own.items()}, noise=0.003
        )
        for group in fs.forecast(rows):
            level, slope = own[group.by["method"]]
            for size in (8, 4, 2):
                told = group.predict(finetune_examples=size)
                held.append(bool(told.low < loss(level, [size], slope)[0] < told.high))
    assert np.mean(held) > 0.85
