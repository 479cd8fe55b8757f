"""Agreement with the judge, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def pearson(x: Floats, y: Floats) -> float:
    """Linear correlation."""
    return float(np.corrcoef(x, y)[0, 1])


def mae(x: Floats, y: Floats) -> float:
    """Mean absolute error."""
    return float(np.abs(x - y).mean())


def auroc(score: Floats, yes: Bools) -> float:
    """Chance that a row of `yes` scores above one that is not (ties count half)."""
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    n = int(yes.sum())
    if n in (0, len(yes)):
        return float("nan")
    return float((rank[yes].sum() - n * (n + 1) / 2) / (n * (len(yes) - n)))


def kappa(guess: Bools, truth: Bools) -> float:
    """Cohen's kappa of two verdicts."""
    agreed = float((guess == truth).mean())
    by_chance = guess.mean() * truth.mean() + (1 - guess.mean()) * (1 - truth.mean())
    return float((agreed - by_chance) / (1 - by_chance))


def f1(guess: Bools, truth: Bools) -> float:
    """Harmonic mean of precision and recall."""
    return float(2 * (guess & truth).sum() / (guess.sum() + truth.sum()))


def ece(p: Floats, yes: Bools, low: float = 0.0, high: float = 1.0, bins: int = 10) -> float:
    """Expected calibration error over equal bins of the rows with low <= p <= high."""
    kept = (p >= low) & (p <= high)
    p, yes = p[kept], yes[kept]
    bin_of = np.minimum(((p - low) / (high - low) * bins).astype(int), bins - 1)
    gaps = [
        abs(p[bin_of == b].sum() - yes[bin_of == b].sum()) for b in range(bins)
    ]  # |mean gap| times rows
    return float(sum(gaps) / len(p))
