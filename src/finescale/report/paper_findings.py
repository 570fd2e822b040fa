"""The paper's six findings, tested on these records: what each means here, and how probable it is.

Laws are compared draw by draw: draw i of the bootstrap is one resample for all methods and factors of a task.
What has no draws of its own (held-out errors, scores) is compared setting by setting, in pairs, with the
Bayesian bootstrap over settings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finescale.advice.candidate import SIZE
from finescale.records.outcome_words import amount, difference, law_words
from finescale.records.records import DATA_SIZE, untuned
from finescale.records.scores import LOSS, metric_name
from finescale.records.settings import GROUP, PAPER_FACTORS, at_base, setting_columns
from finescale.records.tokenizers import across_tokenizers
from finescale.report.decisions import Apart, Decision
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, plain, task_column
from finescale.report.evidence import Evidence, TaskEvidence, settings_of, untuned_rates
from finescale.report.findings import law_at_base
from finescale.report.score_figures import forgetting_rows
from finescale.wording import chance, count, listed, method_name, number

Array = np.ndarray[Any, Any]
CLAIMS = {
    1: "The multiplicative law extrapolates better than the additive one",
    2: "A larger model helps more than more pretraining: alpha of model size > alpha of pretraining tokens",
    3: "PET size hardly matters, and LoRA is more stable than prompt tuning",
    4: "Full tuning is the most data-hungry: beta of full tuning > LoRA >= prompt tuning",
    5: "The best method depends on the data",
    6: "PET keeps zero-shot and few-shot ability better than full tuning",
}
"""The findings, in the order of the paper's discussion."""
SMALL = 0.01
"""|alpha| of PET size below this hardly matters (the paper: much smaller than 0.01)."""
CLEAR = 0.9
"""A probability beyond this, or beyond its opposite, is a verdict."""
_DRAWS = 2000
_GRID = 65
_FEWEST = 3
"""Settings below that many tell nothing of their spread."""
_ABILITIES = {("zero_shot", 0): "zero-shot", ("test", 1): "one-shot", ("test", 5): "five-shot"}


@dataclass(frozen=True)
class Finding:
    """One finding, or a part of it, on one task.

    Attributes:
        task: The task.
        finding: Its number.
        who: Whom it is about.
        here: What it means here, or what data would test it.
        probability: That it holds; NaN where these records do not test it.
        evidence: What the probability comes from.
    """

    task: str
    finding: int
    who: str
    here: str
    probability: float = math.nan
    evidence: str = ""

    @property
    def verdict(self) -> str:
        """Whether these records agree."""
        if math.isnan(self.probability):
            return "not tested"
        shown = round(self.probability, 2)
        if shown >= CLEAR:
            return "agrees"
        return "disagrees" if shown <= round(1 - CLEAR, 2) else "cannot tell"


def paper_findings(evidence: Evidence, task: TaskEvidence, decision: Decision | Apart | str) -> list[Finding]:
    """All six findings on one task.

    Args:
        evidence: The evidence.
        task: Its part on the task.
        decision: What the laws advise, whose laws tell where the best method changes.
    """
    return [
        *_forms(task, evidence.seed),
        *_model_or_pretraining(task),
        *_pet_size(task),
        *_stability(task, evidence.seed),
        *_data_hunger(task),
        *_changes(task, decision),
        *_keeps(evidence, task),
    ]


def findings_sheet(tested: Sequence[Finding], evidence: Evidence) -> Sheet:
    """The findings as a table."""
    rows: list[Row] = [
        {"task": item.task, "finding": item.finding, "claim": CLAIMS[item.finding], "who": item.who}
        | {"probability": None if math.isnan(item.probability) else item.probability}
        | {"verdict": item.verdict, "here": item.here, "evidence": item.evidence}
        for item in tested
    ]
    shown = (
        *task_column(evidence),
        SheetColumn("finding", lambda row: f"{row['finding']}. {row['claim']}", numeric=False),
        plain("for", "who"),
        plain("on these records", "here"),
        column("probability", "probability", chance),
        plain("verdict", "verdict"),
        plain("from", "evidence"),
    )
    notes = [
        f"Agrees: a probability of {CLEAR:.0%} or more; disagrees: {1 - CLEAR:.0%} or less. Probabilities "
        "are shares of bootstrap draws of the fitted laws, or of resampled settings; where a law misses, "
        "they are surer than they should be.",
    ]
    said = law_words(evidence.records.outcome)
    if said:
        notes.append(f"The paper's findings are about losses; here the laws are of a score.{said}")
    untuned_methods = untuned_rates(evidence)
    if untuned_methods:
        who = listed([method_name(method) for method in untuned_methods])
        notes.append(f"The learning rate of {who} was not tuned: no comparison with it is evidence.")
    return Sheet(
        "paper-findings", "The paper's findings on these records", rows, shown, tuple(notes) if rows else ()
    )


def _forms(task: TaskEvidence, seed: int) -> Iterator[Finding]:
    """Finding 1: held-out errors of both laws, in pairs, all factors of a method together."""
    for method in task.methods:
        errors = [
            gap for factor in PAPER_FACTORS if (gap := _held_out_errors(task, method, factor)) is not None
        ]
        who = method_name(method)
        if not errors:
            yield Finding(
                task.task, 1, who, f"needs held-out settings that both laws predict{_one_tokenizer(task)}"
            )
            continue
        both = pl.concat(errors, how="diagonal_relaxed")
        keys = setting_columns(both, without=GROUP)
        each = both.group_by(keys, maintain_order=True).agg(
            pl.col("first").sum(), pl.col("second").sum(), pl.len().alias("n")
        )
        gap = (each["second"] - each["first"]).to_numpy()
        means = (both["first"].mean(), both["second"].mean())
        off, rival = float(means[0]), float(means[1])  # type: ignore[arg-type]
        here = f"off by {difference(task.outcome, off, 1)}, additive {amount(task.outcome, rival, 1)}"
        yield Finding(task.task, 1, who, here, *_paired(gap, seed, "held-out settings"))


def _one_tokenizer(task: TaskEvidence) -> str:
    """What a test needs besides, where the laws of these records are across tokenizers."""
    laws = [law for fits in task.laws.values() for law in fits]
    return ", of models of one tokenizer" if any(across_tokenizers(law.status) for law in laws) else ""


def _held_out_errors(task: TaskEvidence, method: str, factor: str) -> pl.DataFrame | None:
    """Absolute errors of the multiplicative (``first``) and additive law on the same held-out settings."""
    found = []
    for name, as_name in (("multiplicative", "first"), ("additive", "second")):
        law = task.tested_law(name, method, factor)
        if law is None or law.points is None or across_tokenizers(law.status):
            return None
        error = (pl.col("predicted") - pl.col("loss")).abs().alias(as_name)
        held = law.points.filter("held_out")
        keys = setting_columns(held, without=GROUP)
        found.append(held.select(*keys, error))
    keys = found[0].columns[:-1]
    both = found[0].join(found[1], on=keys, nulls_equal=True)
    return both if both.height else None


def _model_or_pretraining(task: TaskEvidence) -> Iterator[Finding]:
    """Finding 2: alpha of model size against alpha of pretraining tokens, draw by draw."""
    for method in task.methods:
        laws = [task.law("multiplicative", method, factor) for factor in ("model_params", "pretrain_tokens")]
        who = method_name(method)
        if laws[0] is None or laws[1] is None or any(law and across_tokenizers(law.status) for law in laws):
            needs = "needs runs at several model sizes and pretraining checkpoints" + _one_tokenizer(task)
            yield Finding(task.task, 2, who, needs)
            continue
        here = f"alpha {number(laws[0].value('alpha'))} against {number(laws[1].value('alpha'))}"
        if not laws[0].draws or not laws[1].draws:
            yield Finding(task.task, 2, who, f"{here}; needs bootstrap draws")
            continue
        yield Finding(
            task.task, 2, who, here, _share(laws[0].draws["alpha"] - laws[1].draws["alpha"]), "joint draws"
        )


def _pet_size(task: TaskEvidence) -> Iterator[Finding]:
    """Finding 3, first part: |alpha| of PET size is small."""
    tuned = [method for method in task.methods if method != "full"]
    if not tuned:
        yield Finding(task.task, 3, "PET", "needs a PET method at two sizes or more")
    for method in tuned:
        law = task.law("multiplicative", method, "pet_size")
        who = f"{method_name(method)}, |alpha| < {SMALL:g}"
        if law is None:
            yield Finding(task.task, 3, who, "needs runs at two PET sizes or more")
            continue
        here = f"alpha {number(law.value('alpha'))}"
        if not law.draws:
            yield Finding(task.task, 3, who, f"{here}; needs bootstrap draws")
            continue
        yield Finding(task.task, 3, who, here, _share(SMALL - np.abs(law.draws["alpha"])), "draws")


def _stability(task: TaskEvidence, seed: int) -> Iterator[Finding]:
    """Finding 3, second part: LoRA scatters less between seeds than prompt tuning."""
    if not {"lora", "prompt"} <= set(task.methods):
        return
    noise = [task.noise[method] for method in ("lora", "prompt")]
    who = "LoRA more stable than prompt tuning"
    if not all(part.known for part in noise):
        yield Finding(task.task, 3, who, "needs settings with two seeds or more for both")
        return
    rng = np.random.default_rng((seed, 3))
    lora, prompt = (part.sd**2 * part.freedom / rng.chisquare(part.freedom, _DRAWS) for part in noise)
    here = f"between seeds {difference(task.outcome, noise[0].sd, 1)}, "
    here += f"prompt tuning {amount(task.outcome, noise[1].sd, 1)}"
    yield Finding(task.task, 3, who, here, _share(prompt - lora), "runs that differ by their seed alone")


def _data_hunger(task: TaskEvidence) -> Iterator[Finding]:
    """Finding 4: the methods' betas, draw by draw."""
    found = {method: law_at_base(task, method) for method in ("full", "lora", "prompt")}
    laws = {method: pair[0] if pair is not None else None for method, pair in found.items()}
    for first, second in (("full", "lora"), ("lora", "prompt")):
        sign = ">" if first == "full" else ">="
        who = f"{method_name(first)} {sign} {method_name(second)}"
        one, two = laws[first], laws[second]
        if one is None or two is None:
            yield Finding(task.task, 4, who, "needs laws of both methods")
            continue
        here = f"beta {number(one.value('beta'))} against {number(two.value('beta'))}"
        if not one.draws or not two.draws:
            yield Finding(task.task, 4, who, f"{here}; needs bootstrap draws")
            continue
        yield Finding(task.task, 4, who, here, _share(one.draws["beta"] - two.draws["beta"]), "joint draws")


def _changes(task: TaskEvidence, decision: Decision | Apart | str) -> Iterator[Finding]:
    """Finding 5: the best method at the base setting is not the same at all data sizes with runs."""
    who = "all methods"
    if isinstance(decision, Apart):
        yield Finding(task.task, 5, who, "needs runs that compare: their tokenizers differ")
        return
    if isinstance(decision, str) or len(decision.found.members) < 2:
        yield Finding(task.task, 5, who, "needs laws of two methods or more")
        return
    found = decision.found
    ends = [law.ranges[DATA_SIZE] for law in found.laws]
    low, high = max(end[0] for end in ends), min(end[1] for end in ends)
    reach = f"from {count(low)} to {count(high)} examples"
    if not all(law.drawn for law in found.laws) or low >= high:
        yield Finding(task.task, 5, who, "needs bootstrap draws and data sizes that all methods share")
        return
    data = np.geomspace(low, high, _GRID)
    size = found.base.get(SIZE)
    sign = found.outcome.sign
    losses = [sign * member.law.mean_draws(member.asked(size, data)) for member in found.members]
    best = np.stack(losses).argmin(axis=0)  # [draws, data]
    share = float(np.mean((best != best[:, :1]).any(axis=1)))
    means = np.stack([sign * member.law.centre(member.asked(size, data)) for member in found.members])
    order = dict.fromkeys(means.argmin(axis=0).tolist())
    named = [method_name(found.members[index].name) for index in order]
    here = f"{listed(named, 'then')} {reach}" if len(named) > 1 else f"{named[0]} throughout, {reach}"
    by = found.law if found.forecast else f"{found.law} law"
    yield Finding(task.task, 5, who, here, share, f"a change there in joint draws of the {by}")


def _keeps(evidence: Evidence, task: TaskEvidence) -> Iterator[Finding]:
    """Finding 6: scores of a PET method minus those of full tuning, in pairs of settings."""
    pets = [method for method in task.methods if method != "full"]
    if "full" not in task.methods or not pets:
        yield Finding(task.task, 6, "PET", "needs runs of full tuning and of a PET method")
        return
    scores = evidence.scores
    any_score = False
    for (split, shots), words in _ABILITIES.items():
        if scores is None:
            continue
        best = scores.main_metric(task.task, split, shots)
        lossy = LOSS if split == "zero_shot" and scores.has(task.task, split, shots, LOSS) else None
        for metric in dict.fromkeys(name for name in (best, lossy) if name is not None):
            any_score = True
            rows = scores.of_runs(task.task, split, shots, metric)
            what = f"{words} {metric_name(metric)}"
            yield from _pairs(task, pets, rows, what, evidence.seed, higher=metric != LOSS)
    if not any_score:
        yield Finding(task.task, 6, "PET", "needs zero-shot or few-shot scores (`evaluation:` in the study)")
    forgotten = forgetting_rows(task, evidence.records)
    if forgotten.height:
        lost = forgotten.rename({"forgotten": "score"})
        yield from _pairs(task, pets, lost, "nats forgotten of pretraining text", evidence.seed, higher=False)


def _pairs(
    task: TaskEvidence, pets: Sequence[str], rows: pl.DataFrame, words: str, seed: int, *, higher: bool
) -> Iterator[Finding]:
    """A PET method's scores against full tuning's at the same model, checkpoint and data size."""
    settings = settings_of(rows.filter(~untuned() & (pl.col(DATA_SIZE) > 0)), "score")
    keys = setting_columns(settings, without=(*GROUP, "pet_size"))
    full = settings.filter(pl.col("method") == "full").select(*keys, pl.col("loss").alias("full"))
    for method in pets:
        size = f"pet_size.{method}"
        mine = at_base(settings, {size: task.base[size]} if size in task.base else {}, method)
        both = mine.join(full, on=keys, nulls_equal=True)
        who = f"{method_name(method)}, {words}"
        if not both.height:
            yield Finding(task.task, 6, who, "needs both methods at the same model and data size")
            continue
        gap = (both["loss"] - both["full"]).to_numpy()
        here = f"{number(abs(gap.mean()))} {'above' if gap.mean() >= 0 else 'below'} full tuning on average"
        yield Finding(task.task, 6, who, here, *_paired(gap if higher else -gap, seed, "settings"))


def _paired(gaps: Array, seed: int, what: str) -> tuple[float, str]:
    """The probability that the mean difference is above 0, and its evidence: settings weighted at random."""
    if gaps.size < _FEWEST:
        return math.nan, f"{gaps.size} {what} only, {_FEWEST} are wanted"
    weights = np.random.default_rng((seed, gaps.size)).dirichlet(np.ones(gaps.size), size=_DRAWS)
    return _share(weights @ gaps), f"{gaps.size} {what}, in pairs"


def _share(values: Array) -> float:
    """The share of draws above 0; a draw at 0 counts half."""
    return float(np.mean(values > 0) + 0.5 * np.mean(values == 0))


def opening(verdicts: Sequence[str]) -> str:
    """One sentence: in how many tests these records agree."""
    counts = {name: verdicts.count(name) for name in _VERDICTS}
    told = [f"{_VERDICTS[name]} {many}" for name, many in counts.items() if many]
    return f"Of {len(verdicts)} tests of the paper's findings, these records {listed(told)}."


_VERDICTS = {
    "agrees": "agree in",
    "disagrees": "disagree in",
    "cannot tell": "cannot tell in",
    "not tested": "do not test",
}
