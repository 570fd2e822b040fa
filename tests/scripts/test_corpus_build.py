"""The corpus build from readers to files, on made-up material."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import assemble
import build
import compare
import polars as pl
import pytest
from corpus_samples import classify, sample
from texts import Pair
from typer.testing import CliRunner

from finescale.errors import DataError, UsageError

SCRIPTS = Path(__file__).parents[2] / "scripts" / "corpus"


def assembled() -> tuple[assemble.Sets, assemble.Dropped]:
    return assemble.assemble(*sample(), classify, lambda _: None)


def test_tasks_are_of_libreoffice_and_pretraining_text_of_the_rest():
    sets, dropped = assembled()
    assert len(sets) == 15
    assert all(sets.values())
    for name, rows in sets.items():
        assert {row["origin"].startswith("libreoffice") for row in rows} == {name.startswith("tasks/")}
    assert dropped["pretraining"]["held out"] == 2
    assert {row["origin"] for row in sets["pretraining/de"]} == {"manpages", "mo:foo"}


def test_held_out_rows_leave_the_training_sets():
    rows = [
        {"source": f"{word} one two three four", "target": word, "origin": "a"} for word in ("alpha", "beta")
    ]
    sets = {f"{task}/{split}": [] for task in assemble._TASKS for split in ("train", "dev", "test")}
    sets["tasks/parallel_en_de/train"] = [
        *rows,
        {"source": "Un texte en français.", "target": "c", "origin": "a"},
    ]
    sets["tasks/parallel_en_zh/dev"] = [rows[0]]
    sets["tasks/zero_shot_to_de/test"] = [{"source": "un texte en français", "target": "x", "origin": "a"}]
    dropped = {task: Counter() for task in assemble._TASKS}
    assemble.remove_held_out(sets, dropped)
    assert sets["tasks/parallel_en_de/train"] == [rows[1]]
    assert dropped["tasks/parallel_en_de"] == {"held out": 2}


def test_zero_shot_pairs_go_through_the_english_of_the_test_set():
    test = [{"source": "Good day to you.", "target": "Guten Tag.", "origin": "a"}]
    pairs = [
        Pair("fr", "Good day to you.", "Bonjour à vous.", "help"),
        Pair("fr", "Good day to you.", "Bonjour encore.", "help"),
        Pair("es", "Good night to you.", "Buenas noches.", "help"),
        Pair("de", "Good day to you.", "Guten Tag.", "help"),
    ]
    assert list(assemble.zero_shot(pairs, test)) == [
        {"source_language": "fr", "source": "Bonjour à vous.", "target": "Guten Tag.", "origin": "help"}
    ]


def test_the_build_is_the_same_in_every_process():
    code = (
        f"import sys; sys.path[:0] = [{str(SCRIPTS)!r}, {str(Path(__file__).parent)!r}]\n"
        "import splits, test_corpus_build\n"
        "print(splits.digest(repr(test_corpus_build.assembled())))"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(prints) == 1


def test_rows_are_shuffled_whatever_order_they_came_in():
    rows = [{"text": f"row {number}"} for number in range(50)]
    assert assemble.shuffled(rows) == assemble.shuffled(rows[::-1]) != rows


def test_the_build_writes_sets_counts_and_versions(tmp_path):
    sets, dropped = assembled()
    build.write(tmp_path, sets, dropped, {"foo": "1.0"})
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert counts.keys() == sets.keys()
    for name, rows in sets.items():
        assert pl.read_parquet(tmp_path / f"{name}.parquet").rows(named=True) == rows
        assert counts[name]["rows"] == len(rows)
    told = json.loads((tmp_path / "build.json").read_text())
    assert told["versions"] == {"foo": "1.0"}
    assert told["dropped"]["pretraining"]["held out"] == 2


def test_an_empty_set_is_told_and_nothing_is_written(tmp_path):
    with pytest.raises(DataError, match="nothing was kept of tasks/parallel_en_de/train"):
        build.write(tmp_path / "out", {"tasks/parallel_en_de/train": []}, {}, {})
    assert not (tmp_path / "out").exists()


def test_two_builds_are_compared_set_by_set(tmp_path):
    def build_of(name: str, texts: list[str]) -> None:
        path = tmp_path / name / "pretraining" / "en.parquet"
        path.parent.mkdir(parents=True)
        pl.DataFrame({"text": texts, "origin": [name] * len(texts)}).write_parquet(path)

    build_of("ours", ["c", "a", "b"])
    build_of("theirs", ["a", "b", "d", "e"])
    (_, ours, theirs), *others = compare.shared_sets(tmp_path / "ours", tmp_path / "theirs")
    assert not others
    assert (ours & theirs).total() == 2
    with pytest.raises(UsageError, match="there is nothing to compare with"):
        list(compare.shared_sets(tmp_path, tmp_path / "absent"))


def test_the_scripts_name_their_flags():
    app = build.typer.Typer()
    app.command()(build.main)
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERM": "dumb"}).output
    assert sorted(set(re.findall(r"--[a-z]+", told)) - {"--install", "--show"}) == [
        "--help",
        "--out",
        "--sources",
        "--work",
    ]
