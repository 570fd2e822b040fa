"""Which pretraining rows the bundled ladder saw, and in which order, so that it can be trained again exactly.

    python scripts/corpus/ladder_rows.py TEXT BUILD    (notes them; once, when a ladder was trained on TEXT)

The packages give more English and German text than the ladder was trained on: it saw a random sample. The
table beside this file names the sample's rows by a hash of their text; a row that the build does not give, or
whose hash another row has too, stands there in full.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from assemble import Row, Sets
from splits import digest

TABLE = Path(__file__).with_name("ladder_rows.parquet")
LANGUAGES = ("en", "de")


def row_hash(text: str) -> int:
    """Hashes a text to 32 bits: enough to tell apart the rows of one language."""
    return digest(text) >> 32


def keep_ladder_rows(sets: Sets, table: Path = TABLE) -> dict[str, int]:
    """Reduces the pretraining text in the ladder's languages to the rows that the ladder saw, in that order.

    Args:
        sets: All sets; changed in place.
        table: The table of rows: ``language``, ``hash``; ``text`` and ``origin`` where a row stands in full.

    Returns:
        How many of the rows were not found, by set.
    """
    missing = {}
    for (language,), part in pl.read_parquet(table).group_by("language", maintain_order=True):
        name = f"pretraining/{language}"
        found = {row_hash(row["text"]): row for row in sets[name]}
        rows: list[Row | None] = []
        for noted in part.iter_rows(named=True):
            if noted["text"] is not None:
                rows.append({column: noted[column] for column in ("language", "text", "origin")})
            else:
                rows.append(found.get(noted["hash"]))
        sets[name] = [row for row in rows if row is not None]
        missing[name] = len(rows) - len(sets[name])
    return missing


def note_rows(text: Path, build: Path, table: Path = TABLE) -> int:
    """Writes the table for a text that a ladder was trained on.

    Args:
        text: The folder with that text, ``en.parquet`` and ``de.parquet``.
        build: A build with all text, to know which rows it gives.
        table: The file to write.

    Returns:
        How many rows are noted in full.
    """
    parts = []
    for language in LANGUAGES:
        rows = pl.read_parquet(text / f"{language}.parquet")
        given = set(pl.read_parquet(build / "pretraining" / f"{language}.parquet")["text"])
        hashes = Counter(map(row_hash, given.union(rows["text"])))
        noted = [(row_hash(row), row in given and hashes[row_hash(row)] == 1) for row in rows["text"]]
        in_full = ~pl.Series([by_hash for _, by_hash in noted])
        parts.append(
            pl.DataFrame(
                {
                    "language": rows["language"],
                    "hash": pl.Series([value for value, _ in noted], dtype=pl.UInt32),
                    "text": rows["text"].zip_with(in_full, pl.Series([None], dtype=pl.String)),
                    "origin": rows["origin"].zip_with(in_full, pl.Series([None], dtype=pl.String)),
                }
            )
        )
    table_rows = pl.concat(parts)
    table_rows.write_parquet(table, compression="zstd", compression_level=19)
    return table_rows["text"].count()


def main(
    text: Annotated[Path, typer.Argument(help="Folder with the text that the ladder was trained on.")],
    build: Annotated[Path, typer.Argument(help="A build made with --all-text.")],
) -> None:
    """Notes the rows that a ladder was trained on."""
    typer.echo(f"{TABLE.name}: {note_rows(text, build)} rows noted in full")


if __name__ == "__main__":
    typer.run(main)
