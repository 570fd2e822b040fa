"""Advice on records whose laws are known: what is predicted, what it costs, and when there is none."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from made_up import DATA, LAWS, SIZES, crossover, loss, runs

from finescale.advice.candidate import Candidates
from finescale.advice.candidates import candidates
from finescale.advice.cost import Costs, costs
from finescale.advice.options import Question
from finescale.advice.pairs import find_crossovers
from finescale.advice.recommend import advise, recommend
from finescale.errors import DataError, UsageError
from finescale.records.records import read_records
from finescale.wording import hours


def test_on_either_side_of_the_crossover_the_other_method_is_advised(
    found: Candidates, prices: Costs
) -> None:
    at = crossover(4e8)
    assert DATA[0] * 2 < at < DATA[-1] / 2
    few = advise(found, Question(at / 8, 4e8), prices)
    many = advise(found, Question(at * 8, 4e8), prices)
    assert few.best is not None
    assert many.best is not None
    assert (few.best.name, many.best.name) == ("lora", "full")
    assert few.sentence.startswith("LoRA for")
    assert many.best.probability > 0.9
    assert many.best.loss == pytest.approx(loss("full", 4e8, at * 8), abs=0.01)
    assert many.best.low < many.best.loss < many.best.high
    assert many.best.run_low < many.best.low


def test_at_the_crossover_there_is_no_advice_but_the_runs_that_would_settle_it(
    found: Candidates, prices: Costs
) -> None:
    advice = advise(found, Question(crossover(4e8), 4e8), prices)
    assert advice.best is None
    assert advice.sentence.startswith("No advice: ")
    assert {run.method for run in advice.settle} == {"full", "lora"}
    assert all(run.flops > 0 and run.purpose == "study" for run in advice.settle)


def test_a_method_that_was_run_on_one_model_says_nothing_of_another() -> None:
    lora_on_one = pl.concat([runs(("full", "prompt")), runs(("lora",), sizes=(8e8,))])
    found = candidates(read_records(lora_on_one), bootstrap=50)
    prices = costs(found.runs)
    there, elsewhere = (advise(found, Question(8000, size), prices) for size in (8e8, 2e8))
    assert {option.name for option in there.options} == {"full", "lora", "prompt"}
    assert {option.name for option in elsewhere.options} == {"full", "prompt"}
    assert (
        "LoRA was run on a model of 800M parameters only, and is left out for one of 200M." in elsewhere.notes
    )
    assert not any("left out for one of" in note for note in there.notes)
    bought = {option.name: option for option in advise(found, Question(budget=1e16), prices).options}
    assert bought["lora"].model_params == 8e8
    pairs = find_crossovers(found)
    assert {(pair.first, pair.second) for pair in pairs} == {("full", "prompt")}


def test_probabilities_are_the_shares_of_joint_draws(found: Candidates, prices: Costs) -> None:
    question = Question(6000, 4e8)
    advice = advise(found, question, prices)
    table = np.stack(
        [m.law.mean_draws({"model_params": 4e8, "finetune_examples": 6000}) for m in found.members]
    )
    for index, member in enumerate(found.members):
        option = next(option for option in advice.options if option.name == member.name)
        assert option.probability == pytest.approx(np.mean(table.argmin(axis=0) == index))
    assert sum(option.probability for option in advice.options) == pytest.approx(1)


def test_far_questions_are_answered_by_no_advice(found: Candidates, prices: Costs) -> None:
    assert advise(found, Question(DATA[-1] * 9.9, 4e8), prices).best is not None
    for question, words in (
        (Question(DATA[-1] * 11, 4e8), "11x outside the runs of"),
        (Question(20_000, SIZES[-1] * 20), "16B parameters: 20x outside the runs of"),
    ):
        advice = advise(found, question, prices)
        assert advice.best is None
        assert any(words in reason for reason in advice.reasons)
    far = advise(found, Question(DATA[-1] * 100, 4e8), prices)
    assert all(run.examples == pytest.approx(DATA[-1] * 10) for run in far.settle)


def test_untuned_learning_rates_are_no_evidence_and_want_a_sweep() -> None:
    frame = runs().with_columns((pl.col("method") != "full").alias("lr_tuned"))
    advice = recommend(read_records(frame), examples=32_000, model_params=8e8, bootstrap=50)
    assert advice.best is None
    assert "the learning rate of full tuning was not tuned" in advice.reasons
    assert [run.purpose for run in advice.settle if run.method == "full"] == ["sweep", "study"]
    unknown = recommend(read_records(runs().drop("lr_tuned")), examples=32_000, bootstrap=50)
    assert unknown.best is not None
    assert any("do not say whether the learning rates were tuned" in note for note in unknown.notes)


def test_laws_that_fail_their_backtest_give_no_advice() -> None:
    bent = pl.col("test_loss") - pl.when(pl.col("method") == "lora").then(
        0.3 * ((pl.col("finetune_examples") - 8000).clip(0) / 24_000)
    ).otherwise(0)
    frame = runs(("full", "lora")).with_columns(bent.alias("test_loss"))
    advice = recommend(read_records(frame), examples=100_000, model_params=8e8, bootstrap=50, law="auto")
    assert advice.best is None
    assert any("the laws were off by" in reason for reason in advice.reasons)


def test_cost_is_that_of_the_records_in_flops_hours_and_money(found: Candidates, prices: Costs) -> None:
    option = advise(found, Question(10_000, 4e8), prices).options[0]
    flops = (6 if option.method == "full" else 4) * 4e8 * 10_000 * 100
    assert option.cost.flops == pytest.approx(flops)
    assert option.cost.hours == pytest.approx(flops / 1e12 / 3600)
    assert option.cost.money == pytest.approx(3 * flops / 1e12 / 3600)
    assert prices.per_example("full", 1.6e9) == pytest.approx(6 * 1.6e9 * 100)
    assert prices.per_example("full", 3e8) == pytest.approx(6 * 3e8 * 100)


def test_doubling_buys_what_the_law_says(found: Candidates, prices: Costs) -> None:
    option = next(o for o in advise(found, Question(8000, 4e8), prices).options if o.name == "full")
    truth = loss("full", 4e8, 8000)
    assert option.double_examples.nats == pytest.approx(truth - loss("full", 4e8, 16000), abs=0.005)
    assert option.double_model is not None
    assert option.double_model.nats == pytest.approx(truth - loss("full", 8e8, 8000), abs=0.005)
    assert option.double_examples.low < option.double_examples.nats < option.double_examples.high
    assert option.double_examples.flops == pytest.approx(option.cost.flops)
    assert option.double_examples.per_flop == pytest.approx(option.double_examples.nats / option.cost.flops)


def test_target_needs_the_examples_at_which_the_law_reaches_it(found: Candidates, prices: Costs) -> None:
    target = loss("full", 8e8, 20_000)
    advice = advise(found, Question(model_params=8e8, target_loss=target), prices)
    assert advice.best is not None
    assert advice.best.name == "full"
    need = advice.best.needed
    assert need is not None
    assert need.examples == pytest.approx(20_000, rel=0.1)
    assert need.low < 20_000 < need.high
    fitted = advice.best
    assert fitted.loss == pytest.approx(target, abs=1e-9)
    assert "needs about" in advice.sentence


def test_a_floor_above_the_target_is_said_method_by_method(found: Candidates, prices: Costs) -> None:
    with pytest.raises(DataError, match="the floor of every law is above it") as refused:
        advise(found, Question(target_loss=0.3), prices)
    assert "full tuning" in refused.value.got
    advice = advise(found, Question(20_000, 8e8, target_loss=1.2), prices)
    needs = {option.name: option.needed for option in advice.options}
    assert needs["full"] is not None
    assert needs["prompt"] is not None
    assert math.isfinite(needs["full"].examples)
    assert math.isinf(needs["prompt"].examples)
    assert needs["prompt"].floor == pytest.approx(LAWS["prompt"][3], abs=0.2)


def test_budget_buys_the_best_model_and_data(found: Candidates, prices: Costs) -> None:
    budget = 6 * 4e8 * 100 * 16_000.0
    advice = advise(found, Question(budget=budget), prices)
    for option in advice.options:
        assert option.cost.flops == pytest.approx(budget)
        each = 6 if option.method == "full" else 4
        by_hand = min(SIZES, key=lambda size: loss(option.method, size, budget / (each * size * 100)))
        assert option.model_params == by_hand
    assert "FLOPs" in advice.sentence
    with pytest.raises(DataError, match="the budget buys no run") as refused:
        advise(found, Question(budget=1e6), prices)
    assert "at least" in refused.value.wanted
    capped = advise(found, Question(examples=500, budget=budget, model_params=1e8), prices)
    assert {option.examples for option in capped.options} == {500}


def test_a_mixtures_runs_are_priced_by_their_active_parameters() -> None:
    frame = runs().drop("train_flops").with_columns((pl.col("model_params") / 4).alias("active_params"))
    dense = costs(frame.drop("active_params"), tokens_per_example=100)
    mixture = costs(frame, tokens_per_example=100)
    for method, share in (("full", 6), ("lora", 4)):
        assert dense.per_example(method, 4e8) == pytest.approx(share * 4e8 * 100)
        assert mixture.per_example(method, 4e8) == pytest.approx(share * 1e8 * 100)
    assert "active parameters" in mixture.basis


def test_budget_without_costs_says_what_is_missing() -> None:
    records = read_records(runs().drop("train_flops"))
    with pytest.raises(DataError, match="cannot be turned into runs") as refused:
        recommend(records, budget=1e18, bootstrap=0)
    assert "--tokens-per-example" in refused.value.got
    priced = costs(candidates(records, bootstrap=0).runs, tokens_per_example=100)
    assert priced.per_example("full", 4e8) == pytest.approx(6 * 4e8 * 100)
    assert priced.per_example("lora", 4e8) == pytest.approx(4 * 4e8 * 100)


def test_one_method_has_nothing_to_compare() -> None:
    advice = recommend(read_records(runs(("lora",))), examples=10_000, bootstrap=50)
    assert advice.sentence.startswith("Only one candidate, so there is nothing to compare. LoRA for 10,000")
    assert math.isclose(advice.options[0].probability, 1.0)


def test_one_model_size_is_answered_by_curves_of_the_data() -> None:
    records = read_records(runs(sizes=(4e8,)))
    advice = recommend(records, examples=32_000, bootstrap=50)
    assert advice.best is not None
    assert advice.best.name == "full"
    assert advice.best.double_model is None
    assert advice.best.loss == pytest.approx(loss("full", 4e8, 32_000), abs=0.005)
    assert recommend(records, examples=32_000, model_params=4e8, bootstrap=0).options
    with pytest.raises(DataError, match="say nothing about a model of 7B parameters"):
        recommend(records, examples=32_000, model_params=7e9, bootstrap=0)


def test_models_without_a_common_law_are_candidates_of_their_own() -> None:
    rng = np.random.default_rng(1)
    moved = dict(zip(SIZES, rng.permutation([0.0, 0.8, -0.5, 0.4]), strict=True))
    frame = runs(("full",)).with_columns(
        (pl.col("test_loss") + pl.col("model_params").replace_strict(moved, default=0.0)).alias("test_loss"),
        pl.format("m{}", pl.col("model_params").cast(pl.Int64)).alias("model"),
    )
    found = candidates(read_records(frame), bootstrap=50)
    assert found.factor is None
    assert {member.name for member in found.members} == {f"full on m{int(size)}" for size in SIZES}
    assert any("do not follow from their sizes" in note for note in found.notes)
    advice = recommend(read_records(frame), examples=32_000, bootstrap=50)
    lowest = min(SIZES, key=lambda size: loss("full", size, 32_000) + moved[size])
    assert advice.best is not None
    assert advice.best.name == f"full on m{int(lowest)}"


def test_nothing_finished_and_unknown_tasks_are_refused_in_words() -> None:
    failed = runs().with_columns(pl.lit("diverged").alias("status"))
    with pytest.raises(DataError, match="no finished run of a tuned model"):
        recommend(read_records(failed))
    two = pl.concat([runs(("lora",)), runs(("lora",)).with_columns(pl.lit("u").alias("task"))])
    with pytest.raises(UsageError, match="several tasks"):
        recommend(read_records(two))
    with pytest.raises(UsageError, match="no finished run of the task `v`"):
        recommend(read_records(two), task="v")
    with pytest.raises(UsageError, match="--examples -5"):
        recommend(read_records(two), examples=-5)


def test_advice_is_plain_json_and_escaped_html(found: Candidates, prices: Costs) -> None:
    advice = advise(found, Question(10_000, 4e8, target_loss=1.3), prices)
    written = json.loads(json.dumps(advice.to_dict(), allow_nan=False))
    assert written["schema"] == 1
    assert [option["name"] for option in written["options"]] == [o.name for o in advice.options]
    hostile = recommend(
        read_records(runs().with_columns(pl.lit("<script>").alias("task"))), examples=9000, bootstrap=0
    )
    assert "<script>" not in hostile._repr_html_()
    assert hostile.best is None
    assert any("without resamples" in reason for reason in hostile.reasons)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (90, "90 s"),
        (1_800, "30 min"),
        (9_000, "2.5 h"),
        (259_200, "3.0 days"),
        (2.06e10, "238,426 days"),
        (math.inf, "-"),
    ],
)
def test_a_duration_is_told_in_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert hours(seconds) == words


def _ranked(effect: float) -> pl.DataFrame:
    """LoRA of three ranks and full tuning on one model; a rank's doubling lowers the loss by `effect`."""
    parts = [runs(("full",), sizes=(4e8,)).with_columns(pet_size=pl.lit(None, dtype=pl.Float64))]
    for step, rank in enumerate((1.0, 4.0, 16.0)):
        part = runs(("lora",), sizes=(4e8,)).with_columns(pet_size=pl.lit(rank))
        parts.append(part.with_columns(test_loss=pl.col("test_loss") - effect * step))
    return pl.concat(parts)


def test_pet_sizes_that_differ_are_candidates_with_fields_of_their_own() -> None:
    advice = recommend(_ranked(0.2), examples=16000)
    assert {(o.name, o.method, o.pet_size) for o in advice.options} == {
        ("full", "full", None),
        *((f"lora r{rank}", "lora", rank) for rank in (1, 4, 16)),
    }
    assert advice.best is not None
    assert advice.best.name == "lora r16"
    assert advice.sentence.startswith("LoRA r16 for 16,000 examples")
    assert any("ranks 1, 4, 16 differ by more than noise" in note for note in advice.notes)
    assert advice.to_dict()["options"][0]["pet_size"] == 16


@pytest.mark.parametrize(("effect", "apart"), [(0.05, True), (0.0, False)])
def test_at_one_data_size_pet_sizes_are_compared_by_the_noise_of_repeated_runs(
    effect: float, apart: bool
) -> None:
    rng = np.random.default_rng(4)
    rows = [
        {"method": method, "pet_size": rank, "finetune_examples": 5000, "seed": seed,
         "test_loss": 2.0 - effect * step + 0.005 * rng.standard_normal()}
        for method, ranks in (("full", (None,)), ("lora", (8.0, 64.0)))
        for step, rank in enumerate(ranks) for seed in (0, 1, 2)
    ]  # fmt: skip
    advice = recommend(pl.DataFrame(rows, infer_schema_length=None), examples=5000)
    assert (advice.options[0].name == "lora r64") == apart
    assert len(advice.options) == (3 if apart else 2)
    once = [row for row in rows if row["seed"] == 0]  # nothing tells the noise: one rank stands for all
    assert len(recommend(pl.DataFrame(once, infer_schema_length=None), examples=5000).options) == 2


def test_pet_sizes_that_do_not_differ_or_were_chosen_stay_one_candidate() -> None:
    rng = np.random.default_rng(3)
    frame = _ranked(0.0)
    noisy = frame.with_columns(test_loss=pl.col("test_loss") + 0.01 * rng.standard_normal(frame.height))
    same = recommend(noisy, examples=16000)
    asked = recommend(_ranked(0.2), examples=16000, base={"pet_size.lora": 1})
    for advice, rank in ((same, 4), (asked, 1)):
        assert {(o.name, o.pet_size) for o in advice.options} == {("full", None), ("lora", rank)}
    assert same.base["pet_size.lora"] == 4  # the paper's default, of three that are equally frequent
    assert "pet_size.lora" in same.to_dict()["base"]


def test_candidates_that_all_reach_a_target_at_the_smallest_size_share_the_probability() -> None:
    advice = recommend(_ranked(0.2), target_loss=3.0)
    ranks = [option for option in advice.options if option.method == "lora"]
    assert [option.probability for option in ranks] == pytest.approx([1 / 3] * 3)
    assert advice.best is None
