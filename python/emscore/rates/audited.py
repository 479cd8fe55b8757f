"""The judge's rate of each line, from scored rows and an audit of them."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .arrays import Floats, Ints, added, counted, gathered, grown, nth, over
from .bins import BINS, UNSCORED, bin_of
from .classifier import Rates
from .contrast import Audited
from .definition import Definition
from .difference import Audits, Estimates, Population, estimate
from .judged import Finder, Judged
from .walk import OUTCOMES, Step

#: The classifier's word on a question's denominator counts as so many audits of the question.
PRIOR = 2.0


class Binned:
    """Rows, and what the classifier expects of them, by cell and bin of the score.

    Empty responses are left out: there is nothing that a judge could have scored.
    """

    def __init__(self) -> None:
        self.sums = np.zeros((1, BINS + 1, 3))  # rows, u, v
        self.empty = np.zeros(1)

    def add(self, step: Step, cells: int) -> None:
        """Counts some rows, of so many cells so far."""
        self.sums, self.empty = grown(self.sums, cells), grown(self.empty, cells)
        kept = step.outcome != OUTCOMES.index("empty")
        np.add.at(self.empty, step.cell[~kept], 1)
        v = np.where(step.scored, step.scores["p_coherent"], np.nan)[kept]
        u = step.scores["p_misaligned"][kept] * v
        at = (step.cell[kept] * (BINS + 1) + bin_of(u)) * 3
        flat = self.sums.reshape(-1)
        for column, values in enumerate((1.0, np.nan_to_num(u), np.nan_to_num(v))):
            np.add.at(flat, at + column, values)


@dataclass(frozen=True)
class Sums:
    """What `Binned` found, of (cells, bins); empty ones of (cells,)."""

    rows: Floats
    u: Floats
    v: Floats
    empty: Floats

    def by(self, to: Ints, cells: int) -> "Sums":
        """The same for cells put together: `to` is the new place of each, or -1."""
        return Sums(*(gathered(to, values, cells) for values in vars(self).values()))


@dataclass(frozen=True)
class Audit:
    """An audit, and the rows that it was drawn from.

    Attributes:
        judged: Its rows; the next four have a value for each.
        cell: Where it is, int64.
        u, v: What the classifier expects of it, float64, NaN where it has no scores.
        empty: Whether it has no text that could be judged.
        sums: Of all scored rows, by cell.
    """

    judged: Judged
    cell: Ints
    u: Floats
    v: Floats
    empty: npt.NDArray[np.bool_]
    sums: Sums

    def by(self, to: Ints, cells: int) -> "Audit":
        """The same for cells put together: `to` is the new place of each, or -1."""
        return replace(self, cell=to[self.cell], sums=self.sums.by(to, cells))

    def take(self, cells: Ints) -> "Audit":
        """The same with these cells as its own, some of them perhaps several times."""
        many = counted(self.cell, len(self.sums.rows))
        first = np.cumsum(many) - many
        place = np.repeat(np.arange(len(cells)), many[cells])
        rows = np.argsort(self.cell, kind="stable")
        rows = rows[first[cells][place] + nth(place, len(cells))]
        kept = np.argsort(rows, kind="stable")  # the order of an audit decides on its folds
        place, rows = place[kept], rows[kept]
        sums = Sums(*(part[cells] for part in vars(self.sums).values()))
        return Audit(
            self.judged.take(rows), place, self.u[rows], self.v[rows], self.empty[rows], sums
        )


def audit_of(finder: Finder, binned: Binned, to: Ints, cells: int) -> Audit:
    """What a pass over the scored rows found, in cells put together as `to` says.

    Audits come in an order of their own, so that folds do not depend on the file's.

    Raises:
        InputError: Not all audits are in one of these.
    """
    finder.cell = np.append(to, -1)[finder.cell]
    finder.require_all()
    sums = sums_of(binned, len(to)).by(to, cells)
    at = finder.judged.order()
    return Audit(
        finder.judged.take(at), finder.cell[at], finder.u[at], finder.v[at], finder.empty[at], sums
    )


def _sizes(
    audits: Audits, cell: Ints, to: Ints, lines: int, share: Floats
) -> tuple[Floats, Floats]:
    """What a row of each question counts for, (cells,), and the pull of each audit, (audits,).

    By `weights` questions weigh the same if their denominators are what the classifier expects. By
    the judge those of a question may be more or fewer: delta = sum(w d) / sum(w v) among its
    audits, shrunk towards that of its line. A row counts for the line's delta over its question's,
    so that the rate becomes the mean of the questions' own. What an audit moves the rate by through
    delta is its pull (Taylor linearisation: Särndal, Swensson and Wretman 1992, section 5.5).

    Args:
        audits: With the classifier's weights.
        cell: The question (of a line) of each.
        to: The line of each question.
        lines: How many there are.
        share: Of each question's rows, how many were audited; of all, delta is known.
    """

    def total(values: Floats) -> Floats:
        return added(cell, audits.weight * values, len(to))

    def by_line(values: Floats) -> Floats:
        return added(to, values, lines)[to]

    y, d, v = total(audits.y), total(audits.d), total(audits.v)
    usual, own = over(by_line(d), by_line(v)), over(d, v)
    seen = over(v**2, total(audits.weight * audits.v**2))
    sure = over(seen, seen + PRIOR * (1 - share))
    delta = sure * own + (1 - sure) * usual
    size = np.where(delta > 0, over(usual, delta), 1.0)
    rate = over(by_line(size * y), by_line(size * d))
    slope = over(sure * size**2 * (y - rate * d), usual * v)
    return size, slope[cell] * (audits.d - own[cell] * audits.v)


def audited_rates(
    audit: Audit, to: Ints, lines: int, definition: Definition, questions: bool, confidence: float,
    finite: bool = False, exact: bool = False, unit: Ints | None = None,
) -> tuple[Rates, Ints, Estimates]:  # fmt: skip
    """Rates of each line, whose units are audits; audits without an answer; and the estimates.

    With `questions`, each question of a line weighs the same: its rows have the weight that lets
    the rows of its denominator, by the classifier, add up to the same. A question of which less
    than half a row is expected there has what its audits say, or no rate. The estimates are of rows
    that are not empty. In the worst case all audits without an answer are in the denominator.

    Args:
        audit: By cell.
        to: The line of each cell, int64, (cells,).
        lines: How many there are.
        definition: What is counted.
        questions: Whether each question of a line weighs the same, instead of each row.
        confidence: Nominal coverage.
        finite: Whether only these rows are asked about.
        exact: As in `intervals.weighted`.
        unit: With `questions`, the unit of each cell, such as its checkpoint: the units of a line
            weigh the same, whatever the number of their questions.
    """
    sums, judged, cell = audit.sums, audit.judged, audit.cell
    rows, line = sums.rows.sum(1), to[cell]
    y, d = judged.verdicts(definition)
    u, v = np.nan_to_num(audit.u), np.nan_to_num(audit.v)
    scored = (~np.isnan(audit.u)).astype(np.float64)
    v = {"coherent": v, "scored": scored, "all": np.ones_like(v)}[definition.denominator]
    scores = sums.rows.copy()
    scores[:, UNSCORED] = 0
    base = {"coherent": sums.v, "scored": scores, "all": sums.rows}[definition.denominator]
    weight, empty = np.ones(len(rows)), sums.empty * (definition.denominator == "all")
    if questions:
        share = _share(audit, d, rows)
        missed = (base.sum(1) < 0.5) & (share > 0)
        base = np.where(missed[:, None], share[:, None] * sums.rows, base)
        v = np.where(missed[cell], share[cell], v)
        expected = base.sum(1) + empty
        weight = np.where(expected >= 0.5, 1 / np.maximum(expected, 0.5), 0)
        if unit is not None:
            weight = over(weight, counted(unit[weight > 0], len(unit))[unit])
    weight = over(weight, added(to, weight * rows, lines)[to])
    w = weight[cell] / judged.probability
    used = judged.answered & ~audit.empty & (w > 0)

    audits = Audits(line[used], bin_of(audit.u)[used], w[used], y[used], d[used], u[used], v[used])
    size = np.ones(len(rows))
    if questions:
        share = np.minimum(over(counted(cell[used], len(rows)), rows), 1)
        size, pull = _sizes(audits, cell[used], to, lines, share)
        each = size[cell[used]]
        audits = replace(
            audits, y=each * audits.y, d=each * audits.d, u=each * audits.u, v=each * audits.v,
            size=each, pull=pull,
        )  # fmt: skip

    def by_line(values: Floats, weight: Floats) -> Floats:
        return gathered(to, weight[:, None] * values, lines)

    population = Population(
        by_line(sums.rows, weight), by_line(sums.u, weight * size), by_line(base, weight * size),
        added(to, weight**2 * rows, lines),
        by_line(sums.rows, np.ones(len(rows))) if finite else None,
    )  # fmt: skip
    found = estimate(population, audits, confidence, exact=exact)
    lost = added(line, np.where(judged.answered, 0.0, w), lines)
    lost = over(lost, lost + added(line[used], w[used] * d[used], lines))
    none = found.rate * (1 - lost)
    units = counted(line[used], lines)
    rates = Rates(found.rate, found.low, found.high, none, none + lost, units)
    kept = over(np.ones(lines), added(to, weight * (rows + empty), lines))
    return rates.scaled(kept), counted(line[~judged.answered], lines), found


def audited_side(audit: Audit, cells: Ints, definition: Definition) -> Audited:
    """Sums up one side of every line of a comparison, as `contrast.side` does by the classifier.

    Its checkpoints weigh the same, as independent samples do in a mean.

    Args:
        audit: By cell.
        cells: The cells of each line, by checkpoint and question, int64, (lines, checkpoints,
            questions); -1 where there is none.
        definition: What is counted.

    Returns:
        The side; its rate is NaN where no answer was audited.
    """
    lines, members, _ = cells.shape
    line, member, question = np.nonzero(cells >= 0)
    mine = audit.take(cells[line, member, question])
    unit = line * members + member
    found, _, each = audited_rates(mine, unit, lines * members, definition, True, 0.95)
    rates, n, variance, above, below = (
        values.reshape(lines, members)
        for values in (each.rate, found.units, each.variance, each.above, each.below)
    )
    units = (~np.isnan(rates)).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.nansum(rates, 1) / units
        error = np.sqrt(np.nansum((rates - mean[:, None]) ** 2, 1) / (units - 1) / units)
        variance = np.nansum(variance, 1) / units**2
        above, below = (heaviest.max(1) / units for heaviest in (above, below))
    return Audited(mean, n.sum(1), units, np.where(units > 1, error, 0), variance, above, below)


def _share(audit: Audit, d: Floats, rows: Floats) -> Floats:
    """Of each cell's rows, which share its audits find in the denominator: no row, or at least one.

    Args:
        audit: By cell.
        d: Whether each audit is in the denominator.
        rows: Of each cell.
    """
    w = np.where(audit.judged.answered & ~audit.empty, 1 / audit.judged.probability, 0)
    some = added(audit.cell, w * d, len(rows))
    share = np.maximum(over(some, added(audit.cell, w, len(rows))), over(np.ones(len(rows)), rows))
    return np.where(some > 0, share, 0)


def sums_of(binned: Binned, cells: int) -> Sums:
    """The sums of so many cells."""
    rows, u, v = np.moveaxis(binned.sums[:cells], 2, 0)
    return Sums(rows, u, v, binned.empty[:cells])
