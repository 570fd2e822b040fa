"""Takes a study's tables into examples/: records, scores, and the dev curves of all runs.

    python scripts/example_tables.py results/smollm2 examples/smollm2_135m.parquet

writes `smollm2_135m.parquet`, `smollm2_135m_scores.parquet` where the study has scores, and
`smollm2_135m_curves.parquet`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from finescale.study.export import export_tables, records_frame, write_table
from finescale.study.ledger import Ledger

SETTING = (
    "run", "purpose", "status", "task", "model", "method", "pet_size", "finetune_examples", "seed",
    "optimizer", "learning_rate", "batch_size", "steps", "test_loss",
)  # fmt: skip


def curves(study: Path, records: pl.DataFrame) -> pl.DataFrame:
    """The dev curves of a study's runs.

    Args:
        study: The study's folder.
        records: Its records.

    Returns:
        A row an evaluation: the run's setting and `test_loss`, `step` and `dev_loss` (nats per target token).
    """
    rows = [row for record in records.iter_rows(named=True) for row in _curve(study, record)]
    kept = {name: records.schema[name] for name in SETTING}
    return pl.DataFrame(rows, schema={**kept, "step": pl.Int64, "dev_loss": pl.Float64})


def _curve(study: Path, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    file = study / "runs" / record["run"] / "curve.json"
    if file.is_file():  # an untuned model has none
        for step, loss in json.loads(file.read_text(encoding="utf-8"))["dev_loss"]:
            yield {**{name: record[name] for name in SETTING}, "step": step, "dev_loss": loss}


def main(study: Path, target: Path) -> None:
    """Writes the tables.

    Args:
        study: The study's folder.
        target: Where the records go; the other files are beside it.
    """
    with Ledger(study / "ledger.sqlite", create=False, on_copy=True) as ledger:
        written = export_tables(ledger, target)
        records = records_frame(ledger)
    found = curves(study, records)
    if found.height:
        beside = target.with_stem(f"{target.stem}_curves")
        write_table(found, beside)
        written.append((found.height, "evaluations", beside))
    for count, what, path in written:
        print(f"{path}: {count} {what}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {Path(sys.argv[0]).name} STUDY_FOLDER TABLE.parquet")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
