"""The noise of a run."""

import numpy as np
import polars as pl
import pytest

from finescale.laws.bootstrap import seed_effect
from finescale.records.noise import UNKNOWN, noise_of_runs, pooled


def scattered(seeds: int, sd: float, settings: int = 200, method: str = "lora") -> pl.DataFrame:
    rng = np.random.default_rng(1)
    sizes = np.repeat(np.arange(1.0, settings + 1), seeds)
    loss = 3 - 0.1 * np.log(sizes) + rng.normal(0, sd, sizes.size)
    return pl.DataFrame({"method": method, "finetune_examples": sizes, "loss": loss})


def test_it_is_the_scatter_around_the_settings_means() -> None:
    table = scattered(3, 0.01)
    noise = noise_of_runs(table, "loss")
    deviations = (
        table["loss"] - table.select(pl.col("loss").mean().over("finetune_examples"))["loss"]
    ).to_numpy()
    assert noise.sd == pytest.approx(np.sqrt(deviations @ deviations / 400))
    assert (noise.freedom, noise.settings) == (400, 200)
    assert noise.sd == pytest.approx(0.01, rel=0.1)


def test_models_of_one_size_are_not_seeds_of_one_another() -> None:
    one, other = (scattered(1, 0.01).with_columns(model=pl.lit(name), model_params=1e8) for name in "ab")
    assert noise_of_runs(pl.concat([one, other]), "loss") == UNKNOWN


def test_the_noise_of_several_methods_is_pooled() -> None:
    both = pl.concat([scattered(3, 0.01), scattered(2, 0.03, method="prompt")])
    apart = [noise_of_runs(part, "loss") for _, part in both.group_by("method", maintain_order=True)]
    together = noise_of_runs(both, "loss")
    assert pooled(apart).sd == pytest.approx(together.sd)
    assert (pooled(apart).freedom, pooled([])) == (together.freedom, UNKNOWN)


def test_the_laws_see_the_same_noise_where_seeds_have_no_names() -> None:
    table = scattered(3, 0.01)
    runs = table.with_columns(
        point=pl.col("finetune_examples").rank("dense") - 1, seed=pl.lit(None, pl.String)
    )
    assert seed_effect(runs, log=False).run_variance == pytest.approx(noise_of_runs(table, "loss").sd ** 2)


def test_seeds_that_agree_to_the_last_digit_do_not_tell_the_noise():
    tied = noise_of_runs(
        pl.DataFrame({"method": "full", "finetune_examples": 100.0, "loss": [1.0] * 3}), "loss"
    )
    other = noise_of_runs(
        pl.DataFrame({"method": "lora", "finetune_examples": 100.0, "loss": [1.0, 1.2]}), "loss"
    )
    assert not tied.known
    assert pooled([tied, other]) == other
    assert not pooled([tied]).known
