"""The noise of a run where the table cannot tell it: never taken for 0, and told in words."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from futures import power, table

import finescale as fs
from finescale.records.outcomes import Outcome

CURVE = power(8.0, 0.25, 0.6)


def rows(*runs: tuple[Any, ...], columns: str = "method finetune_examples test_loss") -> pl.DataFrame:
    return pl.DataFrame(list(runs), schema=columns.split(), orient="row")


def width(told: Any) -> float:
    return float(np.log(told.high / told.low))


def test_one_run_a_method_is_not_sure_of_a_small_difference():
    advice = fs.recommend(rows(("full", 1000, 2.878), ("lora", 1000, 2.880)))
    assert advice.best is None
    assert advice.options[0].probability < 0.6
    assert 0.03 < advice.options[0].high - advice.options[0].low < 1.0
    assert any(
        "No setting was run twice, so the noise of a run is not known" in note for note in advice.notes
    )


def test_one_run_a_method_is_never_over_99_percent_below_several_prior_sds():
    for gap in (0.01, 0.03, 0.1):
        advice = fs.recommend(rows(("full", 1000, 2.0), ("lora", 1000, 2.0 * np.exp(gap))))
        assert advice.options[0].probability < 0.99
    far = fs.recommend(rows(("full", 1000, 2.0), ("lora", 1000, 6.0)))
    assert far.best is not None
    assert far.best.name == "full"


def test_two_runs_a_method_narrow_what_one_run_leaves_open():
    one = fs.forecast(rows(("full", 1000, 2.9), ("lora", 1000, 3.0)))
    two = fs.forecast(
        rows(*[(m, 1000, z + e) for m, z in (("full", 2.9), ("lora", 3.0)) for e in (-0.01, 0.01)])
    )
    here = {"finetune_examples": 1000}
    assert width(two[0].predict(here)) < 0.5 * width(one[0].predict(here))
    assert any("Few settings were run twice" in note for note in two.notes)


@pytest.mark.parametrize("column", ["model", "model_params"])
def test_many_models_at_one_size_without_seeds_do_not_make_a_method_certain(column: str):
    names = [f"m{i}" if column == "model" else 1e8 * 2**i for i in range(8)]
    runs = [
        (name, method, 1000, 2.9 - 0.1 * i + 0.01 * (method == "lora"))
        for i, name in enumerate(names)
        for method in ("full", "lora")
    ]
    advice = fs.recommend(rows(*runs, columns=f"{column} method finetune_examples test_loss"))
    assert advice.best is None
    assert max(option.probability for option in advice.options) < 0.8
    assert all(option.high - option.low > 0.02 for option in advice.options)


@pytest.mark.parametrize("sizes", [2, 3])
def test_few_sizes_without_seeds_do_not_make_a_method_certain(sizes: int):
    runs = table(
        {"full": CURVE, "lora": lambda D: 1.004 * CURVE(D)},
        1000 * 2.0 ** np.arange(sizes),
        seeds=1,
        noise=0.0,
    )
    for examples in (1000 * 2.0 ** (sizes - 1), 1000 * 2.0**sizes):
        advice = fs.recommend(runs, examples=examples)
        assert advice.best is None
        assert all(option.high - option.low > 0.01 for option in advice.options)


def test_seeds_that_agree_to_the_last_digit_are_not_without_noise():
    tied = rows(*[(m, 1000, s, z) for m, z in (("full", 2.878), ("lora", 2.879)) for s in range(3)],
                columns="method finetune_examples seed test_loss")  # fmt: skip
    advice = fs.recommend(tied)
    assert advice.best is None
    assert advice.options[0].probability < 0.8
    assert advice.options[0].high - advice.options[0].low > 0.005
    many = rows(*[(m, 1000, s, z) for m, z in (("full", 2.878), ("lora", 2.879)) for s in range(40)],
                columns="method finetune_examples seed test_loss")  # fmt: skip
    assert width(fs.forecast(many)[0].predict(finetune_examples=1000)) < 0.2 * width(
        fs.forecast(tied)[0].predict(finetune_examples=1000)
    )


def test_methods_that_no_draw_tells_apart_are_not_ahead_throughout():
    tied = rows(*[(m, 1000, s, z) for m, z in (("full", 2.878), ("lora", 2.879)) for s in range(3)],
                columns="method finetune_examples seed test_loss")  # fmt: skip
    pair = fs.crossovers(fs.forecast(tied))[0]
    assert pair.points[0].better == ""
    assert "cannot tell which one is ahead" in pair.sentence
    clear = fs.crossovers(fs.forecast(rows(("full", 1000, 1.2), ("lora", 1000, 2.4))))[0]
    assert "full tuning is ahead throughout" in clear.sentence


def test_a_method_without_seeds_has_the_noise_of_one_with_seeds():
    rng = np.random.default_rng(5)
    runs = [("full", 1000, s, 2.9 * float(np.exp(0.05 * rng.standard_normal()))) for s in range(9)]
    runs.append(("lora", 1000, 0, 2.87))
    found = fs.forecast(rows(*runs, columns="method finetune_examples seed test_loss"))
    full, lora = (group.predict(finetune_examples=1000) for group in found)
    assert width(lora) == pytest.approx(3 * width(full), rel=1e-3)  # one run against nine
    assert not any("was run twice" in note for note in found.notes)


def test_the_own_noise_of_a_table_with_many_repeats_counts_alone():
    runs = table({"full": CURVE}, [1000.0], seeds=200, noise=0.05)
    group = fs.forecast(runs)[0]
    assert group.noise == pytest.approx(float(np.std(np.log(runs["test_loss"].to_numpy()), ddof=1)), rel=0.01)


@pytest.mark.parametrize("top", [1.0, 100.0])
def test_one_run_a_method_by_score_is_not_certain_even_at_the_bound(top: float):
    outcome = Outcome("accuracy", "accuracy", "score", "higher", 0.0, top)
    for first, second, sure in ((0.80, 0.805, 0.7), (1.0, 0.995, 0.95), (1.0, 1.0, 0.6)):
        runs = rows(("full", 1000, first * top), ("lora", 1000, second * top),
                    columns="method finetune_examples accuracy")  # fmt: skip
        found = fs.forecast(fs.read_records(runs, loss="accuracy"), outcome=outcome, draws=4000)
        draws = found.draws(finetune_examples=1000)
        assert np.mean(draws[:, 0] > draws[:, 1]) < sure
        told = found[0].predict(finetune_examples=1000)
        assert 0.02 * top < told.run_high - told.run_low < 0.3 * top
        assert told.run_low > 0
        assert told.run_high < top


def test_one_run_a_method_by_an_unbounded_score_does_not_tell_two_methods_apart():
    outcome = Outcome("reward", "reward", "score", "higher")
    for values in ((-3.0, 5.0), (-3e-4, 5e-4), (0.0, 0.0)):
        runs = rows(
            *zip(("full", "lora"), (1000, 1000), values, strict=True),
            columns="method finetune_examples reward",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = fs.forecast(fs.read_records(runs, loss="reward"), outcome=outcome, draws=4000)
        draws = found.draws(finetune_examples=1000)
        assert np.mean(draws[:, 1] > draws[:, 0]) < 0.8
