"""A score through the loss beside it: where the loss tells more, and where it tells nothing."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from typer.testing import CliRunner

import finescale as fs
from finescale import cli
from finescale.errors import UsageError
from finescale.records.beside import find_outcomes, loss_beside
from finescale.records.outcomes import named_score
from finescale.report.decisions import decide

SIZES = 100 * 2.0 ** np.arange(7)
METHODS = {"full": (3.0, 0.25), "lora": (2.4, 0.21), "prompt": (1.9, 0.16)}
"""Amplitude and exponent of each method's loss."""


def loss_of(method: str, size: np.ndarray | float) -> np.ndarray | float:
    A, beta = METHODS[method]
    return A * (size / 100) ** -beta + 0.5


def accuracy_of(loss: np.ndarray | float) -> np.ndarray | float:
    """At chance until the loss is low enough, then steeply up to 0.95: a sigmoid of the loss."""
    return 0.25 + 0.7 * expit((1.75 - loss) / 0.12)


def emerging(seed: int = 0, sizes: np.ndarray = SIZES) -> pl.DataFrame:
    """Losses fall smoothly; the accuracy jumps where they pass 1.75 nats, at another size for each method."""
    rng = np.random.default_rng(seed)
    rows = []
    for method in METHODS:
        for size in sizes:
            for repeat in range(3):
                loss = loss_of(method, size) * np.exp(0.004 * rng.standard_normal())
                p = np.clip(accuracy_of(loss) + 0.006 * rng.standard_normal(), 0.01, 0.99)
                row = {"task": "t", "method": method, "finetune_examples": size, "seed": repeat}
                rows.append(row | {"accuracy": p, "error_rate": 1 - p, "test_loss": loss})
    return pl.DataFrame(rows)


def told(runs: pl.DataFrame, via: str, size: np.ndarray) -> dict[str, fs.Predicted]:
    found = fs.forecast(fs.read_records(runs, score="accuracy"), via=via, draws=50)
    return {group.by["method"]: group.predict(finetune_examples=size) for group in found}


@pytest.mark.parametrize("seed", range(2))
def test_a_jump_that_the_loss_foretells_is_forecast_through_the_loss(seed: int) -> None:
    small = pl.col("finetune_examples") <= SIZES[4]
    runs = emerging(seed).filter((pl.col("method") != "full") | small)  # at chance as far as it was run
    found = fs.forecast(fs.read_records(runs, score="accuracy"), draws=50)
    (way,) = found.ways
    assert way.startswith("Accuracy of t is forecast through the test loss: hidden runs are missed by")
    assert way in found.notes
    assert {member.name for member in found[0].members} == {
        "through test loss", "through test loss, each its own curve",
    }  # fmt: skip
    assert sum(member.weight for member in found[0].members) == pytest.approx(1)
    far = SIZES[5:]
    truth = accuracy_of(loss_of("full", far))
    auto = told(runs, "auto", far)["full"]
    alone = told(runs.filter(pl.col("method") == "full"), "direct", far)["full"]
    assert np.abs(auto.value - truth).mean() < 0.08 < 0.3 * np.abs(alone.value - truth).mean()
    assert np.all((auto.low <= truth) & (truth <= auto.high))


def test_a_loss_that_tells_nothing_is_not_gone_through() -> None:
    rng = np.random.default_rng(3)
    runs = emerging().with_columns(
        accuracy=pl.Series(expit(-1 + 0.35 * np.log2(emerging()["finetune_examples"] / 100))),
        test_loss=pl.Series(np.exp(0.3 * rng.standard_normal(emerging().height))),
    )
    found = fs.forecast(fs.read_records(runs, score="accuracy"), draws=50)
    assert "is forecast directly: hidden runs are missed by" in found.ways[0]
    assert any(member.name == "line" for member in found[0].members)
    through = fs.forecast(fs.read_records(runs, score="accuracy"), via="loss", draws=50)
    assert through.ways == ()
    assert all(member.name.startswith("through") for member in through[0].members)


def test_accuracy_and_error_rate_go_the_same_way_to_the_same_numbers() -> None:
    runs, size = emerging(1), 3 * SIZES[-1]
    by_error = fs.forecast(fs.read_records(runs, loss="error_rate"), draws=50)
    by_score = fs.forecast(fs.read_records(runs, score="accuracy"), draws=50)
    for one, other in zip(by_score, by_error, strict=True):
        a, b = one.predict(finetune_examples=size), other.predict(finetune_examples=size)
        assert [a.value, a.low, a.high] == pytest.approx([1 - b.value, 1 - b.high, 1 - b.low], abs=1e-9)


def test_of_a_model_that_was_not_run_the_score_goes_through_the_loss_of_model_and_data() -> None:
    rng = np.random.default_rng(5)
    rows = []
    for size in 1e8 * 3.0 ** np.arange(5):
        for data in SIZES:
            for repeat in range(2):
                loss = 40 * size**-0.12 * data**-0.12 + 0.4
                p = 0.02 + 0.93 * expit((1.75 - loss) / 0.09)
                loss, p = loss * np.exp(0.003 * rng.standard_normal()), p + 0.004 * rng.standard_normal()
                rows.append({"method": "lora", "model_params": size, "finetune_examples": data,
                             "seed": repeat, "exact_match": np.clip(p, 0, 1), "eval_loss": loss})  # fmt: skip
    runs = pl.DataFrame(rows)
    known = runs.filter(pl.col("model_params") < runs["model_params"].max())
    found = fs.forecast(fs.read_records(known, score="exact_match"), draws=50)
    assert any(" across the model size through the eval loss" in way for way in found.ways)
    size, data = float(runs["model_params"].max()), float(SIZES[3])  # pyright: ignore[reportArgumentType]
    truth = 0.02 + 0.93 * expit((1.75 - (40 * size**-0.12 * data**-0.12 + 0.4)) / 0.09)
    one = found[0].predict(model_params=size, finetune_examples=data)
    assert one.low <= truth <= one.high
    assert {member.name for member in one.members} == {
        "through eval loss", "through eval loss, each its own curve",
    }  # fmt: skip


def test_through_the_loss_nothing_leaves_the_bounds() -> None:
    for seed in range(8):
        rng = np.random.default_rng((11, seed))
        scale = float(rng.choice([1.0, 100.0]))
        sizes = np.unique(np.ceil(10 ** rng.uniform(1, 5, rng.integers(1, 8))))
        rows = [
            {"method": method, "finetune_examples": size, "seed": repeat,
             "accuracy": scale * float(rng.beta(*rng.uniform(0.2, 6, 2))),
             "test_loss": float(np.exp(rng.normal(0, rng.choice([1e-4, 0.1, 2.0]))))}
            for method in ("full", "lora") for size in sizes for repeat in range(2)
        ]  # fmt: skip
        records = fs.read_records(pl.DataFrame(rows), score="accuracy", bounds=(0, scale))
        for one in fs.forecast(records, via="loss", draws=20).predict(
            finetune_examples=np.geomspace(1, 1e9, 15)
        ):
            ends = np.stack([one.run_low, one.low, one.value, one.high, one.run_high])
            assert np.isfinite(ends).all()
            assert np.all(np.diff(ends, axis=0) >= 0)
            assert 0 <= ends.min() <= ends.max() <= scale


def test_a_score_without_bounds_goes_along_a_line() -> None:
    runs = emerging(2).with_columns(reward=3 - 2 * pl.col("test_loss").log()).drop("accuracy", "error_rate")
    found = fs.forecast(fs.read_records(runs, score="reward"), via="loss", draws=50)
    for group in found:
        method = group.by["method"]
        truth = 3 - 2 * np.log(loss_of(method, 2 * SIZES[-1]))
        assert group.predict(finetune_examples=2 * SIZES[-1]).value == pytest.approx(truth, abs=0.05)


def test_advice_and_the_page_go_the_way_that_is_asked_for() -> None:
    runs = emerging(0)
    records = fs.read_records(runs, score="accuracy")
    auto, loss, direct = (
        fs.recommend(records, examples=12800, via=via, bootstrap=100) for via in ("auto", "loss", "direct")
    )
    assert [o.loss for o in auto.options] == [o.loss for o in loss.options]
    assert auto.options[0].loss != direct.options[0].loss
    assert any("is forecast through the test loss" in note for note in auto.notes)
    assert not any("is forecast" in note for note in (*loss.notes, *direct.notes))
    page = decide(records, "t", via="direct", bootstrap=100, seed=0)
    assert not isinstance(page, str)
    assert all(not name.startswith("through") for name in (m.name for m in page.found.members[0].law.members))  # type: ignore[union-attr]


def test_ways_that_there_are_not_are_refused() -> None:
    runs = emerging()
    with pytest.raises(UsageError, match=r"--via loss: what is forecast is a loss"):
        fs.forecast(fs.read_records(runs), via="loss")
    with pytest.raises(UsageError, match=r"no loss stands beside every accuracy") as error:
        fs.forecast(fs.read_records(runs.drop("test_loss"), score="accuracy"), via="loss")
    assert "--via direct" in error.value.remedy
    with pytest.raises(UsageError, match=r"auto or direct or loss"):
        fs.forecast(fs.read_records(runs, score="accuracy"), via="indirect")
    with pytest.raises(UsageError, match=r"--via loss belongs to a forecast"):
        fs.recommend(fs.read_records(runs, score="accuracy"), law="auto", via="loss", bootstrap=0)
    assert fs.forecast(fs.read_records(runs), draws=10).ways == ()


def test_which_loss_stands_beside_a_score() -> None:
    runs = emerging().with_columns(pl.lit(1.0).alias("train_loss"), pl.lit(1.0).alias("train/loss"))
    score = named_score("accuracy")
    assert score is not None
    assert [one.column for one in find_outcomes(runs)] == ["test_loss", "accuracy", "error_rate"]
    assert getattr(loss_beside(runs, score), "column", None) == "test_loss"
    assert loss_beside(runs.drop("test_loss"), score) is None
    holes = runs.with_columns(
        test_loss=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("test_loss")
    )
    assert loss_beside(holes, score) is None
    assert loss_beside(runs.with_columns(test_loss=pl.col("test_loss") - 2), score) is None
    models = pl.Series("model", ["gpt2", "t5-small", "opt-125m"] * (runs.height // 3))
    assert loss_beside(runs.with_columns(models), score) is None  # losses per token of three tokenizers


def test_every_command_takes_the_way_and_says_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("via") / "runs.csv"
    emerging().write_csv(path)
    run = CliRunner()

    def asked(*words: str) -> dict[str, object]:
        done = run.invoke(cli.app, [words[0], str(path), "--score", "accuracy", *words[1:], "--json", "-"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    at = ["--at", "finetune_examples=12800", "--bootstrap", "50"]
    auto, through, direct = (asked("predict", *at, "--via", via) for via in ("auto", "loss", "direct"))
    assert auto["predictions"] == through["predictions"] != direct["predictions"]
    assert any("through the test loss" in note for note in auto["notes"])  # type: ignore[attr-defined]
    advice = asked("advise", "--via", "direct", "--bootstrap", "50")["advice"][0]  # type: ignore[index]
    assert not any("through the test loss" in note for note in advice["notes"])
    compared = asked("compare", "--backtest", "--laws", "power")
    assert any("through the test loss: hidden runs" in note for note in compared["notes"])  # type: ignore[attr-defined]
    refused = run.invoke(cli.app, ["predict", str(path), *at, "--via", "loss", "--law", "power"])
    assert "belongs to a forecast" in str(refused.exception)
