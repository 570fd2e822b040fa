"""Languages of texts, by a library's model; nothing is told of texts that are too short."""

from __future__ import annotations

import sys

import pytest

from finescale.start.languages import can_tell_languages, languages
from finescale.tasks.catalog import open_task

pytest.importorskip("py3langid")


def test_the_languages_of_the_bundled_texts_are_told() -> None:
    some = open_task("mini-en-de", 2).train[::20]
    assert languages(example.source for example in some) == "en"
    assert languages(example.target for example in some) == "de"
    mixed = languages([*(e.source for e in some), *(e.target for e in some)])
    assert sorted(part.split()[0] for part in mixed.split(", ")) == ["de", "en"]
    chinese = open_task("mini-en-zh", 2).train[::20]
    assert languages(example.target for example in chinese).startswith("zh")


def test_nothing_is_told_of_short_or_few_texts() -> None:
    assert languages(["positive", "negative"] * 100) == ""
    assert languages(["Click the button to open a new window, and wait until it is there."]) == ""
    assert languages([]) == ""


def test_without_the_extra_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    assert not can_tell_languages()
    assert languages(["Click the button to open a new window, and wait until it is there."] * 9) == ""
