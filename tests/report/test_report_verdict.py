"""One verdict: the page and ``finescale advise`` say the same about the same table."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic import base_only, study_frame
from typer.testing import CliRunner

from finescale.cli import app


def without_seeds() -> pl.DataFrame:
    """Two methods that differ by little, one run a setting."""
    rng = np.random.default_rng(0)
    sizes = [100, 300, 1000, 3000]
    return pl.DataFrame(
        [
            {"method": method, "finetune_examples": size, "test_loss": level + 3 * size**-0.3 + noise}
            for method, level in (("full", 1.0), ("lora", 1.02))
            for size, noise in zip(sizes, rng.normal(0, 0.01, 4), strict=True)
        ]
    )


@pytest.mark.parametrize("seeds", [True, False])
def test_page_and_command_name_the_same_leader_loss_and_probability(seeds: bool, tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    (base_only(study_frame()) if seeds else without_seeds()).write_csv(table)
    draws = ["--bootstrap", "200"]
    told = CliRunner().invoke(app, ["advise", str(table), *draws, "--json", "-"])
    assert told.exit_code == 0, told.output
    advice = json.loads(told.stdout)["advice"][0]
    made = CliRunner().invoke(app, ["report", str(table), *draws, "--out", str(tmp_path / "page")])
    assert made.exit_code == 0, made.output
    page = html.unescape((tmp_path / "page" / "index.html").read_text(encoding="utf-8"))
    assert f"<strong>By the forecast: </strong>{advice['sentence']}" in page
    assert any(f"{option['loss']:.3f}" in advice["sentence"] for option in advice["options"])
