"""What a column's name says of a loss: its unit, that it is none, or that nobody can tell.

A loss is read in nats; every other unit that a name says is converted, and a name that can be meant in two
ways is asked about. `unit_by_name`, `unclear_unit` and `is_derived` are the only readers of such names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from finescale.errors import UsageError
from finescale.records.names import bare

_PER = ("token", "byte", "character", "word", "example")
_LN2 = math.log(2)


def _becomes(per: str) -> str:
    """What a loss per token, byte or word is called in nats."""
    return "nats" if per == "token" else f"nats per {per}"


UNITS: Mapping[str, tuple[float, str]] = {
    "nats": (1.0, "nats"),
    "bits": (_LN2, "nats"),
    "bpb": (_LN2, "nats per byte"),
    "bpc": (_LN2, "nats per character"),
    "perplexity": (0.0, "nats"),
    "ppl": (0.0, "nats"),
    "base 10": (math.log(10), "nats"),
    **{
        f"{kind} per {per}": (factor, _becomes(per))
        for kind, factor in (("nats", 1.0), ("bits", _LN2), ("perplexity", 0.0))
        for per in _PER
    },
}
"""Units of a loss: the factor to nats (0: the logarithm is taken), and what it then is."""
PERCENT = ("percent", "%")

_SHORT: Mapping[str, str] = {
    "bpb": "bits_per_byte", "bpc": "bits_per_character", "bpt": "bits_per_token", "bpw": "bits_per_word",
    "bit": "bits", "nll": "loss", "ce": "loss", "xent": "loss", "nats": "loss", "nat": "loss",
    "losses": "loss", "ppl": "perplexity", "ppls": "perplexity", "pplx": "perplexity",
    "perplexities": "perplexity", "ln": "log", "loge": "log", "bytes": "byte", "utf8": "byte",
    "char": "character", "chars": "character", "characters": "character", "words": "word", "tok": "token",
    "tokens": "token", "subword": "token", "sample": "example", "sequence": "example", "seq": "example",
    "sentence": "example", "document": "example", "doc": "example", "instance": "example", "item": "example",
}  # fmt: skip
"""Words of names by one name each."""
_CHANGES = frozenset({
    "drop", "reduction", "reductions", "improvement", "improvements", "improved", "gain", "gains", "delta",
    "δ", "diff", "difference", "change", "decrease", "increase", "benefit", "saving", "savings", "lift",
    "gap", "excess", "regret", "ratio", "negated", "inverse", "inv", "reciprocal",
})  # fmt: skip
"""Words that say that a column is a change or the inverse of what it names."""
_SPREADS = frozenset({"std", "stdev", "stddev", "sem", "stderr", "var", "variance"})
_MEANS = frozenset({"mean", "means", "avg", "average"})
"""Beside them a spread stands behind the number in each cell: `Test loss (mean ± std)`."""
_MEASURE = r"(?:loss|nll|ce|xent|cross|ppl|perplexity)"
_PHRASES = tuple(
    (re.compile(rf"(?:(?<=_)|^){pattern}(?=_|$)"), words)
    for pattern, words in (
        (r"(?:neg|negative|minus)_log_?(?:likelihood|probability|probabilities|probs?|lik)", "loss"),
        (rf"(?:neg|negative|minus)_(?=(?:(?:log\d*|ln)_)?{_MEASURE})(?P<rest>\w+)", r"negated_\g<rest>"),
        (r"cross_?entropy", "loss"),
        (r"log_?loss", "loss"),
        (r"base_?(2|10|e)", r"base\1"),
        (r"log_(2|10)", r"log\1"),
        (r"\d+_bits?(?!_(?:per|byte|char|tok|word))", "quantized"),
    )
)
"""Several words that mean one thing; a model in 4 bits has no loss in bits."""
_JOINED = re.compile(r"(\w+?)(ppls?|pplx|perplexity|perplexities|loss|losses)")
"""Words that are written as one: `logppl`, `evalloss`."""
_LOG_OF = re.compile(r"\b(?:log|ln)(?:_?(?:2|10|e))?\s*[(\[]", re.IGNORECASE)
_EXP_OF = re.compile(r"\bexp\s*[(\[]|\b(?:e|2)\s*(?:\^|\*\*)", re.IGNORECASE)
_POWER = r"1(?:0+(?:\s*(?:\^|\*\*)\s*[-+−]?\d+|[⁻⁰¹²³⁴-⁹]+)?|[eE][-+]?\d+)"
_TIMES = re.compile(
    rf"[(\[]\s*(?:[x×*·]\s*(?P<in>{_POWER})|(?P<bare>10(?:\s*(?:\^|\*\*)\s*[-+−]?\d+|[⁻⁰¹²³⁴-⁹]+)))\s*[)\]]"
    rf"|(?:[×*·]|(?<![^\W_])x(?=\s*[\deE^*+-]+\s*$))\s*(?P<out>{_POWER})(?![^\W_])"
)
"""A power of ten that the loss was multiplied by, or is to be: `loss (x100)`, `loss [10^-3]`."""
_LOGGED = re.compile(r"^\s*(?:logs?|exp)[./:](?=\w)", re.IGNORECASE)
"""A group of logs or of experiments before a name."""


def _words(column: str) -> list[str]:
    """The words of a column's name, each by one name: ``eval/logPPL`` is eval, log, perplexity."""
    text = re.sub(r"^\s*[-−–](?=\s*[^\W\d])", "neg ", _LOGGED.sub("", column))
    text = re.sub(r"(?<=[A-Za-z])\s*/\s*(?=(?:\w+)\s*[)\]}]?\s*$)", _slash, text)
    name = bare(text)
    for pattern, words in _PHRASES:
        name = pattern.sub(words, name)
    parts: list[str] = []
    for word in name.split("_"):
        joined = None if word in _SHORT else _JOINED.fullmatch(word)
        for one in joined.groups() if joined else (word,):
            parts += _SHORT.get(one, one).split("_")
    return parts


def _slash(found: re.Match[str]) -> str:
    """``per`` for a slash before what a loss is counted by: ``nll/char``, not ``eval/loss``."""
    after = re.match(r"\w+", found.string[found.end() :])
    word = after.group().casefold() if after else ""
    return " per " if _SHORT.get(word, word) in _PER else found.group()


def _per(words: list[str]) -> str:
    """What a loss is counted by: what stands behind ``per``, or a byte, character or word beside the loss."""
    for at, word in enumerate(words[:-1]):
        if word == "per" and words[at + 1] in _PER:
            return words[at + 1]
    for at, word in enumerate(words):
        near = words[max(0, at - 1) : at + 3]  # `word_level_perplexity`, `loss (byte)`; not `loss_on_words`
        if word in ("byte", "character", "word") and {"loss", "perplexity", "bits"} & set(near):
            return word
    return "token"


def _is_in_bits(words: list[str]) -> bool:
    """Whether a name says bits of information: of a loss, by a token or byte, or at its end."""
    return "bits" in words and (
        "loss" in words or words[-1] == "bits" or any(word in words for word in (*_PER, "log"))
    )


def is_derived(column: str) -> bool:
    """Whether a name says a change, a spread or the inverse of a measure, and not the measure itself.

    Example:
        >>> is_derived("loss improvement"), is_derived("neg_log_loss"), is_derived("neg_log_likelihood")
        (True, True, False)
    """
    return _is_no_level(column, _words(column))


def _is_no_level(column: str, words: list[str]) -> bool:
    spread = not _SPREADS.isdisjoint(words) and _MEANS.isdisjoint(words) and "±" not in column
    return spread or not _CHANGES.isdisjoint(words)


def unit_by_name(column: str) -> str | None:
    """The unit that a loss column's name says, one of ``UNITS``; None where it says none, or no loss.

    Example:
        >>> unit_by_name("eval_perplexity"), unit_by_name("log_ppl"), unit_by_name("NLL [bits/char]")
        ('perplexity', 'nats', 'bpc')
        >>> unit_by_name("byte_perplexity"), unit_by_name("test_loss"), unit_by_name("perplexity drop")
        ('perplexity per byte', None, None)
    """
    words = _words(column)
    if _is_no_level(column, words) or _problem(column, words):
        return None
    per = _per(words)
    if "perplexity" in words and "base10" not in words and "log10" not in words:
        logs = {"log", "log2"} & set(words)
        in_bits = "log2" in words or (logs and "base2" in words)
        return _unit("bits" if in_bits else "nats" if logs else "perplexity", per)
    if "loss" in words and _EXP_OF.search(column):
        return _unit("perplexity", per)
    if ("loss" in words or "perplexity" in words) and not {"base10", "log10"}.isdisjoint(words):
        return "base 10"
    if _is_in_bits(words) or ("loss" in words and "base2" in words):
        return _unit("bits", per)
    return _unit("nats", per) if "loss" in words and per != "token" else None


def _unit(kind: str, per: str) -> str:
    short = {("bits", "byte"): "bpb", ("bits", "character"): "bpc"}.get((kind, per))
    return short or (kind if per == "token" else f"{kind} per {per}")


def unclear_unit(column: str) -> str:
    """What the name of a loss leaves open, in a clause; empty where it is clear.

    Example:
        >>> unclear_unit("log2_loss")
        'a loss in base 2 (--unit bits), or the logarithm of one (write the loss itself)'
        >>> unclear_unit("log_loss")
        ''
    """
    return _problem(column, _words(column))


def without_factor(column: str) -> str:
    """A loss's name without the power of ten that it says: somebody has stated what to multiply it by."""
    return re.sub(r"[(\[]\s*[)\]]", "", _TIMES.sub("", column)).strip(" _")


def _problem(column: str, words: list[str]) -> str:
    if ("loss" in words or "perplexity" in words or "bits" in words) and (times := _TIMES.search(column)):
        factor = times["in"] or times["bare"] or times["out"]
        unit = unit_by_name(without_factor(column)) or "nats"
        way = f"--column 'test_loss={column}*NUMBER'; --unit '{unit}': as it is"
        return f"numbers to be divided by {factor}, or multiplied by it ({way})"
    logs = [word for word in words if word in ("log", "log2", "log10")]
    if "perplexity" in words and "bits" in words and not logs:
        return "a perplexity (--unit perplexity), or its logarithm (--unit bits)"
    if not {"log10", "base10"}.isdisjoint(words) and _per(words) != "token":
        return "logarithms to base 10 per byte or word (write nats, which is times 2.302585)"
    of_loss = "loss" in words and "perplexity" not in words
    return _problem_of_loss(column, words, logs) if of_loss else ""


def _problem_of_loss(column: str, words: list[str], logs: list[str]) -> str:
    """The same of names with a logarithm, or an exponential, of what is a logarithm already."""
    itself = "or the logarithm of one (write the loss itself)"
    if _LOG_OF.search(column) or "log" in logs:
        return f"a loss in nats (--unit nats), {itself}"
    if logs:
        base, unit = ("2", "bits") if "log2" in logs else ("10", "'base 10'")
        return f"a loss in base {base} (--unit {unit}), {itself}"
    if "exp" in words and not _EXP_OF.search(column):
        return "a loss in nats (--unit nats), or its exponential (--unit perplexity)"
    return ""


def is_loss_name(column: str) -> bool:
    """Whether a column's name says that it is a loss, in nats or another unit; no change or spread of one."""
    words = _words(column)
    if _is_no_level(column, words):
        return False
    return "loss" in words or "perplexity" in words or _is_in_bits(words)


def check_unit(unit: str | None) -> str | None:
    """The unit of ``--unit`` in lower case.

    Raises:
        UsageError: None that is known.
    """
    if unit is None:
        return None
    plain = unit.strip().casefold().replace("_", " ").replace("-", " ").replace("/", " per ")
    if plain not in UNITS and plain not in PERCENT:
        raise UsageError(f"--unit {unit}", wanted="one of " + ", ".join((*UNITS, "percent")), got=unit)
    return plain
