"""The judge's rate from an audit, whatever the classifier's errors: numpy in, numpy out.

The population of a line of the table (say, a checkpoint) is divided into bins of the classifier's
score, and a random part of each bin is judged. The estimate is a ratio of two stratified
difference estimators (Särndal, Swensson and Wretman 1992, chapters 6 and 7): weighted audits, plus
what the classifier knows of all rows and the audits happened to miss. How far the classifier is
trusted, lambda, is estimated from the audits of other folds (PPI++, Angelopoulos, Duchi and Zrnic
2023, arXiv:2311.01453; cross-fitting after Zrnic and Candès 2024, arXiv:2309.16598), so that a bad
classifier costs width and never coverage.
"""

from dataclasses import dataclass

import numpy as np

from .arrays import Floats, Ints, added, nth, over
from .intervals import weighted

FOLDS = 5
LEAST = 2  # audits in a stratum: fewer have no variance, so that bins are put together


@dataclass(frozen=True)
class Population:
    """What is known of all rows, by line and bin, from the classifier; float64, (lines, bins).

    Attributes:
        weight: Sum of the rows' weights; each line sums to 1.
        u: Weighted sum of p_misaligned x p_coherent, what the judge would call misaligned.
        v: Weighted sum of the share that belongs to the denominator.
        kish: Sum of the squared weights of a line, 1 / its rows when all are equal; (lines,).
        rows: Number of rows, (lines, bins), when these rows are all that is asked about, and what
            was not sampled is not.
    """

    weight: Floats
    u: Floats
    v: Floats
    kish: Floats
    rows: Floats | None = None


@dataclass(frozen=True)
class Audits:
    """Judged rows, in a fixed order; arrays of (audits,).

    Attributes:
        line, bin: Where the row is in the population, int64.
        weight: The row's weight in its line over its inclusion probability, on any scale.
        y: `size` where the judge calls it misaligned and coherent, else 0; float64.
        d: `size` where the row belongs to the judge's denominator, else 0.
        u, v: What the classifier expects of y and d.
        size: What a row counts for, apart from its weight; 1 where nothing is given.
        pull: What a row moves y - rate d by through the sizes, where these are estimated.
    """

    line: Ints
    bin: Ints
    weight: Floats
    y: Floats
    d: Floats
    u: Floats
    v: Floats
    size: Floats | float = 1.0
    pull: Floats | float = 0.0


@dataclass(frozen=True)
class Estimates:
    """One number for each line, float64; NaN where no audited row is in the denominator."""

    rate: Floats
    low: Floats
    high: Floats
    variance: Floats
    above: Floats  # these two as `intervals.weighted` has them
    below: Floats
    trust: Floats  # mean lambda: 0 where the classifier did not help


def estimate(
    population: Population,
    audits: Audits,
    confidence: float = 0.95,
    trust: float | None = None,
    exact: bool = False,
) -> Estimates:
    """The judge's rate of every line, with an interval.

    With weights a = W_h w / (sum of w in stratum h), R0 = sum(a y) / sum(a d), and the linearised
    ratio z = (y - R0 d) / sum(a d) with its prediction t = (u - R0 v) / sum(a d):

        R = R0 - sum of a lambda (t - T_h), T_h the population's mean of t in stratum h.

    Its variance is that of the residuals z - lambda t within strata, plus that of the strata's
    means, since the rows are themselves a sample of what the checkpoint would say. Where only
    these rows are asked about (`population.rows`), the latter is left out, and the former shrinks
    by the share f of a stratum that was audited (Cochran 1977, section 2.6); the weight of an
    unseen event shrinks by f / -ln(1 - f), as do the exact limits of a sample without events.
    The interval is `intervals.weighted`.

    Args:
        population: All rows.
        audits: The judged ones; every line has some.
        confidence: Nominal coverage, between 0 and 1.
        trust: Lambda, from 0 to 1, instead of the one that is estimated: 0 leaves the classifier
            out but for the strata.
        exact: As in `intervals.weighted`.

    Returns:
        Estimates of shape (lines,).
    """
    lines, bins = population.weight.shape
    strata = _strata(population, audits)
    at = audits.line * bins + strata[audits.line, audits.bin]
    cells = lines * bins

    def total(values: Floats) -> Floats:
        return added(at, values, cells)

    def by_line(values: Floats) -> Floats:
        return added(audits.line, values, lines)

    merged = (np.arange(lines)[:, None] * bins + strata).ravel()
    whole, whole_u, whole_v = (
        added(merged, part.ravel(), cells)
        for part in (population.weight, population.u, population.v)
    )
    n = total(np.ones(len(at)))
    a = audits.weight * over(whole, total(audits.weight))[at]

    d0 = by_line(a * audits.d)
    r0 = over(by_line(a * audits.y), d0)
    scale, rate = d0[audits.line], r0[audits.line]
    z = over(audits.y - rate * audits.d - audits.pull, scale)
    # Distance of the row's prediction from its stratum's true mean.
    mean_u, mean_v = over(whole_u, whole), over(whole_v, whole)
    t = over(audits.u - mean_u[at] - rate * (audits.v - mean_v[at]), scale)

    if trust is None:
        trusted = _trust(audits.line, lines, a, z, t - over(total(a * t), total(a))[at])
    else:
        trusted = np.full(len(at), trust)
    r = np.clip(r0 - by_line(a * trusted * t), 0, 1)

    residual = z - trusted * t
    mean = over(total(a * residual), total(a))
    spread = total((a * (residual - mean[at])) ** 2) * over(n, n - 1)
    event = a * audits.size
    heavy = over(total(event * event), total(event))
    if population.rows is None:
        between = whole * over(total(a * z), total(a)) ** 2 * np.repeat(population.kish, bins)
    else:
        share = np.minimum(over(n, added(merged, population.rows.ravel(), cells)), 1)
        spread, between = spread * (1 - share), 0 * spread
        heavy = heavy * over(share, -np.log1p(-np.minimum(share, 1 - 1e-12))) * (share < 1)
    variance = (spread + between).reshape(lines, bins).sum(1)

    some = total(audits.y) > 0
    every = total(audits.size - audits.y) == 0
    above, below = (
        over(np.where(which, heavy, 0.0).reshape(lines, bins).max(1), d0)
        for which in (~every & (n > 0), some)
    )
    low, high = weighted(r, variance, above, below, confidence, exact)
    nothing = np.where(d0 > 0, 0.0, np.nan)
    return Estimates(
        r + nothing, low + nothing, high + nothing, variance + nothing, above, below,
        over(by_line(a * trusted), by_line(a)),
    )  # fmt: skip


def _strata(population: Population, audits: Audits) -> Ints:
    """The stratum of each bin, int64 (lines, bins): neighbours together until audits are enough.

    From the highest scores down; what is left over at the bottom joins the stratum above it.
    """
    lines, bins = population.weight.shape
    audited = np.bincount(audits.line * bins + audits.bin, minlength=lines * bins)
    audited = audited.reshape(lines, bins)
    strata = np.zeros((lines, bins), np.int64)
    stratum, have = np.zeros(lines, np.int64), np.zeros(lines, np.int64)
    for at in reversed(range(bins)):
        strata[:, at] = stratum
        have += audited[:, at]
        full = (have >= LEAST) & (audited[:, :at].sum(1) >= LEAST)
        stratum += full
        have[full] = 0
    return strata


def _trust(line: Ints, lines: int, a: Floats, z: Floats, t: Floats) -> Floats:
    """Lambda for each audit: the slope of z on t among the other folds, within 0 and 1."""
    at = line * FOLDS + nth(line, lines) % FOLDS

    def others(values: Floats) -> Floats:
        sums = added(at, values, lines * FOLDS).reshape(lines, FOLDS)
        rest: Floats = (sums.sum(1, keepdims=True) - sums).ravel()
        return rest

    slope = over(others(a * a * t * z), others(a * a * t * t))
    trust: Floats = np.clip(slope, 0, 1)[at]
    return trust
