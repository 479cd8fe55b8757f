"""Sizes of the network and edges of its score bins."""

from __future__ import annotations

import numpy as np

LAYERS, WIDTH, HEADS, INNER = 6, 384, 12, 1536
VOCABULARY, POSITIONS, EPSILON = 30522, 512, 1e-12
EDGES = np.arange(0.0, 101.0, 5.0)  # 30 and 50, the cuts of the field, are edges
BINS = len(EDGES) - 1
CENTERS = (EDGES[:-1] + EDGES[1:]) / 2
