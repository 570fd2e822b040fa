"""Bundles a sample of each ladder's pretraining text that the ladder was not trained on, and the loss on it.

Usage: python scripts/pretraining_sample.py build/corpus/pretraining

A ladder's first rows, in its order of documents, were held out from its training (study/pretraining.py).
The sample is those of them from sources under the GPL, version 2 or later, so that it may be bundled.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from transformers import AutoTokenizer

from finescale.evaluation.loss import evaluate, evaluation_batches
from finescale.models.bundled import DATA
from finescale.models.decoder import open_model
from finescale.runs.measure import ROW_TOKENS, causal_rows
from finescale.spec.file import load_study
from finescale.spec.study import PretrainStudy
from finescale.tasks.pretraining import read_sample
from finescale.tuning.full import wrap_full

STUDIES = {"ladder": "nano_ladder.yaml", "ladder_zh": "nano_ladder_zh.yaml"}
"""The study that made each of the package's ladders."""
ORIGINS = ("debian-reference", "mo:wesnoth-1.16-", "mo:freeciv-data", "mo:gramps")
"""Sources whose Debian copyright file says GPL-2+."""


def held_out(study: PretrainStudy, ladder: Path, text: Path) -> list[dict[str, str]]:
    """The documents that lie wholly in a ladder's held-out part, in its order.

    Args:
        study: The study that made the ladder.
        ladder: The ladder's folder, for its tokenizer.
        text: Folder with the pretraining text that the ladder was trained on.
    """
    rows: list[dict[str, str]] = []
    for language in study.languages:
        rows += pl.read_parquet(text / f"{language}.parquet").to_dicts()
    tokenizer = AutoTokenizer.from_pretrained(ladder)
    left = study.held_out_rows * (study.context - 1)
    found = []
    for index in np.random.default_rng([study.seed, 5]).permutation(len(rows)):
        left -= len(tokenizer(rows[index]["text"], add_special_tokens=False)["input_ids"]) + 1
        if left < 0:
            return found
        found.append(rows[index])
    return found


def bundle(ladder: Path, text: Path, sample: Path) -> int:
    """Writes a ladder's sample, one JSON object a line; returns how many documents it has."""
    study = load_study(Path(__file__).parent.parent / "studies" / STUDIES[ladder.name])
    assert isinstance(study, PretrainStudy)
    chosen = [row for row in held_out(study, ladder, text) if row["origin"].startswith(ORIGINS)]
    lines = [json.dumps(row, ensure_ascii=False) for row in chosen]
    sample.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(chosen)


def note_losses(ladder: Path, sample: Path) -> None:
    """Writes the loss of each of a ladder's checkpoints on its sample into the manifest."""
    manifest = json.loads((ladder / "ladder.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(ladder)
    rows = causal_rows(tokenizer, read_sample(sample), ROW_TOKENS, most=1_000)
    for noted in manifest["checkpoints"]:
        model = wrap_full(open_model(ladder / noted["model"] / noted["revision"]))
        noted["sample_loss"] = round(
            evaluate(model, evaluation_batches(rows, tokenizer.pad_token_id)).mean, 5
        )
    (ladder / "ladder.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in STUDIES:
        target = DATA / "pretraining_sample" / f"{name}.jsonl"
        print(f"{bundle(DATA / name, Path(sys.argv[1]), target)} documents: {target}")
        note_losses(DATA / name, target)
