"""The bundled mini corpus: real text that needs no network (see ``data/corpus/README.md``)."""

import difflib
from importlib.resources import as_file, files

import polars as pl

from finescale.errors import UsageError

# In the order of the documentation; a set's splits in the order of use.
_SPLITS: dict[str, tuple[str, ...]] = {
    "parallel_en_de": ("train", "dev", "test"),
    "parallel_en_zh": ("train", "dev", "test"),
    "summarization": ("train", "dev", "test"),
    "zero_shot_to_de": ("test",),
}
_FOLDER = files("finescale").joinpath("data", "corpus")


def names() -> tuple[str, ...]:
    """Names the bundled sets."""
    return tuple(_SPLITS)


def splits(name: str) -> tuple[str, ...]:
    """Names the splits of one bundled set.

    Args:
        name: A set, one of `names()`.

    Raises:
        UsageError: If there is no such set.
    """
    return _SPLITS[_known(name, names(), "bundled set")]


def load(name: str, split: str) -> pl.DataFrame:
    """Opens one split of a bundled set.

    The rows are shuffled once, when the corpus is built, and then always come in the same order.

    Args:
        name: A set, one of `names()`.
        split: ``train``, ``dev`` or ``test``; ``zero_shot_to_de`` has ``test`` only.

    Returns:
        One row an example, every column a string. Translation: ``source``, ``target``, ``origin`` (and
        ``source_language`` in ``zero_shot_to_de``). Summarization: ``language``, ``document``, ``summary``,
        ``origin``.

    Raises:
        UsageError: If there is no such set or split.
    """
    _known(split, splits(name), f"split of {name}")
    with as_file(_FOLDER.joinpath(name, f"{split}.parquet")) as path:
        return pl.read_parquet(path)


def licence() -> str:
    """Returns the text of the bundled sets' licence (MPL-2.0)."""
    return _FOLDER.joinpath("LICENSE.MPL-2.0").read_text(encoding="utf-8")


def readme() -> str:
    """Returns the attribution, the counts and the columns of the bundled sets, as Markdown."""
    return _FOLDER.joinpath("README.md").read_text(encoding="utf-8")


def _known(given: str, known: tuple[str, ...], what: str) -> str:
    """Returns `given` if it is one of `known`, else raises with the nearest known name."""
    if given in known:
        return given
    nearest = difflib.get_close_matches(given, known, n=1, cutoff=0.4)
    raise UsageError(
        f"there is no {what} called {given!r}",
        wanted="one of " + ", ".join(known),
        got=repr(given),
        remedy=f"did you mean {nearest[0]!r}?" if nearest else "take one of the names above",
    )
