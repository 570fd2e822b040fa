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


@pytest.mark.parametrize("name", REPORTED)
def test_the_reports_tables_are_as_frozen(name):
    assert differences(frozen("report")[name], report_tables(name)) == []


def test_the_fingerprints_of_all_studies_are_as_frozen():
    assert fingerprints() == frozen("fingerprints")
