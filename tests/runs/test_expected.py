from __future__ import annotations

import pytest

from finescale.runs.evaluation_cost import evaluation_cost
from finescale.runs.expected import RunEstimates, estimated_evaluation, estimated_flops, estimated_seconds
from finescale.spec.expand import PlannedRun, expand
from finescale.spec.file import parse_study
from finescale.spec.run import EvaluationSpec, RunSpec, TaskSpec
from finescale.study.resolve import resolver

STUDY = """\
kind: finetune
name: costs
task: TASK
test_examples: 40
base: {model: nano-0.05m, pet_size: {prompt: 7}}
grids:
  - {vary: model, values: [nano-0.05m], finetune_examples: {full: [32], prompt: [32]}}
learning_rates: {full: 0.001, prompt: 0.01}
"""
BODY, HEAD = 1_000, 500
TOKENS, TARGET = 30, 10


def planned(evaluation: str, task: str = "mini-en-de") -> dict[str, PlannedRun]:
    study = parse_study(STUDY.replace("TASK", task) + f"evaluation: {evaluation}\n", "s.yaml")
    return {item.run.method.name: item for item in expand(study, {}, resolver(study, contents=False))}


def cost(run: RunSpec):
    return evaluation_cost(run, (BODY, HEAD), TOKENS, TARGET)


def test_every_test_set_shot_and_zero_shot_set_is_generated_once() -> None:
    run = planned("{metrics: [chrf], examples: 33, max_new_tokens: 5, shots: [0, 2], zero_shot: true}")[
        "full"
    ]
    found = cost(run.run)
    assert found.texts == 33 * (2 + 2)  # two numbers of shots, two languages into German
    assert found.passes == 4 * 2 * 5  # 33 prompts are two batches
    prompts = 3 * 33 * (TOKENS - TARGET) + 33 * (3 * TOKENS - TARGET)
    made = 4 * 33 * 5
    losses = 2 * 33
    body = prompts + made + losses * TOKENS
    assert found.flops == 2 * BODY * body + 2 * HEAD * (made + losses * TARGET)
    assert found.seconds > found.passes * 1e-3


def test_no_more_is_counted_than_a_set_has() -> None:
    assert cost(planned("{metrics: [chrf], examples: 100000}")["full"].run).texts == 696


def test_a_soft_prompt_is_read_with_every_text() -> None:
    runs = planned("{metrics: [chrf], examples: 10, max_new_tokens: 5}")
    more = cost(runs["prompt"].run).flops - cost(runs["full"].run).flops
    assert more == 2 * BODY * 10 * 7


def test_forgetting_is_two_passes_over_the_rows_and_generates_nothing() -> None:
    found = cost(planned("{forgetting: {rows: 3}}")["full"].run)
    assert (found.texts, found.passes) == (0, 0)
    assert found.flops == 2 * 2 * (BODY + HEAD) * 3 * 1_024


def test_a_published_task_is_counted_without_its_data() -> None:
    evaluation = "{metrics: [chrf], examples: 10, zero_shot: true}"
    run = planned(evaluation, "wmt14-en-de")["full"].run
    assert cost(run).texts == 10 * (3 + 5)


def test_what_is_not_measured_costs_nothing_and_what_is_costs_time() -> None:
    plain, measured = planned("{}")["full"], planned("{metrics: [chrf]}")["full"]
    assert plain.run.evaluation == EvaluationSpec()
    assert (estimated_evaluation(plain.run).flops, estimated_evaluation(plain.run).seconds) == (0, 0)
    more = estimated_seconds(measured.run) - estimated_seconds(plain.run)
    assert more == pytest.approx(estimated_evaluation(measured.run).seconds)
    expected = RunEstimates()
    assert [expected.of(item)[1] for item in (plain, measured)] == [
        estimated_seconds(plain.run),
        estimated_seconds(measured.run),
    ]


def test_the_texts_of_a_bundled_task_are_as_long_as_they_are_but_not_those_of_a_task_of_that_name() -> None:
    run = planned("{}")["full"].run
    own = TaskSpec(name="mini-summarization", train="a.jsonl")
    flops = [
        estimated_flops(run.model_copy(update={"task": task, "data": data}))
        for task, data in (("mini-en-de", None), ("mini-summarization", None), ("mini-summarization", own))
    ]
    assert flops[1] > 3 * flops[0]
    assert flops[2] == flops[0]


def test_a_mixtures_flops_count_the_parameters_that_a_token_goes_through() -> None:
    run = planned("{}")["full"].run
    sizes = {"folder": "/models/mine", "params": 1_100, "nonembedding_params": 1_000}
    dense = run.model_copy(update={"model": run.model.model_copy(update=sizes)})
    mixture = run.model_copy(update={"model": run.model.model_copy(update={**sizes, "active_params": 400})})
    seen = 4 * 32  # epochs x examples
    assert estimated_flops(dense) == 6 * seen * (1_000 * 82 + 100 * 38)
    assert estimated_flops(mixture) == 6 * seen * (300 * 82 + 100 * 38)
    assert dense.fingerprint() == mixture.fingerprint()
