"""What the corpus build keeps, and in which split."""

import sys
from collections import Counter

import filters
import pytest
import splits
from corpus_samples import classify
from texts import Document, Pair, Text

from finescale.errors import UsageError
from finescale.tasks import corpus


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("Open the file now.", "Öffnen Sie die Datei jetzt.", None),
        ("Open file.", "Die Datei öffnen.", "length"),
        ("Use the option here now.", "Die Option.", "length ratio"),
        ("Open the file {0} now.", "Öffnen Sie die Datei {0} jetzt.", "markup"),
        ("Open the file now and wait for it.", "Open the file now and please wait.", "language"),
        ("Title is: Open the file now", "Titel ist: Öffnen Sie die Datei", "page title"),
    ],
)
def test_unusable_pairs_are_left_out_for_a_reason(source, target, reason):
    dropped: Counter[str] = Counter()
    kept = list(filters.keep_pairs([Pair("de", source, target, "any")], classify, dropped))
    assert (bool(kept), list(dropped)) == (reason is None, [reason] if reason else [])


def test_of_near_duplicates_the_first_pair_stays():
    pairs = [
        Pair("de", "Set the width to 10 cm.", "Setzen Sie die Breite auf 10 cm.", "first"),
        Pair("de", "set the width to 25 cm", "Die Breite sei gleich 25 cm.", "second"),
        Pair("zh", "Set the width to 10 cm.", "将宽度设置为十厘米。", "other language"),
    ]
    dropped: Counter[str] = Counter()
    assert [pair.origin for pair in filters.keep_pairs(pairs, classify, dropped)] == [
        "first",
        "other language",
    ]
    assert dropped == {"duplicate": 1}


def test_documents_with_a_copied_summary_are_left_out():
    body = "This page shows how to open and close the files of a folder. " * 40
    documents = [
        Document("en", body, "It is about files and their handling.", "any", "a"),
        Document("en", "Another " + body, "how to open and close the files", "any", "b"),
        Document("en", "Too short.", "It says nothing at all.", "any", "c"),
    ]
    dropped: Counter[str] = Counter()
    kept = list(filters.keep_documents(documents, classify, dropped))
    assert [(item.group, len(item.document)) for item in kept] == [("a", 2000)]
    assert dropped == {"copied summary": 1, "length": 1}


def test_texts_are_kept_by_length_language_and_newness():
    texts = [
        Text("en", "The files of this folder are listed below.", "any"),
        Text("en", "the files of this folder are listed below", "any"),
        Text("en", "Too short", "any"),
        Text("en", "Die Dateien und das Verzeichnis stehen hier.", "any"),
        Text("zh", "此文件夹中的文件如下。", "any"),
        Text("zh", "abc 文件 abc", "any"),
    ]
    dropped: Counter[str] = Counter()
    assert [text.language for text in filters.keep_texts(texts, classify, dropped)] == ["en", "zh"]
    assert dropped == {"duplicate": 1, "length": 1, "language": 2}


def test_clean_normalises_and_drops_invisible_characters():
    assert filters.clean(" Ko\u0308\u00adnnen\u00a0\tSie \ufeff\nlesen ") == "Können Sie \nlesen"


def test_template_ignores_case_punctuation_numbers_and_names():
    assert filters.template("Set fileName to 3.") == filters.template('set OTHER to "17"') == "set # to #"


def test_the_language_identifier_tells_the_corpus_languages_apart():
    pytest.importorskip("py3langid", reason="pip install -r scripts/corpus/requirements.txt")
    identify = filters.load_classifier()
    assert identify("Wählen Sie die Datei aus, die Sie öffnen möchten.") == "de"
    assert identify("Choisissez le fichier que vous souhaitez ouvrir.") == "fr"
    assert identify("Elija el archivo que desea abrir en esta ventana.") == "es"
    assert identify("Choose the file that you would like to open.") == "en"


def test_a_missing_identifier_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(UsageError, match=r"remedy: pip install -r scripts/corpus/requirements.txt"):
        filters.load_classifier()


def test_splits_are_the_same_in_every_process():
    groups = [f"libreoffice-help:{number}.html" for number in range(20_000)]
    counts = Counter(map(splits.split_of, groups))
    assert counts == {"train": 19_124, "test": 581, "dev": 295}
    assert splits.digest("libreoffice-help:main.html") == 118_081_325_082_325_707


def test_ngrams_are_of_words_or_chinese_characters():
    assert splits.ngrams("One two three, four five six!") == {
        "one two three four five",
        "two three four five six",
    }
    assert splits.ngrams("Too short") == {"too short"}
    assert splits.ngrams("将宽度设置为十厘米。") == {"将 宽 度 设 置 为 十 厘", "宽 度 设 置 为 十 厘 米"}


def test_held_out_texts_are_found_whole_and_in_large_part():
    held_out = splits.HeldOut(
        ["The quick brown fox jumps over the lazy dog.\nA second paragraph of the document."]
    )
    assert held_out.repeats("the quick brown fox jumps over the lazy dog")
    assert held_out.repeats("A quick brown fox jumps over the lazy dog")
    assert not held_out.repeats("It is known that the quick brown fox jumps over many a fence and a wall.")
    assert not held_out.repeats("Something else is written here, and nothing of it is above.")


def test_bundled_training_texts_repeat_no_held_out_text():
    train: set[str] = set()
    held_out: set[str] = set()
    for name in corpus.names():
        for split in corpus.splits(name):
            frame = corpus.load(name, split)
            for field in {"source", "target", "document", "summary"} & set(frame.columns):
                (train if split == "train" else held_out).update(frame[field])
    assert not list(filter(splits.HeldOut(held_out).repeats, train))
