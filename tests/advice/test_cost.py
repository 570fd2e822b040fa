from __future__ import annotations

import math

import polars as pl
import pytest
from made_up import runs

import finescale as fs
from finescale.advice.cost import Cost, costs
from finescale.errors import UsageError


@pytest.mark.parametrize(
    ("change", "hours", "words"),
    [
        (lambda t: t, 1.0, "at the speed of these runs"),
        (lambda t: t.drop("train_flops", "wall_seconds").with_columns(gpu_hours=t["wall_seconds"] / 3600),
         1.0,
         "from the column `gpu_hours`"),
        (lambda t: t.with_columns(pl.lit(8).alias("num_gpus")), 8.0, "times `num_gpus`"),
        (lambda t: t.rename({"wall_seconds": "GPU Hours"}).with_columns(pl.col("GPU Hours") / 3600), 1.0,
         "from the column `GPU Hours`"),
        (lambda t: t.drop("train_flops"), 1.0, "at the speed of these runs"),
    ],
)  # fmt: skip
def test_hours_and_money_come_from_whatever_the_table_has(change, hours: float, words: str) -> None:
    table = runs(noise=0)
    asked = table.filter((pl.col("method") == "lora") & (pl.col("finetune_examples") == 8000))
    row = asked.filter(pl.col("model_params") == 4e8).row(0, named=True)
    prices = costs(change(table), price_per_hour=3.0)
    cost = prices.of("lora", 4e8, 8000)
    wanted = hours * row["wall_seconds"] / 3600
    assert (cost.hours, cost.money) == (pytest.approx(wanted), pytest.approx(3 * wanted))
    assert words in prices.basis
    between = prices.of("lora", 6e8, 8000).hours  # in proportion to the size, as the runs are
    assert between == pytest.approx(1.5 * wanted)


@pytest.mark.parametrize(
    ("drop", "options"),
    [
        (["train_flops", "wall_seconds"], {}),
        (["wall_seconds"], {}),
        (["train_flops", "wall_seconds"], {"flops_per_second": 1e14}),
    ],
)
def test_a_price_that_nothing_can_be_multiplied_with_is_refused(drop: list[str], options: dict) -> None:
    with pytest.raises(UsageError, match="--price-per-hour 2 cannot be used") as told:
        costs(runs().drop(drop), price_per_hour=2.0, **options)
    assert "--flops-per-second" in str(told.value)


def test_each_option_is_priced_for_the_examples_that_it_needs_itself() -> None:
    advice = fs.recommend(runs(), target_loss=2.35, model_params=4e8, price_per_hour=2.5, bootstrap=20)
    priced = {option.method: option for option in advice.options}
    assert len({option.needed.examples for option in advice.options if option.needed}) == 3
    for method, option in priced.items():
        assert option.needed is not None
        per_example = (6 if method == "full" else 4) * 4e8 * 100
        assert option.cost.flops == pytest.approx(per_example * option.needed.examples)
        assert option.cost.money == pytest.approx(2.5 * option.cost.flops / 1e12 / 3600)


def test_what_no_number_of_examples_reaches_has_no_price() -> None:
    advice = fs.recommend(runs(), target_loss=1.1, model_params=8e8, price_per_hour=2.5, bootstrap=20)
    prompt = next(option for option in advice.options if option.method == "prompt")
    assert prompt.needed is not None
    assert not math.isfinite(prompt.needed.examples)
    assert math.isnan(prompt.cost.money)


def test_the_memory_that_a_method_needs_is_in_the_answer() -> None:
    measured = pl.col("model_params") * pl.when(pl.col("method") == "full").then(40.0).otherwise(10.0)
    table = runs().with_columns(measured.alias("peak_memory_bytes"))
    advice = fs.recommend(table, model_params=4e8, bootstrap=20)
    assert {o.method: o.cost.fits for o in advice.options} == {
        "full": "16 GB (fits in 16 GB)",
        "lora": "4 GB (fits in 8 GB)",
        "prompt": "4 GB (fits in 8 GB)",
    }
    assert Cost(1, 1, 1).fits == ""
    assert advice.to_dict()["options"][0]["cost"]["memory"] in (
        pytest.approx(1.6e10),
        pytest.approx(4e9),
    )
