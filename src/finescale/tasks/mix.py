"""The order of a mixed task's examples: every beginning of it has the mix of the whole."""

from __future__ import annotations

import numpy as np


def mixed_order(strata: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random order in which the strata (languages) keep their shares.

    The r-th of a stratum's n examples, themselves in random order, stands at (r + 1/2) / n of the whole: a
    beginning of k examples has within one of its share of each.

    Args:
        strata: The stratum of each example [examples], small whole numbers.
        generator: Draws the order inside each stratum.

    Returns:
        A permutation of the examples [examples].
    """
    place = np.empty(len(strata))
    for stratum in np.unique(strata):
        rows = generator.permutation(np.flatnonzero(strata == stratum))
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.lexsort((strata, place))
