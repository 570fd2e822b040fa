"""Scores of generated text against references, each with a bootstrap interval over the examples.

BLEU and chrF are sacrebleu's, ROUGE is rouge_score's with a tokenizer that knows every script; these and the
exact match are in percent. BLEURT and COMET (`learned`) are on their own scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import regex

from finescale.errors import UsageError
from finescale.evaluation.learned import LEARNED, learned_scores

RESAMPLES = 1_000
INTERVAL = (0.05, 0.95)
_AT_ONCE = 100
_TOKEN = regex.compile(r"\p{Han}|[\p{L}\p{N}\p{M}--\p{Han}]+", regex.VERSION1)
_PACKAGES = {
    "bleu": "sacrebleu",
    "chrf": "sacrebleu",
    "rouge1": "rouge_score",
    "rouge2": "rouge_score",
    "rougeL": "rouge_score",
}


@dataclass(frozen=True)
class Score:
    """A score of a set of texts.

    Attributes:
        metric: Its name.
        value: Of the whole set.
        draws: Of each bootstrap resample of the examples [resamples].
        examples: Number of examples.
        signature: How exactly it was computed.
    """

    metric: str
    value: float
    draws: np.ndarray
    examples: int
    signature: str | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 90% percentile interval."""
        low, high = np.quantile(self.draws, INTERVAL)
        return float(low), float(high)


def check_metrics(metrics: Sequence[str], where: str = "evaluation.metrics") -> None:
    """Refuses metrics whose package is not installed.

    Args:
        metrics: Names of metrics.
        where: Field of the study, for the error.

    Raises:
        UsageError: With what to install.
    """
    for name in metrics:
        if name in LEARNED:
            package, remedy = LEARNED[name].module, LEARNED[name].install
        elif name in _PACKAGES:
            package, remedy = _PACKAGES[name], 'pip install "finescale[train]"'
        else:
            continue
        if find_spec(package) is None:
            raise UsageError(
                f"{name} needs a package that is not installed",
                wanted=f"the Python package {package}",
                got="it is not installed",
                remedy=f"{remedy}, or leave out {name}",
                where=where,
            )


def score(
    metric: str,
    outputs: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str] = (),
    checkpoint: str | None = None,
) -> Score:
    """Scores outputs against one reference each.

    Args:
        metric: `bleu`, `chrf`, `rouge1`, `rouge2`, `rougeL`, `exact_match`, `bleurt` or `comet`.
        outputs: Generated texts; at least one.
        references: The right texts.
        sources: What they were generated from (COMET reads them).
        checkpoint: A learned metric's folder or name.

    Returns:
        The score; the resamples of all sets with as many examples are the same, so that the scores of two
        models on one set may be compared resample by resample.
    """
    if metric in ("bleu", "chrf"):
        return _from_sacrebleu(metric, outputs, references)
    if metric in LEARNED:
        values, signature = learned_scores(metric, outputs, references, sources, checkpoint)
    elif metric == "exact_match":
        pairs = zip(outputs, references, strict=True)
        values, signature = [100.0 * (out.strip() == right.strip()) for out, right in pairs], None
    else:
        scorer = _rouge(metric)
        pairs = zip(outputs, references, strict=True)
        values = [100.0 * scorer.score(right, out)[metric].fmeasure for out, right in pairs]
        signature = f"rouge_score:{version('rouge-score')}|tok:unicode|stem:no"
    examples = np.asarray(values, dtype=np.float64)
    draws = resampled_sums(examples[:, None])[:, 0] / len(examples)
    return Score(metric, float(examples.mean()), draws, len(examples), signature)


def average(scores: Sequence[Score]) -> Score:
    """The mean of one metric over several sets; every set counts the same."""
    return Score(
        scores[0].metric,
        float(np.mean([item.value for item in scores])),
        np.mean([item.draws for item in scores], axis=0),
        sum(item.examples for item in scores),
        scores[0].signature,
    )


def mean_loss(nats: np.ndarray, tokens: np.ndarray) -> Score:
    """A token-weighted loss.

    Args:
        nats: Summed cross-entropy of each example [examples].
        tokens: Target tokens of each example [examples].
    """
    sums = resampled_sums(np.stack([nats, tokens], axis=1))
    return Score("loss", float(nats.sum() / tokens.sum()), sums[:, 0] / sums[:, 1], len(nats))


def resampled_sums(statistics: np.ndarray) -> np.ndarray:
    """Sums of the examples' statistics over bootstrap resamples of the examples.

    Args:
        statistics: Additive statistics of each example [examples, statistics].

    Returns:
        Sums [resamples, statistics].
    """
    rng, count = np.random.default_rng(0), len(statistics)
    sums = []
    for _ in range(RESAMPLES // _AT_ONCE):
        drawn = rng.integers(count, size=(_AT_ONCE, count)) + np.arange(_AT_ONCE)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=_AT_ONCE * count).reshape(_AT_ONCE, count)
        sums.append(times @ statistics)
    return np.concatenate(sums)


def is_chinese(texts: Sequence[str]) -> bool:
    """Whether most letters of the texts are Chinese characters: words are then found by character."""
    text = "".join(texts)
    return 2 * len(regex.findall(r"\p{Han}", text)) > len(regex.findall(r"\p{L}", text))


def tokenize(text: str) -> list[str]:
    """ROUGE's words in any script: runs of letters and digits in lower case; Chinese by character.

    On ASCII text these are the words of rouge_score's own tokenizer, which drops every other letter.
    """
    return _TOKEN.findall(text.lower())


def _from_sacrebleu(metric: str, outputs: Sequence[str], references: Sequence[str]) -> Score:
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415 - only where it is asked for
    from sacrebleu.metrics.chrf import CHRF  # noqa: PLC0415

    tokenizer = "zh" if is_chinese(references) else "13a"
    built = BLEU(tokenize=tokenizer) if metric == "bleu" else CHRF()
    # corpus_score has no interval at 90% and no paired resamples; these are the steps that it takes
    each = np.array(built._extract_corpus_statistics(outputs, [references]), dtype=np.int64)
    value = built._compute_score_from_stats(each.sum(axis=0).tolist()).score
    draws = [built._compute_score_from_stats(sums).score for sums in resampled_sums(each).tolist()]
    return Score(metric, value, np.array(draws), len(outputs), str(built.get_signature()))


@lru_cache(maxsize=3)
def _rouge(metric: str):
    from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415 - only where it is asked for
    from rouge_score.tokenizers import Tokenizer  # noqa: PLC0415

    class UnicodeTokenizer(Tokenizer):
        def tokenize(self, text: str) -> list[str]:
            return tokenize(text)

    return RougeScorer([metric], tokenizer=UnicodeTokenizer())
