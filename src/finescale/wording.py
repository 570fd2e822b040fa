"""Names and numbers as a reader wants them: units, thousands, intervals, the same everywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from zlib import crc32

METHODS = {
    "full": "full tuning", "lora": "LoRA", "prompt": "prompt tuning", "none": "untuned",
    "adalora": "AdaLoRA", "bitfit": "BitFit", "boft": "BOFT", "dora": "DoRA", "ia3": "IA3", "loha": "LoHa",
    "lokr": "LoKr", "oft": "OFT", "pissa": "PiSSA", "prefix_tuning": "prefix tuning", "p_tuning": "p-tuning",
    "qlora": "QLoRA", "rslora": "rsLoRA", "vera": "VeRA",
}  # fmt: skip
"""Methods as their authors write them; any other is called as the table calls it."""
FACTOR_NAMES = {
    "model_params": "model size",
    "model_params_nonembedding": "model size without embeddings",
    "pretrain_tokens": "pretraining tokens",
    "pet_size": "PET size",
}
NAN = float("nan")
_ALIKE = 1e-6
"""Numbers that differ by less, relatively, are told with the same digits."""


def method_name(method: str) -> str:
    """A method as prose calls it; ``lora on pythia-1b`` and ``lora r16`` too."""
    name, on, model = method.partition(" on ")
    bare, space, size = name.rpartition(" ")
    if bare in METHODS and re.fullmatch(r"r?\d\S*", size):
        name = METHODS[bare] + space + size
    return METHODS.get(name, name) + on + model


def method_title(method: str) -> str:
    """A method at the beginning of a line: ``Full tuning``; names of others stay as they are written."""
    name = method_name(method)
    return (
        capital(name)
        if name.startswith(("full tuning", "prompt tuning", "prefix tuning", "untuned"))
        else name
    )


def factor_name(factor: str) -> str:
    """A factor as prose calls it."""
    return FACTOR_NAMES.get(factor, factor)


def pet_word(method: str) -> str:
    """What a method's PET size is called."""
    return {"lora": "rank", "prompt": "prompt length"}.get(method, "PET size")


def count(value: float | None) -> str:
    """A count for prose and axes: ``512``, ``4,096``, ``205K``, ``6.8M``, ``16B``."""
    if value is None or not math.isfinite(value):
        return "-"
    size = abs(value)
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if size >= limit:
            return f"{float(f'{value / limit:.3g}'):g}{unit}"
    if size >= 1e5:
        return f"{value / 1e3:.0f}K"
    return f"{value:,.0f}" if size >= 1 or value == 0 else f"{value:.2g}"


def count_each(values: Iterable[float]) -> dict[float, str]:
    """Counts in words by value: ``13B``; with all their digits where two would read the same.

    Example:
        >>> count_each([1.301e9, 1.302e9, 7e9])
        {1301000000.0: '1,301,000,000', 1302000000.0: '1,302,000,000', 7000000000.0: '7,000,000,000'}
    """
    words = {value: count(value) for value in values}
    apart = len({*words.values()}) == len(words)
    return words if apart else {value: f"{value:,.10g}" for value in words}


def exact_count(value: float) -> str:
    """A count for someone who will type it again: ``13B``, ``441,344``."""
    return count(value) if value == float(f"{value:.3g}") else f"{value:,.10g}"


def examples_of(value: float) -> str:
    """A number of examples: ``1 example``, ``4,096 examples``."""
    return f"{count(value)} example{'' if count(value) == '1' else 's'}"


def nats(value: float | None, digits: int = 3) -> str:
    """A loss or a difference in nats; a dash where there is none; small ones keep a digit."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) < 0.1 * 10**-digits:
        return f"{0:.{digits}f}"
    return f"{value:.1g}" if abs(value) < 10**-digits else f"{value:.{digits}f}"


def number(value: float | None, digits: int = 3) -> str:
    """Any other number with significant digits; a dash where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """A number with its interval, e.g. ``0.520 [0.480, 0.571]``, in as many digits as tell the three apart.

    Args:
        value: The number.
        low: Lower end; None or NaN: no interval.
        high: Upper end.
        digits: At least so many significant digits.

    Example:
        >>> interval(1.23451, 1.23412, 1.23507)
        '1.2345 [1.2341, 1.2351]'
    """
    ends = [end for end in (value, low, high) if end is not None and math.isfinite(end)]
    if value is None or low is None or math.isnan(low):
        return number(value, digits)
    largest = max(map(abs, ends), default=0.0)
    gaps = [abs(a - b) for a, b in pairwise(sorted(ends))]
    least = min((gap for gap in gaps if gap > _ALIKE * largest), default=largest)
    if largest > 0:
        last = math.floor(math.log10(least / 2))
        digits = max(digits, math.floor(math.log10(largest)) + 1 - last)
    value_words, *words = (_with_zeros(end, digits) for end in (value, low, high))
    return f"{value_words} [{', '.join(words)}]"


def _with_zeros(value: float | None, digits: int) -> str:
    """So many significant digits, zeros at the end too: numbers in a column look alike."""
    if not value or not math.isfinite(value):
        return number(value)
    return f"{value:#.{digits}g}".removesuffix(".")


def ratio(value: float | None) -> str:
    """A ratio with two digits and thousands."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{float(f'{value:.2g}'):,g}" if value < 1e15 else f"{value:.2g}"


def chance(probability: float) -> str:
    """A probability in percent; never quite 0 or 1, which resamples cannot show."""
    if math.isnan(probability):
        return "-"
    return "over 99%" if probability > 0.99 else "under 1%" if probability < 0.01 else f"{probability:.0%}"


def hours(seconds: float | None) -> str:
    """A duration in the unit that suits it."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} h"
    days = seconds / 86_400
    return f"{days:.1f} days" if days < 100 else f"{days:,.0f} days"


def listed(words: Sequence[str], last: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    words = list(words)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def capital(sentence: str) -> str:
    """The sentence with a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def slug(name: str) -> str:
    """A file name's part that is safe anywhere and differs for different names.

    A name that is not safe as it stands (letters other than a-z, signs, length) gets a checksum.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].rstrip("-")
    return plain if plain == name else f"{plain or 'task'}-{crc32(name.encode()):08x}"
