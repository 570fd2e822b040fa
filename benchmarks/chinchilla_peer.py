"""The `chinchilla` package on the benchmark's points, in an environment of its own (fit_speed.py calls it).

    python -m venv peer && peer/bin/pip install chinchilla==0.2.0 polars
    python benchmarks/fit_speed.py --chinchilla peer/bin/python

Prints seconds of its fit (its own solver on all cores; drawing left out), its starts and its optimum.
"""

import json
import sys
import tempfile
import time

import numpy as np
from chinchilla import Chinchilla  # pyright: ignore[reportMissingImports]

DELTA = 1e-3


def huber(observed, predicted):
    """Huber's loss of log residuals, as in the other fits."""
    size = np.abs(np.log(predicted) - np.log(observed))
    return np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA))


def main() -> None:
    points = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
    grid = {"e": [-0.5, 0.0, 0.5, 1.0], "a": [0, 5, 10, 15, 20], "b": [0, 5, 10, 15, 20]}
    grid |= {"alpha": [0.0, 0.5], "beta": [0.0, 0.5]}
    if "--small" in sys.argv:
        grid |= {"e": [0.5], "a": [5], "b": [5, 10]}
    with tempfile.TemporaryDirectory() as folder:
        peer = Chinchilla(folder, param_grid=grid, loss_fn=huber, log_level=40)
        for n, d, loss in points:
            peer.append(N=n, D=d, loss=loss)
        peer.visualizer.optim = lambda *_, **__: None
        began = time.perf_counter()
        peer.fit()
        seconds = time.perf_counter() - began
        starts = int(np.prod([len(axis) for axis in grid.values()]))
        names = ("A", "B", "E", "alpha", "beta")
        fitted = {name: float(getattr(peer, name)) for name in names}
    print(json.dumps({"seconds": seconds, "starts": starts, **fitted}))


if __name__ == "__main__":
    main()
