"""Two methods over several data sizes together, run by run of one seed: what no single size may tell.

Runs of one seed mostly have the same examples, so that much of their noise is no difference between methods;
and nested data subsets make a seed err alike at all sizes. So the sizes are averaged for each seed first, and
the seeds are what is repeated: Student's t on their mean differences assumes nothing of either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from finescale.records.outcomes import Outcome
from finescale.records.records import DATA_SIZE
from finescale.report.noise import Difference, mean_difference


@dataclass(frozen=True)
class Paired:
    """Which of two methods is ahead on average over sizes, and by how much, from seeds that both ran.

    Attributes:
        ahead: Whether the first method is ahead on average.
        gap: By how much the other one is behind, on average over sizes and seeds.
        sizes: The data sizes, smallest first.
        seeds: Number of seeds.
        better: Pairs of runs (one seed, one size) in which the one that is ahead is better.
    """

    ahead: bool
    gap: Difference
    sizes: tuple[float, ...]
    seeds: int
    better: int

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.sizes) * self.seeds


def paired(first: pl.DataFrame, second: pl.DataFrame, outcome: Outcome) -> Paired | None:
    """Compares two methods by the seeds that both ran, at the sizes where they did.

    Args:
        first: Runs of a method: data size, ``seed`` and the outcome.
        second: Runs of the other.
        outcome: What they are measured by.

    Returns:
        The comparison; None where no two seeds were run by both at two sizes.
    """
    if not all({"seed", DATA_SIZE} <= set(runs.columns) for runs in (first, second)):
        return None
    keys = [DATA_SIZE, "seed"]
    mean = pl.col(outcome.column).mean()
    known = [runs.drop_nulls([*keys, outcome.column]).group_by(keys).agg(mean) for runs in (first, second)]
    both = known[0].join(known[1], on=keys, suffix="_other")
    gaps = both.select(*keys, gap=outcome.sign * (pl.col(f"{outcome.column}_other") - pl.col(outcome.column)))
    chosen = _most(gaps)
    if chosen is None:
        return None
    ahead = bool(chosen["gap"].sum() >= 0)
    gaps = chosen["gap"] if ahead else -chosen["gap"]
    means = chosen.with_columns(gaps).group_by("seed").agg(pl.col("gap").mean())["gap"]
    error = float(means.std()) / math.sqrt(means.len())  # type: ignore[arg-type]
    gap = mean_difference(float(means.mean()), error, means.len() - 1)  # type: ignore[arg-type]
    sizes = tuple(chosen[DATA_SIZE].unique().sort().to_list())
    return Paired(ahead, gap, sizes, means.len(), int((gaps > 0).sum()))


def _most(gaps: pl.DataFrame) -> pl.DataFrame | None:
    """Two seeds or more that two sizes have in common, and all sizes at which these were run: most pairs."""
    by_size = {size: frozenset(part["seed"]) for (size,), part in gaps.group_by(DATA_SIZE)}
    best: tuple[int, frozenset[str], list[float]] | None = None
    known = set(by_size.values())  # few, however many sizes there are
    candidates = {own & other for own in known for other in known}
    for seeds in sorted(candidates, key=sorted):
        sizes = [size for size, own in by_size.items() if seeds <= own]
        if len(seeds) > 1 and len(sizes) > 1 and (best is None or len(seeds) * len(sizes) > best[0]):
            best = (len(seeds) * len(sizes), seeds, sizes)
    if best is None:
        return None
    return gaps.filter(pl.col("seed").is_in(list(best[1])) & pl.col(DATA_SIZE).is_in(best[2]))
