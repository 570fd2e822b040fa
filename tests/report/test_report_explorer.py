"""The page's script computes what Python computes, for every law and operation (in Node, without a page)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finescale.errors import UsageError
from finescale.laws.formulas import LAWS
from finescale.laws.law import Law, Range
from finescale.laws.trace import OPERATIONS, Expression
from finescale.records.values import number, rules
from finescale.report.sections.explorer import script

NODE = shutil.which("node")


def every_operation(X, D, A, alpha, E):
    """A formula with all that the script knows."""
    grown = np.exp(-alpha * np.log(X)) + np.expm1(1 / D) * np.log1p(D) / np.log2(D + 1) - np.tanh(alpha)
    return A * np.maximum(np.abs(grown), 0.1) + np.minimum(np.sqrt(D) ** -alpha, np.log10(X)) + E


def placed(node: Expression) -> Any:
    """The expression with its variables as places of the page."""
    if isinstance(node, tuple):
        return [node[0], *map(placed, node[1:])]
    return {"X": ["size"], "D": ["data"]}.get(node, node) if isinstance(node, str) else node


@pytest.mark.skipif(NODE is None, reason="no Node")
def test_the_script_computes_every_law_as_python_does(tmp_path: Path) -> None:
    ranges = {"alpha": Range(0, 2)}
    odd = Law("every_operation", every_operation, ("X", "D"), ("A", "E"), ranges)
    rng = np.random.default_rng(0)
    cases: list[tuple[Any, dict[str, float], float, float, float]] = []
    for law in (*LAWS.values(), odd):
        if law.expression is None:
            continue
        for _ in range(20):
            places = {"X": 10 ** rng.uniform(5, 10), "D": 10 ** rng.uniform(1, 7)}
            p = {name: float(rng.uniform(0.05, 2)) for name in law.parameters}
            truth = law.function(**{name: places[name] for name in law.variables if name in places}, **p)
            cases.append((placed(law.expression), p, places["X"], places["D"], float(truth)))
    assert all(f'["{name}"' in json.dumps([case[0] for case in cases]) for name in OPERATIONS)
    code = script()
    start, end = code.index("  const OPERATIONS"), code.index("  const SVG")
    run = "for (const [f, p, X, D] of JSON.parse(process.argv[2])) console.log(lossOf(f, p, X)(D));"
    (tmp_path / "laws.js").write_text(code[start:end] + run)
    command = [str(NODE), str(tmp_path / "laws.js"), json.dumps([case[:4] for case in cases])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = np.array(done.stdout.split(), dtype=float)
    assert np.allclose(found, [case[4] for case in cases], rtol=1e-12)


WRITTEN = ("13B", "7e9", "50k", "50,000", "50000", "1.5 M", "1_000", "1'000", "1.000", "1,000", "1.000.000,5")
WRITTEN += (
    "1,000.5",
    "0.25M",
    "36.8%",
    "1,00",
    "1.2.3",
    "-5",
    "+5",
    ".5",
    "5.",
    "1e",
    "many",
    "",
    "1.000k",
    "12,5k",
)
WRITTEN += (
    "2 examples",
    "7B params",
    "1e400",
    "0x10",
    "1,000k",
    "3bn",
    "3qq",
    "1.000 examples",
    "1 000",
    "--1",
)


@pytest.mark.skipif(NODE is None, reason="no Node")
def test_the_script_reads_a_number_as_the_command_line_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = list("0123456789012345678900..,,' _kMBe+-%")
    texts = [*WRITTEN, *("".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(3000))]
    cases = [(text, counts) for text in texts for counts in (True, False)]
    code = script()
    reader = code[: code.index("// The explorer")]
    run = (
        "const [rules, cases] = JSON.parse(require('fs').readFileSync(0)); const read = numberReader(rules);"
    )
    run += "console.log(JSON.stringify(cases.map(([text, counts]) => read(text, counts))));"
    (tmp_path / "numbers.js").write_text(reader + run)
    told = json.dumps([rules(), cases])
    done = subprocess.run(
        [str(NODE), str(tmp_path / "numbers.js")], input=told, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    for (text, counts), made in zip(cases, found, strict=True):
        value, problem = _read(text, counts)
        if value is None or np.isfinite(value):  # what is not finite is refused by either
            assert (made.get("value"), made.get("problem", "")) == (value, problem), (text, counts)
    assert sum("value" in made for made in found) > 500


def _read(text: str, counts: bool) -> tuple[float | None, str]:
    """The command line's number, or its problem."""
    try:
        return number(text, "--examples", whole=counts), ""
    except UsageError as error:
        return None, error.problem
