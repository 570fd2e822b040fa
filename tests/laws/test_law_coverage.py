"""Do the intervals hold what they promise? benchmarks/coverage.py asks it on thousands of studies."""

import numpy as np
import pytest
from paper_tables import simulate, table4

import finescale as fs

TABLES = 100


@pytest.mark.slow
def test_intervals_of_the_exponents_hold_the_truth_on_noisy_table_4_grids():
    """100 studies, a row of Table 4 after another: three seeds, 0.005 nats of noise a run."""
    rng = np.random.default_rng(41)
    rows = list(table4().items())
    inside = {"alpha": 0, "beta": 0}
    for number in range(TABLES):
        (task, method), law = rows[number % len(rows)]
        frame = simulate(law, task, method, noise=0.005, rng=rng)
        fitted = fs.fit(frame, "multiplicative", "model_params", bootstrap=150, seed=number)[0]
        truth = {"alpha": law["alpha_model"], "beta": law["beta"]}
        for name, value in truth.items():
            found = fitted.parameters[name]
            inside[name] += found.low <= value <= found.high
    assert inside["alpha"] >= 80, inside
    assert inside["beta"] >= 80, inside
