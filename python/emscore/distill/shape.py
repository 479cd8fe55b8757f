"""Sizes of the networks and edges of their score bins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Size:
    """Of an encoder."""

    layers: int
    width: int
    inner: int  # width within the feed-forward part
    buckets: int = 0  # of distances between tokens that attention tells apart


SIZES = {"minilm": Size(6, 384, 1536), "mpnet": Size(12, 768, 3072, 32)}  # pretrained encoders
HEADS, VOCABULARY, POSITIONS, EPSILON = 12, 30522, 512, 1e-12
FARTHEST = 128  # tokens; greater distances share a bucket
PAIRS, BAG, HIDDEN = 1 << 16, 64, 128  # the bag: hashed word pairs, width, hidden width
HASH = 31337, 7919  # factors of the hash of a pair
SCALE = 4.0  # of the bag's sum, so that a table of small numbers reaches the MLP
EDGES = np.arange(0.0, 101.0, 5.0)  # 30 and 50, the cuts of the field, are edges
BINS = len(EDGES) - 1
OUTPUTS = {"aligned": BINS, "coherent": BINS, "outcome": 3}  # of a network, and their widths
SIGMA = 4.0  # points; width of the soft labels
CENTERS = (EDGES[:-1] + EDGES[1:]) / 2


def layer_count(parameters: Iterable[str]) -> int:
    """How many layers an encoder has, from the names of its parameters."""
    return len({name.split(".")[1] for name in parameters if name.startswith("layers.")})


def distance_buckets(buckets: int) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    """The bucket of the distance from token i to token j, int32, [POSITIONS, POSITIONS].

    Half of the buckets are for either direction; of those half are single distances, and half grow
    with the logarithm: Raffel et al. 2020 (arXiv:1910.10683), as MPNet has it.
    """
    ahead = np.arange(POSITIONS) - np.arange(POSITIONS)[:, None]
    half = buckets // 2
    exact, distance = half // 2, np.abs(ahead)
    grown = np.log(np.maximum(distance, 1) / exact) / np.log(FARTHEST / exact) * (half - exact)
    far = np.minimum(exact + grown.astype(np.int32), half - 1)
    return np.where(ahead > 0, half, 0).astype(np.int32) + np.where(distance < exact, distance, far)
