"""Sizes of the network and edges of its score bins."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

LAYERS, WIDTH, HEADS, INNER = 6, 384, 12, 1536
VOCABULARY, POSITIONS, EPSILON = 30522, 512, 1e-12
PAIRS, BAG, HIDDEN = 1 << 16, 64, 128  # the bag: hashed word pairs, width, hidden width
HASH = 31337, 7919  # factors of the hash of a pair
SCALE = 4.0  # of the bag's sum, so that a table of small numbers reaches the MLP
EDGES = np.arange(0.0, 101.0, 5.0)  # 30 and 50, the cuts of the field, are edges
BINS = len(EDGES) - 1
SIGMA = 4.0  # points; width of the soft labels
CENTERS = (EDGES[:-1] + EDGES[1:]) / 2


def layer_count(parameters: Iterable[str]) -> int:
    """How many layers an encoder has, from the names of its parameters."""
    return len({name.split(".")[1] for name in parameters if name.startswith("layers.")})
