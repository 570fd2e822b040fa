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
import ladder_rows
import polars as pl
import pytest
import splits
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


def text_folder(folder: Path, texts: dict[str, list[str]]) -> Path:
    folder.mkdir(parents=True)
    for language, rows in texts.items():
        frame = pl.DataFrame(rows_of(language, rows))
        frame.write_parquet(folder / f"{language}.parquet")
    return folder


def test_the_ladder_text_is_found_again_in_its_order(tmp_path, monkeypatch):
    # Few bits, so that some rows share a hash.
    monkeypatch.setattr(ladder_rows, "row_hash", lambda text: splits.digest(text) >> 57)
    everything = {language: [f"{language} {number}" for number in range(40)] for language in ("en", "de")}
    seen = {"en": everything["en"][30:10:-1], "de": ["a row of an older package", *everything["de"][5:20]]}
    text_folder(tmp_path / "build" / "pretraining", everything)
    table = tmp_path / "rows.parquet"
    in_full = ladder_rows.note_rows(text_folder(tmp_path / "seen", seen), tmp_path / "build", table)
    assert 1 < in_full < 36
    sets = {f"pretraining/{language}": rows_of(language, rows) for language, rows in everything.items()}
    assert ladder_rows.keep_ladder_rows(sets, table) == {"pretraining/en": 0, "pretraining/de": 0}
    assert sets == {f"pretraining/{language}": rows_of(language, rows) for language, rows in seen.items()}


def test_ladder_rows_that_are_gone_are_counted(tmp_path):
    everything = {"en": ["one", "two", "three"], "de": ["eins", "zwei"]}
    folder = text_folder(tmp_path / "build" / "pretraining", everything)
    assert ladder_rows.note_rows(folder, tmp_path / "build", tmp_path / "rows.parquet") == 0
    today = {"en": ["three", "one"], "de": everything["de"]}
    sets = {f"pretraining/{language}": rows_of(language, rows) for language, rows in today.items()}
    missing = ladder_rows.keep_ladder_rows(sets, tmp_path / "rows.parquet")
    assert missing == {"pretraining/en": 1, "pretraining/de": 0}
    assert [row["text"] for row in sets["pretraining/en"]] == ["one", "three"]


def test_the_bundled_table_of_ladder_rows_is_readable():
    table = pl.read_parquet(ladder_rows.TABLE)
    assert dict(table["language"].value_counts().iter_rows()) == {"en": 64_040, "de": 80_731}
    assert table["text"].count() < 10


def rows_of(language: str, texts: list[str]) -> list[dict[str, str]]:
    return [{"language": language, "text": text, "origin": "any"} for text in texts]


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
    (tmp_path / "ours/pretraining/en.parquet").write_text("cut off")
    with pytest.raises(UsageError, match=r"ours/pretraining/en.parquet: this is no Parquet file"):
        list(compare.shared_sets(tmp_path / "ours", tmp_path / "theirs"))
    with pytest.raises(UsageError, match="there is nothing to compare with"):
        list(compare.shared_sets(tmp_path, tmp_path / "absent"))


def test_the_scripts_name_their_flags():
    app = build.typer.Typer()
    app.command()(build.main)
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100", "TERM": "dumb"}).output
    flags = set(re.findall(r"--[a-z-]+", told)) - {"--install-completion", "--show-completion"}
    assert flags == {"--all-text", "--help", "--out", "--sources", "--work"}
