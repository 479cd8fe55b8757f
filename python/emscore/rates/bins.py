"""Bins of the classifier's score, in which audits are drawn and weighted."""

from itertools import pairwise

import numpy as np

from .arrays import Floats, Ints

#: Edges of p_misaligned x p_coherent: fine where most rows lie, and where rows are most unsure.
EDGES: Floats = np.array([0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1])
BINS = len(EDGES) - 1
UNSCORED = BINS  # one bin more, for rows without scores

LABELS = [*(f"{a:g}-{b:g}" for a, b in pairwise(EDGES)), "unscored"]


def bin_of(u: Floats) -> Ints:
    """The bin of each score; NaN, a row without scores, is in the last.

    >>> bin_of(np.array([0.0, 0.3, 1.0, np.nan])).tolist()
    [0, 5, 10, 11]
    """
    place = np.searchsorted(EDGES[1:-1], u, side="right")
    return np.where(np.isnan(u), UNSCORED, place).astype(np.int64)
