from __future__ import annotations

import re

import numpy as np
import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from finescale.errors import UsageError
from finescale.evaluation import metrics
from finescale.evaluation.metrics import (
    average,
    check_metrics,
    is_chinese,
    mean_loss,
    resampled_sums,
    score,
    tokenize,
)
from finescale.tasks.catalog import open_task

ASCII = ["The file menu opens.", "Use Ctrl+F1 or F-2 twice", "a_b c__d 3.14, e-mail!", "", "...", "I'm don't"]


def texts(task: str = "mini-en-de", count: int = 60) -> tuple[list[str], list[str]]:
    """Real references, and outputs that are near them: words are left out or exchanged."""
    references = [example.target for example in open_task(task).dev[:count]]
    rng = np.random.default_rng(0)
    outputs = []
    for text in references:
        words = text.split() if task == "mini-en-de" else list(text)
        kept = [word for word in words if rng.random() > 0.25]
        rng.shuffle(kept[: len(kept) // 3])
        outputs.append((" " if task == "mini-en-de" else "").join(kept))
    return outputs, references


def test_bleu_and_chrf_are_sacrebleu_s_with_its_signature() -> None:
    outputs, references = texts()
    bleu, chrf = score("bleu", outputs, references), score("chrf", outputs, references)
    assert bleu.value == sacrebleu.corpus_bleu(outputs, [references]).score
    assert chrf.value == sacrebleu.corpus_chrf(outputs, [references]).score
    assert "tok:13a" in (bleu.signature or "")
    assert f"version:{sacrebleu.__version__}" in (chrf.signature or "")


def test_chinese_is_told_by_its_letters_and_split_as_sacrebleu_splits_it() -> None:
    outputs, references = texts("mini-en-zh")
    found = score("bleu", outputs, references)
    assert is_chinese(references)
    assert not is_chinese(texts()[1])
    assert found.value == sacrebleu.corpus_bleu(outputs, [references], tokenize="zh").score
    assert "tok:zh" in (found.signature or "")


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_a_resample_is_what_sacrebleu_gives_for_the_resampled_texts(metric: str) -> None:
    outputs, references = texts(count=12)
    rng = np.random.default_rng(0)
    drawn = rng.integers(12, size=(100, 12))[0]
    theirs = {"bleu": sacrebleu.corpus_bleu, "chrf": sacrebleu.corpus_chrf}[metric]
    wanted = theirs([outputs[i] for i in drawn], [[references[i] for i in drawn]]).score
    assert score(metric, outputs, references).draws[0] == pytest.approx(wanted, abs=1e-9)


def test_intervals_hold_the_score_and_shrink_with_the_examples() -> None:
    outputs, references = texts(count=400)
    few, many = (score("chrf", outputs[:n], references[:n]) for n in (25, 400))
    widths = []
    for found in (few, many):
        low, high = found.interval
        assert low < found.value < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(4.0, rel=0.5)


def test_resampled_sums_are_those_of_a_plain_bootstrap() -> None:
    values = np.random.default_rng(1).normal(size=(30, 2))
    sums = resampled_sums(values)
    assert sums.shape == (metrics.RESAMPLES, 2)
    assert sums.mean(axis=0) == pytest.approx(values.sum(axis=0), abs=1.0)
    assert sums.std(axis=0) == pytest.approx(values.std(axis=0) * np.sqrt(30), rel=0.1)
    assert (resampled_sums(values) == sums).all()


@pytest.mark.parametrize("metric", ["rouge1", "rouge2", "rougeL"])
def test_rouge_agrees_with_rouge_score_on_ascii_text(metric: str) -> None:
    theirs = RougeScorer([metric])
    for out in ASCII:
        for right in ASCII:
            wanted = 100 * theirs.score(right, out)[metric].fmeasure
            assert score(metric, [out], [right]).value == pytest.approx(wanted)


def test_words_are_rouge_score_s_own_on_ascii_text() -> None:
    plain = DefaultTokenizer()
    for text in ASCII:
        assert tokenize(text) == plain.tokenize(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Größe der Überschrift", ["größe", "der", "überschrift"]),
        ("l'été, naïve façon", ["l", "été", "naïve", "façon"]),
        ("El niño añadió 3,5", ["el", "niño", "añadió", "3", "5"]),
        ("打开LibreOffice文件。", ["打", "开", "libreoffice", "文", "件"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_letters_of_other_languages_survive(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


def test_exact_match_counts_equal_texts_in_percent() -> None:
    found = score("exact_match", ["yes ", "no", "maybe", "no"], ["yes", "yes", "maybe", "no"])
    assert (found.value, found.examples) == (75.0, 4)


def test_an_average_counts_every_set_the_same_and_keeps_draws_together() -> None:
    outputs, references = texts(count=40)
    first, second = score("chrf", outputs[:10], references[:10]), score("chrf", outputs[10:], references[10:])
    both = average([first, second])
    assert both.value == pytest.approx((first.value + second.value) / 2)
    assert both.examples == 40
    assert both.draws == pytest.approx((first.draws + second.draws) / 2)


def test_a_mean_loss_is_weighted_by_tokens() -> None:
    found = mean_loss(np.array([2.0, 30.0]), np.array([1, 10]))
    assert found.value == pytest.approx(32 / 11)
    assert set(np.round(found.draws, 6)) <= {2.0, 3.0, round(32 / 11, 6)}


def test_metrics_whose_package_is_missing_are_refused_with_what_to_install() -> None:
    with pytest.raises(UsageError, match=r"evaluation.metrics: comet needs a package.*") as caught:
        check_metrics(["chrf", "comet"])
    assert "pip install unbabel-comet, or leave out comet" in str(caught.value)
    with pytest.raises(UsageError, match=re.escape("git+https://github.com/lucadiliello/bleurt-pytorch")):
        check_metrics(["bleurt"])
    check_metrics(["bleu", "chrf", "rougeL", "exact_match"])
