"""Decide and stop: joins the runner, which makes runs, and planning, which says whether more are worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finescale.errors import UsageError, printable
from finescale.records.columns import DATA_SIZE
from finescale.records.named_sizes import named_sizes
from finescale.runs.expected import describe
from finescale.spec.study import PretrainStudy, Study
from finescale.study.export import records_frame
from finescale.study.ledger import Entry, Ledger
from finescale.study.plan import FinetunePlan, StudyPlan
from finescale.study.runner import Summary
from finescale.wording import chance, count, method_name

if TYPE_CHECKING:
    import polars as pl

    from finescale.advice.options import Question
    from finescale.planning.deciding import Decision

FORM = '"finetune_examples=50k,model_params=13B"'
"""How a question is asked."""


@dataclass(frozen=True)
class DecidedSummary(Summary):
    """How a study stands that was run until a question was decided.

    Attributes:
        decision: What is advised, and why the study stopped there; None where no run was made.
        left: The runs that were not made; `run` without a question makes them.
    """

    decision: Decision | None = None
    left: Sequence[Entry] = ()


class UntilDecided:
    """Chooses a study's runs until a question is decided (a `study.choosing.Chooser`)."""

    def __init__(
        self, question: Question, planned: pl.DataFrame, sure: float, say: Callable[[str], None]
    ) -> None:
        """Takes the question.

        Args:
            question: The question.
            planned: The study's runs of tuned models, sweeps apart.
            sure: The probability of being best at which it is decided.
            say: Told how it stands, a sentence after each batch.
        """
        from finescale.planning.answerable import planned_base  # noqa: PLC0415 - polars only here

        self.question, self.sure, self.say = question, sure, say
        self.base = planned_base(planned)
        self.decision: Decision | None = None
        self.entries: Sequence[Entry] = ()
        self.made: set[str] = set()

    def choose(
        self, ledger: Ledger, entries: Sequence[Entry], statuses: Mapping[str, str], slots: int
    ) -> Sequence[str]:
        """The runs that are expected to settle the question at least cost; none once it is settled."""
        from finescale.planning.deciding import StudyRuns, decide  # noqa: PLC0415

        self.entries, self.made = entries, set(statuses)
        frame = _frame([entry for entry in entries if entry.purpose == "study"], statuses)
        runs = StudyRuns(frame, self.base, sum(entry.cost for entry in entries), slots)
        self.decision = decide(records_frame(ledger), runs, self.question, sure=self.sure)
        asked = set(self.decision.next)
        if asked:
            batch = [entry for entry in entries if entry.run in asked]
            self.say(f"{self._so_far()}: {self.decision.leading}. Next: {_runs_in_words(batch)}.")
        return self.decision.next

    def summary(self, summary: Summary) -> DecidedSummary:
        """The runner's summary, with what was decided."""
        return DecidedSummary(**vars(summary), decision=self.decision, left=self.left)

    @property
    def left(self) -> list[Entry]:
        """The runs that nobody made."""
        return [entry for entry in self.entries if entry.run not in self.made]

    def words(self, go_on: str) -> Iterator[str]:
        """What was decided with which probability, and what is left.

        Args:
            go_on: How the rest is run.
        """
        one = self.decision
        if one is None:
            yield "Nothing was decided: no run was made."
            return
        told = one.advice.sentence if one.advice is not None else "Too few runs for an advice."
        if one.why == "decided":
            yield f"Decided. {told}"
        elif one.why == "rest":
            yield (
                f"Stopped: the rest of the study would lead to another advice with a probability of "
                f"{chance(one.change)} only. {told}"
            )
        else:
            yield f"Not decided with a probability of {self.sure:.0%}, and no run is left for it. {told}"
        yield f"{self._so_far()}."
        if self.left:
            share = self._share(self.left)
            yield (
                f"Not run: {_runs_in_words(self.left)} ({share:.0%} of the study's estimated cost). "
                f"{go_on} makes them."
            )

    def _so_far(self) -> str:
        done = [entry for entry in self.entries if entry.run in self.made]
        runs = f"{len(done)} of {len(self.entries)} runs"
        return f"{runs}, {self._share(done):.0%} of the study's estimated cost"

    def _share(self, some: Sequence[Entry]) -> float:
        whole = sum(entry.cost for entry in self.entries)
        return sum(entry.cost for entry in some) / whole if whole else 0.0


def until_decided(
    spec: Study | PretrainStudy,
    plan: StudyPlan,
    asked: str | Mapping[str, float],
    *,
    sure: float | None = None,
    say: Callable[[str], None],
    where: str = "--until-decided",
) -> UntilDecided:
    """What chooses the runs until a question is decided; refuses one that the study cannot answer.

    Args:
        spec: The study.
        plan: Its plan.
        asked: The question: ``finetune_examples``, and ``model_params`` for another model than the base.
        sure: The probability of being best at which it is decided; None: 95%.
        say: Told how it stands.
        where: The option, for errors.

    Raises:
        UsageError: A pretraining study, a question or a probability that cannot be meant, or a question that
            this study could not answer; with the remedy.
    """
    from finescale.advice.scan import SURE  # noqa: PLC0415 - polars and numpy only here
    from finescale.planning.answerable import check_answerable, study_question  # noqa: PLC0415
    from finescale.planning.deciding import SURE_ENOUGH  # noqa: PLC0415

    sure = SURE_ENOUGH if sure is None else sure
    if not isinstance(plan, FinetunePlan) or not isinstance(spec, Study):
        raise UsageError(
            "a pretraining study decides nothing", wanted="kind: finetune", got="kind: pretrain", where=where
        )
    if not SURE <= sure < 1:
        raise UsageError(
            "no probability to decide with",
            wanted=f"{SURE:g} (below which nothing is advised) or more, below 1",
            got=f"{sure:g}",
            where="--sure" if where.startswith("-") else "sure",
        )
    sizes = named_sizes(asked, where, FORM) if isinstance(asked, str) else dict(asked)
    question = study_question(sizes, where)
    planned = _planned(plan)
    check_answerable(planned, question, where)
    chooser = UntilDecided(question, planned, sure, say)
    for sentence in _terms(spec, chooser):
        say(sentence)
    return chooser


def _terms(spec: Study, chooser: UntilDecided) -> Iterator[str]:
    """What is decided, and by which runs."""
    from finescale.advice.candidates import base_words  # noqa: PLC0415

    at = base_words(chooser.base, without=("model_params",) if chooser.question.model_params else ())
    model = f", a model of {count(chooser.question.model_params)}" if chooser.question.model_params else ""
    yield (
        f"Until decided: the best method for {count(chooser.question.examples)} examples{model}, with a "
        f"probability of {chooser.sure:.0%} (base setting: {at}). Sweeps come first."
    )
    if spec.hold_out is not None:
        yield "Held-out runs count like the others here, as they do in `advise`; fits go on without them."


def _planned(plan: FinetunePlan) -> pl.DataFrame:
    """The study's runs of tuned models, sweeps apart, as far as they are known before they run."""
    import polars as pl  # noqa: PLC0415

    rows = [
        {**describe(item), "lr_tuned": item.lr_tuned}
        for item in plan.runs()
        if item.purpose == "study" and item.run.finetune_examples
    ]
    return _numbers(pl.DataFrame(rows, infer_schema_length=None))


def _frame(entries: Sequence[Entry], statuses: Mapping[str, str]) -> pl.DataFrame:
    import polars as pl  # noqa: PLC0415

    rows = [
        {**entry.fields, "run": entry.run, "cost": entry.cost, "status": statuses.get(entry.run)}
        | {"lr_tuned": entry.lr_tuned}
        for entry in entries
    ]
    made = pl.DataFrame(rows, infer_schema_length=None)
    return _numbers(made.with_columns(pl.col("status").cast(pl.String)))


def _numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that count as numbers are such, where every cell of them is empty too."""
    import polars as pl  # noqa: PLC0415

    names = ("model_params", "model_params_nonembedding", "pretrain_tokens", "pet_size", DATA_SIZE)
    return frame.with_columns(pl.col(name).cast(pl.Float64) for name in names if name in frame.columns)


def _runs_in_words(entries: Sequence[Entry]) -> str:
    """How many runs of which method, with their data sizes."""
    groups: dict[str, list[int]] = {}
    for entry in entries:
        groups.setdefault(str(entry.fields.get("method")), []).append(int(entry.fields.get(DATA_SIZE) or 0))
    parts = []
    for method, sizes in groups.items():
        low, high = min(sizes), max(sizes)
        data = "" if not high else f" ({count(low)}{f' to {count(high)}' if high > low else ''} examples)"
        parts.append(f"{len(sizes)} {method_name(method)}{data}")
    many = f"{len(entries)} run{'' if len(entries) == 1 else 's'}"
    return printable(f"{many}: {', '.join(parts)}")
