"""Bundles a sample of the ladder's pretraining text that the ladder was not trained on.

Usage: python scripts/pretraining_sample.py build/corpus/pretraining

The ladder's first rows, in its order of documents, were held out from its training (study/pretraining.py).
The sample is those of them from sources under the GPL, version 2 or later, so that it may be bundled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from transformers import AutoTokenizer

from finescale.models.bundled import FOLDER
from finescale.study_file import load_study
from finescale.study_spec import PretrainSpec

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "src" / "finescale" / "data" / "pretraining_sample" / "sample.jsonl"
ORIGINS = ("debian-reference", "mo:wesnoth-1.16-", "mo:freeciv-data", "mo:gramps")
"""Sources whose Debian copyright file says GPL-2+."""


def held_out(text: Path) -> list[dict[str, str]]:
    """The documents that lie wholly in the ladder's held-out part, in its order.

    Args:
        text: Folder with the pretraining text that the ladder was trained on.
    """
    study = load_study(ROOT / "studies" / "nano_ladder.yaml")
    assert isinstance(study, PretrainSpec)
    rows: list[dict[str, str]] = []
    for language in study.languages:
        rows += pl.read_parquet(text / f"{language}.parquet").to_dicts()
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    left = study.held_out_rows * (study.context - 1)
    found = []
    for index in np.random.default_rng([study.seed, 5]).permutation(len(rows)):
        left -= len(tokenizer(rows[index]["text"], add_special_tokens=False)["input_ids"]) + 1
        if left < 0:
            return found
        found.append(rows[index])
    return found


def bundle(text: Path, target: Path) -> int:
    """Writes the sample, one JSON object a line; returns how many documents it has."""
    chosen = [row for row in held_out(text) if row["origin"].startswith(ORIGINS)]
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) for row in chosen]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(chosen)


if __name__ == "__main__":
    print(f"{bundle(Path(sys.argv[1]), TARGET)} documents: {TARGET}")
