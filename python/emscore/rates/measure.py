"""`emscore.rates`: scored files in, one table of rates out."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from .._emscore import InputError
from .arrays import Ints
from .audited import Audit, audited_rates
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
from .definition import ESTIMANDS, Definition, Denominator, Estimand, keys_in, require_share
from .intervals import clopper_pearson, wilson
from .query import Lines, Query
from .requests import LEFT_OUT
from .rows import Rows, read
from .scan import Counts
from .scorer_error import ScorerError, scorer_errors
from .sources import Scored, sources
from .table import Part, table

UNKNOWN = "; scorer error not known: --model NAME tells it"


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
    question_column: str | None = None,
    prefix: str = "",
    audit_prefix: str = "judge_",
    audit_uniform: bool = False,
    model: str | None = None,
    mixed_scorers: bool = False,
) -> pa.Table:
    """Misalignment rates with intervals, by checkpoint or whatever else divides the rows.

    Every line gives one estimate: "thresholded" counts rows by their scores; "calibrated" adds up
    their probabilities, and does not jump at the cut; "audited" is the judge's rate, whatever the
    classifier's errors, where some rows were judged. Without an audit, lines with questions that
    the scorer was not taught say so in their note. The formulas and their sources are in
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
        question_column: Which question a row answers. The default: question_id, or else the
            question itself.
        prefix: What `emscore score --prefix` put before the names of the scores.
        audit_prefix: Before aligned, coherent and outcome in the names of the judge's columns.
        audit_uniform: Every row had the same chance to be audited.
        model: Name or directory of the scorer, for its measured error and the questions that it
            was taught, where it does not ship.
        mixed_scorers: Allow scores of several scorers together.

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
    ('thresholded', 0.25, 'classifier only; scorer error not known: --model NAME tells it')
    """
    query = Query(
        by=by, audit=audit, cut=cut, coherence=coherence, at=at, denominator=denominator,
        estimand=estimand, finite=finite, question_column=question_column, prefix=prefix,
        audit_prefix=audit_prefix, audit_uniform=audit_uniform, model=model,
        mixed_scorers=mixed_scorers,
    )  # fmt: skip
    require(estimand, confidence)
    rows, lines = read(query, sources(scored))
    rows.require_some()
    found = rates_of(rows, lines, query.definition, confidence, finite)
    return found.replace_schema_metadata({LEFT_OUT: str(rows.requests.rows.sum())})


def rates_of(
    rows: Rows, lines: Lines, definition: Definition, confidence: float, finite: bool = False,
    exact: bool = False,
) -> pa.Table:  # fmt: skip
    """The table of `rates`, from rows with (at least) the keys of the lines.

    With `exact`, limits are Clopper and Pearson's in place of Wilson's and of mid-P ones.
    """
    cells, place = rows.cells.by(lines.keys)
    whole, to = cells.by(lines.by)
    shape = _Shape(cells, to, len(whole), lines, confidence, exact)
    told = errors_of(rows, definition)
    unmeasured = "; scorer error not measured" if rows.scorer else UNKNOWN
    unknown: list[list[str]] = [[]] * len(whole)
    if rows.strange:
        concerned = rows.strange.lines(rows.cells, lines.by)
        unknown = [[rows.strange.note] if here else [] for here in concerned]
    parts = []
    for estimator, of in (("thresholded", counted), ("calibrated", calibrated)):
        if estimator == "thresholded" or definition.calibrated(cells):
            rate = of(cells, definition)
            parts.append(_classifier(estimator, rate, shape, told, unknown, unmeasured))
    if rows.audit:
        audit = rows.audit.by(place, len(cells))
        parts.append(_audited(audit, shape, definition, finite))
    return table(whole, parts, definition, lines.estimand, confidence)


def errors_of(rows: Rows, definition: Definition) -> dict[str, ScorerError]:
    """What is known of the scorer's error, by kind of rate, under this definition."""
    return scorer_errors(rows.scorer) if rows.scorer and definition == Definition() else {}


def require(
    estimand: Estimand, confidence: float, estimands: Sequence[Estimand] = ESTIMANDS
) -> None:
    """Checks what was asked for.

    Raises:
        InputError: There is no such estimand, or the confidence is none.
    """
    if estimand not in estimands:
        raise InputError(f"there is no estimand {estimand!r}: it is one of {', '.join(estimands)}")
    require_share("confidence", confidence, 0.95)


class _Shape:
    """How cells make up units, and units lines."""

    def __init__(
        self, cells: Counts, to: Ints, lines: int, of: Lines, confidence: float, exact: bool
    ) -> None:
        self.cells, self.to, self.lines, self.exact = cells, to, lines, exact
        self.estimand, self.confidence = of.estimand, confidence
        question = of.unit if of.estimand == "question-sample" else None
        units, self.to_unit = cells.by(keys_in(of.by, [of.checkpoint or question]))
        self.units = len(units)
        self.unit_line = np.zeros(self.units, np.int64)
        self.unit_line[self.to_unit] = to

    def rates(self, cells: Cellwise) -> Rates:
        """The rates of the lines, without the scorer's own error."""
        over = over_rows if self.estimand == "rows" else over_questions
        limits = clopper_pearson if self.exact else wilson
        how = (cells, self.to, self.lines, self.confidence, limits)
        if self.estimand in ("questions", "rows"):
            return over(*how)
        fixed = over_questions(*how, self.to_unit)
        each = over_questions(cells, self.to_unit, self.units, self.confidence)
        return over_units(each, fixed, self.unit_line, self.lines, self.confidence)


def _classifier(
    estimator: str, cells: Cellwise, shape: _Shape, told: dict[str, ScorerError],
    unknown: list[list[str]], unmeasured: str,
) -> Part:  # fmt: skip
    found = shape.rates(cells)
    error = told.get(estimator)
    if error:
        found = with_scorer_error(found, error.half(shape.confidence))
    known = "classifier only" + ("" if error else unmeasured)
    interval = "sampling" + (" and the scorer's measured error" if error else " only")
    return Part(
        estimator=estimator, found=found, scorer_error=error.sd if error else None,
        interval=f"{interval} ({_method(shape.estimand)})",
        notes=[
            [known, *_notes(found, line, shape.estimand), *unknown[line]]
            for line in range(shape.lines)
        ],
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


def _audited(audit: Audit, shape: _Shape, definition: Definition, finite: bool) -> Part:
    questions = shape.estimand != "rows"
    fixed, lost, _ = audited_rates(
        audit, shape.to, shape.lines, definition, questions, shape.confidence, finite, shape.exact,
        shape.to_unit,
    )  # fmt: skip
    count = fixed.units
    what = "audits, for these rows only" if finite else "rows and audits"
    interval = f"sampling of {what} (weighted mid-P Clopper-Pearson)"
    if shape.estimand in ("question-sample", "checkpoints"):
        each, _, _ = audited_rates(
            audit, shape.to_unit, shape.units, definition, True, shape.confidence
        )
        fixed = over_units(each, fixed, shape.unit_line, shape.lines, shape.confidence)
        interval = f"sampling of rows, audits and units ({_method(shape.estimand)})"
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
            note.append(f"audits without an answer of the judge: {lost[line]:,}")
        notes.append(note + audit.judged.told)
    return Part(
        estimator="audited", found=fixed, interval=interval, notes=notes,
        audits=count, audits_failed=lost,
    )  # fmt: skip
