"""Plans: what they choose, what they refuse, and the study file that they become."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_up import LAWS, crossover, runs
from typer.testing import CliRunner

import finescale as fs
from finescale.advice.cost import costs
from finescale.cli import app
from finescale.cli.laws import Table
from finescale.cli.plan import plan_command
from finescale.errors import DataError, UsageError
from finescale.planning.choices import between, of_runs, of_study
from finescale.planning.continued import extend_study
from finescale.planning.design import plan_runs
from finescale.planning.measured import most_seen
from finescale.planning.question import Offer, Question, Terms
from finescale.spec.file import load_study, parse_study

TARGET = {"model_params": 3.2e9, "finetune_examples": 128_000.0}


def made(frame: pl.DataFrame, budget: float = 1e17, methods: tuple[str, ...] = ("lora",), **options):
    records = fs.read_records(frame)
    task, tuned, base = most_seen(records, None)
    choices = of_runs(tuned, "model_params", base, methods=methods)
    target = options.pop("target", TARGET)
    terms = Terms(**{name: options.pop(name) for name in [*options] if name in Terms.__dataclass_fields__})
    return plan_runs(records, task, Question(target, budget), Offer(choices, costs(tuned)), terms, **options)


def few() -> pl.DataFrame:
    return runs(sizes=(1e8, 8e8), data=(1000, 32000), seeds=1)


def test_a_plan_keeps_its_budget_and_narrows_the_interval():
    found = made(few(), bend=0.0)
    assert 0 < found.cost <= 1e17
    now = found.outlooks[0]
    assert now.after < 0.7 * (now.high - now.low) / 2


def test_more_money_never_tells_less():
    after = [made(few(), budget).outlooks[0].after for budget in (1e15, 1e16, 1e17)]
    assert after[0] >= after[1] >= after[2]


def test_the_interval_now_holds_the_true_loss():
    found = made(runs(seeds=3), bend=0.0, seeds=5)
    A, alpha, beta, E = LAWS["lora"]
    truth = A * TARGET["model_params"] ** -alpha * TARGET["finetune_examples"] ** -beta + E
    now = found.outlooks[0]
    assert now.low < truth < now.high
    assert now.high - now.low < 0.1


def test_planned_runs_have_seeds_that_the_setting_has_not_had():
    found = made(few())
    old = {row[0]: row[1] for row in [((1e8, 1000.0), {0}), ((8e8, 32000.0), {0})]}
    for run in found.runs:
        had = old.get((run.sizes["model_params"], run.sizes["finetune_examples"]), set())
        assert not had & set(run.seeds)
        assert len(had) + len(run.seeds) <= 3


def test_the_check_share_goes_to_the_settings_nearest_to_the_target():
    found = made(few(), 4e16, check_share=0.5)
    near = [run for run in found.runs if run.check]
    assert near
    assert {(run.sizes["model_params"]) for run in near} == {8e8}
    dearest = max(run.cost for run in found.runs)
    assert near[0].cost == dearest
    assert sum(run.cost * len(run.seeds) for run in near) >= 0.25 * 4e16


def test_a_method_that_is_clearly_worse_gets_no_runs():
    target = {"model_params": 8e8, "finetune_examples": crossover(8e8)}
    found = made(
        runs(noise=0.02), 1e17, ("full", "lora", "prompt"), noise=0.02, bend=0.0, target=target, seeds=4
    )
    assert {run.method for run in found.runs} == {"full", "lora"}
    assert any("prompt tuning" in note for note in found.notes)


@pytest.mark.parametrize("size", [8e8, 3.2e9])
def test_one_run_at_the_target_comes_before_many_elsewhere(size):
    target = {"model_params": size, "finetune_examples": 64_000.0}
    found = fs.plan(few(), target, budget=1e18, methods=["lora"])
    assert found.runs[0].sizes == target
    assert len(found.runs[0].seeds) == 1
    assert sum(len(run.seeds) for run in found.runs) <= 3
    assert any("it comes first" in note for note in found.notes)
    now = found.outlooks[0]
    assert now.after < 0.5 * (now.high - now.low) / 2


def test_a_target_that_cannot_be_run_is_not_planned():
    target = {"model_params": 3.2e9, "finetune_examples": 64_000.0}
    found = fs.plan(few(), target, budget=1e18, methods=["lora"], values=[1e8, 8e8])
    assert {run.sizes["model_params"] for run in found.runs} <= {1e8, 8e8}
    assert any("if it can be made" in note for note in found.notes)


def test_a_plan_starts_from_the_forecast_that_predict_gives():
    target = {"model_params": 8e8, "finetune_examples": 64_000.0}
    now = fs.plan(few(), target, budget=1e18, methods=["lora"]).outlooks[0]
    told = fs.forecast(few()).only(method="lora").predict(target)
    assert (now.loss, now.low, now.high) == pytest.approx((told.value, told.low, told.high))


def test_between_methods_runs_at_the_target_are_shared_out():
    at = crossover(8e8)
    frame = runs(("full", "lora"), noise=0.02)
    found = fs.plan(frame, {"model_params": 8e8, "finetune_examples": at}, budget=1e18)
    first = [run for run in found.runs if run.sizes["finetune_examples"] == at]
    assert {run.method: len(run.seeds) for run in first} == {"full": 3, "lora": 3}


def test_a_decision_without_doubt_needs_no_run():
    with pytest.raises(DataError, match=r"full tuning is the best method .* no run is needed") as caught:
        made(runs(), methods=("full", "lora", "prompt"))
    assert "--method full" in str(caught.value)


def test_a_target_that_is_known_needs_no_run():
    with pytest.raises(DataError, match=r"the target is known already: .* less than the noise of a run"):
        made(runs(seeds=3, noise=0.01), bend=0.0, target={"model_params": 4e8, "finetune_examples": 8000.0})


def test_a_budget_below_the_cheapest_run_is_refused_with_its_cost():
    with pytest.raises(DataError, match="the budget is too small for any run") as caught:
        made(few(), 1e3)
    assert "4e+13" in str(caught.value)


def test_settings_that_have_all_their_runs_are_not_planned_again():
    with pytest.raises(DataError, match="has its runs already"):
        made(runs(sizes=(1e8, 8e8), data=(1000, 2000), seeds=1), seeds=1)


def test_records_without_costs_ask_for_tokens():
    with pytest.raises(DataError, match="what a run of LoRA costs is not known") as caught:
        made(few().drop("train_flops"))
    assert "--tokens-per-example" in str(caught.value)


def test_a_law_that_misses_its_runs_is_named():
    frame = runs(("lora",), noise=0.001).with_columns(
        test_loss=pl.col("test_loss") + 0.2 * (pl.col("finetune_examples") == 4000)
    )
    found = made(frame)
    assert any("the law misses the runs by" in note for note in found.notes)
    honest = made(runs(("lora",), noise=0.001))
    assert found.outlooks[0].after > 1.5 * honest.outlooks[0].after


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"finetune_examples": 1e6}, "one factor"),
        ({"model_params": 1e9}, "finetune_examples"),
        ({"model_size": 1e9, "finetune_examples": 1e6}, "unknown column `model_size`"),
        ({"model_params": -1.0, "finetune_examples": 1e6}, "above 0"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(target, words):
    with pytest.raises(UsageError, match=words):
        made(few(), target=target)


def test_a_table_without_data_sizes_is_told_so():
    with pytest.raises(UsageError, match="no column `finetune_examples`") as told:
        most_seen(fs.read_records(few().drop("finetune_examples")), None)
    assert "--column finetune_examples=THEIRS" in told.value.remedy


def test_data_sizes_between_two_are_at_most_a_factor_of_two_apart():
    sizes = np.array(between(128, 8192))
    assert sizes[0] == 128
    assert sizes[-1] == 8192
    assert (sizes[1:] / sizes[:-1]).max() <= 2.0 + 1e-9


@functools.cache
def nano_plan():
    study = load_study("studies/nano.yaml")
    choices = of_study(study, "model_params")
    rows = pl.DataFrame(
        [
            {"method": m, "model_params": x, "finetune_examples": 2048.0}
            for m, (xs, _) in choices.sizes.items()
            for x in xs
        ]
    )
    prices = costs(rows, tokens_per_example=246)
    target = {"model_params": 3e6, "finetune_examples": 8192.0}
    return study, plan_runs(None, "mini-en-de", Question(target, 1e13), Offer(choices, prices), Terms())


def test_a_study_that_has_not_run_is_planned_from_the_prior():
    _, found = nano_plan()
    assert {run.method for run in found.runs} == {"full", "lora", "prompt"}
    assert all(run.model and run.model.startswith("nano-") for run in found.runs)
    assert any("prior" in note for note in found.notes)


def test_the_study_file_has_the_old_runs_and_exactly_the_planned_ones():
    study, found = nano_plan()
    again = parse_study(extend_study(study, found, "finescale plan"))
    added = again.grids[len(study.grids) :]
    assert again.grids[: len(study.grids)] == study.grids
    stated = {
        (model, method, size, seed)
        for star in added
        for model in star.values
        for method in ("full", "lora", "prompt")
        for size in star.finetune_examples.of(method) or ()
        for seed in star.seeds or ()
    }
    wanted = {
        (run.model, run.method, round(run.sizes["finetune_examples"]), seed)
        for run in found.runs
        for seed in run.seeds
    }
    assert stated == wanted
    assert again.hold_out is None


def test_a_model_without_a_name_cannot_enter_a_study_file():
    study, found = nano_plan()
    nameless = replace(found, runs=tuple(replace(run, model=None) for run in found.runs))
    with pytest.raises(UsageError, match="has no name"):
        extend_study(study, nameless, "")


def test_the_command_writes_a_study_that_run_takes(tmp_path, monkeypatch):
    out = tmp_path / "next.yaml"
    words = ["plan", "studies/nano.yaml", "--target", "model_params=3e6,finetune_examples=8192"]
    words += ["--budget", "1e13", "--tokens-per-example", "246", "--out", str(out)]
    words += ["--json", str(tmp_path / "plan.json")]
    monkeypatch.setenv("FINESCALE_RESULTS", str(tmp_path / "none"))
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    written = json.loads((tmp_path / "plan.json").read_text())
    assert written["cost"] <= 1e13
    dry = CliRunner().invoke(app, ["run", str(out), "--dry-run"], catch_exceptions=False)
    assert dry.exit_code == 0, dry.output
    assert "nano-1m" in dry.output


def test_the_printed_command_continues_the_study_in_the_folder_that_was_named(tmp_path):
    (tmp_path / "study.yaml").write_text(Path("studies/nano.yaml").read_text())
    words = ["plan", str(tmp_path), "--target", "model_params=3e6,finetune_examples=8192", "--budget", "1e13"]
    words += ["--tokens-per-example", "246", "--out", str(tmp_path / "next.yaml")]
    shown = CliRunner().invoke(app, words, catch_exceptions=False)
    command = f"finescale run {tmp_path / 'next.yaml'} --out {tmp_path}"
    assert f"Next: {command} --dry-run" in shown.output
    dry = CliRunner().invoke(app, [*command.split()[1:], "--dry-run"], catch_exceptions=False)
    assert f"All of it is new: {tmp_path} holds no run yet." in dry.output


def test_a_table_cannot_be_written_as_a_study(tmp_path):
    few().write_csv(tmp_path / "runs.csv")
    table, target = Table(str(tmp_path / "runs.csv")), "model_params=1e9,finetune_examples=1e5"
    with pytest.raises(UsageError, match="--out continues a study"):
        plan_command(table, target, "1e17", methods=("lora",), out=tmp_path / "x.yaml")
    assert not (tmp_path / "x.yaml").exists()


def test_a_table_is_planned_from_the_command_line(tmp_path):
    few().write_csv(tmp_path / "runs.csv")
    words = ["plan", str(tmp_path / "runs.csv"), "--target", "model_params=3.2e9,finetune_examples=1e5"]
    shown = CliRunner().invoke(app, [*words, "--budget", "1e17", "--method", "lora"], catch_exceptions=False)
    assert shown.exit_code == 0
    assert "check" in shown.output
    assert "plan again" in shown.output
