"""Methods by their usual names: one name for each, and what a parameter and token cost it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from finescale.errors import UsageError
from finescale.ladder import flops_per_parameter
from finescale.records.names import folded
from finescale.wording import listed

USUAL: Mapping[str, tuple[str, ...]] = {
    "full": (
        "full", "fft", "ft", "fmt", "sft", "full finetune", "full finetuning", "full fine tune",
        "full fine tuning", "full ft", "full tuning", "full model", "full model tuning", "full parameter",
        "full parameters", "full param", "full parameter finetuning", "full parameter fine tuning",
        "full parameter tuning", "full weights", "full weight", "finetune", "finetuning", "fine tune",
        "fine tuning", "all parameters", "full sft",
    ),
    "lora": ("lora", "low rank adaptation", "peft lora", "lora tuning", "lora finetuning", "lora sft"),
    "qlora": ("qlora", "q lora"),
    "prompt": ("prompt", "prompt tuning", "soft prompt", "soft prompts", "soft prompt tuning"),
    "none": ("none", "untuned", "no finetuning", "no fine tuning", "no tuning", "not tuned", "zero shot"),
}  # fmt: skip
"""Our names for methods, and how others write them."""

PEFT: frozenset[str] = frozenset(
    {
        # registered in PEFT (peft.PeftType, 0.21; OSF trains weights of full size), and variants of LoRA
        "adamss", "beft", "cartridge", "deft", "frod", "glora", "hira", "lily", "peanut", "psoft", "pvera",
        "shadow", "supertuning", "tinylora", "unilora",
        "adalora", "adaption_prompt", "arrow", "boft", "bone", "c3a", "cpt", "delora", "dora", "fourierft",
        "gralora", "hra", "ia3", "ln_tuning", "loha", "lokr", "lora", "miss", "mixed",
        "multitask_prompt_tuning",
        "oft", "p_tuning", "poly", "prefix_tuning", "prompt", "prompt_tuning", "randlora", "road", "shira",
        "trainable_tokens", "vblora", "vera", "waveft", "xlora", "qlora", "qdora", "rslora", "pissa", "olora",
        "loftq", "eva", "corda", "lora_fa", "lorafa", "lora_plus", "loraplus", "alora", "lora_ga",
        # well-known ones outside it
        "bitfit", "adapter", "adapters", "houlsby", "pfeiffer", "compacter", "prefix", "p_tuning_v2",
        "ptuning", "lora_xs", "ssf", "ladder_side_tuning",
    }
)  # fmt: skip
"""Methods that leave the base model's weights as they are, or most of them."""

_CANONICAL = {folded(word): ours for ours, words in USUAL.items() for word in words}
_PET = {folded(name) for name in PEFT}


def canonical(name: str) -> str | None:
    """Our name for a method; None where it has none of ours.

    Example:
        >>> canonical("Full FT"), canonical("LoRA "), canonical("DoRA")
        ('full', 'lora', None)
    """
    return _CANONICAL.get(folded(name))


def is_known(name: str) -> bool:
    """Whether a method's name is one of the usual ones, or PEFT's."""
    return folded(name) in _CANONICAL or folded(name) in _PET


_OF_METHOD = re.compile(
    r"(?P<method>.*?)[\W_]+(?P<rest>(?:(?:test|eval|val|dev|final)[\W_]+)?(?:loss|nll|ppl|perplexity|acc|accuracy|score|f1))",
    re.IGNORECASE,
)


def of_each_method(columns: Sequence[str]) -> list[str]:
    """Columns that are one outcome in a column for each method; none where there are no two.

    Example:
        >>> of_each_method(["samples", "full_loss", "LoRA loss", "loss"])
        ['full_loss', 'LoRA loss']
    """
    stems: dict[str, list[str]] = {}
    for column in columns:
        found = _OF_METHOD.fullmatch(column.strip())
        if found and is_known(found["method"]):
            stems.setdefault(folded(found["rest"]), []).append(column)
    return next((same for same in stems.values() if len(same) > 1), [])


def one_name_each(found: Mapping[str, int]) -> tuple[dict[str, str], list[str]]:
    """Names as they stand in a table to one name a method.

    Args:
        found: Names, and how many rows have them.

    Returns:
        What is renamed, and notes: what was taken together, and which names look alike.
    """
    renamed: dict[str, str] = {}
    kinds: dict[str, Counter[str]] = {}
    for name, rows in found.items():
        key = canonical(name) or folded(name)
        kinds.setdefault(key, Counter())[name] += rows
    said: list[str] = []
    for key, names in kinds.items():
        ours = key if key in USUAL else names.most_common(1)[0][0].strip()
        if ours.casefold() in PEFT:
            ours = ours.casefold()
        others = [name for name in names if name != ours]
        renamed |= dict.fromkeys(others, ours)
        if others:
            said.append(f"{listed([repr(name) for name in others])} as `{ours}`")
    notes = [f"Methods were read by their usual names: {'; '.join(said)}."] if said else []
    return renamed, notes + _alike(list(dict.fromkeys(renamed.get(name, name) for name in found)))


def _alike(names: Sequence[str]) -> list[str]:
    """Notes on names of which one may be the other misspelt."""
    notes = []
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            if is_known(one) and is_known(other):
                continue
            if _near(folded(one), folded(other)):
                notes.append(
                    f"The methods `{one}` and `{other}` have similar names; they count as two. "
                    f"Are they one? --map 'method:{other}={one}'"
                )
    return notes


def _near(a: str, b: str) -> bool:
    """Whether one may be the other misspelt; ``glora`` and ``lora8`` are variants of ``lora`` on purpose."""
    if min(len(a), len(b)) < 4 or a.rstrip("0123456789") == b.rstrip("0123456789"):
        return False
    if a.startswith(b) or a.endswith(b) or b.startswith(a) or b.endswith(a):
        return False
    return SequenceMatcher(None, a, b).ratio() >= (0.75 if sorted(a) == sorted(b) else 0.85)


def costs_of(options: Mapping[str, str | float]) -> dict[str, float]:
    """The FLOPs a parameter and token that ``--method-cost NAME=full|pet|FACTOR`` states.

    Raises:
        UsageError: None of the three.
    """
    stated: dict[str, float] = {}
    for name, value in options.items():
        words = {"full": flops_per_parameter("full"), "pet": flops_per_parameter("pet")}
        try:
            factor = words[value] if value in words else float(value)  # type: ignore[index]
        except ValueError:
            factor = -1.0
        if not 0 < factor < float("inf"):
            raise UsageError(
                f"--method-cost {name}={value}",
                wanted="full (6 FLOPs a parameter and token), pet (4), or a number above 0",
                got=str(value),
            )
        stated[folded(name)] = factor
    return stated


def method_flops(name: str, stated: Mapping[str, float] | None = None) -> float | None:
    """FLOPs a parameter and token in training; None for a method that is not known: it is not guessed.

    Args:
        name: The method.
        stated: As ``costs_of`` makes it.
    """
    key = folded(name)
    if stated and key in stated:
        return stated[key]
    if canonical(name) == "full":
        return flops_per_parameter("full")
    known = key in _PET or canonical(name) in ("lora", "qlora", "prompt")
    return flops_per_parameter("pet") if known else None
