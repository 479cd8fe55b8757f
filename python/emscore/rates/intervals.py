"""Intervals for rates: the formulas, on numpy arrays, element by element.

Sources: Wilson 1927 (JASA 22, 209); Clopper and Pearson 1934 (Biometrika 26, 404); Newcombe 1998
and Zou and Donner 2008 (Statistics in Medicine 27, 1693) for MOVER; Fay and Feuer 1997 (Statistics
in Medicine 16, 791) for weighted counts, Lancaster 1961 (JASA 56, 223) and Fay and Kim 2017
(Biometrical Journal 59, 549) for their mid-P form; Kish 1965 for the effective sample size.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special  # scipy.stats takes half a second to import

from .arrays import Floats

Numbers: TypeAlias = npt.ArrayLike
Interval: TypeAlias = tuple[Floats, Floats]
Limits: TypeAlias = Callable[[Floats, Floats, Numbers], Interval]  # events, trials, confidence

STEPS = 10  # of a search between two near limits: enough for ten digits


def quantile(confidence: Numbers) -> Floats:
    """Of the standard normal, two-sided: 1.96 for 0.95."""
    return np.asarray(special.ndtri((1 + np.asarray(confidence, np.float64)) / 2))


def t_quantile(confidence: Numbers, freedom: Numbers) -> Floats:
    """Of Student's t, two-sided: 12.7 for 0.95 and one degree of freedom."""
    return np.asarray(special.stdtrit(freedom, (1 + np.asarray(confidence, np.float64)) / 2))


def wilson(events: Numbers, n: Numbers, confidence: Numbers = 0.95) -> Interval:
    """Wilson's score interval for a proportion; [0, 1] where n is 0.

    Args:
        events: Events, which may be fractions, any shape.
        n: Trials, or an effective number of them, likewise.
        confidence: Nominal coverage, between 0 and 1; one for all, or each its own.

    >>> [round(float(end), 4) for end in wilson(0, 100)]
    [0.0, 0.037]
    """
    events, n = np.asarray(events, np.float64), np.asarray(n, np.float64)
    z2 = quantile(confidence) ** 2
    some = np.maximum(n, 1e-100)
    p = events / some
    middle = (p + z2 / (2 * some)) / (1 + z2 / some)
    half = np.sqrt(z2 * (p * (1 - p) / some + z2 / (4 * some * some))) / (1 + z2 / some)
    low = np.where(events > 0, np.maximum(middle - half, 0), 0.0)
    high = np.where(events < n, np.minimum(middle + half, 1), 1.0)
    return low, high


def clopper_pearson(events: Numbers, n: Numbers, confidence: Numbers = 0.95) -> Interval:
    """The exact interval for a proportion; [0, 1] where n is 0. Arguments as in `wilson`.

    >>> [round(float(end), 4) for end in clopper_pearson(0, 100)]
    [0.0, 0.0362]
    """
    events, n = np.asarray(events, np.float64), np.asarray(n, np.float64)
    tail = (1 - np.asarray(confidence, np.float64)) / 2
    others = n - events
    low = special.betaincinv(np.where(events > 0, events, 1.0), others + 1, tail)
    high = special.betaincinv(events + 1, np.where(others > 0, others, 1.0), 1 - tail)
    return np.where(events > 0, low, 0.0), np.where(others > 0, high, 1.0)


def mover(
    estimates: Numbers, low: Numbers, high: Numbers, weights: Numbers, axis: int = -1
) -> Interval:
    """Interval for a sum of independent estimates, each with an interval of its own.

    The distances from the estimates to their limits are added in squares (Zou and Donner 2008,
    equation 5), which keeps the limits' skewness, as a sum of variances does not.

    >>> low, high = mover([0.1, 0.0], [0.05, 0.0], [0.2, 0.04], [0.5, 0.5])
    >>> round(float(low), 3), round(float(high), 4)
    (0.025, 0.1039)
    """
    estimates, low, high, weights = (
        np.asarray(a, np.float64) for a in (estimates, low, high, weights)
    )
    total = (weights * estimates).sum(axis)
    down = np.sqrt(((weights * (estimates - low)) ** 2).sum(axis))
    up = np.sqrt(((weights * (high - estimates)) ** 2).sum(axis))
    return total - down, total + up


def effective(
    rate: Numbers, variance: Numbers, least: Numbers, heaviest: Numbers = 0.0
) -> tuple[Floats, Floats]:
    """Effective sample sizes, for a lower and an upper limit: of a simple sample that varies alike.

    Never above `least` (Kish's n, 1 / sum of w^2 / n over strata of weight w): a rate of 0 has an
    estimated variance of 0, which says nothing about how many rows there were. Nor, for the upper
    limit, above that of a sample in which one more event was seen, of the `heaviest` weight
    (max w / n): a stratum of few rows and without events has no variance either (the mean over the
    variance of Fay and Feuer 1997, as in `weighted`); for the lower limit, of the complement. With
    strata of equal w / n this takes nothing away.
    """
    rate, variance, least, m = (
        np.asarray(a, np.float64) for a in (rate, variance, least, heaviest)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        size = rate * (1 - rate) / variance
        size = np.where(variance > 0, np.minimum(size, least), least)
        down, up = (np.fmin(size, (r + m) / (variance / (1 - r) + m**2)) for r in (1 - rate, rate))
    return down, up


def at_sizes(
    limits: Limits, rate: Floats, sizes: tuple[Floats, Floats], confidence: Numbers
) -> Interval:
    """The limits of a rate, each at its own effective sample size."""
    low, high = (limits(rate * size, size, confidence)[end] for end, size in enumerate(sizes))
    return low, high


def weighted(
    rate: Numbers, variance: Numbers, above: Numbers, below: Numbers, confidence: Numbers = 0.95,
    exact: bool = False,
) -> Interval:  # fmt: skip
    """Interval for a weighted sum of counts that stays valid near 0 and 1.

    A normal interval, and any built from the estimated variance alone, takes a sample without
    events for certainty. After Fay and Feuer 1997, the upper limit looks at the distribution in
    which one more event was seen, of the heaviest weight an unseen event could have: its mean is
    `rate + above`, and its variance grows by `above` squared. Theirs is a gamma distribution, for
    rare events; the beta distribution used here has their limits where events are rare, is
    Clopper and Pearson's where all weights are equal, and goes over to the normal interval where
    events are many. As in the mid-P interval (Lancaster 1961; Fay and Kim 2017), that distribution
    counts for a half and the one without the additional event for the other: exact limits cover
    more than they promise in every case, these come close to it. The lower limit is the upper one
    of the complement.

    Args:
        rate: The weighted sum of events, 0 to 1, any shape.
        variance: Its estimated variance.
        above: The heaviest weight (share of the whole that one audited row stands for) among
            strata in which not every row was an event.
        below: The heaviest weight among strata in which there was an event; 0 without events.
        confidence: Nominal coverage, between 0 and 1; one for all, or each its own.
        exact: Let the distribution with the additional event count whole: no tail is then larger
            than promised where all weights are equal.

    >>> round(float(weighted(0.0, 0.0, 1 / 100, 0.0)[1]), 4)
    0.0295
    """
    rate, variance, above, below = (
        np.asarray(a, np.float64) for a in (rate, variance, above, below)
    )
    high = _upper(rate, variance, above, confidence, exact)
    low = 1 - _upper(1 - rate, variance, below, confidence, exact)
    return np.minimum(low, rate), np.maximum(high, rate)


def _upper(
    rate: Floats, variance: Floats, more: Floats, confidence: Numbers, exact: bool
) -> Floats:
    rate, variance, more = np.broadcast_arrays(rate, variance, more)
    level = (1 + np.asarray(confidence, np.float64)) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = _beta(rate, variance, 0.0 * more)
        raised = _beta(rate, variance, more)
        # Without events, or without a variance, there is but the rate itself.
        sure = (rate <= 0) | (variance <= 0)
        alone = special.betaincinv(*raised, 2 * level - 1)
        low = np.where(sure, alone, special.betaincinv(*plain, level))
        exactly = special.betaincinv(*raised, level)
        high = np.where(sure, alone, exactly)

        def excess(at: Floats) -> Floats:
            without = np.where(sure, 1.0, special.betainc(*plain, at))
            return np.asarray((without + special.betainc(*raised, at)) / 2 - level)

        high = exactly if exact else _between(excess, low, high)
    known = (variance <= 0) & (more <= 0)  # nothing is left to chance
    return np.where(known, rate, np.where((rate >= 1) | (raised[1] <= 0), 1.0, high))


def _beta(rate: Floats, variance: Floats, more: Floats) -> tuple[Floats, Floats]:
    """Parameters of the beta distribution that saw an event of weight `more` besides."""
    spread = variance / (1 - rate) + more**2
    events = (rate + more) ** 2 / spread
    others = (1 - rate - more) * (rate + more) / spread + 1
    return np.asarray(events), np.asarray(others)


def _between(f: Callable[[Floats], Floats], low: Floats, high: Floats) -> Floats:
    """Where the rising function f is 0, element by element: regula falsi, Illinois' way."""
    below, above = f(low), f(high)
    at, right = high, np.zeros(np.shape(high), bool)
    for step in range(STEPS):
        at = high - above * np.where(above > below, (high - low) / (above - below), 0.0)
        here, before = f(at), right
        right = here > 0
        # An end that stays twice loses half of its say, so that it does not stay for ever.
        again = (right == before) & (step > 0)
        low, high = np.where(right, low, at), np.where(right, at, high)
        below, above = (
            np.where(right, np.where(again, below / 2, below), here),
            np.where(right, here, np.where(again, above / 2, above)),
        )
    return np.asarray(at)


def student(values: Floats, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of a sample of rates, with Student's interval within 0 and 1.

    Args:
        values: One rate for each unit that was drawn, float64, (units,), two or more.
        confidence: Nominal coverage, between 0 and 1.

    Returns:
        Mean, lower and upper limit.

    >>> [round(x, 3) for x in student(np.array([0.0, 0.1, 0.2]))]
    [0.1, 0.0, 0.348]
    """
    n = len(values)
    mean = float(values.mean())
    half = float(t_quantile(confidence, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return mean, max(mean - half, 0.0), min(mean + half, 1.0)
