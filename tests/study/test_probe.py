from __future__ import annotations

import io
from pathlib import Path

import pytest
from example import TEXT, plan
from rich.console import Console

from finescale.executors.local import LocalExecutor
from finescale.runs.expected import estimated_seconds, planned_steps
from finescale.study.probe import (
    STEPS,
    ProbedCost,
    Size,
    kind,
    measure,
    measured_first,
    shorten,
    show,
    sizes,
)


def study_runs(text: str = TEXT):
    return plan(Path("unused"), "instant", text).runs()


def measured(runs, function):
    console = Console(file=io.StringIO(), width=150)
    costs, failed = measure(runs, LocalExecutor(2), console, f"calls:{function}")
    show(console, runs, costs, failed, workers=2)
    return costs, failed, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("epochs", [1, 50])
def test_a_probe_is_of_the_same_kind_and_has_twenty_steps(epochs) -> None:
    text = TEXT.replace("{full: 1, lora: 2}", f"{{full: {epochs}, lora: {epochs}}}")
    for item in study_runs(text):
        if item.run.finetune_examples:
            short = shorten(item).run
            assert kind(short) == kind(item.run)
            assert planned_steps(short) == STEPS
            assert short.finetune_examples <= item.run.finetune_examples


def with_a_large_model(text: str = TEXT):
    """The study with a model of 135M parameters."""
    sizes = {"params": 134_515_008, "nonembedding_params": 106_203_456}
    large = []
    for item in study_runs(text):
        model = item.run.model.model_copy(update=sizes)
        large.append(item.model_copy(update={"run": item.run.model_copy(update={"model": model})}))
    return large


def test_small_models_are_probed_whole_and_large_ones_in_part() -> None:
    assert set(sizes(study_runs(), 2).values()) == {Size()}
    runs = with_a_large_model()
    for name, size in sizes(runs, 2).items():
        assert 3 <= size.steps < 20
        assert 8 <= size.evaluated < 64
        one = next(item for item in measured_first(runs) if kind(item.run) == name)
        short = shorten(one, size).run
        assert planned_steps(short) == size.steps
        assert short.train.dev_examples == size.evaluated


@pytest.mark.parametrize("seeds", [2, 8, 30])
def test_a_probe_takes_a_minute_or_a_tenth_of_its_study(seeds: int) -> None:
    text = TEXT.replace("seeds: [0, 1]", f"seeds: {list(range(seeds))}").replace("[128, 256]", "[512, 1024]")
    for runs in (study_runs(text), with_a_large_model(text)):
        size = sizes(runs, 1)
        short = [shorten(item, size[kind(item.run)]).run for item in measured_first(runs)]
        study = sum(estimated_seconds(item.run) for item in runs)
        assert sum(map(estimated_seconds, short)) <= max(60, study / 10)


def test_what_a_smaller_probe_generated_is_counted_for_the_whole() -> None:
    text = TEXT.replace("some-task", "mini-en-de") + "evaluation: {metrics: [chrf], examples: 80}\n"
    runs = with_a_large_model(text)
    costs, _, _ = measured(runs, "probing_little")
    for cost in costs.values():  # 4 or 5 seconds for as many texts of 80
        assert cost.generated == 80.0


def test_a_run_costs_its_setup_its_steps_and_its_evaluations() -> None:
    item = next(i for i in study_runs() if i.run.finetune_examples == 256 and i.run.method.name == "full")
    cost = ProbedCost(step=2.0, example=0.5, setup=3.0, generated=7.0, forgetting=2.0, memory=None)
    assert cost.seconds(item.run) == 3 + 16 * 2 + (8 * 256 + 100) * 0.5
    untuned = next(i for i in study_runs() if i.run.finetune_examples == 0)
    assert cost.seconds(untuned.run) == 3 + (256 + 100) * 0.5


def test_what_is_generated_and_forgotten_counts_where_it_is_measured() -> None:
    runs = study_runs(TEXT.replace("some-task", "mini-en-de") + "evaluation: {metrics: [chrf]}\n")
    kinds = {(item.purpose, item.run.finetune_examples > 0): item.run for item in runs}
    plain, cost = (ProbedCost(2.0, 0.5, 3.0, seconds, seconds / 2, None) for seconds in (0.0, 8.0))
    more = {key: cost.seconds(run) - plain.seconds(run) for key, run in kinds.items()}
    assert more == {("sweep", True): 0.0, ("study", True): 12.0, ("study", False): 8.0}


def test_every_kind_is_probed_once_and_the_study_s_time_is_their_sum() -> None:
    runs = study_runs()
    costs, failed, said = measured(runs, "probing")
    assert set(costs) == {kind(item.run) for item in runs if item.run.finetune_examples}
    assert not failed
    one = next(iter(costs.values()))
    assert (one.step, one.example, one.setup) == (1.0, 0.5, 60.0)
    assert (one.generated, one.forgetting) == (5.0, 2.0)
    total = sum(one.seconds(item.run) for item in runs)
    minutes, seconds = divmod(round(total), 60)
    assert f"{minutes // 60}:{minutes % 60:02}:{seconds:02} of one core" in said


def test_a_probe_generates_one_batch_of_each_set_and_the_study_s_texts_are_counted() -> None:
    text = (
        TEXT.replace("some-task", "mini-en-de").replace("finetune_examples: 64", "finetune_examples: 512")
        + "evaluation: {metrics: [chrf], shots: [0, 1], examples: 80, zero_shot: true}\n"
    )
    item = next(i for i in study_runs(text) if i.run.finetune_examples and i.purpose == "study")
    assert shorten(item).run.evaluation.examples == 32
    costs, _, _ = measured(study_runs(text), "probing")
    assert {cost.generated for cost in costs.values()} == {5.0 * 3}  # 80 examples: three batches of 32 each


def test_a_kind_whose_probe_fails_is_named_and_left_out() -> None:
    costs, failed, said = measured(study_runs(), "probing_no_lora")
    assert {name[1] for name in costs} == {"full"}
    assert {name[1] for name in failed} == {"lora"}
    assert "no time for lora, nano-0.05m, PET size 4, batch 16: ValueError: no adapter" in said
    assert "without 4 runs whose probe failed" in said
