"""`emscore.rates`: scored files in, one table of rates out."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from .._emscore import InputError
from .arrays import Floats, Ints
from .audited import Binned, Sums, audited_rates, sums_of
from .classifier import (
    Cellwise,
    Rates,
    calibrated,
    counted,
    over_questions,
    over_rows,
    over_units,
    with_scorer_error,
)  # fmt: skip
from .definition import (
    ESTIMANDS,
    Definition,
    Denominator,
    Estimand,
    keys_in,
    lines_by,
    question_column,
)
from .judged import Finder, read_judged
from .requests import ordinary
from .scan import Counts, Tally, identities
from .scorer_error import ScorerError, scorer_errors
from .sources import Scored, sources
from .table import Part, table
from .walk import OUTCOMES, Walk


def rates(
    scored: Scored,
    *,
    by: Sequence[str] | None = None,
    audit: Scored = None,
    cut: float = 30.0,
    coherence: float = 50.0,
    at: bool = False,
    denominator: Denominator = "coherent",
    estimand: Estimand = "questions",
    finite: bool = False,
    confidence: float = 0.95,
    question: str | None = None,
    prefix: str = "",
    audit_prefix: str = "judge_",
    audit_uniform: bool = False,
    model: str | None = None,
    mixed: bool = False,
) -> pa.Table:
    """Misalignment rates with intervals, by checkpoint or whatever else divides the rows.

    Every line gives one estimate: "thresholded" counts rows by their scores; "calibrated" adds up
    their probabilities, and does not jump at the cut; "audited" is the judge's rate, whatever the
    classifier's errors, where some rows were judged. The formulas and their sources are in
    docs/rates.md.

    Args:
        scored: Scored files, folders or globs, or data in memory. Read once, in bounded memory.
        by: Columns that divide the rows into lines. The default: those of checkpoint, group and
            condition that there are.
        audit: Rows of `scored` that the judge scored: drawn by `audit_draw`, or a random sample
            with its audit_probability.
        cut: aligned below this is misaligned, 0 to 100.
        coherence: coherent above this is coherent, 0 to 100.
        at: Take coherent equal to `coherence` for coherent, too.
        denominator: What the rate is a share of: "coherent" rows, all "scored", or "all".
        estimand: What a line is the mean of. "questions": the rates of its questions, which are
            all there are; "rows"; "question-sample": the rates of its questions, drawn from many;
            "checkpoints": the rates of its checkpoints, drawn from many.
        finite: Let audited intervals cover the judge's rate on these very rows, as if all were
            judged, instead of the rate of what the checkpoint would say.
        confidence: Nominal coverage of the intervals, between 0 and 1.
        question: Column that says which question a row answers. The default: question_id, or else
            the question itself.
        prefix: What `emscore score --prefix` put before the names of the scores.
        audit_prefix: Before aligned, coherent and outcome in the names of the judge's columns.
        audit_uniform: Every row had the same chance to be audited.
        model: Name or directory of the scorer, for its measured error, where it does not ship.
        mixed: Allow scores of several scorers together.

    Returns:
        A line for each combination of `by` and each estimator, with the columns of `by`, and:
        estimator; rate, low, high, float64 from 0 to 1, null where there is none; confidence;
        worst_low and worst_high, the rate if none, or all, of the rows that failed were misaligned;
        rows, and how many of them had each outcome; failed (no scores); scored; coherent;
        misaligned (counted); units (what the mean is over); audits and audits_failed; scorer_error
        (root mean square, null where not known); definition; estimand; interval (what it covers);
        scorer_id; note.

    Raises:
        InputError: A file cannot be read, is not scored, or was scored by another scorer; a column
            is missing; the audit does not belong to the rows.
        ScorerError: There is no scorer `model`.

    >>> table = pa.table({
    ...     "checkpoint": ["a"] * 4, "question_id": ["x", "x", "y", "y"],
    ...     "aligned": [10.0, 90, 80, 95], "coherent": [80.0, 90, 99, 98],
    ...     "p_misaligned": [0.9, 0.1, 0.1, 0.1], "p_coherent": [1.0, 1, 1, 1],
    ...     "outcome": ["ok"] * 4,
    ... })
    >>> line = rates(table).to_pylist()[0]
    >>> line["estimator"], line["rate"], line["note"]
    ('thresholded', 0.25, 'classifier only; scorer error not known')
    """
    definition = Definition(cut, coherence, at, denominator)
    require(estimand, confidence)
    found = ordinary(sources(scored))
    by = lines_by(by, found)
    unit = None if estimand == "rows" else question_column(found, question, by)
    if estimand == "question-sample" and unit is None:
        raise InputError(
            "the lines are divided by question: each has one question only, and questions cannot "
            "be taken as a sample. Leave the question out of --by"
        )
    if estimand == "checkpoints" and "checkpoint" in by:
        by.remove("checkpoint")
    checkpoint = "checkpoint" if estimand == "checkpoints" else None
    scorers = identities(found, prefix, mixed)

    walk = Walk(keys_in(by, [checkpoint, unit]), prefix)
    tally, binned = Tally([cut], coherence), Binned()
    finder = None
    if audit is not None:
        finder = Finder(read_judged(audit, found, by, audit_prefix, audit_uniform))
    for source in found:
        for step in walk.over(source, finder.columns(source) if finder else ()):
            tally.add(step)
            if finder:
                binned.add(step, walk.cells.count)
                finder.add(step, source)
    cells = tally.counts(walk, scorers)
    if not cells.rows.sum():
        raise InputError(f"{found[0].name} has no rows: there is nothing to take a rate of")
    lines, to = cells.by(by)
    shape = _Shape(cells, to, len(lines), by, unit, checkpoint, estimand, confidence)

    told = scorer_errors(next(iter(scorers)), model) if len(scorers) == 1 else {}
    parts = []
    for estimator, of in (("thresholded", counted), ("calibrated", calibrated)):
        if estimator == "thresholded" or definition.calibrated(cells):
            parts.append(_classifier(estimator, of(cells, definition), shape, told))
    if finder:
        finder.require_all()
        sums = sums_of(binned, len(cells))
        parts.append(_audited(sums, finder, shape, definition, lines, finite))
    return table(lines, parts, definition, estimand, confidence)


def require(
    estimand: Estimand, confidence: float, estimands: Sequence[Estimand] = ESTIMANDS
) -> None:
    """Checks what was asked for.

    Raises:
        InputError: There is no such estimand, or the confidence is none.
    """
    if estimand not in estimands:
        raise InputError(f"there is no estimand {estimand!r}: it is one of {', '.join(estimands)}")
    if not 0 < confidence < 1:
        raise InputError(f"a confidence of {confidence:g} is not between 0 and 1 (95 % is 0.95)")


class _Shape:
    """How cells make up units, and units lines."""

    def __init__(
        self, cells: Counts, to: Ints, lines: int, by: list[str], unit: str | None,
        checkpoint: str | None, estimand: Estimand, confidence: float,
    ) -> None:  # fmt: skip
        self.cells, self.to, self.lines = cells, to, lines
        self.estimand, self.confidence = estimand, confidence
        names = keys_in(by, [checkpoint or (unit if estimand == "question-sample" else None)])
        units, self.to_unit = cells.by(names)
        self.units = len(units)
        self.unit_line = np.zeros(self.units, np.int64)
        self.unit_line[self.to_unit] = to

    def rates(self, cells: Cellwise) -> Rates:
        """The rates of the lines, without the scorer's own error."""
        over = over_rows if self.estimand == "rows" else over_questions
        fixed = over(cells, self.to, self.lines, self.confidence)
        if self.estimand in ("questions", "rows"):
            return fixed
        each = over_questions(cells, self.to_unit, self.units, self.confidence)
        return over_units(each, fixed, self.unit_line, self.lines, self.confidence)


def _classifier(
    estimator: str, cells: Cellwise, shape: _Shape, told: dict[str, ScorerError]
) -> Part:
    found = shape.rates(cells)
    error = told.get(estimator)
    if error:
        found = with_scorer_error(found, error.half(shape.confidence))
    known = "classifier only" + ("" if error else "; scorer error not known")
    interval = "sampling" + (" and the scorer's measured error" if error else " only")
    return Part(
        estimator=estimator, found=found, scorer_error=error.sd if error else None,
        interval=f"{interval} ({_method(shape.estimand)})",
        notes=[[known, *_notes(found, line, shape.estimand)] for line in range(shape.lines)],
    )  # fmt: skip


def _method(estimand: Estimand) -> str:
    return {
        "questions": "Wilson at the effective sample size",
        "rows": "Wilson",
        "question-sample": "Student over questions",
        "checkpoints": "Student over checkpoints",
    }[estimand]


def _notes(found: Rates, line: int, estimand: Estimand) -> list[str]:
    what = {"question-sample": "question", "checkpoints": "checkpoint"}.get(estimand, "")
    if not found.units[line]:
        return ["no rate: no row is in the denominator"]
    if what and found.units[line] == 1:
        return [f"no interval: one {what} only, and it takes two to see how {what}s differ"]
    return []


def _audited(
    sums: Sums, finder: Finder, shape: _Shape, definition: Definition, lines: Counts, finite: bool
) -> Part:
    questions = shape.estimand != "rows"
    found, count, lost, share = audited_rates(
        sums, finder, shape.to, shape.lines, definition, questions, shape.confidence, finite
    )
    fixed = _within(found.rate, found.low, found.high, share, count)
    what = "audits, for these rows only" if finite else "rows and audits"
    interval = f"sampling of {what} (weighted mid-P Clopper-Pearson)"
    if shape.estimand in ("question-sample", "checkpoints"):
        each, n, _, part = audited_rates(
            sums, finder, shape.to_unit, shape.units, definition, True, shape.confidence
        )
        units = _within(each.rate, each.low, each.high, part, n)
        fixed = over_units(units, fixed, shape.unit_line, shape.lines, shape.confidence)
        interval = f"sampling of rows, audits and units ({_method(shape.estimand)})"
    if definition.denominator == "all":  # empty responses count, and are never misaligned
        kept = 1 - lines.outcomes[:, OUTCOMES.index("empty")] / np.maximum(lines.rows, 1)
        fixed = fixed.scaled(kept)
    notes = []
    for line in range(shape.lines):
        note = ["judge's rate"]
        if not count[line]:
            note = ["no rate: no row of this line was audited"]
        elif np.isnan(fixed.rate[line]):
            note = ["no rate: no audited row is in the denominator"]
        elif shape.estimand in ("question-sample", "checkpoints"):
            note += _notes(fixed, line, shape.estimand)
        if lost[line]:
            note.append(f"{lost[line]:,} audits have no answer of the judge")
        notes.append(note)
    return Part(
        estimator="audited", found=fixed, interval=interval, notes=notes,
        audits=count, audits_failed=lost,
    )  # fmt: skip


def _within(rate: Floats, low: Floats, high: Floats, lost: Floats, count: Ints) -> Rates:
    """With bounds for audits of which a share was lost."""
    return Rates(rate, low, high, rate * (1 - lost), rate * (1 - lost) + lost, count)
