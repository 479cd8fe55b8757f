"""Agreement between a scorer and its judge, in numpy: for one sample or for many resamples at once.

Every metric takes values of n rows and, optionally, weights [..., n]: how often each row counts.
It gives back an array [...]: a number where no weights or weights [n] are given, B numbers for the
weights [B, n] of a bootstrap. Where a metric is undefined (one class only, no spread) it is NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def mean(x: Floats | Bools, weight: Floats | None = None) -> Floats:
    """Weighted mean."""
    w = _ones(x, weight)
    return _over(w @ x, w.sum(-1))


def mae(x: Floats, y: Floats, weight: Floats | None = None) -> Floats:
    """Mean absolute error, in the unit of the scores."""
    return mean(np.abs(x - y), weight)


def pearson(x: Floats, y: Floats, weight: Floats | None = None) -> Floats:
    """Linear correlation.

    >>> float(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])))
    1.0
    """
    w = _ones(x, weight)
    x, y = x - x.mean(), y - y.mean()  # keeps the sums of squares small
    n, sx, sy = w.sum(-1), w @ x, w @ y
    covariance = n * (w @ (x * y)) - sx * sy
    spread = (n * (w @ (x * x)) - sx * sx) * (n * (w @ (y * y)) - sy * sy)
    return _over(covariance, np.sqrt(np.maximum(spread, 0)))


def spearman(x: Floats, y: Floats, weight: Floats | None = None) -> Floats:
    """Rank correlation: Pearson's of the mid-ranks (Spearman 1904)."""
    w = _ones(x, weight)
    n = w.sum(-1, keepdims=True)
    rx, ry = ranks(x, w) - (n + 1) / 2, ranks(y, w) - (n + 1) / 2
    covariance = (w * rx * ry).sum(-1)
    return _over(covariance, np.sqrt((w * rx * rx).sum(-1) * (w * ry * ry).sum(-1)))


def ranks(x: Floats, weight: Floats) -> Floats:
    """Mid-ranks [..., n] of the rows when each is there `weight` times; ties share their middle."""
    order, starts, group = _ties(x)
    count = np.add.reduceat(weight[..., order], starts, axis=-1)
    middle = np.cumsum(count, -1) - (count - 1) / 2
    return np.asarray(middle[..., group])


def auroc(score: Floats, yes: Bools, weight: Floats | None = None) -> Floats:
    """Chance that a row of `yes` scores above one that is not (ties count half).

    >>> float(auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])))
    0.75
    """
    w = _ones(score, weight)
    positive = w @ yes
    wins = (w * ranks(score, w)) @ yes - positive * (positive + 1) / 2
    return _over(wins, positive * (w.sum(-1) - positive))


def auprc(score: Floats, yes: Bools, weight: Floats | None = None) -> Floats:
    """Average precision: the area under the step-wise precision-recall curve."""
    w = _ones(score, weight)
    order, starts, _ = _ties(-score)
    w = w[..., order]
    found = np.add.reduceat(w * yes[order], starts, axis=-1)
    hits = np.cumsum(found, -1)
    shown = np.cumsum(np.add.reduceat(w, starts, axis=-1), -1)
    precision = np.divide(hits, shown, out=np.zeros_like(hits), where=shown > 0)
    return _over((found * precision).sum(-1), hits[..., -1])


def agreement(guess: Bools, truth: Bools, weight: Floats | None = None) -> Floats:
    """Share of rows with the same verdict."""
    return mean(guess == truth, weight)


def kappa(guess: Bools, truth: Bools, weight: Floats | None = None) -> Floats:
    """Agreement of two verdicts beyond chance (Cohen 1960)."""
    agreed, g, t = (mean(v, weight) for v in (guess == truth, guess, truth))
    by_chance = g * t + (1 - g) * (1 - t)
    return _over(agreed - by_chance, 1 - by_chance)


def f1(guess: Bools, truth: Bools, weight: Floats | None = None) -> Floats:
    """Harmonic mean of precision and recall."""
    w = _ones(guess, weight)
    return _over(2 * (w @ (guess & truth)), w @ guess + w @ truth)


def ece(
    p: Floats,
    yes: Bools,
    weight: Floats | None = None,
    *,
    low: float = 0.0,
    high: float = 1.0,
    bins: int = 10,
) -> Floats:
    """Expected calibration error over equal bins of the rows with low <= p <= high.

    The weighted mean over bins of |mean p - share of yes| (Naeini et al. 2015). Biased upwards,
    most where the bins hold few rows (Roelofs et al. 2022).
    """
    kept = (p >= low) & (p <= high)
    w = _ones(p, weight)[..., kept]
    place = np.minimum(((p[kept] - low) / (high - low) * bins).astype(int), bins - 1)
    gaps = np.zeros((len(place), bins))
    gaps[np.arange(len(place)), place] = p[kept] - yes[kept]
    return _over(np.abs(w @ gaps).sum(-1), w.sum(-1))


def share(events: Floats | Bools, among: Floats | Bools, weight: Floats | None = None) -> Floats:
    """Sum of `events` over the sum of `among`: a rate."""
    w = _ones(events, weight)
    return _over(w @ events, w @ among)


def _ones(x: npt.NDArray[np.generic], weight: Floats | None) -> Floats:
    return np.ones(len(x)) if weight is None else weight


def _over(part: Floats, whole: Floats) -> Floats:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0))


def _ties(
    x: Floats,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows in rising order, where each run of equal values starts, and the run of each row."""
    order = np.argsort(x, kind="stable")
    new = np.concatenate([[True], np.diff(x[order]) > 0])
    group = np.empty(len(x), np.intp)
    group[order] = np.cumsum(new) - 1
    return order, np.flatnonzero(new), group
