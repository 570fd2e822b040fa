"""Moves change no answer: the commands on six tables, and the fingerprints of studies/."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from freeze import REPORTED, TABLES, answers, fingerprints, frozen, report_tables


def differences(old, new, where=""):
    """Where two JSON values differ; numbers to 1e-5 of their size, draws of a bootstrap left out."""
    if where.endswith(("/draws", "/made_with", "/versions")):
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        lost = [f"{where}/{key}: gone" for key in old.keys() - new.keys()]
        both = sorted(old.keys() & new.keys())
        return lost + [line for key in both for line in differences(old[key], new[key], f"{where}/{key}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for i, pair in enumerate(zip(old, new, strict=True))
            for line in differences(*pair, f"{where}/{i}")
        ]
    if _number(old) is not None and _number(new) is not None:
        both = _number(old), _number(new)
        close = math.isclose(*both, rel_tol=1e-5, abs_tol=1e-9) or all(math.isnan(value) for value in both)
        return [] if close else [f"{where}: {old} -> {new}"]
    return [] if old == new else [f"{where}: {old!r} -> {new!r}"]


def _number(value):
    try:
        return float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError):
        return None


@pytest.mark.parametrize("name", TABLES)
def test_the_commands_answer_as_frozen(name):
    assert differences(frozen(name), answers(name)) == []


def sure(tables):
    """The report's tables less what another processor's rounding moves.

    These are intervals of few resamples, and the parameters of fits along whose valley the objective is the
    same to a millionth (both are frozen elsewhere: ``answers`` has well determined ones).
    """
    found = {}
    for name, (header, *rows) in tables.items():
        kept = [at for at, column in enumerate(header) if not column.endswith(("_low", "_high"))]
        found[name] = [
            [_rounded(dict(zip(header, row, strict=True)), header[at]) for at in kept] for row in rows
        ]
    return found


def _rounded(row, column):
    flat = any(word in row.get("status", "") for word in ("flat", "several minima"))
    return "" if flat and column not in {"task", "method", "law", "factor", "objective"} else row[column]


@pytest.mark.parametrize("name", REPORTED)
def test_the_reports_tables_are_as_frozen(name):
    assert differences(sure(frozen("report")[name]), sure(report_tables(name))) == []


def test_the_fingerprints_of_all_studies_are_as_frozen():
    assert fingerprints() == frozen("fingerprints")
