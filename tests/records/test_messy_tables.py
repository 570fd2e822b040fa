"""A table written as people write tables comes to the clean table's runs, or the command says why not."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finescale.errors import UsageError
from finescale.records.records import Records, read_records

KEYS = ["method", "model_params", "finetune_examples", "seed"]
METHODS = {
    "full": ["full", "Full FT", "FFT", "full_finetune", "Full fine-tuning", " full "],
    "lora": ["lora", "LoRA", "Lora", "LORA "],
    "prompt": ["prompt", "Prompt Tuning", "prompt_tuning"],
}
NAMES = {
    "method": ["method", "Method", "finetuning_type", "config.method"],
    "model_params": ["model_params", "Model Params", "Model Size", "config.num_params"],
    "finetune_examples": ["finetune_examples", "# Samples", "train_samples", "config/num_train_samples"],
    "seed": ["seed", "Seed", "random_seed", "params.seed"],
    "test_loss": ["test_loss", "Test Loss", "eval/loss", "eval_loss", "summary.eval_loss"],
}
UNREADABLE = ["nan", "NaN", "", "-", "null", "inf", "n/a"]


def clean_table(losses: list[float]) -> pl.DataFrame:
    rows = [
        {"method": method, "model_params": size, "finetune_examples": data, "seed": seed}
        for method in METHODS
        for size in (125_000_000, 7_000_000_000)
        for data in (1_000, 24_000, 1_500_000)
        for seed in (0, 1)
    ]
    return pl.DataFrame(rows).with_columns(test_loss=pl.Series(losses[: len(rows)], dtype=pl.Float64))


def ways(value: int) -> list[str]:
    """The ways to write a whole number that are its own."""
    found = [str(value), f"{value:,}", f"{value:.3e}", f"{value / 1e3:g}k", f"{value}.0"]
    found += [f"{value / 1e6:g}M", f"{value / 1e9:g}B"] if value >= 100_000_000 else []
    return found


losses = st.lists(st.floats(0.5, 5.0).map(lambda v: round(v, 4)), min_size=36, max_size=36)


@st.composite
def messy(draw: Any) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    """A clean table, the same written by somebody, and what separates its cells."""
    clean = clean_table(draw(losses))
    lost = draw(st.dictionaries(st.integers(0, 35), st.sampled_from(UNREADABLE), max_size=4))
    failed = draw(
        st.dictionaries(st.integers(0, 35), st.sampled_from(["crashed", "PRUNED", "KILLED"]), max_size=4)
    )
    rows: list[dict[str, str]] = []
    for at, row in enumerate(clean.iter_rows(named=True)):
        cells = {
            "method": draw(st.sampled_from(METHODS[row["method"]])),
            "model_params": draw(st.sampled_from(ways(row["model_params"]))),
            "finetune_examples": draw(st.sampled_from(ways(row["finetune_examples"]))),
            "seed": str(row["seed"]),
            "test_loss": lost.get(at, f"{row['test_loss']:.4f}"),
        }
        rows.append(cells | ({"State": failed.get(at, "finished")} if failed else {}))
    names = {ours: draw(st.sampled_from(theirs)) for ours, theirs in NAMES.items()}
    written = pl.DataFrame(rows).rename(names)
    order = draw(st.permutations(written.columns))
    kept = clean.with_row_index("at").filter(~pl.col("at").is_in([*lost, *failed])).drop("at")
    return kept, written.select(order), draw(st.sampled_from([",", ";", "\t", "|"]))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=messy())
def test_a_messy_table_comes_to_the_clean_table_s_runs(
    table: tuple[pl.DataFrame, pl.DataFrame, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    clean, written, separator = table
    path = tmp_path_factory.getbasetemp() / "messy.csv"
    written.write_csv(path, separator=separator)
    records = read_records(path)
    assert _rows(records) == _rows(read_records(clean))
    assert sum(records.left_out.values()) == written.height - clean.height


def _rows(records: Records) -> list[tuple[Any, ...]]:
    return records.frame.select(*KEYS, "test_loss").sort(KEYS).rows()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    values=st.lists(st.integers(1, 999_999), min_size=2, max_size=8, unique=True),
    style=st.sampled_from(["{:,}", "eu", "{:.3f}", "{}"]),
    losses_with_commas=st.booleans(),
)
def test_thousands_and_decimals_are_read_right_or_asked_about(
    values: list[int], style: str, losses_with_commas: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cells = [f"{v:,}".replace(",", ".") if style == "eu" else style.format(v) for v in values]
    loss = "1,5172" if losses_with_commas else "1.5172"
    rows = [f"{cell};{loss}" for cell in cells]
    path = tmp_path_factory.getbasetemp() / "thousands.csv"
    path.write_text("\n".join(["finetune_examples;test_loss", *rows]) + "\n")
    try:
        records = read_records(path)
    except UsageError as error:
        assert "two ways" in str(error)  # noqa: PT017
        assert "--decimal finetune_examples=" in str(error)  # noqa: PT017
        return
    read = records.frame["finetune_examples"].to_list()
    # 1.000 beside 1,5172 is a thousand, and said
    if style == "{:.3f}" and losses_with_commas and read != values:
        assert read == [1000.0 * v for v in values]
        assert any("dots group thousands" in note for note in records.notes)
    else:
        assert read == [float(v) for v in values]
    assert set(records.frame["test_loss"]) == {1.5172}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rates=st.lists(st.sampled_from([1e-5, 3e-5, 1e-4, 3e-4, 1e-3]), min_size=1, max_size=4, unique=True),
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
    seeds=st.integers(1, 3),
    noise=st.lists(st.floats(0, 0.4), min_size=96, max_size=96),
    names=st.tuples(
        st.sampled_from(["learning_rate", "lr", "config.learning_rate", "params.lr"]),
        st.sampled_from(["step", "global_step", "train/global_step", "epoch"]),
        st.booleans(),
    ),
    shuffled=st.randoms(use_true_random=False),
)
def test_sweeps_and_steps_come_to_the_best_candidate_s_last_row(
    rates: list[float], steps: list[int], seeds: int, noise: list[float], names: Any, shuffled: Any
) -> None:
    rate_name, step_name, has_seed = names
    rows = []
    for index, (method, data, rate, seed, step) in enumerate(
        (m, d, r, s, t)
        for m in ("full", "lora") for d in (100, 1000) for r in rates for s in range(seeds) for t in steps
    ):  # fmt: skip
        rows.append(
            {"method": method, "finetune_examples": data, rate_name: rate, "seed": seed, step_name: step,
             "test_loss": 1 + noise[index % 96] + index / 1e4}
        )  # fmt: skip
    raw = pl.DataFrame(rows)
    last = raw.filter(pl.col(step_name) == max(steps))
    by = ["method", "finetune_examples"]
    means = last.group_by(*by, rate_name).agg(pl.col("test_loss").mean())
    best = means.sort("test_loss").group_by(by).first().sort(by)["test_loss"].to_list()
    order = list(range(raw.height))
    shuffled.shuffle(order)
    given_rows = raw[order] if has_seed else raw.drop("seed")
    records = read_records(given_rows)
    found = records.frame.group_by(by).agg(pl.col("test_loss").mean()).sort(by)["test_loss"].to_list()
    assert found == pytest.approx(best)
    assert any("sweep" in note for note in records.notes) == (len(rates) > 1)
    assert any("counts;" in note for note in records.notes) == (len(steps) > 1)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    spike=st.floats(0.5, 10),
    size=st.integers(0, 8),
    noise=st.lists(st.floats(-1, 1), min_size=27, max_size=27),
)
def test_only_a_run_far_from_its_siblings_is_named(spike: float, size: int, noise: list[float]) -> None:
    rows = [
        {
            "finetune_examples": 100 * 2**at,
            "seed": seed,
            "test_loss": 2 + 1 / (1 + at) + 0.002 * noise[3 * at + seed],
        }
        for at in range(9)
        for seed in range(3)
    ]
    frame = pl.DataFrame(rows)
    assert not any("siblings" in note for note in read_records(frame).notes)
    row = 3 * size + 1
    spiked = frame.with_columns(
        pl.when(pl.int_range(pl.len()) == row)
        .then(pl.col("test_loss") + spike)
        .otherwise("test_loss")
        .alias("test_loss")
    )
    named = [note for note in read_records(spiked).notes if "siblings are" in note]
    assert len(named) == 1
    assert named[0].startswith(f"Row {row + 1} ")
