"""The page's script computes what Python computes, for every law and operation (in Node, without a page)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finescale.laws.formulas import LAWS
from finescale.laws.law import Law, Range
from finescale.laws.trace import OPERATIONS, Expression
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
