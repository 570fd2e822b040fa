"""Putting slices and a law together into one problem: shared parameters, centred logs, starts, bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finescale.errors import DataError, UsageError
from finescale.laws.law import Law
from finescale.laws.slices import Slice
from finescale.laws.solver.models import FunctionModel, Model, MonomialModel, Segment
from finescale.laws.solver.problem import Problem

Array = np.ndarray[Any, Any]
GRID_SIZES = {1: 40, 2: 12, 3: 8, 4: 5}
"""Points of the profile's grid along an axis, by the number of free exponents."""
_CELLS = 500


@dataclass(frozen=True)
class Assembly:
    """One problem: slices that are fitted together.

    Attributes:
        law: The law.
        pieces: The slices.
        points: Each slice's fitted settings.
        suffixes: What distinguishes the slices' own parameters (a factor or a group), "" for a single slice.
        linear: Names of all linear coefficients.
        nonlinear: Names of all other parameters.
        model: The law on all points.
        y: Losses, [N].
        weights: Weights, [N].
        centres: For each linear coefficient: which nonlinear parameter (index) has which centre.
    """

    law: Law
    pieces: tuple[Slice, ...]
    points: tuple[pl.DataFrame, ...]
    suffixes: tuple[str, ...]
    linear: tuple[str, ...]
    nonlinear: tuple[str, ...]
    model: Model
    y: Array
    weights: Array
    centres: tuple[Mapping[int, float], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters, as the solver orders them."""
        return self.linear + self.nonlinear

    def own(self, name: str, suffix: str) -> str:
        """The name here of a parameter of the formula in the slice with this suffix."""
        return name if name in self.names else f"{name}.{suffix}"

    def limits(self, name: str) -> tuple[float, float, bool]:
        """Range of a nonlinear parameter and whether it is searched in its logarithm."""
        ranges = self.law.nonlinear
        found = ranges.get(name) or ranges[_stem(name, self.suffixes)]
        return found.low, found.high, found.log

    def public(self, z: Array) -> dict[str, Array]:
        """Parameters in the law's own units from the solver's z [G, P + K]."""
        P = len(self.linear)
        result: dict[str, Array] = {}
        for p, name in enumerate(self.linear):
            shift = sum((z[:, P + k] * centre for k, centre in self.centres[p].items()), np.zeros(len(z)))
            result[name] = z[:, p] * np.exp(np.minimum(shift, 690.0))
        for k, name in enumerate(self.nonlinear):
            result[name] = np.exp(z[:, P + k]) if self.limits(name)[2] else z[:, P + k]
        return result

    def inside(self, values: Mapping[str, Array], z: Array) -> Array:
        """The solver's z with the given parameters (in the law's units, [G]) put in; the others as they are.

        Raises:
            UsageError: A coefficient whose exponent is not given too.
        """
        z, P = z.copy(), len(self.linear)
        for k, name in enumerate(self.nonlinear):
            if name in values:
                z[:, P + k] = np.log(values[name]) if self.limits(name)[2] else values[name]
        for p, name in enumerate(self.linear):
            if name not in values:
                continue
            loose = [self.nonlinear[k] for k in self.centres[p] if self.nonlinear[k] not in values]
            if loose:
                raise UsageError(
                    f"{name} is fixed but {loose[0]} is not", remedy=f"fix {loose[0]} too, or neither"
                )
            shift = sum((z[:, P + k] * centre for k, centre in self.centres[p].items()), np.zeros(len(z)))
            z[:, p] = values[name] * np.exp(-shift)
        return z

    def problem(self, *, log: bool, delta: float, fixed: Sequence[str] = ()) -> Problem:
        """What the solver minimises."""
        lower = [0.0] * len(self.linear)
        upper = [np.inf] * len(self.linear)
        for name in self.nonlinear:
            low, high, logarithmic = self.limits(name)
            lower.append(np.log(low) if logarithmic else low)
            upper.append(np.log(high) if logarithmic else high)
        free = np.array([name not in fixed for name in self.names])
        return Problem(self.model, self.y, self.weights, log, delta, np.array(lower), np.array(upper), free)

    def grid(self, fixed: Sequence[str] = ()) -> Array:
        """The profile's grid over the free nonlinear parameters, [axis 1, ..., K]."""
        K = len(self.nonlinear)
        if self.law.starts is not None and len(self.pieces) == 1 and not set(fixed) & set(self.nonlinear):
            columns = {
                name: self.points[0][column].to_numpy() for name, column in self.pieces[0].columns.items()
            }
            grid = np.array(self.law.starts(columns), dtype=float)
            for k, name in enumerate(self.nonlinear):
                if self.limits(name)[2]:
                    grid[..., k] = np.log(grid[..., k])
            return grid
        free = [k for k, name in enumerate(self.nonlinear) if name not in fixed]
        if not free:
            return np.zeros((1, K))
        if len(free) in GRID_SIZES:
            axes = [self._axis(self.nonlinear[k], GRID_SIZES[len(free)]) for k in free]
            grid = np.zeros((*(axis.size for axis in axes), K))
            for k, values in zip(free, np.meshgrid(*axes, indexing="ij"), strict=True):
                grid[..., k] = values
            return grid
        grid = np.zeros((_CELLS, K))
        rng = np.random.default_rng(0)
        for k in free:
            axis = self._axis(self.nonlinear[k], _CELLS)
            grid[:, k] = axis[rng.permutation(_CELLS)]
        return grid

    def _axis(self, name: str, count: int) -> Array:
        low, high, logarithmic = self.limits(name)
        if logarithmic:
            return np.linspace(np.log(low), np.log(high), count + 2)[1:-1]
        # denser near 0, where exponents usually lie
        u = np.linspace(-1, 1, count) * 0.999 + 1e-4
        reach = np.where(u < 0, -min(low, 0.0), max(high, 0.0))
        axis = np.sign(u) * np.abs(u) ** 1.7 * reach
        return axis if low <= 0 <= high else np.linspace(low, high, count + 2)[1:-1]


def _stem(name: str, suffixes: Sequence[str]) -> str:
    for suffix in suffixes:
        if suffix and name.endswith("." + suffix):
            return name[: -len(suffix) - 1]
    return name


def assemble(law: Law, pieces: Sequence[Slice], suffixes: Sequence[str], shared: Sequence[str]) -> Assembly:
    """Builds the problem of one or several slices that share the named parameters.

    Args:
        law: The law.
        pieces: Slices of one group.
        suffixes: One a slice; parameters that are not shared are called NAME.suffix if there are several
            slices.
        shared: Names of the parameters with one value for all slices.

    Returns:
        The assembled problem.

    Raises:
        UsageError: An unknown shared parameter.
        DataError: Too few settings.
    """
    unknown = [name for name in shared if name not in law.parameters]
    if unknown:
        raise UsageError(
            f"`{unknown[0]}` is no parameter of the law `{law.name}`",
            wanted="some of " + ", ".join(law.parameters),
        )
    several = len(pieces) > 1

    def own(name: str, suffix: str) -> str:
        return name if not several or name in shared else f"{name}.{suffix}"

    linear = tuple(dict.fromkeys(own(name, suffix) for suffix in suffixes for name in law.linear))
    nonlinear = tuple(dict.fromkeys(own(name, suffix) for suffix in suffixes for name in law.nonlinear))
    points = tuple(piece.fitted for piece in pieces)
    _check_enough(law, pieces, points, len(linear) + len(nonlinear))
    y = np.concatenate([frame["loss"].to_numpy() for frame in points])
    weights = np.concatenate([frame["weight"].to_numpy() for frame in points])
    N, at = y.size, 0
    starts: list[int] = []
    for frame in points:
        starts.append(at)
        at += frame.height
    if law.monomials is None:
        segments = [
            Segment(
                np.arange(start, start + frame.height),
                {name: frame[column].to_numpy() for name, column in piece.columns.items()},
                tuple(linear.index(own(name, suffix)) for name in law.linear),
                tuple(nonlinear.index(own(name, suffix)) for name in law.nonlinear),
            )
            for piece, frame, suffix, start in zip(pieces, points, suffixes, starts, strict=True)
        ]
        model: Model = FunctionModel(
            law, segments, n_points=N, n_linear=len(linear), n_nonlinear=len(nonlinear)
        )
        centres: tuple[Mapping[int, float], ...] = tuple({} for _ in linear)
        return Assembly(
            law, tuple(pieces), points, tuple(suffixes), linear, nonlinear, model, y, weights, centres
        )
    logs = np.zeros((len(linear), len(nonlinear), N))
    mask = np.zeros((len(linear), N))
    centre = _centres(law, pieces, points, shared if several else ())
    known: list[dict[int, float]] = [{} for _ in linear]
    for index, (piece, frame, suffix, start) in enumerate(zip(pieces, points, suffixes, starts, strict=True)):
        rows = slice(start, start + frame.height)
        for coefficient, exponents in law.monomials.items():
            p = linear.index(own(coefficient, suffix))
            mask[p, rows] = 1.0
            for exponent, variable in exponents.items():
                k = nonlinear.index(own(exponent, suffix))
                logs[p, k, rows] = np.log(frame[piece.columns[variable]].to_numpy()) - centre[index][variable]
                known[p][k] = centre[index][variable]
    model = MonomialModel(logs, mask)
    return Assembly(
        law, tuple(pieces), points, tuple(suffixes), linear, nonlinear, model, y, weights, tuple(known)
    )


def _centres(
    law: Law, pieces: Sequence[Slice], points: Sequence[pl.DataFrame], shared: Sequence[str]
) -> list[dict[str, float]]:
    """Mean log of each variable in each slice; one for all where a shared coefficient multiplies it."""
    logs = [
        {name: float(np.log(frame[column].to_numpy()).mean()) for name, column in piece.columns.items()}
        for piece, frame in zip(pieces, points, strict=True)
    ]
    common = {
        variable
        for coefficient, exponents in (law.monomials or {}).items()
        for variable in exponents.values()
        if coefficient in shared
    }
    for variable in common:
        mean = float(np.mean([centre[variable] for centre in logs]))
        for centre in logs:
            centre[variable] = mean
    return logs


def _check_enough(law: Law, pieces: Sequence[Slice], points: Sequence[pl.DataFrame], parameters: int) -> None:
    where = "; ".join(piece.label for piece in pieces)
    count = sum(frame.height for frame in points)
    if count < parameters + 1:
        raise DataError(
            f"too few settings for the law `{law.name}`",
            wanted=f"at least {parameters + 1} ({parameters} parameters and one to check them)",
            got=f"{count}" + _held_out_words(pieces),
            remedy="add runs, hold out fewer, or choose a law with fewer parameters",
            where=where,
        )
    for piece, frame in zip(pieces, points, strict=True):
        for column in piece.columns.values():
            if frame[column].n_unique() < 2:
                raise DataError(
                    f"{column} has one value only",
                    wanted="2 values or more",
                    got=(", ".join(f"{value:g}" for value in frame[column].unique()) or "none")
                    + _held_out_words([piece]),
                    remedy="hold out fewer runs, or choose a law without it (power)",
                    where=piece.label,
                )


def _held_out_words(pieces: Sequence[Slice]) -> str:
    held = sum(int(piece.points["held_out"].sum()) for piece in pieces)
    return f" ({held} more are held out)" if held else ""
