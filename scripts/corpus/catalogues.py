"""Message catalogues (GNU gettext's .mo files): interface texts in English with their translation."""

import html
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from texts import Pair, squeeze

# The folders of a language's catalogues; programs do not agree on a name for simplified Chinese.
_FOLDERS = {"de": ("de",), "zh": ("zh_CN", "zh_Hans", "zh-cn")}
_FORMAT_STRING = re.compile(r"%[-\d.]*[a-zA-Z(]|\{\w*\}|\$\w|%\d|<\?|\\n")


def read_catalogues(texts: Path) -> Iterator[Pair]:
    """Reads the German and Chinese catalogues of every package.

    Args:
        texts: The folder with the unpacked packages; a package's folder name gives the origin ``mo:NAME``.

    Yields:
        The messages without plural forms and format strings, accelerator keys and markup removed.
    """
    for language, folders in _FOLDERS.items():
        for folder in folders:
            for path in sorted(texts.glob(f"*/**/{folder}/LC_MESSAGES/*.mo")):
                origin = f"mo:{path.relative_to(texts).parts[0]}"
                for source, target in read_mo(path.read_bytes()):
                    if not _FORMAT_STRING.search(source):
                        yield Pair(language, clean_message(source), clean_message(target), origin)


def read_mo(data: bytes) -> Iterator[tuple[str, str]]:
    """Reads a compiled catalogue; its format is in the gettext manual, "The Format of GNU MO Files".

    Args:
        data: The file.

    Yields:
        Message and translation, without contexts. Left out are messages with plural forms and texts that are
        not in the catalogue's own encoding.

    Raises:
        ValueError: If the file is not a catalogue.
    """
    order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}.get(data[:4])
    if order is None:
        raise ValueError("not a message catalogue: it starts with " + data[:4].hex())
    count, messages_at, translations_at = struct.unpack_from(f"{order}3I", data, 8)

    def text_at(table: int, index: int) -> bytes:
        length, start = struct.unpack_from(f"{order}2I", data, table + 8 * index)
        return data[start : start + length]

    charset = "utf-8"
    for index in range(count):
        message, translation = text_at(messages_at, index), text_at(translations_at, index)
        if not message:  # the header; messages are sorted, so it comes first
            named = re.search(rb"charset=([\w-]+)", translation)
            charset = named[1].decode("ascii") if named else charset
        elif b"\0" not in message:
            try:
                yield message.decode(charset).rpartition("\x04")[2], translation.decode(charset)
            except UnicodeDecodeError:
                continue


def clean_message(text: str) -> str:
    """Takes markup and accelerator keys out of an interface text: ``&Save <b>all</b>`` is ``Save all``."""
    text = html.unescape(re.sub(r"<[^>]{0,200}>", " ", text))
    text = re.sub(r"&(?=\w)", "", text)
    return squeeze(re.sub(r"\([&_]?[A-Z]\)", "", text).replace("~", ""))
