r"""The rectified law in centred parameters, with exact derivatives, for the solver.

$B / (D_l + D^\beta) + E$ is written with $s = \ln D - \bar{\ln D}$ and $u = \ln D_l - \beta \bar{\ln D}$ as

    c (e^u + 1) / (e^u + e^(beta s)) + E,

so that c is what the law adds at the middle of the data. In B and D_l themselves the objective has a long
bent valley, along which Newton's steps are short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from finescale.laws.solver.assembly import Assembly
from finescale.laws.solver.models import Model

Array = np.ndarray[Any, Any]


class RectifiedModel(Model):
    """One curve: c and E are linear, u and beta are not; s are centred logs of the data sizes."""

    n_linear = 2
    n_nonlinear = 2

    def __init__(self, s: Array) -> None:
        """Keeps the centred logs, [N]."""
        self.s = s
        self.n_points = s.size

    def _shares(self, theta: Array) -> tuple[Array, Array, Array]:
        """The basis [G, N], the share of e^(beta s) in its denominator [G, N], of 1 in e^u + 1 [G, 1]."""
        u, beta = theta[:, :1], theta[:, 1:]
        grown = beta * self.s
        share = 1.0 / (1.0 + np.exp(u - grown))
        middle = 1.0 / (1.0 + np.exp(u))
        return np.exp(np.logaddexp(u, 0.0) - np.logaddexp(u, grown)), share, middle

    def basis(self, theta: Array) -> Array:
        """The basis phi [G, 2, N] at theta [G, 2]."""
        phi = self._shares(theta)[0]
        return np.stack([phi, np.ones_like(phi)], axis=1)

    def jacobian(self, theta: Array, c: Array) -> Array:
        """The basis (slopes df / dc), and below it the slopes df / dtheta: [G, 4, N]."""
        phi, share, middle = self._shares(theta)
        added = c[:, :1] * phi
        return np.stack([phi, np.ones_like(phi), added * (share - middle), -added * share * self.s], axis=1)

    def curvature(self, theta: Array, c: Array, phi: Array, g: Array) -> Array:
        """Sum over n of g[G, n] times the second derivatives of f_n: [G, 4, 4]."""
        own, share, middle = self._shares(theta)
        weighted, rest, s = g * own, share * (1 - share), self.s
        by_u, by_beta = share - middle, -share * s  # slopes of ln phi
        seconds = (
            (by_u**2 - rest + middle * (1 - middle), 2, 2),
            (by_beta**2 - rest * s**2, 3, 3),
            (by_u * by_beta + rest * s, 2, 3),
        )
        result = np.zeros((len(theta), 4, 4))
        for slope, k in ((by_u, 2), (by_beta, 3)):
            result[:, 0, k] = result[:, k, 0] = np.einsum("gn,gn->g", weighted, slope)
        for second, i, j in seconds:
            result[:, i, j] = result[:, j, i] = c[:, 0] * np.einsum("gn,gn->g", weighted, second)
        return result

    def take(self, rows: slice | Array) -> RectifiedModel:
        """The same model on some of the points."""
        return RectifiedModel(self.s[rows])


@dataclass(frozen=True)
class RectifiedAssembly(Assembly):
    """One curve's problem in the centred parameters; ``middle`` is the mean log of its data sizes."""

    middle: float = 0.0

    def public(self, z: Array) -> dict[str, Array]:
        """Parameters in the law's own units from the solver's z [G, 4]."""
        c, E, u, beta = z.T
        shift = beta * self.middle
        B = c * np.exp(np.minimum(np.logaddexp(u, 0.0) + shift, 690.0))
        return {"B": B, "E": E, "D_l": np.exp(u + shift), "beta": beta}

    def grid(self, fixed: Sequence[str] = ()) -> Array:
        """The profile's grid over the free nonlinear parameters, [axis 1, ..., 2]."""
        grid = super().grid(fixed).copy()
        grid[..., 0] -= grid[..., 1] * self.middle
        return grid


def reparametrise(assembly: Assembly) -> Assembly:
    """The problem of one curve of the rectified law, in centred parameters."""
    column = next(iter(assembly.pieces[0].columns.values()))
    logs = np.log(assembly.points[0][column].to_numpy())
    middle = float(logs.mean())
    own: dict[str, Any] = {field.name: getattr(assembly, field.name) for field in fields(assembly)}
    own["model"] = RectifiedModel(logs - middle)
    return RectifiedAssembly(**own, middle=middle)
