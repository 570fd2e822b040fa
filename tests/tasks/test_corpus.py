import re
import subprocess
import sys
from importlib.resources import files

import polars as pl
import pytest

from finescale.errors import UsageError
from finescale.tasks import corpus

ROWS = {
    ("parallel_en_de", "train"): 26_022,
    ("parallel_en_de", "dev"): 607,
    ("parallel_en_de", "test"): 696,
    ("parallel_en_zh", "train"): 20_059,
    ("parallel_en_zh", "dev"): 448,
    ("parallel_en_zh", "test"): 549,
    ("summarization", "train"): 5_432,
    ("summarization", "dev"): 94,
    ("summarization", "test"): 184,
    ("zero_shot_to_de", "test"): 1_133,
}
COLUMNS = {
    "parallel_en_de": ["source", "target", "origin"],
    "parallel_en_zh": ["source", "target", "origin"],
    "summarization": ["language", "document", "summary", "origin"],
    "zero_shot_to_de": ["source_language", "source", "target", "origin"],
}
TASKS = ("parallel_en_de", "parallel_en_zh", "summarization")


def texts(frame: pl.DataFrame) -> list[str]:
    fields = [name for name in ("source", "target", "document", "summary") if name in frame.columns]
    return [text for field in fields for text in frame[field]]


def held_out_texts() -> list[str]:
    names = [(name, split) for name in corpus.names() for split in corpus.splits(name) if split != "train"]
    return [text for name, split in names for text in texts(corpus.load(name, split))]


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def ngrams(text: str) -> set[tuple[str, ...]]:
    """5-grams of words; 8-grams of characters where a text is Chinese. Not the build's own definition."""
    characters = re.findall(r"[\u3400-\u9fff]", text)
    units, size = (characters, 8) if len(characters) > 8 else (plain(text).split(), 5)
    return {tuple(units[i : i + size]) for i in range(max(1, len(units) - size + 1))}


def test_every_split_has_its_documented_rows_and_columns():
    assert {(name, split) for name in corpus.names() for split in corpus.splits(name)} == set(ROWS)
    for (name, split), rows in ROWS.items():
        frame = corpus.load(name, split)
        assert (frame.height, frame.columns) == (rows, COLUMNS[name])
        assert set(frame.schema.values()) == {pl.String}
        assert all((frame[column].str.len_chars() > 0).all() for column in frame.columns)


def test_no_row_comes_twice():
    for name, split in ROWS:
        frame = corpus.load(name, split).drop("origin")
        assert frame.is_duplicated().sum() == 0, (name, split)


def test_languages_are_the_documented_ones():
    assert set(corpus.load("summarization", "train")["language"]) == {"de", "en", "es", "fr"}
    counts = dict(corpus.load("zero_shot_to_de", "test")["source_language"].value_counts().iter_rows())
    assert counts == {"fr": 573, "es": 560}


def test_zero_shot_targets_are_those_of_the_german_test_set():
    targets = set(corpus.load("parallel_en_de", "test")["target"])
    assert set(corpus.load("zero_shot_to_de", "test")["target"]) <= targets


def test_no_training_text_equals_a_held_out_text():
    held_out = {plain(text) for text in held_out_texts()}
    for name in TASKS:
        assert not [text for text in texts(corpus.load(name, "train")) if plain(text) in held_out]


def test_no_dev_text_equals_a_test_text():
    test = {plain(text) for name in TASKS for text in texts(corpus.load(name, "test"))}
    for name in TASKS:
        assert not [text for text in texts(corpus.load(name, "dev")) if plain(text) in test]


def test_training_texts_share_few_5_grams_with_held_out_texts():
    held_out = {ngram for text in held_out_texts() for part in text.split("\n") for ngram in ngrams(part)}
    for name in TASKS:
        train = texts(corpus.load(name, "train"))
        mostly_shared = [text for text in train if len((own := ngrams(text)) & held_out) > len(own) / 2]
        # By the build's own n-grams, which ignore numbers and names of options, it is none (tests/scripts).
        assert len(mostly_shared) <= len(train) / 3000, mostly_shared


def test_licence_and_attribution_are_bundled():
    assert corpus.licence().startswith("Mozilla Public License Version 2.0")
    readme = corpus.readme()
    for words in ("The Document Foundation and contributors", "libreoffice-help-", "libreoffice-l10n-"):
        assert words in readme
    for rows in ROWS.values():
        assert f"{rows:,}" in readme


def test_all_data_is_of_libreoffice_and_at_most_5_megabytes():
    for name, split in ROWS:
        assert all(
            re.match("(mo:)?libreoffice", origin) for origin in corpus.load(name, split)["origin"].unique()
        )
    folder = files("finescale").joinpath("data", "corpus")
    size = sum(len(folder.joinpath(name, f"{split}.parquet").read_bytes()) for name, split in ROWS)
    assert size < 5_000_000


def test_an_unknown_set_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError) as error:
        corpus.load("paralel_en_de", "train")
    assert str(error.value) == (
        "there is no bundled set called 'paralel_en_de'\n"
        "  wanted: one of parallel_en_de, parallel_en_zh, summarization, zero_shot_to_de\n"
        "  got: 'paralel_en_de'\n"
        "  remedy: did you mean 'parallel_en_de'?"
    )


def test_a_missing_split_is_refused():
    with pytest.raises(
        UsageError, match="there is no split of zero_shot_to_de called 'train'\n  wanted: one of test"
    ):
        corpus.load("zero_shot_to_de", "train")


def test_opening_the_corpus_loads_no_torch():
    code = "import sys; from finescale.tasks import corpus; corpus.names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
