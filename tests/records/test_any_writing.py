"""One table, written in any of the ways that people and their tools write tables: the same runs."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import finescale as fs
from finescale.errors import UsageError

KEYS = ["method", "model_params", "finetune_examples", "seed"]
CLEAN = [
    {"method": method, "model_params": size, "finetune_examples": data, "seed": seed}
    for method in ("full", "lora")
    for size in (125_000_000, 7_000_000_000)
    for data in (1_000, 24_000, 1_500_000)
    for seed in (0, 1)
]
METHODS = {"full": ("full", "Full FT", "full_finetune", "FFT "), "lora": ("lora", "LoRA", "Lora ")}
NAMES = {
    "method": ("method", "Method", "config.method", "peft.method", "Tuning Method"),
    "model_params": (
        "model_params",
        "Model Params",
        "Model Size",
        "config.model.num_params",
        "params.num_params",
    ),
    "finetune_examples": ("finetune_examples", "# Samples", "config.data.train_samples", "N train samples"),
    "seed": ("seed", "Seed", "random_seed", "config.trainer.seed", "params_seed"),
    "lr": ("learning_rate", "lr", "config.optim.lr", "params.learning_rate", "Peak LR"),
    "step": ("step", "global_step", "train/global_step", "_step", "epoch"),
    "loss": ("test_loss", "Test Loss", "eval/loss", "summary.eval_loss", "Validation Loss"),
    "accuracy": ("accuracy", "eval/accuracy", "Test Accuracy", "metrics.eval_accuracy"),
}
LABELS = {
    "Name": lambda at, row: f"{row['method']}-{row['model_params']}-{row['finetune_examples']}-{row['seed']}",
    "host": lambda at, row: f"node{row['seed']}",
    "slot": lambda at, row: "ab"[row["seed"]],
    "Created": lambda at, row: f"2026-01-{at % 28 + 1:02d}T10:11:12.000Z",
    "Notes": lambda at, row: 'first line\nsecond, "quoted"; with | marks' if at % 3 else "",
    "Tags": lambda at, row: "v2, good",
    "_runtime": lambda at, row: f"{100 + at * 1.37:.3f}",
}
"""Columns that say nothing about a run: one value a run, one for each seed, dates, texts, what it took."""


def european(text: str) -> str:
    return text.translate(str.maketrans(",.", ".,"))


WAYS = {
    "plain": str,
    "american": lambda v: f"{v:,}",
    "european": lambda v: european(f"{v:,}"),
    "suffix": lambda v: f"{v / 1e9:g}B" if v >= 1e9 else f"{v / 1e6:g}M" if v >= 1e6 else f"{v / 1e3:g}k",
    "science": lambda v: f"{v:.3e}",
    "blanks": lambda v: f"{v:,}".replace(",", " "),
    "float": lambda v: f"{v}.0",
}


@st.composite
def written(draw: Any) -> dict[str, Any]:
    """Rows as somebody writes them, and what they must come to."""
    outcome = draw(st.sampled_from(["loss", "accuracy", "percent", "hundred"]))
    rng = random.Random(draw(st.integers(0, 2**32)))
    numbers = rng.sample(range(6_000, 9_500), len(CLEAN))
    way = draw(st.sampled_from(list(WAYS)))
    sure = draw(st.sampled_from(["", "", " ± 0.02", " (0.01)", "+/-0.3"]))
    steps, swept, failed = draw(st.sampled_from([1, 1, 3])), draw(st.booleans()), draw(st.booleans())
    labels = draw(st.sets(st.sampled_from(sorted(LABELS)), max_size=3))
    lost = draw(st.dictionaries(st.integers(0, 23), st.sampled_from(["", "nan", "-", "null"]), max_size=3))
    name = "loss" if outcome == "loss" else "accuracy"
    names = {key: draw(st.sampled_from(NAMES[key])) for key in (*KEYS, "lr", "step", name)}
    if way == "european":
        names["step"] = "step"
    scale = {"loss": 1e-4, "accuracy": 1e-4, "percent": 1e-2, "hundred": 1e-2}[outcome]
    worse = 0.3 if outcome == "loss" else -0.3

    def cell(value: float) -> str:
        text = f"{value * (100 if scale > 1e-3 else 1):.{2 if scale > 1e-3 else 4}f}"
        text = european(text) if way == "european" else text
        return (
            text
            + (sure if not european or way != "european" else european(sure))
            + ("%" * (outcome == "percent"))
        )

    rows, expected = [], []
    for at, (row, number) in enumerate(zip(CLEAN, numbers, strict=True)):
        value = number * 1e-4
        if at not in lost:
            expected.append((*(row[key] for key in KEYS), pytest.approx(number * scale, abs=1e-9)))
        for rate in (1e-4, 3e-4) if swept else (1e-4,):
            for step in range(1, steps + 1):
                off = worse * (rate > 2e-4) + 0.02 * (steps - step) * (1 if at % 2 else -1)
                made = {names[key]: WAYS[way](row[key]) for key in KEYS[1:3]}
                made |= {names["method"]: rng.choice(METHODS[row["method"]])}
                made |= {names["seed"]: str(row["seed"])}
                made |= {names["lr"]: f"{rate:.0e}"} if swept else {}
                made |= {names["step"]: str(step)} if steps > 1 else {}
                made |= {label: LABELS[label](at, row) for label in labels if not (swept and label == "Name")}
                made |= {"State": "finished"} if failed else {}
                made[names[name]] = lost[at] if at in lost and step == steps else cell(value + off)
                if at in lost:
                    made[names[name]] = lost[at]
                rows.append(made)
                if failed and at % 5 == 0 and step == steps:
                    rows.append(made | {"State": "crashed", names[name]: cell(0.123)})
    order = rng.sample(range(len(rows)), len(rows))
    columns = rng.sample(list(rows[0]), len(rows[0]))
    kind = draw(
        st.sampled_from(["csv", "tsv", "semicolon", "jsonl", "json", "parquet", "gzip", "excel", "frame"])
    )
    table = pl.DataFrame([{key: rows[at][key] for key in columns} for at in order])
    asked = {"score": names["accuracy"]} if name == "accuracy" else {}
    return {"table": table, "expected": sorted(expected, key=lambda one: one[:4]), "asked": asked,
            "kind": kind, "sure": bool(sure), "swept": swept, "steps": steps > 1}  # fmt: skip


def typed(column: pl.Series) -> pl.Series:
    """A column of numbers as numbers, as spreadsheets and data frames keep them; others are texts."""
    numbers = column.cast(pl.Float64, strict=False)
    return column if numbers.null_count() else numbers


def saved(table: pl.DataFrame, kind: str, folder: Path) -> Any:
    path = folder / f"runs.{kind}"
    if kind == "frame":
        return table
    if kind in ("parquet", "excel"):
        table = table.with_columns(map(typed, table.get_columns()))
    if kind == "parquet":
        table.write_parquet(path)
    elif kind == "excel":
        path = path.with_suffix(".xlsx")
        table.write_excel(path, autofit=False)
    elif kind in ("json", "jsonl"):
        rows = table.to_dicts()
        path.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)))
    else:
        separator = {"csv": ",", "tsv": "\t", "semicolon": ";", "gzip": ","}[kind]
        text = table.write_csv(separator=separator).encode()
        path.write_bytes(gzip.compress(text) if kind == "gzip" else text)
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=written())
def test_however_a_table_is_written_it_comes_to_the_same_runs(
    case: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = saved(case["table"], case["kind"], tmp_path_factory.getbasetemp())
    records = fs.read_records(source, **case["asked"])
    found = records.frame.select(*KEYS, records.loss).sort(KEYS).rows()
    assert found == case["expected"]
    assert not records.reading.doubts
    assert any("say how sure they are" in note for note in records.notes) == case["sure"]
    assert any("a sweep" in note for note in records.notes) == case["swept"]
    assert any("several rows, one at each" in note for note in records.notes) == case["steps"]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(again=st.sets(st.integers(0, 23), min_size=1, max_size=4), styles=st.sampled_from(["many", "one"]))
def test_rows_that_are_there_twice_are_said_whatever_they_change(again: set[int], styles: str) -> None:
    rows = [row | {"test_loss": 2 - 0.01 * at} for at, row in enumerate(CLEAN)]
    records = fs.read_records(pl.DataFrame(rows + [rows[at] for at in again]))
    assert records.left_out == {
        "the same seed and numbers as another row (one run, listed twice)": len(again)
    }
    assert records.frame.height == len(rows)
    no_seeds = [{name: value for name, value in row.items() if name != "seed"} for row in rows]
    records = fs.read_records(pl.DataFrame(no_seeds + [no_seeds[at] for at in again]))
    assert any(f"{len(again)} rows repeat another row exactly" in note for note in records.notes)
    named = [row | {"run": f"r{at}"} for at, row in enumerate(rows)]
    with pytest.raises(UsageError, match="is there twice"):
        fs.read_records(pl.DataFrame(named + [named[at] for at in again]))
