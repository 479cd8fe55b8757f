"""Differences between sides that answered the same questions: numpy in, numpy out.

A side is one checkpoint, or the checkpoints of a group; a contrast is one side less another, or a
difference of two differences. Sides are independent samples of answers to the same questions, so
that a contrast's interval follows from those of its sides (MOVER: Newcombe 1998, method 10, for
two; Zou and Donner 2008 for more).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from .arrays import Floats, Ints
from .intervals import (
    Interval,
    at_sizes,
    clopper_pearson,
    effective,
    mover,
    t_quantile,
    weighted,
    wilson,
)  # fmt: skip

LARGEST_Z = 8.0  # a p-value by inversion is not given below 1e-15


@dataclass(frozen=True)
class Side:
    """One side of every line of a table; arrays of (lines,).

    Attributes:
        rate: Mean over questions of the rate, and over the checkpoints of the side.
        n: Answers that were counted, or audits.
        units: Checkpoints of the side.
        error: Standard error of the mean over the checkpoints; 0 for a single one.
    """

    rate: Floats
    n: Ints
    units: Ints
    error: Floats

    def fixed(self, confidence: float | Floats, exact: bool) -> Interval:
        """The interval with the checkpoints taken as they are."""
        raise NotImplementedError

    def limits(self, confidence: float | Floats, exact: bool = False) -> Interval:
        """Low and high, each (lines,); `confidence` is one for all lines, or each its own.

        Where the side has several checkpoints, they are what was sampled: then it is Student's
        interval over them, and never narrower than their answers alone allow.
        """
        low, high = self.fixed(confidence, exact)
        t = t_quantile(confidence, np.maximum(self.units - 1, 1))
        half = np.where(self.units > 1, t * self.error, 0)
        return (
            np.minimum(low, np.maximum(self.rate - half, 0)),
            np.maximum(high, np.minimum(self.rate + half, 1)),
        )


@dataclass(frozen=True)
class Counted(Side):
    """A side whose answers the classifier judged: Wilson's interval.

    Attributes:
        down, up: Effective numbers of answers, for the lower and the upper limit.
    """

    down: Floats
    up: Floats

    def fixed(self, confidence: float | Floats, exact: bool) -> Interval:
        """Wilson's interval, or Clopper and Pearson's, at the effective sample sizes."""
        limits = clopper_pearson if exact else wilson
        return at_sizes(limits, self.rate, (self.down, self.up), confidence)


@dataclass(frozen=True)
class Audited(Side):
    """A side of which the judge scored some answers; `variance` and the rest as in `weighted`."""

    variance: Floats
    above: Floats
    below: Floats

    def fixed(self, confidence: float | Floats, exact: bool) -> Interval:
        """The interval of an audited rate, whose tails by MOVER are small enough as they are."""
        return weighted(self.rate, self.variance, self.above, self.below, confidence)


def side(k: Ints, n: Ints, shared: npt.NDArray[np.bool_]) -> Counted:
    """Sums up one side of every line.

    A checkpoint's rate is the mean over the shared questions that it answered, and the side's the
    mean over its checkpoints.

    Args:
        k: Misaligned answers, int64, (lines, checkpoints, questions).
        n: Answers, likewise; 0 for every question of a place where the side has no checkpoint.
        shared: Questions that all sides of the line answered, bool, (lines, questions).

    Returns:
        The side; its rate is NaN in a line without shared questions.
    """
    used = shared[:, None, :] & (n > 0)
    there = used.any(2)
    units = there.sum(1)
    nothing = units == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(used, 1 / (used.sum(2) * units[:, None])[:, :, None], 0)
        p = np.where(used, k / n, 0)
        rate = np.where(nothing, np.nan, (weight * p).sum((1, 2)))
        # A single answer has no variance of its own: it lends that of the side's rate.
        own = np.where(n > 1, p * (1 - p) / (n - 1), (rate * (1 - rate))[:, None, None])
        variance = np.where(used, weight**2 * own, 0).sum((1, 2))
        share = np.where(used, weight / n, 0)  # of the mean that one answer stands for
        kish = 1 / (weight * share).sum((1, 2))
        each = np.where(there, (weight * p).sum(2) * units[:, None], rate[:, None])
        error = np.sqrt(((each - rate[:, None]) ** 2).sum(1) / (units - 1) / units)
        # One more, since rate (1 - rate) falls short of its expectation by one part in `size`.
        down, up = (
            np.where(nothing, 1, size + 1)
            for size in effective(rate, variance, kish - 1, share.max((1, 2)))
        )
    return Counted(
        rate,
        np.where(used, n, 0).sum((1, 2)),
        units,
        np.where(units > 1, error, 0),
        down,
        up,
    )


def contrast(
    sides: Sequence[Side], confidence: float | Floats = 0.95, exact: bool = False
) -> tuple[Floats, Floats, Floats]:
    """First side less the second; of four, first less second, less (third less fourth).

    With `exact` the limits of counted sides are Clopper and Pearson's.

    Returns:
        Differences of rates, lower and upper limits, each (lines,); NaN where nothing is shared.
    """
    signs = np.array([1.0, -1.0, -1.0, 1.0])[: len(sides), None]
    rates = signs * np.stack([one.rate for one in sides])
    ends = np.array([one.limits(confidence, exact) for one in sides])  # (sides, 2, lines)
    ends = np.sort(signs[:, None] * ends, 1)
    low, high = mover(rates, ends[:, 0], ends[:, 1], np.ones((len(sides), 1)), axis=0)
    return rates.sum(0), low, high


def inverted(sides: Sequence[Side]) -> Floats:
    """Two-sided p-values of "the contrast is 0": the level at which its interval begins to hold 0.

    That interval has exact limits: Wilson's are too near so far in the tails.

    Returns:
        p-values, (lines,), at least 1e-15; NaN where nothing is shared.
    """
    z_in, z_out = np.zeros(len(sides[0].rate)), np.full(len(sides[0].rate), LARGEST_Z)
    for _ in range(30):
        z = (z_in + z_out) / 2
        _, low, high = contrast(sides, 1 - 2 * special.ndtr(-z), exact=True)
        away = (low > 0) | (high < 0)
        z_in, z_out = np.where(away, z, z_in), np.where(away, z_out, z)
    return np.where(np.isnan(sides[0].rate), np.nan, 2 * special.ndtr(-z_in))
