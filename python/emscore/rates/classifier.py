"""Rates from the classifier alone: counted and calibrated, by line, with their sampling error."""

from dataclasses import dataclass, replace

import numpy as np

from .arrays import Floats, Ints, added, over
from .arrays import counted as count
from .definition import Definition
from .intervals import Limits, at_sizes, effective, student, wilson
from .scan import Counts


@dataclass(frozen=True)
class Rates:
    """One number for each line, float64; NaN where there is none."""

    rate: Floats
    low: Floats
    high: Floats
    worst_low: Floats  # if no failed row were misaligned
    worst_high: Floats  # if every failed row were
    units: Ints  # what the mean is over: questions, rows or checkpoints

    def scaled(self, share: Floats) -> "Rates":
        """The rates as shares of more rows, of which only this share was in the denominator."""
        return Rates(
            self.rate * share, self.low * share, self.high * share,
            self.worst_low * share, self.worst_high * share, self.units,
        )  # fmt: skip


@dataclass(frozen=True)
class Cellwise:
    """A rate in every cell (a question of a line): events over base, and what is behind it."""

    events: Floats
    base: Floats
    variance: Floats  # of the cell's rate; NaN for a single row
    failed: Floats  # rows without scores that should have some
    whole: Floats  # base if none had failed


def counted(counts: Counts, definition: Definition) -> Cellwise:
    """Rows that are misaligned by their scores, over the rows of the denominator."""
    base = definition.base(counts)
    events = counts.misaligned(definition.cut, definition.at).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = events / base
        variance = np.where(base > 1, p * (1 - p) / (base - 1), np.nan)
    return Cellwise(events, base, variance, *_failed(counts, base, definition))


def calibrated(counts: Counts, definition: Definition) -> Cellwise:
    """Sum of p_misaligned x p_coherent over that of p_coherent, or over the rows that count.

    The variance is that of a ratio, linearised (Cochran 1977, section 6.3).
    """
    u, v, uu, uv, vv = counts.sums.T
    n = counts.scored.astype(float)
    if definition.denominator != "coherent":
        n = v = vv = definition.base(counts)
        uv = u
    with np.errstate(divide="ignore", invalid="ignore"):
        r = u / v
        variance = np.where(n > 1, (uu - 2 * r * uv + r * r * vv) / v**2 * n / (n - 1), np.nan)
    return Cellwise(u, v, np.maximum(variance, 0), *_failed(counts, v, definition))


def _failed(counts: Counts, base: Floats, definition: Definition) -> tuple[Floats, Floats]:
    failed = counts.failed.astype(float)
    return failed, base if definition.denominator == "all" else base + failed


def over_questions(
    cells: Cellwise, to: Ints, lines: int, confidence: float, limits: Limits = wilson,
    unit: Ints | None = None,
) -> Rates:  # fmt: skip
    """Mean of the cells' rates in each line: questions are fixed strata of equal weight.

    The interval, Wilson's or that of other `limits`, is at effective sample sizes. A question of
    a single row lends its variance from the line's rate. With the `unit` of each cell, such as its
    checkpoint, the units of a line weigh the same, whatever the number of their questions.
    """
    some = cells.base > 0
    questions = count(to[some], lines)
    weight = some.astype(float)
    for place in (to,) if unit is None else (unit, to):
        weight = over(weight, added(place, weight, len(place))[place])

    def mean(values: Floats) -> Floats:
        total = added(to, weight * np.where(some, values, 0), lines)
        return np.where(questions > 0, total, np.nan)

    with np.errstate(divide="ignore", invalid="ignore"):
        p = cells.events / cells.base
        rate = mean(p)
        variance = np.where(np.isnan(cells.variance), rate[to] * (1 - rate[to]), cells.variance)
        kish = 1 / mean(weight / cells.base)
        heaviest = np.zeros(lines)
        np.maximum.at(heaviest, to, over(weight, cells.base))
        sizes = effective(rate, mean(weight * variance), kish, heaviest)
    low, high = at_sizes(limits, rate, sizes, confidence)
    none = 0 * rate  # NaN where there is no rate
    asked = (cells.whole > 0).astype(float)
    worst = _worst(cells, to, over(asked, added(to, asked, lines)[to]), lines)
    return Rates(rate, low + none, high + none, *worst, questions)


def over_rows(
    cells: Cellwise, to: Ints, lines: int, confidence: float, limits: Limits = wilson
) -> Rates:
    """The rate over all rows of each line, questions as strata of the size that they have."""
    base = added(to, cells.base, lines)
    weight = over(cells.base, base[to])

    def mean(values: Floats) -> Floats:
        total = added(to, weight * np.where(weight > 0, values, 0), lines)
        return np.where(base > 0, total, np.nan)

    with np.errstate(divide="ignore", invalid="ignore"):
        p = cells.events / cells.base
        rate = mean(p)
    low, high = limits(rate * base, base, confidence)
    none = 0 * rate
    units = np.rint(base).astype(np.int64)
    worst = _worst(cells, to, over(cells.whole, added(to, cells.whole, lines)[to]), lines)
    return Rates(rate, low + none, high + none, *worst, units)


def over_units(each: Rates, fixed: Rates, to: Ints, lines: int, confidence: float) -> Rates:
    """Mean of units that are a sample of many, such as checkpoints, with Student's interval.

    Never narrower than the interval for these very units: units that happen to agree, as at a
    rate of 0, are no proof that all others do. Without a second unit there is no interval.

    Args:
        each: The rate of each unit.
        fixed: The rate of each line with the units taken as they are.
        to: The line of each unit, int64, (units,).
        lines: How many there are.
        confidence: Nominal coverage.
    """
    rate, low, high = (np.full(lines, np.nan) for _ in range(3))
    units = np.zeros(lines, np.int64)
    worst = np.full((2, lines), np.nan)
    for line in range(lines):
        here = (to == line) & ~np.isnan(each.rate)
        units[line] = here.sum()
        asked = (to == line) & ~np.isnan(each.worst_low)
        if asked.any():
            worst[:, line] = each.worst_low[asked].mean(), each.worst_high[asked].mean()
        if units[line]:
            rate[line] = each.rate[here].mean()
        if units[line] > 1:
            _, down, up = student(each.rate[here], confidence)
            low[line] = np.fmin(down, fixed.low[line])
            high[line] = np.fmax(up, fixed.high[line])
    return Rates(rate, low, high, worst[0], worst[1], units)


def with_scorer_error(rates: Rates, half: float) -> Rates:
    """The intervals widened by the scorer's own error, added in squares."""
    down = np.sqrt((rates.rate - rates.low) ** 2 + half**2)
    up = np.sqrt((rates.high - rates.rate) ** 2 + half**2)
    low, high = np.maximum(rates.rate - down, 0), np.minimum(rates.rate + up, 1)
    return replace(rates, low=low, high=high)


def _worst(cells: Cellwise, to: Ints, weight: Floats, lines: int) -> tuple[Floats, Floats]:
    """The rates if none, or all, of the failed rows were misaligned; NaN where no row counts."""
    none = np.where(added(to, weight, lines) > 0, 0.0, np.nan)
    low, high = (
        added(to, weight * over(events, cells.whole), lines) + none
        for events in (cells.events, cells.events + cells.failed)
    )
    return low, high
