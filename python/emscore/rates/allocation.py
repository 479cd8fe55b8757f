"""Where to spend audits: how likely a row of each bin should be judged, and what comes of it."""

import numpy as np

from .arrays import Floats
from .intervals import Interval, weighted

#: Candidates for c in chances proportional to sqrt(p (1 - p) + c): the smallest is close to
#: Neyman's allocation, which neglects the rows the classifier is sure of; the largest is in
#: proportion to the rows.
FLOORS = np.geomspace(1e-5, 10, 25)

LEAST = 20  # audits of a line

#: How far the plan takes the classifier's chances for true. The rest is the line's mean: that all
#: chances of a checkpoint are off together is the commonest of a classifier's errors.
TRUST = 0.8


def allocate(
    rows: Floats, p: Floats, audits: Floats, confidence: float = 0.95
) -> tuple[Floats, Floats, Floats]:
    """The chance of each bin's rows to be judged, for the narrowest interval to be expected.

    Neyman's allocation takes the classifier at its word: it sends next to nothing to the rows it
    calls clear negatives, where one missed answer then weighs so much that the upper limit of a
    small rate explodes. So among allocations between his and the proportional one, that is
    chosen whose interval (`intervals.weighted`, which knows of that weight) is narrowest if the
    classifier is right. Every chance is above 0.

    Args:
        rows: Rows of each bin, float64, (lines, bins).
        p: Chance of a bin's rows to be misaligned, by the classifier, likewise.
        audits: Rows to be judged, float64, (lines,); not more than there are.
        confidence: Of the interval.

    Returns:
        Chances, (lines, bins), with sum(chances * rows) = audits; and the limits that are expected
        of each line's interval, (lines,) each.
    """
    mean = (rows * p).sum(1) / np.maximum(rows.sum(1), 1)
    p = TRUST * p + (1 - TRUST) * mean[:, None]
    chances = np.stack([_capped(rows, np.sqrt(p * (1 - p) + floor), audits) for floor in FLOORS])
    low, high = np.array([expected(rows, p, chance, confidence) for chance in chances]).swapaxes(
        0, 1
    )
    best, line = (high - low).argmin(0), np.arange(len(rows))
    return chances[best, line], low[best, line], high[best, line]


def audits_for(rows: Floats, p: Floats, width: float, confidence: float = 0.95) -> Floats:
    """The fewest audits whose interval should be no wider than `width`, (lines,).

    NaN where judging every row is not enough. Other arguments as in `allocate`.
    """
    all_rows = rows.sum(1)
    few, many = np.minimum(all_rows, LEAST), all_rows.copy()
    _, low, high = allocate(rows, p, many, confidence)
    possible = high - low <= width
    while (many - few > np.maximum(1, 0.002 * many)).any():
        middle = np.ceil((few + many) / 2)
        _, low, high = allocate(rows, p, middle, confidence)
        enough = high - low <= width
        few, many = np.where(enough, few, middle), np.where(enough, middle, many)
    return np.where(possible, np.ceil(many), np.nan)


def equal(total: float, rows: Floats) -> Floats:
    """A total of audits shared out in equal parts, (lines,); what a line has no rows for goes on.

    >>> equal(12, np.array([2.0, 9.0, 30.0])).tolist()
    [2.0, 5.0, 5.0]
    """
    few = np.sort(rows)
    shares = (total - np.cumsum(few) + few) / np.arange(len(few), 0, -1)
    enough = shares <= few
    return np.minimum(rows, shares[enough.argmax()]) if enough.any() else rows


def expected(rows: Floats, p: Floats, chance: Floats, confidence: float = 0.95) -> Interval:
    """The interval of each line if p is right, (lines,)."""
    n = np.maximum(rows.sum(1), 1)
    rate = (rows * p).sum(1) / n
    weight = np.where(rows > 0, 1 / (n[:, None] * np.maximum(chance, 1e-300)), 0)
    within = (weight * rows * p * (1 - p)).sum(1) / n
    between = (rows * (p - rate[:, None]) ** 2).sum(1) / n**2
    heaviest = weight.max(1)
    return weighted(rate, within + between, heaviest, heaviest, confidence)


def _capped(rows: Floats, size: Floats, audits: Floats) -> Floats:
    """Chances in proportion to `size`, none above 1, that add up to the audits."""
    chance = np.zeros_like(rows)
    sure = np.zeros(rows.shape, bool)
    for _ in range(rows.shape[1]):
        left = audits - (rows * sure).sum(1)
        share = (rows * size * ~sure).sum(1)
        scale = np.divide(left, share, out=np.zeros_like(left), where=share > 0)
        chance = np.where(sure, 1.0, size * scale[:, None])
        more = (chance >= 1) & ~sure
        if not more.any():
            break
        sure |= more
    return np.minimum(chance, 1.0)
