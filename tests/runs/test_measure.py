from __future__ import annotations

import json

import pytest

from finescale.errors import UsageError
from finescale.runs.finetune import execute
from finescale.spec.expand import PlannedRun, expand, sweep_runs, untuned_runs
from finescale.spec.file import parse_study
from finescale.spec.run import EvaluationSpec
from finescale.study.resolve import resolver

STUDY = """\
kind: finetune
name: measured
task: mini-en-de
test_examples: 40
base: {model: nano-0.05m, pet_size: {lora: 2}}
grids:
  - {vary: model, values: [nano-0.05m], finetune_examples: {full: [32], lora: [32]}}
learning_rates: {full: [0.001, 0.002], lora: 0.01}
sweep: {model: nano-0.05m, finetune_examples: 16}
train: {optimizer: adamw, epochs: 1, evaluations: 1, dev_examples: 16}
"""
WHOLE = """\
evaluation:
  metrics: [chrf, exact_match]
  examples: 6
  max_new_tokens: 8
  shots: [1, 0]
  zero_shot: true
  forgetting: {rows: 2}
"""


def runs(more: str = "") -> dict[str, PlannedRun]:
    study = parse_study(STUDY + more, "s.yaml")
    resolve = resolver(study)
    swept = sweep_runs(study, resolve)
    choices = {method: tried[0][0] for method, tried in swept.items()}
    found = {"sweep": swept["full"][0][1], "none": untuned_runs(study, resolve)[0]}
    return found | {item.run.method.name: item for item in expand(study, choices, resolve)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    planned = runs(WHOLE)
    return folder, {name: execute(planned[name], folder / name) for name in ("none", "full", "lora")}


def test_what_is_asked_for_is_measured_of_every_run_and_of_the_untuned_model(whole) -> None:
    for record in whole[1].values():
        kinds = {(row["dataset"], row["split"], row["shots"], row["metric"]) for row in record["scores"]}
        sets = ("zero-shot-to-de/es", "zero-shot-to-de/fr", "zero-shot-to-de")
        generated = {("libreoffice", "test", shots) for shots in (0, 1)}
        generated |= {(name, "zero_shot", 0) for name in sets}
        wanted = {(*key, metric) for key in generated for metric in ("chrf", "exact_match")}
        wanted |= {("libreoffice", "test", 0, "loss")} | {(name, "zero_shot", 0, "loss") for name in sets}
        assert kinds == wanted
        assert record["pretrain_loss_before"] == whole[1]["none"]["pretrain_loss_before"]


def test_scores_have_intervals_and_averages_are_means_over_languages(whole) -> None:
    record = whole[1]["full"]
    by_set = {(row["dataset"], row["metric"]): row for row in record["scores"] if row["shots"] == 0}
    for row in record["scores"]:
        assert row["low"] <= row["value"] <= row["high"]
        assert (row["signature"] is not None) == (row["metric"] == "chrf")
    parts = [by_set[f"zero-shot-to-de/{language}", "loss"] for language in ("es", "fr")]
    mean = by_set["zero-shot-to-de", "loss"]
    assert mean["value"] == pytest.approx(sum(part["value"] for part in parts) / 2)
    assert mean["examples"] == sum(part["examples"] for part in parts) == 12
    assert by_set["libreoffice", "loss"]["value"] == pytest.approx(record["test_loss"])
    assert by_set["libreoffice", "loss"]["examples"] == 40


def test_finetuning_moves_the_loss_on_pretraining_text_and_the_untuned_model_has_none_after(whole) -> None:
    _, records = whole
    assert "pretrain_loss_after" not in records["none"]
    for name in ("full", "lora"):
        assert records[name]["pretrain_loss_after"] != records[name]["pretrain_loss_before"]
        assert 3.5 < records[name]["pretrain_loss_after"] < 6.0


def test_generated_texts_are_kept_with_sources_and_references(whole) -> None:
    folder, _ = whole
    files = {file.name for file in (folder / "full" / "decoded").iterdir()}
    sets = ("zero-shot-to-de-es-0", "zero-shot-to-de-fr-0", "libreoffice-0", "libreoffice-1")
    assert files == {f"{name}.jsonl" for name in sets}
    lines = (folder / "full" / "decoded" / "libreoffice-1.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 6
    assert set(rows[0]) == {"dataset", "shots", "source", "reference", "output"}
    assert all("\n" not in row["output"] for row in rows)


def test_the_time_of_each_part_is_in_the_record_and_beside_the_run(whole) -> None:
    folder, records = whole
    parts = ("test", "generation", "few_shot", "zero_shot", "forgetting")
    seconds = json.loads((folder / "full" / "curve.json").read_text())["seconds"]
    for part in parts:
        assert records["full"][f"{part}_seconds"] == seconds[part] > 0
    assert sum(seconds.values()) < records["full"]["wall_seconds"]


def test_measuring_more_does_not_move_the_losses(whole, tmp_path) -> None:
    plain = execute(runs()["full"], tmp_path)
    assert (plain["dev_loss"], plain["test_loss"]) == (
        whole[1]["full"]["dev_loss"],
        whole[1]["full"]["test_loss"],
    )
    assert "pretrain_loss_before" not in plain
    assert not (tmp_path / "decoded").exists()


def test_a_sweep_is_not_measured_and_keeps_its_runs() -> None:
    assert runs(WHOLE)["sweep"].run.evaluation == EvaluationSpec()
    assert runs(WHOLE)["sweep"].run.fingerprint() == runs()["sweep"].run.fingerprint()


@pytest.mark.parametrize(
    "more",
    [
        "metrics: [chrf]",
        "metrics: [chrf, bleu]",
        "{metrics: [chrf], examples: 50}",
        "{metrics: [chrf], shots: [0, 1]}",
        "{zero_shot: true}",
        "{forgetting: true}",
        "{forgetting: {rows: 3}}",
    ],
)
def test_what_is_measured_names_the_run(more: str) -> None:
    block = f"evaluation: {more}\n" if more.startswith("{") else f"evaluation:\n  {more}\n"
    names = {runs(text)["full"].run.fingerprint() for text in ("", block)}
    assert len(names) == 2


def test_an_evaluation_that_is_the_default_names_nothing() -> None:
    stated = "evaluation: {metrics: [], shots: [0], forgetting: false}\n"
    assert runs(stated)["full"].run.fingerprint() == runs()["full"].run.fingerprint()


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("{metrics: [blue]}", ["s.yaml, line 11, evaluation.metrics[0]", "'bleu'", "got: 'blue'"]),
        ("{metrics: [chrf, chrf]}", ["evaluation.metrics", "each value once"]),
        ("{shots: [1]}", ["evaluation.shots", "evaluation.metrics, e.g. [chrf]"]),
        ("{metrics: [chrf], shots: [-1]}", ["evaluation.shots[0]", "got: -1"]),
        ("{metrics: [chrf], examples: 0}", ["evaluation.examples", "got: 0"]),
        ("{checkpoints: {comet: there}}", ["evaluation.checkpoints", "evaluation.metrics"]),
        ("{forgetting: {row: 3}}", ["evaluation.forgetting.row", "did you mean 'rows'?"]),
    ],
)
def test_wrong_fields_are_refused_with_their_line(block: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_study(f"{STUDY}evaluation: {block}\n", "s.yaml")
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("task", "block", "words"),
    [
        (
            "mini-en-zh",
            "{zero_shot: true}",
            r"evaluation.zero_shot: .*'mini-en-zh' has no zero-shot",
        ),
        ("mini-en-de", "{metrics: [comet]}", r"evaluation.metrics: comet needs a package"),
        ("mini-en-de", "{forgetting: {text: gone.txt}}", r"evaluation.forgetting.text: no such file"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(task: str, block: str, words: str) -> None:
    study = parse_study(f"{STUDY}evaluation: {block}\n".replace("mini-en-de", task), "s.yaml")
    with pytest.raises(UsageError, match=words):
        resolver(study)
