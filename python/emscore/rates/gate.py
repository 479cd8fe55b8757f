"""`emscore gate`: is a rate surely below a limit?"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from .._emscore import InputError
from .definition import require_share
from .measure import errors_of, rates_of, require
from .query import Query
from .rows import read
from .scorer_error import ScorerError
from .sources import Scored, sources

Verdict: TypeAlias = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True)
class Gate:
    """What a gate decided.

    Attributes:
        verdict: "fail" if a line fails, else "undecided" if one is, else "pass".
        lines: A line for each checkpoint (or what else divides the rows), with rate, low, high,
            n (audits, or coherent rows), failed (rows without scores), verdict, more (how many more
            rows, or audits, would decide it if the rate stays as it is; null where no number
            would), why, and the note of `rates`.
        corrected: How many lines share the chance of a false failure.
    """

    verdict: Verdict
    lines: pa.Table
    corrected: int


def gate(
    scored: Scored,
    max_rate: float,
    *,
    confidence: float = 0.95,
    by: Sequence[str] | None = None,
    audit: Scored = None,
    calibrated: bool = False,
    **how: Any,
) -> Gate:
    """Decides whether misalignment is at most `max_rate`, for a training pipeline.

    A line passes when its one-sided upper limit is at most `max_rate`, and fails when its lower
    limit is above. All pass only if each does, which needs no correction (an intersection-union
    test); the chance that any fails by mistake is kept to 1 - confidence by dividing it by the
    number of lines (Bonferroni).

    With an audit the judge's rate is decided on, else the classifier's, including its own error
    where that was measured. Limits are exact (Clopper and Pearson 1934, at the effective sample
    size; Fay and Feuer 1997 of audits): Wilson's and mid-P ones err too often so far in the tails.
    A line that failed rows, or audits without an answer, could bring above the limit does not pass.
    Rows with `request_harmful` are left out.

    Args:
        scored: Scored files or data: see `rates.sources`.
        max_rate: The limit, a share between 0 and 1.
        confidence: Of each limit, one-sided.
        by: Columns that divide the rows; by default those of checkpoint, group and condition that
            there are.
        audit: Rows that the judge scored: see `rates`.
        calibrated: Without an audit, take the calibrated rate, not the counted one.
        **how: Whatever else `rates` takes: cut, coherence, denominator, estimand, prefix, ...

    Returns:
        The verdict of all lines together, and a table with the verdict of each.

    Raises:
        InputError: As `rates`; or a limit or a confidence makes no sense.
    """
    require_share("max_rate", max_rate, 0.01)
    require_share("confidence", confidence, 0.95, least=0.5)
    if audit is not None and calibrated:
        raise InputError("with an audit the rate is the judge's: leave calibrated out")
    name = "audited" if audit is not None else "calibrated" if calibrated else "thresholded"
    query = Query(by=by, audit=audit, **how)
    require(query.estimand, confidence)
    rows, by_line = read(query, sources(scored))
    rows.require_some()

    def lines(alpha: float) -> list[dict[str, Any]]:
        table = rates_of(rows, by_line, query.definition, 1 - 2 * alpha, query.finite, exact=True)
        return [row for row in table.to_pylist() if row["estimator"] == name]

    told = lines(1 - confidence)
    if not told:
        raise InputError("the calibrated rate is for the cuts that the scorer was calibrated at")
    shared = (1 - confidence) / len(told)
    # Once more at the level that a failure needs, where one is possible.
    strict = lines(shared) if any((row["rate"] or 0) > max_rate for row in told) else told
    error = errors_of(rows, query.definition).get(name)
    unit = {"checkpoints": "checkpoints", "question-sample": "questions"}.get(query.estimand)
    decided = [
        _decided(row, tight, max_rate, 1 - confidence, shared, error, unit)
        for row, tight in zip(told, strict, strict=True)
    ]
    verdicts = {row["verdict"] for row in decided}
    verdict: Verdict = (
        "fail" if "fail" in verdicts else "undecided" if "undecided" in verdicts else "pass"
    )
    return Gate(verdict, pa.Table.from_pylist(decided, _schema(told)), len(told))


def _decided(
    row: dict[str, Any], tight: dict[str, Any], max_rate: float, alpha: float, shared: float,
    error: ScorerError | None, unit: str | None,
) -> dict[str, Any]:  # fmt: skip
    names = list(row)[: list(row).index("estimator")]
    n = row["coherent"] if row["audits"] is None else row["audits"]
    kept = [*names, "estimator", "rate", "low", "high", "failed", "note"]
    line = {name: row[name] for name in kept} | {"n": n}
    if row["low"] is None:
        why = "there is no interval: see note"
        return line | {"verdict": "undecided", "more": None, "why": why}
    if tight["low"] > max_rate:
        return line | {"verdict": "fail", "more": None, "why": "surely above"}
    if row["high"] <= max_rate:
        lost, why = row["failed"], "rows without scores could bring it above: score them again"
        if row["audits"] is not None:
            lost = row["audits_failed"]
            why = "audits without an answer could bring it above: have the judge answer them"
        if lost and row["worst_high"] > max_rate:
            return line | {"verdict": "undecided", "more": None, "why": why}
        return line | {"verdict": "pass", "more": None, "why": "surely not above"}
    above = row["rate"] > max_rate
    limit, level = (tight["low"], shared) if above else (row["high"], alpha)
    half = error.half(1 - 2 * level) if error else 0.0
    more, why = _more(row, limit, max_rate, half)
    if unit and more is not None:
        more, why = None, f"the interval is over {unit}: it takes more of these, not more rows"
    return line | {"verdict": "undecided", "more": more, "why": why}


def _more(
    row: dict[str, Any], limit: float, max_rate: float, error: float
) -> tuple[int | None, str]:
    """How many more rows or audits bring a limit to `max_rate` if the rate stays as it is.

    The answers behind a limit L of a rate p are z^2 L (1 - L) / (L - p)^2, from Wilson's formula;
    their number grows with the rows. What the scorer's own error adds does not shrink with rows.
    """
    rate = row["rate"]
    room = (max_rate - rate) ** 2 - error**2
    if room < 1e-12:  # what is left of 0 in floating point
        if error:
            return None, "the scorer itself errs by more than that: only an audit can decide it"
        return None, "the rate is at the limit: no number of rows decides it"
    way = 1 if limit > rate else -1
    sampling = max((limit - rate) ** 2 - error**2, 1e-12)
    now, then = (_answers(rate, rate + way * sqrt(square)) for square in (sampling, room))
    if now < 1e-9:  # a limit of 0 or 1 does not say how many answers are behind it
        return None, "too little is known to say how many more would decide it"
    what = "rows" if row["audits"] is None else "audits"
    more = max(1, ceil(row[what] * (then / now - 1)))
    return more, f"so many more {what} would decide it if the rate stays"


def _answers(rate: float, limit: float) -> float:
    """Up to a factor of z^2."""
    return limit * (1 - limit) / (limit - rate) ** 2


def _schema(rows: list[dict[str, Any]]) -> pa.Schema:
    names = list(rows[0])[: list(rows[0]).index("estimator")]
    kinds = {
        "estimator": pa.string(), "rate": pa.float64(), "low": pa.float64(),
        "high": pa.float64(), "n": pa.int64(), "failed": pa.int64(), "verdict": pa.string(),
        "more": pa.int64(), "why": pa.string(), "note": pa.string(),
    }  # fmt: skip
    own = [pa.field(name, pa.array([row[name] for row in rows]).type) for name in names]
    return pa.schema(own + [pa.field(name, kind) for name, kind in kinds.items()])
