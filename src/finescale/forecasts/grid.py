"""The grid on which forecasts are evaluated once, and the interpolation that everything reads them with.

Nodes are log2 of sizes: every measured size is one, between and beyond them they lie half a doubling apart,
far out wider. Between nodes all of them are linear in log2 D and log2 X; outside the grid they are
those at its edge. The report's page has the same numbers and the same rule, so that it says what Python says.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
STEP = 0.5
BELOW = 10.0
"""So many doublings below the smallest size the grid ends; there an untuned model's outcome is reached."""
_NEAR, _FAR, _FARTHEST = 4.0, 10.0, 50.0
_MOST_BETWEEN = 24


@dataclass(frozen=True)
class Surface:
    """One group's forecast on a grid, on the outcome's scale.

    Attributes:
        factor: The factor; None where the forecast moves along the data size only.
        d: Nodes, log2 of data sizes, [D].
        x: Nodes, log2 of the factor, [X]; one node (0) without a factor.
        centre: Medians, [X, D].
        seen: Standard deviations from noise, [X, D].
        beyond: Scales of the discrepancy, [X, D].
        shared: The part of the discrepancy's variance that the methods of a task have in common, [X, D].
        measured: Smallest and largest measured size, by column.
    """

    factor: str | None
    d: Array
    x: Array
    centre: Array
    seen: Array
    beyond: Array
    shared: Array
    measured: dict[str, tuple[float, float]]

    def at(self, examples: Any, value: Any = 1.0) -> tuple[Array, Array, Array, Array]:
        """Centre, seen, beyond and shared at data sizes and values of the factor, which broadcast."""
        d, x = np.broadcast_arrays(np.log2(np.asarray(examples, float)), np.log2(np.asarray(value, float)))
        i, u = _between(self.d, d)
        j, v = _between(self.x, x)
        k, m = np.minimum(i + 1, self.d.size - 1), np.minimum(j + 1, self.x.size - 1)

        def mixed(table: Array) -> Array:
            low = table[j, i] * (1 - u) + table[j, k] * u
            high = table[m, i] * (1 - u) + table[m, k] * u
            return np.asarray(low * (1 - v) + high * v)

        return mixed(self.centre), mixed(self.seen), mixed(self.beyond), mixed(self.shared)


def _between(nodes: Array, at: Array) -> tuple[Array, Array]:
    """The node before and the share of the way to the next."""
    if nodes.size == 1:
        return np.zeros(at.shape, int), np.zeros(at.shape)
    at = np.clip(at, nodes[0], nodes[-1])
    index = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, nodes.size - 2)
    return index, (at - nodes[index]) / (nodes[index + 1] - nodes[index])


def data_nodes(u: Array) -> Array:
    """Nodes of the data size for the measured ones, log2, from a thousandth of the smallest to far beyond."""
    u = np.unique(np.round(u, 12))
    last = u[-1]
    beyond = np.concatenate(
        [
            last + np.arange(STEP, _NEAR + STEP / 2, STEP),
            last + np.arange(_NEAR + 1, _FAR + 0.5, 1.0),
            last + np.arange(_FAR + 5, _FARTHEST, 5.0),
        ]
    )
    return np.unique(np.concatenate([u[0] - np.arange(BELOW, 0.0, -1.0), filled(u), beyond]))


def factor_nodes(x: Array) -> Array:
    """Nodes of a factor for the measured values (log2): 8 times below to 64 times above."""
    x = np.unique(np.round(x, 12))
    return np.unique(
        np.concatenate([x[0] - np.arange(3.0, 0.0, -1.0), filled(x), x[-1] + np.arange(0.5, 6.1, 0.5)])
    )


def filled(u: Array) -> Array:
    """The measured nodes and as many between them as makes the steps half a doubling, at most."""
    if u.size < 2:
        return u
    step = max(STEP, (u[-1] - u[0]) / _MOST_BETWEEN)
    parts = [
        low + (high - low) * np.arange(n := max(1, int(np.ceil((high - low) / step - 1e-9)))) / n
        for low, high in pairwise(u)
    ]
    return np.append(np.concatenate(parts), u[-1])
