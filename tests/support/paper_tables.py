"""Simulated records around the paper's Table 4, on its grids (Table 1). The tables are read, never copied."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

MODEL_PARAMS = (1e9, 2e9, 4e9, 8e9, 16e9)
PRETRAIN_TOKENS = {
    "wmt14-en-de": (84e9, 126e9, 167e9, 209e9, 283e9),
    "wmt19-en-zh": (84e9, 105e9, 126e9, 147e9, 167e9, 206e9),
    "mlsum": (84e9, 126e9, 167e9, 209e9, 283e9),
}
PET_SIZE = {"prompt": (50, 100, 150, 200, 300, 400, 600), "lora": (4, 8, 16, 32, 48, 64, 128)}
_PET_EXAMPLES = (8e3, 1e4, 2e4, 3e4, 4e4, 5e4, 6e4, 7e4, 8e4, 9e4, 1e5)
_FULL_EXAMPLES = {
    "wmt14-en-de": (1e5, 5e5, 1e6, 1.5e6, 2e6, 2.5e6, 3e6, 3.5e6, 4e6, 4.5e6),
    "wmt19-en-zh": (1e6, 2e6, 3e6, 4e6, 5e6, 1e7, 1.5e7, 2e7, 2.5e7),
    "mlsum": (1e5, 2e5, 3e5, 4e5, 5e5, 6e5, 7e5, 8e5, 9e5),
}


def shared_folder() -> Path | None:
    """The folder with the paper's and other tables, or None."""
    default = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("FINESCALE_SHARED", default))
    return folder if folder.is_dir() else None


def shared_file(name: str) -> Path:
    """A file of the shared folder; the test is skipped where it is absent."""
    folder = shared_folder()
    if folder is None or not (folder / name).exists():
        pytest.skip(f"needs {name} from the shared tables (FINESCALE_SHARED)")
    return folder / name


def table(name: str) -> list[dict[str, str]]:
    """Rows of one of the paper's tables."""
    with shared_file(f"paper/{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def examples(task: str, method: str) -> tuple[float, ...]:
    """The paper's finetuning data sizes."""
    return _FULL_EXAMPLES[task] if method == "full" else _PET_EXAMPLES


def simulate(
    law: dict[str, float],
    task: str,
    method: str,
    *,
    noise: float = 0.005,
    seed_effect: float = 0.0,
    seeds: int = 3,
    rng: np.random.Generator | None = None,
    factors: tuple[str, ...] = ("model_params",),
) -> pl.DataFrame:
    """Runs on the paper's stars; the largest model and the largest data size are marked as held out.

    Args:
        law: ``A_model, alpha_model, A_pretrain, alpha_pretrain, A_pet, alpha_pet, beta, E``.
        task: Task.
        method: Method.
        noise: Standard deviation of a run, nats.
        seed_effect: Standard deviation of the effect that all runs of a seed share.
        seeds: Runs a setting.
        rng: Random numbers.
        factors: Which stars.
    """
    rng = rng or np.random.default_rng(0)
    effects = rng.normal(0, seed_effect, size=seeds) if seed_effect else np.zeros(seeds)
    base = {"model_params": 1e9, "pretrain_tokens": PRETRAIN_TOKENS[task][-1]}
    if method != "full":
        base["pet_size"] = {"prompt": 100, "lora": 4}[method]
    short = {"model_params": "model", "pretrain_tokens": "pretrain", "pet_size": "pet"}
    values = {"model_params": MODEL_PARAMS, "pretrain_tokens": PRETRAIN_TOKENS[task]}
    values["pet_size"] = PET_SIZE.get(method, ())
    rows = []
    for factor in factors:
        for x in values[factor]:
            for d in examples(task, method):
                mean = (
                    law[f"A_{short[factor]}"] * x ** -law[f"alpha_{short[factor]}"] * d ** -law["beta"]
                    + law["E"]
                )
                for seed in range(seeds):
                    loss = mean + effects[seed] + rng.normal(0, noise)
                    held = d == examples(task, method)[-1] or (factor == "model_params" and x == 16e9)
                    row = {
                        "task": task,
                        "method": method,
                        **base,
                        factor: x,
                        "finetune_examples": d,
                        "seed": seed,
                    }
                    rows.append({**row, "test_loss": loss, "held_out": held})
    return pl.DataFrame(rows)


def table4() -> dict[tuple[str, str], dict[str, float]]:
    """Table 4 by task and method."""
    return {
        (row["task"], row["method"]): {
            name: float(value) for name, value in row.items() if name not in ("task", "method") and value
        }
        for row in table("table4")
    }
