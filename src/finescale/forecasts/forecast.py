"""``forecast``: what is believed about runs that were not made, jointly over all methods of a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from finescale.errors import DataError, UsageError
from finescale.forecasts.curves import curves_of
from finescale.forecasts.discrepancy import Prior
from finescale.forecasts.extrapolate import Axis
from finescale.forecasts.factor_slices import Bases, FactorSlice, slices_of
from finescale.forecasts.grid import Surface
from finescale.forecasts.group import Forecast, Member
from finescale.forecasts.members import across_members, members_of
from finescale.forecasts.noise import noise_note
from finescale.forecasts.question import Predicted
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.surfaces import Learned, alone
from finescale.forecasts.ways import Members, Ways, check_via
from finescale.laws.law import Law
from finescale.laws.slices import check_groups
from finescale.records.beside import loss_beside
from finescale.records.held_out import held_out
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import Records, read_records
from finescale.records.settings import SIZES, check_base, of_group, tuned_runs
from finescale.records.tokenizers import mixed_words

Array = np.ndarray[Any, Any]
DRAWS = 1000


@dataclass(frozen=True)
class Forecasts:
    """The forecasts of a table: a sequence of ``Forecast``.

    Attributes:
        groups: One forecast a group.
        notes: What to know, in sentences.
        source: Where the records came from.
        ways: Of a score that could be forecast directly and through a loss: which way was taken, and why.

    Example:
        >>> [group.by["method"] for group in forecasts]
        ['full', 'lora', 'prompt']
    """

    groups: tuple[Forecast, ...]
    notes: tuple[str, ...] = ()
    source: str = "records"
    ways: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of groups."""
        return len(self.groups)

    def __iter__(self) -> Iterator[Forecast]:
        """The groups in order."""
        return iter(self.groups)

    def __getitem__(self, index: int) -> Forecast:
        """The group at a position."""
        return self.groups[index]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return tuple(dict.fromkeys(str(group.by.get("task", "")) for group in self.groups))

    @property
    def members(self) -> dict[str, tuple[Member, ...]]:
        """The members of each task, with weights and errors in the backtest."""
        return {str(group.by.get("task", "")): group.members for group in self.groups}

    def select(self, **by: Any) -> Forecasts:
        """The groups with these values, e.g. ``task="en-de"``."""
        kept = [g for g in self.groups if all(g.by.get(name) == value for name, value in by.items())]
        return replace(self, groups=tuple(kept))

    def only(self, **by: Any) -> Forecast:
        """The one group with these values.

        Raises:
            UsageError: None, or several.
        """
        found = self.select(**by).groups
        if len(found) != 1:
            have = "; ".join(group.label for group in self.groups[:12])
            raise UsageError(f"{len(found)} groups match", wanted="exactly one", got=have)
        return found[0]

    def predict(self, **at: Any) -> tuple[Predicted, ...]:
        """Predictions of every group; columns of the groups choose among them.

        Raises:
            UsageError: As ``Forecast.predict``.
        """
        mine, sizes = self._split(at)
        return tuple(group.predict(sizes) for group in mine)

    def draws(self, **at: Any) -> Array:
        """Joint draws over the groups of one task, [draws, groups, shape of the question].

        Raises:
            UsageError: Several tasks, and none named; else as ``Forecast.predict``.
        """
        mine, sizes = self._split(at)
        if len(mine.tasks) > 1:
            raise UsageError(
                "draws are joint within a task",
                wanted="one task",
                got=", ".join(mine.tasks),
                remedy="task=...",
            )
        return np.stack([group.mean_draws(sizes) for group in mine], axis=1)

    def _split(self, at: Mapping[str, Any]) -> tuple[Forecasts, dict[str, Any]]:
        names = {name for group in self.groups for name in group.by}
        chosen = {name: value for name, value in at.items() if name in names}
        mine = self.select(**chosen)
        if not mine.groups:
            have = "; ".join(group.label for group in self.groups[:12])
            raise UsageError("no group matches", wanted="one of " + have, got=str(chosen))
        return mine, {name: value for name, value in at.items() if name not in names}

    def __repr__(self) -> str:
        """One line: how many groups, of which outcome."""
        of = ", ".join(dict.fromkeys(group.outcome.name for group in self.groups)) or "nothing"
        noun = "group" if len(self.groups) == 1 else "groups"
        return f"Forecasts({len(self.groups)} {noun} from {self.source}: {of})"

    def __str__(self) -> str:
        """The groups and where they were measured, the members' weights, the notes."""
        from finescale.forecasts.views import text  # noqa: PLC0415 - rich only where it is shown

        return text(self)

    def _repr_html_(self) -> str:
        from finescale.forecasts.views import html  # noqa: PLC0415 - only in notebooks

        return html(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers: the grid, and everything that the report's page needs to say the same."""
        from finescale.forecasts.json import to_dict  # noqa: PLC0415 - it knows this class

        return to_dict(self)


def forecast(
    records: Records | Any,
    by: Sequence[str] = ("task", "method"),
    members: Sequence[str | Law] | None = None,
    *,
    base: Mapping[str, Any] | None = None,
    hold_out: str | bool | None = None,
    outcome: Outcome | None = None,
    prior: Mapping[str, Prior] | None = None,
    via: str = "auto",
    draws: int = DRAWS,
    seed: int = 0,
) -> Forecasts:
    """Forecasts every group of runs, jointly over the groups of a task.

    Args:
        records: Records, or what ``read_records`` takes.
        by: Columns that make a group.
        members: Names of members (``no change``, ``line``, ``trend``, and laws over the data size); default:
            all of them, laws of one's own too.
        base: Values at which other factors stay; default: of each group those with most settings.
        hold_out: Runs to hide, an expression; None: those marked ``held_out``; False: none.
        outcome: What is forecast; default: the records' own.
        prior: Priors of the discrepancy, by axis (``along``, ``across``, ``between``); default: see
            ``finescale.forecasts.priors``.
        via: How a score is forecast: ``direct``, or through the ``loss`` beside it (loss from data and model,
            score from loss by a monotone curve); ``auto``: whichever misses hidden runs by less.
        draws: Number of joint draws.
        seed: Their seed.

    Returns:
        The forecasts.

    Raises:
        UsageError: An unknown column or member; ``via="loss"`` without a loss beside the score.
        DataError: No run of a tuned model.

    Example:
        >>> found = fs.forecast(records, draws=100)
        >>> told = found.only(method="lora").predict(finetune_examples=1e5)
        >>> bool(told.low < told.value < told.high)
        True
    """
    if not isinstance(records, Records):
        records = read_records(records)
    check_base(base or {})
    check_groups(by, records)
    chosen = members_of(members), across_members(members)
    frame = _shown(records, hold_out)
    scale = OutcomeScale(outcome or _outcome(records))
    groups = [name for name in by if name in records.frame.columns]
    rng = np.random.default_rng(seed)
    found: list[Forecast] = []
    said: list[str] = []
    tasks = _ways(frame, groups, scale, chosen, prior or {}, via, records.source)
    bases = Bases.of(records.frame, groups, base or {})
    for ways in tasks:
        made, words = _of_task(ways, bases, draws, rng)
        found += made
        said += words
    found = [_with_tokenizers(group, frame) for group in found]
    unknown = noise_note({ways.curves.task: ways.curves.noise for ways in tasks}, scale)
    notes = (*records.notes, *said, *([unknown] if unknown else []))
    return Forecasts(tuple(found), notes, records.source, tuple(said))


def _ways(  # noqa: PLR0917
    frame: pl.DataFrame,
    groups: Sequence[str],
    scale: OutcomeScale,
    members: Members,
    priors: Mapping[str, Prior],
    via: str,
    source: str,
) -> list[Ways]:
    """How each task may be forecast: of a score also through the loss, where there is one."""
    tasks = curves_of(frame, groups, scale, source)
    rows = frame.filter(pl.col(scale.outcome.column).is_finite().fill_null(value=False))
    loss = None if via == "direct" else loss_beside(rows.filter(tuned_runs(rows)), scale.outcome)
    way = check_via(via, scale.outcome, loss, source)
    if loss is None:
        return [Ways(curves, scale, members, priors, way) for curves in tasks]
    beside = OutcomeScale(loss)
    losses = curves_of(rows, groups, beside, source)
    return [
        Ways(curves, scale, members, priors, way, (own, beside))
        for curves, own in zip(tasks, losses, strict=True)
    ]


def _with_tokenizers(group: Forecast, frame: pl.DataFrame) -> Forecast:
    """A forecast along the model size says so where its models' losses do not compare."""
    if not set(SIZES) & set(group.factors):
        return group
    said = mixed_words(of_group(frame, group.by), group.outcome)
    return replace(group, status=(*group.status, said)) if said else group


def _outcome(records: Records) -> Outcome:
    known = getattr(records, "outcome", None)
    if isinstance(known, Outcome):
        return known
    return replace(TEST_LOSS, column=records.loss)


def _shown(records: Records, hold_out: str | bool | None) -> Any:
    """The runs that the forecast may see."""
    frame = records.frame
    kept = frame.filter(~held_out(frame, hold_out))
    if frame.height and not kept.height:
        raise DataError("every run is held out", remedy="hide fewer: --hold-out", where=records.source)
    return kept


def _of_task(
    ways: Ways, bases: Bases, draws: int, rng: np.random.Generator
) -> tuple[list[Forecast], list[str]]:
    """The forecasts of one task, and which way they go where a score could be forecast in two."""
    curves, scale = ways.curves, ways.scale
    along = ways.learn()
    known, said = along.known, [along.said]
    groups: list[Mapping[str, Any]] = []
    for curve in curves.curves:
        if dict(curve.by) not in groups:
            groups.append(dict(curve.by))
    slices = slices_of(curves, groups, bases)
    surfaces: list[tuple[FactorSlice, Surface]] = [(s, alone(known, s)) for s in slices if s.factor is None]
    over_factors: dict[str, tuple[Member, ...]] = {}
    for factor in dict.fromkeys(s.factor for s in slices if s.factor is not None):
        mine = [s for s in slices if s.factor == factor]
        made, over, words = ways.learn_across(along, mine)
        over_factors[factor] = _shown_members(over, made.axis)
        surfaces += list(zip(mine, made.surfaces, strict=True))
        said.append(words)
    variates = _variates(len(groups), curves.noise.freedom, known.axis, draws, rng)
    shown = _shown_members(along.members, known.axis)
    found = [
        Forecast(
            by=group,
            surfaces={s.factor or "": surface for s, surface in surfaces if s.group == index},
            base=next(s.base for s, _ in surfaces if s.group == index),
            members=shown,
            outcome=scale.outcome,
            noise=curves.noise.sd,
            noise_freedom=curves.noise.freedom,
            freedom=known.axis.discrepancy.freedom,
            measured={s.factor or "": _measured(known, s, scale) for s, _ in surfaces if s.group == index},
            variates=variates[index],
            curves=len(curves.curves),
            across={s.factor: over_factors[s.factor] for s, _ in surfaces if s.group == index and s.factor},
        )
        for index, group in enumerate(groups)
    ]
    return found, [words for words in said if words]


def _shown_members(names: Iterable[str], axis: Axis) -> tuple[Member, ...]:
    """The members of an axis with their weights and errors."""
    found = zip(names, axis.weights.share, axis.misses, strict=True)
    return tuple(Member(name, float(share), float(miss)) for name, share, miss in found)


def _variates(groups: int, noise_freedom: float, axis: Axis, draws: int, rng: np.random.Generator) -> Array:
    """Standard variates, [groups, 3, draws]: noise; discrepancy, the group's own and the task's.

    Both are Student's t: a draw has one scale of the noise, and one of the discrepancy, for all groups.
    """
    freedom = axis.discrepancy.freedom
    heavy = np.sqrt(freedom / rng.chisquare(freedom, draws))
    common = rng.standard_normal(draws)
    own = rng.standard_normal((groups, 2, draws))
    noise = own[:, 0] * np.sqrt(noise_freedom / rng.chisquare(noise_freedom, draws))
    return np.stack([noise, heavy * own[:, 1], np.broadcast_to(heavy * common, noise.shape)], axis=1)


def _measured(
    known: Learned, piece: FactorSlice, scale: OutcomeScale
) -> dict[tuple[float, float], tuple[float, int]]:
    """The measured settings of a slice: (log2 factor, log2 size) to mean and runs."""
    found: dict[tuple[float, float], tuple[float, int]] = {}
    for x, row in zip(piece.x, piece.curves, strict=True):
        curve = known.curves.curves[row]
        for u, z, runs in zip(curve.u, curve.z, curve.runs, strict=True):
            found[round(float(x), 6), round(float(u), 6)] = (float(scale.from_z(z)), int(runs))
    return found
