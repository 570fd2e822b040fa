"""Which tokenizer a run's model has: a loss per token compares within one tokenizer alone.

A table says it (the column ``tokenizer``), or the model's name does, as families share one. What neither
tells is unknown, and said to be. Losses of encoder models (BERT and its like) are taken for losses per
example, of classes, which compare whatever the tokenizer is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from finescale.records.outcomes import Outcome
from finescale.wording import listed

TOKENIZER = "tokenizer"
_ACROSS = "across tokenizers"
ENCODERS = "classes"
"""What encoder models are said to have: their losses are of classes."""
_FAMILIES: tuple[tuple[str, str], ...] = (
    (r"(mgpt|ai.forever.mgpt)\b.*", "mGPT's"),
    (r"(byt5|canine)\b.*", "bytes"),
    (r"u?mt5\b.*|mt0\b.*", "mT5's"),
    (r"(flan.?)?(t5|ul2)\b.*|switch\b.*|lamini.(flan.)?t5\b.*|longt5\b.*|(t0|t0pp)\b.*", "T5's"),
    (r"(distil)?gpt.?2\b.*|cerebras.gpt\b.*|lamini.(gpt|cerebras)\b.*|dialogpt\b.*", "GPT-2's"),
    (r"gpt.neo\b(?!x).*|opt\b.*|(distil)?bart\b.*|gpt.?j\b.*", "GPT-2's"),
    (r"phi.?(1|1.5|2)\b.*|codegen\b.*", "CodeGen's"),
    (r"pythia\b.*|gpt.?neox\b.*|dolly\b.*|mpt\b.*|redpajama\b.*", "GPT-NeoX's"),
    (r"stablelm.(base|tuned).alpha\b.*", "GPT-NeoX's"),
    (r"olmo.?2\b.*", "OLMo 2's"),
    (r"olmo\b.*|olmoe\b.*", "OLMo's"),
    (r"(meta.)?llama.?4\b.*", "Llama 4's"),
    (r"(meta.)?llama.?3\b.*", "Llama 3's"),
    (r"(open.?|code.?)?llama.?2?\b.*|tinyllama\b.*|vicuna\b.*|alpaca\b.*", "Llama's"),
    (r"phi.?3(.5)?.(mini|medium)\b.*", "Llama's"),
    (r"(mistral.nemo|ministral)\b.*", "Mistral NeMo's"),
    (r"mistral\b.*|mixtral\b.*|zephyr\b.*", "Mistral's"),
    (r"qwen.?3\.[5-9]\b.*", "Qwen3.5's"),
    (r"qwen.?(1.5|2|2.5|3)\b.*|qw[qe]n?\b.*", "Qwen's"),
    (r"gemma.?3n?\b.*", "Gemma 3's"),
    (r"(code)?gemma.?2?\b.*", "Gemma's"),
    (r"bloomz?\b.*", "BLOOM's"),
    (r"falcon.?3\b.*", "Falcon 3's"),
    (r"falcon\b.*", "Falcon's"),
    (r"smollm.?3\b.*", "SmolLM3's"),
    (r"smollm\b.*|smollm2\b.*", "SmolLM's"),
    (r"mbart\b.*", "mBART's"),
    (r"pegasus\b.*", "Pegasus's"),
    (r"xglm\b.*", "XGLM's"),
    (r"deepseek.(v3|r1(?!.distill))\b.*", "DeepSeek V3's"),
    (r"nano.zh\b.*", "the Chinese nano ladder's"),
    (r"nano\b.*", "the nano ladder's"),
    (r"(distil|al|tiny|mobile|m|camem|bio|sci|legal|fin|modern|xlm.)?(ro)?bert(a|.?v\d)?\b.*", ENCODERS),
    (r"(deberta|electra|funnel|mpnet|minilm|xlm.r|ernie|luke|muril|indicbert|rembert)\b.*", ENCODERS),
)  # fmt: skip
"""Names without their organisation, in lower case; the first that fits counts. OPT, BART and
Cerebras-GPT have the merges of GPT-2's byte-level BPE, Switch Transformers T5's pieces."""


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers behind some runs.

    Attributes:
        models: The models of each tokenizer that is known.
        unknown: The models whose tokenizer is not.
    """

    models: Mapping[str, tuple[str, ...]]
    unknown: tuple[str, ...] = ()

    @property
    def differ(self) -> bool:
        """Whether there are several tokenizers, so that losses per token do not compare across models."""
        return len(self.models) > 1

    @property
    def words(self) -> str:
        """Every tokenizer with its models."""
        said = [f"{_label(name)} ({_few(models)})" for name, models in self.models.items()]
        return "; ".join(said + ([f"not known ({_few(self.unknown)})"] if self.unknown else []))


def tokenizer_of(model: str, family: str | None = None) -> str | None:
    """The tokenizer that a model's name tells, else its family's; None where neither does.

    Example:
        >>> tokenizer_of("facebook/opt-1.3b"), tokenizer_of("google/mt5-base", "T5"), tokenizer_of("ours-7b")
        ("GPT-2's", "mT5's", None)
    """
    for name in (model, family):
        if not name:
            continue
        bare = re.sub(r"[\s_]+", "-", name.strip().rsplit("/", 1)[-1].lower())
        for pattern, tokenizer in _FAMILIES:
            if re.fullmatch(pattern, bare):
                return tokenizer
    return None


def with_tokenizers(frame: pl.DataFrame) -> pl.Series:
    """The tokenizer of each row: as the table says, else as the model's name does; null where unknown."""
    nothing = pl.repeat(None, frame.height, dtype=pl.String, eager=True).alias(TOKENIZER)
    stated = frame[TOKENIZER].cast(pl.String) if TOKENIZER in frame.columns else nothing
    if "model" not in frame.columns:
        return stated
    named = ["model", *(["family"] if "family" in frame.columns else [])]
    rows = frame.select(pl.col(named).cast(pl.String))
    pairs = rows.unique().rows()
    found = {pair: tokenizer_of(pair[0] or "", pair[1] if len(pair) > 1 else None) for pair in pairs}
    inferred = pl.Series(TOKENIZER, [found[pair] for pair in rows.rows()], dtype=pl.String)
    return stated.zip_with(stated.is_not_null(), inferred)


def find_tokenizers(frame: pl.DataFrame, outcome: Outcome) -> Tokenizers:
    """The tokenizers of runs that are measured by a loss per token; of other outcomes none matters.

    Args:
        frame: Runs of tuned models.
        outcome: What they are measured by.
    """
    if not outcome.per_token:
        return Tokenizers({})
    label = pl.col("model") if "model" in frame.columns else pl.lit("the models")
    rows = frame.select(with_tokenizers(frame).alias("of"), label.cast(pl.String).alias("model"))
    rows = rows.unique(maintain_order=True).filter(pl.col("model").is_not_null())
    models: dict[str, list[str]] = {}
    unknown: list[str] = []
    for tokenizer, model in rows.iter_rows():
        (unknown if tokenizer is None else models.setdefault(tokenizer, [])).append(model)
    return Tokenizers({name: tuple(found) for name, found in models.items()}, tuple(unknown))


def mixed_words(frame: pl.DataFrame, outcome: Outcome) -> str:
    """What to know of a law or forecast over the model size of these runs; empty where they compare."""
    found = find_tokenizers(frame, outcome)
    if not found.differ:
        return ""
    return f"{_ACROSS}: losses per token of different tokenizers do not compare - {found.words}"


def across_tokenizers(status: Sequence[str]) -> bool:
    """Whether a law's or forecast's status says that its losses do not compare (``mixed_words``)."""
    return any(words.startswith(_ACROSS) for words in status)


def _few(models: tuple[str, ...]) -> str:
    names = [model.rsplit("/", 1)[-1] for model in models]
    return listed(names) if len(names) < 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def _label(tokenizer: str) -> str:
    if tokenizer == ENCODERS:
        return "losses of classes"
    known = tokenizer.endswith("'s") or tokenizer == "bytes"
    return tokenizer if known or len(tokenizer) < 13 else f"{tokenizer[:12]}..."
