"""Small made-up material in the real formats, for the tests of the corpus build."""

import itertools
import struct
from pathlib import Path

import splits
from texts import Document, Pair, Text


def mo(messages: dict[str, str], charset: str = "utf-8", order: str = "<") -> bytes:
    """Compiles a message catalogue as msgfmt does."""
    messages = {"": f"Content-Type: text/plain; charset={charset}\n", **messages}
    strings = [(key.encode(charset), messages[key].encode(charset)) for key in sorted(messages)]
    head, tables, data = 28, [b"", b""], b""
    start = head + 16 * len(strings)
    for side in (0, 1):
        for pair in strings:
            tables[side] += struct.pack(f"{order}2I", len(pair[side]), start + len(data))
            data += pair[side] + b"\0"
    header = (0x950412DE, 0, len(strings), head, head + 8 * len(strings), 0, start)
    return struct.pack(f"{order}7I", *header) + tables[0] + tables[1] + data


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def classify(text: str) -> str:
    """Stands in for the language identifier: goes by words that only one language has."""
    words = set(text.casefold().split())
    marks = {"de": {"der", "die", "das", "und"}, "fr": {"le", "et"}, "es": {"el", "y"}}
    return next((language for language, own in marks.items() if words & own), "en")


def sample() -> tuple[list[Pair | Document], list[Pair], list[Text]]:
    """Enough made-up material to fill every set; two of the texts repeat a test page's."""
    names = ["".join(letters) for letters in itertools.product("bdfgk", "aeiou", "lmnrs", "aeiou")]
    items: list[Pair | Document] = []
    for number, name in enumerate(names):
        group = f"libreoffice-help:{number}.html"
        english = f"The {name} and another {name[::-1]} open in {name}land together."
        foreign = {
            "de": f"Die {name} und das {name[::-1]} kommen aus {name}land gemeinsam her.",
            "fr": f"Le {name} et une {name[::-1]} viennent ensemble de {name}land.",
            "es": f"El {name} y una {name[::-1]} vienen juntos de {name}land.",
            "zh": f"{name} 和 {name[::-1]} 一起从那个地方来到这里。"
            + "".join(chr(0x4E00 + ord(c)) for c in name * 2),
        }
        items += [
            Pair(language, english, text, "libreoffice-help", group) for language, text in foreign.items()
        ]
        document = "\n".join(
            f"{name}{part} shows {part}th how {name[::-1]}{part} works." for part in "abcdefgh"
        )
        items.append(Document("en", document, f"A page on {name} for readers.", "libreoffice-help", group))
    catalogue = [
        Pair("de", f"Save every {name} of the town.", f"Sichern Sie die {name} der Stadt.", "mo:foo")
        for name in names
    ]
    repeated = next(i for i in items if isinstance(i, Pair) and splits.split_of(i.group) == "test")
    texts = [
        Text("en", repeated.source, "manpages", "man:a"),
        Text("de", repeated.target, "manpages", "man:b"),
    ]
    lines = {
        "en": "A {} is not what the others are.",
        "de": "Das {} ist nicht wie die anderen dort.",
        "fr": "Le {} est tout autre et ne dort jamais.",
        "es": "El {} es otro y no duerme nunca jamás.",
        "zh": "这个地方与其他地方都不同。",
    }
    texts += [
        Text(lang, line.format(name), "manpages", f"man:{name}")
        for name in names
        for lang, line in lines.items()
    ]
    return items, catalogue, texts
