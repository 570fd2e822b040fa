from __future__ import annotations

import pytest

from finescale.errors import UsageError, printable


@pytest.mark.parametrize(
    "unsafe", ["\x1b[2J", "\x9b31m", "\x07", "\r", "\x00", "\x7f", "\u202e", "\u2066", "\ud800"]
)
def test_what_moves_a_cursor_or_turns_text_around_is_replaced(unsafe: str) -> None:
    shown = printable(f"a{unsafe}b")
    assert shown == f"a\ufffd{unsafe[1:]}b"
    shown.encode()


def test_text_of_every_language_stays() -> None:
    text = "line\n\tTab 翻译 naïve \u200f\u05d0\u200d\u200c\u0645 \xa0\U0001f469\u200d\U0001f467"
    assert printable(text) == text


def test_an_error_message_never_carries_control_characters() -> None:
    error = UsageError("no \x1b]0;owned\x07 model", got="\x1b[31m", where="\u202eelif.yaml")
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)
    assert "\u202e" not in str(error)
