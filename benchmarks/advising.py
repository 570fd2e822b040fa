"""How long advice, the report and its page take: 1,000 simulated runs, 100,000, and the runs in examples/.

advise_seconds            finescale advise examples/nano_full.parquet, process start included (median)
advise_1k_seconds         the same on 1,000 simulated runs
report_1k_seconds         finescale report on 1,000 simulated runs
report_100k_seconds       the same on 100,000
page_interactive_seconds  from the page's load event until its explorer has answered (median)
page_open_seconds         from the navigation's start until then
explorer_move_ms          one step of a slider until the numbers and the curves are there (the slowest of
                          data size, model size and price; median of 40 steps each)
models_seconds            finescale advise on 30 real models, each with a curve of its own, one task
glue_seconds              finescale advise on four methods on three encoders, five seeds, one task
*_user_seconds            processor time of the same, which a busy machine changes less

python benchmarks/advising.py [--large 100000] [--repeat 5] [--shared ../shared] [--no-keep]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from report import publish

LAWS = {"full": (60.0, 0.14, 0.12, 0.9), "lora": (24.0, 0.12, 0.06, 0.9), "prompt": (20.0, 0.12, 0.05, 1.3)}
"""A, alpha, beta, E of the multiplicative law behind each method's runs."""
SIZES, SEEDS, NOISE = 6, 3, 0.005
STEPS = 40
ROOT = Path(__file__).resolve().parents[1]


def simulated(runs: int) -> pl.DataFrame:
    """About so many runs: 3 methods, 6 model sizes, 3 seeds, the rest data sizes."""
    rng = np.random.default_rng(0)
    sizes, data = np.geomspace(1e8, 1e10, SIZES), np.geomspace(1e3, 1e6, max(6, runs // (SIZES * SEEDS * 3)))
    rows = []
    for method, (A, alpha, beta, E) in LAWS.items():
        for size in sizes:
            for examples in np.unique(data.round()):
                loss = A * size**-alpha * examples**-beta + E + NOISE * rng.standard_normal(SEEDS)
                flops = (6 if method == "full" else 4) * size * examples * 100
                row = {"task": "simulated", "method": method, "model_params": size, "train_flops": flops}
                row |= {"finetune_examples": examples, "lr_tuned": True, "wall_seconds": flops / 1e14}
                rows += [row | {"seed": seed, "test_loss": float(loss[seed])} for seed in range(SEEDS)]
    return pl.DataFrame(rows)


def seconds(*arguments: str | Path) -> float:
    """Wall time of one command, compiled before as an installed package is."""
    code = "from finescale.cli import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def user_seconds(*arguments: str | Path) -> float:
    """Processor time of one command, outside the system."""
    before = os.times().children_user
    seconds(*arguments)
    return os.times().children_user - before


def middle(repeat: int, *arguments: str | Path) -> float:
    """Median wall time of one command."""
    return float(np.median([seconds(*arguments) for _ in range(repeat)]))


MOVE = """
async (steps) => {
  const inputs = [...document.querySelectorAll(".explorer input")], slowest = [];
  for (const input of inputs) {
    const times = [];
    for (let k = 1; k <= steps; k++) {
      input.value = Math.round((k * input.max) / (steps + 1));
      const start = performance.now();
      input.dispatchEvent(new Event("input"));
      document.body.getBoundingClientRect();  // the layout that the change asks for
      times.push(performance.now() - start);
      await new Promise(requestAnimationFrame);
    }
    slowest.push(times.sort((a, b) => a - b)[steps >> 1]);
  }
  return Math.max(...slowest);
}
"""
READY = """
() => new Promise((done) => {
  const look = () => {
    const shown = [...document.querySelectorAll(".explorer")].every((one) => one.querySelector(".plot svg"));
    if (shown) requestAnimationFrame(() => done(performance.now())); else requestAnimationFrame(look);
  };
  look();
})
"""
"""Milliseconds since the navigation's start at which every explorer has answered and was painted."""


def browsed(page: Path, repeat: int) -> dict[str, float | None]:
    """How fast the page is in a browser; None where there is none."""
    names = ("page_open_seconds", "page_interactive_seconds", "explorer_move_ms")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or find_spec("playwright") is None:
        print("advising: no playwright or no Chromium, so the page is not timed", file=sys.stderr)
        return dict.fromkeys(names)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an optional package

    opened, after, moves = [], [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(repeat):
            tab: Any = browser.new_page(viewport={"width": 1200, "height": 900})
            tab.goto(page.as_uri(), wait_until="commit")
            ready = tab.evaluate(READY)
            tab.wait_for_load_state("load")
            loaded = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
            opened.append(ready / 1e3)
            after.append(max(0.0, ready - loaded) / 1e3)
            moves.append(tab.evaluate(MOVE, STEPS))
            tab.close()
        browser.close()
    return dict(zip(names, (float(np.median(found)) for found in (opened, after, moves)), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", type=int, default=100_000, help="runs of the large table; 0: none")
    parser.add_argument("--repeat", type=int, default=5, help="times that all but reports are taken")
    parser.add_argument("--shared", default=os.environ.get("FINESCALE_SHARED", "../shared"))
    parser.add_argument("--no-keep", dest="keep", action="store_false", help="do not write the results")
    options = parser.parse_args()
    figures: dict[str, float | None] = {}
    example = ROOT / "examples" / "nano_full.parquet"
    figures["advise_seconds"] = middle(options.repeat, "advise", example, "--examples", "50000")
    figures["advise_user_seconds"] = user_seconds("advise", example, "--examples", "50000")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for words, runs in (("1k", 1000), ("100k", options.large)):
            if not runs:
                continue
            table, out = folder / f"{words}.parquet", folder / words
            frame = simulated(runs)
            frame.write_parquet(table)
            figures[f"runs_{words}"] = frame.height
            if words == "1k":
                figures["advise_1k_seconds"] = middle(options.repeat, "advise", table)
                figures["report_1k_user_seconds"] = user_seconds("report", table, "--out", folder / "user")
            figures[f"report_{words}_seconds"] = seconds("report", table, "--out", out)
            figures[f"page_{words}_megabytes"] = (out / "index.html").stat().st_size / 1e6
        seconds("report", example, "--out", folder / "nano")
        figures |= browsed(folder / "nano" / "index.html", options.repeat)
    for name, table, task in (("models", "full_tuning_30_models", "flan"), ("glue", "methods_glue", "sst2")):
        path = Path(options.shared) / "runs" / f"{table}.csv"
        if path.exists():
            figures[f"{name}_seconds"] = seconds("advise", path, "--task", task)
            figures[f"{name}_user_seconds"] = user_seconds("advise", path, "--task", task)
        else:
            print(f"advising: no {path}, so no {name}_seconds", file=sys.stderr)
    publish("advising", figures, packages=("playwright", "vl-convert-python"), keep=options.keep)


if __name__ == "__main__":
    main()
