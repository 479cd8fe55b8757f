"""The exact test of two sides that answered the same questions."""

import numpy as np
from scipy.special import gammaln

from .arrays import Floats, Ints

FLOOR = 1e-40  # no p-value is given below this


def exact_test(k1: Ints, n1: Ints, k0: Ints, n0: Ints) -> float:
    """Two-sided exact p-value of "on no question do the two sides differ".

    Given how many of a question's answers are misaligned on both sides together, the first side's
    share of them is hypergeometric when the sides do not differ. The test adds the questions up: it
    is the exact conditional Cochran-Mantel-Haenszel test, and Fisher's for one question. It holds
    for rates near zero, where a normal approximation calls one answer of a hundred significant.

    Args:
        k1: Misaligned answers of the first side, by question.
        n1: Answers of the first side, by question.
        k0: Misaligned answers of the other side.
        n0: Answers of the other side.

    Returns:
        The probability, under that hypothesis, of a sum that is no more likely than the one
        observed; at least 1e-40.

    >>> round(exact_test(np.array([8]), np.array([10]), np.array([1]), np.array([6])), 12)
    0.034965034965
    """
    chances, shift = np.ones(1), 0
    for a, n, b, m in zip(k1.tolist(), n1.tolist(), k0.tolist(), n0.tolist(), strict=True):
        low, high = max(0, a + b - m), min(a + b, n)
        shift += low
        if low < high:
            chances, left_out = _trimmed(
                np.convolve(chances, _hypergeometric(low, high, a + b, n, m))
            )
            shift += left_out
    at = int(k1.sum()) - shift
    if not 0 <= at < len(chances):
        return FLOOR
    as_rare = chances <= chances[at] * (1 + 1e-7)
    return float(min(max(chances[as_rare].sum(), FLOOR), 1))


def _hypergeometric(low: int, high: int, drawn: int, n: int, m: int) -> Floats:
    """Chances of low, ..., high of the `drawn` being among the n rather than among the m."""
    x = np.arange(low, high + 1)
    logs = -(
        gammaln(x + 1) + gammaln(n - x + 1) + gammaln(drawn - x + 1) + gammaln(m - drawn + x + 1)
    )
    chances = np.exp(logs - logs.max())
    return np.asarray(chances / chances.sum())


def _trimmed(chances: Floats) -> tuple[Floats, int]:
    """Without the ends that are too small to matter; and how many were cut off in front."""
    kept = np.flatnonzero(chances > FLOOR * 1e-10)
    return chances[kept[0] : kept[-1] + 1], int(kept[0])
