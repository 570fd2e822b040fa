"""Puts a finished pretraining study's checkpoints into the package: bf16 weights, one tokenizer, a manifest.

Usage: python scripts/bundle_ladder.py results/nano-ladder, then scripts/pretraining_sample.py
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import polars as pl
import torch
from safetensors.torch import load_file, save_file

DATA = Path(__file__).parent.parent / "src" / "finescale" / "data"
TARGETS = {"nano-ladder": DATA / "ladder", "nano-ladder-zh": DATA / "ladder_zh"}
"""The package's folder of each study's checkpoints."""
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def bundle(study: Path) -> None:
    """Copies every checkpoint in the study's records; the ladder's old checkpoints are replaced.

    Args:
        study: Folder of a finished pretraining study.
    """
    records = pl.read_parquet(study / "records.parquet").filter(pl.col("status") == "done")
    target = TARGETS[records["study"].unique().item()]
    listed = []
    for row in records.sort("model_params", "pretrain_tokens").iter_rows(named=True):
        source = study / "models" / row["model"] / row["revision"]
        folder = target / row["model"] / row["revision"]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("config.json", "generation_config.json"):
            shutil.copy(source / name, folder / name)
        weights = {
            name: tensor.to(torch.bfloat16).contiguous()
            for name, tensor in load_file(source / "model.safetensors").items()
        }
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        listed.append(
            {
                "model": row["model"],
                "revision": row["revision"],
                "pretrain_tokens": row["pretrain_tokens"],
                "held_out_loss": round(row["test_loss"], 5),
                "weights": sha256(folder / "model.safetensors"),
            }
        )
        for name in TOKENIZER_FILES:
            shutil.copy(source / name, target / name)
    manifest = {"tokenizer": sha256(target / "tokenizer.json"), "checkpoints": listed}
    (target / "ladder.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    bundle(Path(sys.argv[1]))
