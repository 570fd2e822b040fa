"""The paper's findings: each probability is the share of draws that it says it is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from synthetic import base_only, scores_frame, study_frame

from finescale.laws.fits import Fits
from finescale.records.records import read_records
from finescale.records.scores import Scores
from finescale.report.decisions import Decision, decide
from finescale.report.evidence import Evidence, TaskEvidence, gather
from finescale.report.paper_findings import CLAIMS, SMALL, Finding, findings_sheet, opening, paper_findings


@pytest.fixture(scope="module")
def decision(evidence: Evidence) -> Decision:
    made = decide(evidence.records, "nano-en-de", bootstrap=100, seed=0)
    assert isinstance(made, Decision)
    return made


@pytest.fixture(scope="module")
def tested(evidence: Evidence, decision: Decision) -> dict[tuple[int, str], Finding]:
    found = paper_findings(evidence, evidence.tasks[0], decision)
    return {(item.finding, item.who): item for item in found}


def with_draws(task: TaskEvidence, **draws: dict[tuple[str, str], np.ndarray]) -> TaskEvidence:
    """The task with other draws of a parameter, by (method, factor)."""
    laws = []
    for law in task.laws["multiplicative"]:
        key = (str(law.by["method"]), law.factors[0])
        laws.append(replace(law, draws={**law.draws, **{n: d[key] for n, d in draws.items() if key in d}}))
    return replace(task, laws={**task.laws, "multiplicative": Fits(tuple(laws))})


def test_every_finding_is_tested_once_for_each_that_it_is_about(
    tested: dict[tuple[int, str], Finding],
) -> None:
    assert {finding for finding, _ in tested} == set(CLAIMS)
    assert [who for finding, who in tested if finding == 4] == ["full tuning > LoRA", "LoRA >= prompt tuning"]
    assert sum(finding == 6 for finding, _ in tested) == 8
    assert all(0 <= item.probability <= 1 for item in tested.values())


def test_model_size_is_compared_with_pretraining_draw_by_draw(evidence: Evidence, decision: Decision) -> None:
    draws = {("lora", "model_params"): np.array([0.3, 0.1, 0.5, 0.2])}
    draws |= {("lora", "pretrain_tokens"): np.array([0.2, 0.2, 0.1, 0.4])}
    task = with_draws(evidence.tasks[0], alpha=draws)
    found = {(item.finding, item.who): item for item in paper_findings(evidence, task, decision)}
    assert found[2, "LoRA"].probability == 0.5
    assert found[2, "LoRA"].verdict == "cannot tell"


def test_pet_size_is_small_where_both_signs_are(evidence: Evidence, decision: Decision) -> None:
    draws = {("lora", "pet_size"): np.array([0.5, -0.5, 2.0, -2.0, 0.1]) * SMALL}
    task = with_draws(evidence.tasks[0], alpha=draws)
    found = {(item.finding, item.who): item for item in paper_findings(evidence, task, decision)}
    assert found[3, "LoRA, |alpha| < 0.01"].probability == pytest.approx(0.6)


def test_equal_held_out_errors_count_half_and_better_ones_whole(
    evidence: Evidence, decision: Decision
) -> None:
    (task,) = evidence.tasks
    same = replace(task, tested={**task.tested, "additive": task.tested["multiplicative"]})
    found = {(item.finding, item.who): item for item in paper_findings(evidence, same, decision)}
    assert found[1, "LoRA"].probability == 0.5
    worse = []
    for law in task.laws["multiplicative"]:
        assert law.points is not None
        worse.append(replace(law, points=law.points.with_columns(pl.col("loss") + 1)))
    further = replace(task, laws={**task.laws, "additive": Fits(tuple(worse))})
    found = {(item.finding, item.who): item for item in paper_findings(evidence, further, decision)}
    assert found[1, "LoRA"].verdict == "agrees"


def test_seed_noise_of_ten_to_one_tells_which_method_is_more_stable(
    evidence: Evidence, decision: Decision
) -> None:
    (task,) = evidence.tasks
    noisy = replace(task.noise["prompt"], sd=10 * task.noise["lora"].sd)
    other = replace(task, noise={**task.noise, "prompt": noisy})
    found = {(item.finding, item.who): item for item in paper_findings(evidence, other, decision)}
    assert found[3, "LoRA more stable than prompt tuning"].probability > 0.99


def test_best_method_changes_in_the_share_of_draws_in_which_the_laws_cross(
    decision: Decision, tested: dict[tuple[int, str], Finding]
) -> None:
    ends = [member.law.ranges["finetune_examples"] for member in decision.found.members]
    data = np.geomspace(max(e[0] for e in ends), min(e[1] for e in ends), 500)
    size = decision.found.base["model_params"]
    changes = 0
    draws = [member.law.mean_draws(member.asked(size, data)) for member in decision.found.members]
    for index in range(len(draws[0])):
        best = {int(np.argmin([draw[index, at] for draw in draws])) for at in range(data.size)}
        changes += len(best) > 1
    assert tested[5, "all methods"].probability == pytest.approx(changes / len(draws[0]), abs=0.03)


def test_scores_that_full_tuning_loses_are_kept_by_pet(tested: dict[tuple[int, str], Finding]) -> None:
    for who in ("LoRA, zero-shot chrF", "prompt tuning, five-shot chrF"):
        assert tested[6, who].verdict == "agrees"
        assert "36 settings" in tested[6, who].evidence
    assert tested[6, "LoRA, nats forgotten of pretraining text"].verdict == "agrees"


def test_zero_shot_loss_counts_the_other_way_round(evidence: Evidence, decision: Decision) -> None:
    assert evidence.scores is not None
    frame = evidence.scores.frame
    lower = pl.when(pl.col("method") == "full").then(2.0).otherwise(3.0)
    losses = frame.filter(split="zero_shot", metric="chrf").with_columns(
        pl.lit("loss").alias("metric"), lower.alias("value")
    )
    both = replace(evidence, scores=Scores(pl.concat([frame, losses])))
    found = {item.who: item for item in paper_findings(both, both.tasks[0], decision)}
    assert found["LoRA, zero-shot chrF"].verdict == "agrees"
    assert found["LoRA, zero-shot loss"].verdict == "disagrees"
    assert found["LoRA, zero-shot loss"].here == "1 above full tuning on average"


def test_scores_that_do_not_differ_tell_nothing(evidence: Evidence, decision: Decision) -> None:
    assert evidence.scores is not None
    flat = evidence.scores.frame.with_columns(pl.lit(20.0).alias("value"))
    blind = replace(evidence, scores=Scores(flat))
    found = [item for item in paper_findings(blind, blind.tasks[0], decision) if "chrF" in item.who]
    assert [item.probability for item in found] == [0.5] * 6
    assert {item.verdict for item in found} == {"cannot tell"}


def test_what_cannot_be_tested_says_which_data_would(frame: pl.DataFrame) -> None:
    few = base_only(frame.drop("pretrain_loss_after")).filter(~pl.col("held_out"))
    evidence = gather(read_records(few), bootstrap=0)
    said = decide(evidence.records, "nano-en-de", bootstrap=0, seed=0)
    found = paper_findings(evidence, evidence.tasks[0], said)
    assert {item.verdict for item in found if item.finding != 3} == {"not tested"}
    words = {item.finding: item.here for item in found}
    assert "held-out settings" in words[1]
    assert "several model sizes and pretraining checkpoints" in words[2]
    assert "bootstrap draws" in words[5]
    assert "zero-shot or few-shot scores" in words[6]


def test_data_hunger_of_one_model_is_read_from_its_own_curves(frame: pl.DataFrame) -> None:
    one = base_only(frame).drop("model_params", "model_params_nonembedding", "pretrain_tokens", "pet_size")
    evidence = gather(read_records(one), bootstrap=50)
    found = {item.who: item for item in paper_findings(evidence, evidence.tasks[0], "") if item.finding == 4}
    betas = {}
    for law in evidence.tasks[0].curves["power"]:
        betas[law.by["method"]] = law.draws["beta"]
    share = np.mean(betas["full"] > betas["lora"])
    assert found["full tuning > LoRA"].probability == pytest.approx(share)


def test_two_settings_are_too_few_for_a_probability(frame: pl.DataFrame) -> None:
    two = base_only(frame).filter(pl.col("finetune_examples") <= 256)
    evidence = gather(read_records(two), bootstrap=0, scores=scores_frame(two))
    found = paper_findings(evidence, evidence.tasks[0], "too few")
    (item,) = [item for item in found if item.who == "LoRA, one-shot chrF"]
    assert math.isnan(item.probability)
    assert "2 settings only" in item.evidence


def test_one_method_has_its_findings_left_open() -> None:
    evidence = gather(read_records(base_only(study_frame(methods=("lora",)))), bootstrap=0)
    found = paper_findings(evidence, evidence.tasks[0], "one method")
    assert {item.verdict for item in found} == {"not tested"}


def test_the_table_has_every_test_and_the_opening_counts_them(
    tested: dict[tuple[int, str], Finding], evidence: Evidence
) -> None:
    sheet = findings_sheet(list(tested.values()), evidence)
    assert sheet.frame.height == len(tested)
    assert not any("not tuned" in words for words in sheet.notes)
    rates = evidence.records.frame.with_columns(pl.lit(False).alias("lr_tuned"))
    careless = replace(evidence, records=replace(evidence.records, frame=rates))
    assert any("not tuned" in words for words in findings_sheet(list(tested.values()), careless).notes)
    words = opening(["agrees", "agrees", "disagrees", "not tested"])
    assert "agree in 2, disagree in 1 and do not test 1" in words
