"""The textbook solver: L-BFGS from a grid of starts, coefficients as logarithms (Hoffmann et al. 2022)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from finescale.laws.solver.problem import Problem, Solution, derivatives, slopes

Array = np.ndarray[Any, Any]
_ROUGH = {"maxiter": 500, "maxfun": 5000, "ftol": 1e-10, "gtol": 1e-14}
_SHARP = {"maxiter": 2000, "maxfun": 20000, "ftol": 1e-16, "gtol": 1e-14}
"""Every start is followed until it slows down, the best of them to the end."""
_SHARPENED = 8


def solve_lbfgs(problem: Problem, grid: Array, start: Array | None = None, *, starts: int = 200) -> Solution:
    """Minimises from every start with scipy's L-BFGS-B and analytic gradients.

    Args:
        problem: What is minimised, with y and weights of shape [N].
        grid: Nonlinear starts [axis 1, ..., K]; the coefficients share the mean loss.
        start: Values of the fixed parameters, [P + K].
        starts: The grid is thinned to so many cells, evenly.

    Returns:
        The best minima of the different starts, best first.
    """
    P, K = problem.model.n_linear, problem.model.n_nonlinear
    free = problem.free
    cells = np.clip(grid.reshape(-1, K), problem.lower[P:], problem.upper[P:])
    if len(cells) > starts:
        cells = cells[np.linspace(0, len(cells) - 1, starts).round().astype(int)]
    phi = problem.model.basis(cells)
    typical = np.maximum(np.median(np.where(phi > 0, phi, np.nan), axis=2), 1e-300)
    level = float(np.median(problem.y)) / P
    given = np.zeros(P + K) if start is None else start

    def unpack(v: Array) -> Array:
        z = given.copy()
        z[free] = v
        z[:P] = np.where(free[:P], np.exp(np.minimum(z[:P], 690.0)), given[:P])
        return z

    def evaluate(v: Array) -> tuple[float, Array]:
        z = unpack(v)
        value, slope = slopes(problem, z)
        slope[:P] *= z[:P]
        good = np.isfinite(value) and bool(np.all(np.isfinite(slope)))
        return (value, slope[free]) if good else (1e300, np.zeros(int(free.sum())))

    bounds = [(-200.0, 600.0)] * P + list(zip(problem.lower[P:], problem.upper[P:], strict=True))
    bounds = [limits for limits, used in zip(bounds, free, strict=True) if used]

    def minimized(first: Array, options: dict[str, float]) -> Any:
        return minimize(evaluate, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options)

    firsts = [
        np.concatenate([np.log(level / size), cell])[free] for cell, size in zip(cells, typical, strict=True)
    ]
    rough = sorted((minimized(first, _ROUGH) for first in firsts), key=lambda result: result.fun)
    near = [result for result in rough if result.fun <= 1.1 * rough[0].fun][:_SHARPENED]
    z = np.stack([unpack(minimized(result.x, _SHARP).x) for result in near])
    value, _, hessian = derivatives(problem, z)
    order = np.argsort(value, kind="stable")
    return Solution(z[order], value[order], np.ones(len(z), dtype=bool), hessian[order])
