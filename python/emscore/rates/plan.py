"""`emscore.audit_plan` and `emscore.audit_draw`: which rows the judge should score too."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .._emscore import InputError
from .allocation import allocate, audits_for, equal
from .arrays import Floats, Ints, counted, nth
from .audited import Binned, Sums, sums_of
from .bins import BINS, LABELS, bin_of
from .definition import beside
from .judged import PROBABILITY, require_texts
from .query import Query
from .requests import ordinary
from .scan import Tally, identities
from .sources import Scored, Source, require_files, sources
from .walk import OUTCOMES, Walk

STRATUM = "audit_stratum"
PLACES = 32  # bits that say which row of a stratum it is; the others say which stratum

#: What GPT-4o costs for both scores of one answer of about 60 tokens, in dollars. Long answers
#: cost more: about three times as much at 600 tokens.
PRICE = 0.0014


@dataclass(frozen=True)
class Plan:
    """Audits of each line and bin.

    Attributes:
        keys: Columns that divide the rows into cells (questions of lines).
        lines: For each column that divides the lines, its value in each.
        to: The line of each cell, int64, (cells,).
        sums: Rows of each cell and bin, and what the classifier expects of them.
        rows: Rows of each line and bin, float64, (lines, bins).
        chance: Of a row to be audited, likewise.
        rate, low, high: What is to be expected of the line's audited rate, (lines,).
    """

    keys: list[str]
    lines: dict[str, list[Any]]
    to: Ints
    sums: Sums
    rows: Floats
    chance: Floats
    rate: Floats
    low: Floats
    high: Floats


def audit_plan(
    scored: Scored,
    *,
    width: float | None = None,
    budget: float | None = None,
    rows: int | None = None,
    price: float = PRICE,
    by: Sequence[str] | None = None,
    question_column: str | None = None,
    confidence: float = 0.95,
    prefix: str = "",
    mixed_scorers: bool = False,
) -> pa.Table:
    """Says how many rows to have judged, of which scores, and what interval to expect.

    Args:
        scored: Scored files, folders or globs, or data in memory.
        width: Width that the interval of each line should have, 0.01 for one percentage point.
        budget: Dollars to spend on all lines together, in equal parts; what a line has too few
            rows for goes to the others.
        rows: Rows to have judged, of all lines together, likewise; give one of these three.
        price: Dollars that the judge takes for a row.
        by: Columns that divide the rows into lines, as in `rates`; each line has its own audit.
        question_column: Column that says which question a row answers, as in `rates`.
        confidence: Of the interval.
        prefix: Before the names of the scores.
        mixed_scorers: Allow scores of several scorers together.

    Returns:
        A row for each line and stratum: the columns of `by`; stratum, the score p_misaligned x
        p_coherent; rows, how many there are; probability to be audited; audits and cost to be
        expected; and of the line, if the classifier is right: expected_rate, expected_low and
        expected_high, from 0 to 1.

    Raises:
        InputError: The files cannot be used, as in `rates`; or no audit can be that narrow.
    """
    made = _plan(
        ordinary(sources(scored)), width=width, budget=budget, rows=rows, price=price, by=by,
        question_column=question_column, confidence=confidence, prefix=prefix,
        mixed_scorers=mixed_scorers,
    )  # fmt: skip
    line, at = np.nonzero(made.rows)
    audits = made.chance[line, at] * made.rows[line, at]
    keys = {name: [values[one] for one in line] for name, values in made.lines.items()}
    figures = {
        "stratum": [LABELS[one] for one in at],
        "rows": made.rows[line, at].astype(np.int64),
        "probability": made.chance[line, at],
        "audits": audits,
        "cost": audits * price,
        "expected_rate": made.rate[line],
        "expected_low": made.low[line],
        "expected_high": made.high[line],
    }
    return pa.table(beside(keys, figures))


def audit_draw(scored: Scored, *, seed: int = 0, prefix: str = "", **plan: Any) -> pa.Table:
    """Draws the rows of an audit, as planned by `audit_plan`, for `emscore judge`.

    Rows are drawn without replacement, systematically over strata and, in these, over questions,
    so that each question has its share (Särndal, Swensson and Wretman 1992, section 3.4). The
    scored rows are read twice.

    Args:
        scored: As in `audit_plan`.
        seed: The same seed draws the same rows.
        prefix: As in `audit_plan`.
        **plan: The other arguments of `audit_plan`.

    Returns:
        The drawn rows in their order, with all their columns, audit_probability (float64, above 0
        and at most 1) and audit_stratum.

    Raises:
        InputError: As in `audit_plan`; or the rows cannot be read twice, or have no texts, by which
            the judge's answers are found among them again.
    """
    found = ordinary(sources(scored))
    require_files(found, "an audit is drawn")
    for source in found:
        require_texts(source)
    made = _plan(found, prefix=prefix, **plan)
    picks = _picks(made, np.random.default_rng(seed))
    walk = Walk(made.keys, prefix)
    seen = np.zeros(made.sums.rows.size, np.int64)
    taken = []
    for source in found:
        for step in walk.over(source, source.columns):
            kept = np.flatnonzero(step.outcome != OUTCOMES.index("empty"))
            u = np.where(
                step.scored, step.scores["p_misaligned"] * step.scores["p_coherent"], np.nan
            )
            code = (step.cell * (BINS + 1) + bin_of(u))[kept]
            drawn = np.isin(code << PLACES | _place(code, seen), picks)
            if drawn.any():
                taken.append(_rows(step.batch, source, kept[drawn], code[drawn], made))
    table = pa.concat_tables(taken, promote_options="permissive")
    return table.replace_schema_metadata(found[0].schema.metadata)


def _plan(
    found: list[Source], *, width: float | None = None, budget: float | None = None,
    rows: int | None = None, price: float = PRICE, by: Sequence[str] | None = None,
    question_column: str | None = None, confidence: float = 0.95, prefix: str = "",
    mixed_scorers: bool = False,
) -> Plan:  # fmt: skip
    if sum(wish is not None for wish in (width, budget, rows)) != 1:
        raise InputError("say either how narrow the interval, how much money or how many rows")
    for name, wish in (("width", width), ("budget", budget), ("rows", rows), ("price", price)):
        if wish is not None and not 0 < wish < np.inf:
            raise InputError(f"a {name} of {wish:g} is not above 0")
    lines = Query(by=by, question_column=question_column).lines(found)
    scorers = identities(found, prefix, mixed_scorers)
    walk = Walk(lines.keys, prefix)
    tally, binned = Tally([30.0], 50.0), Binned()
    for source in found:
        for step in walk.over(source):
            tally.add(step)
            binned.add(step, walk.cells.count)
    cells = tally.counts(walk, scorers)
    sums = sums_of(binned, len(cells))
    whole, to = cells.by(lines.by)
    by_line = sums.by(to, len(whole))
    in_bin, u = by_line.rows, by_line.u
    there = in_bin.sum(1)
    if not there.any():
        raise InputError(f"{found[0].name} has no row that could be audited")
    p = u / np.maximum(in_bin, 1)
    if width is not None:
        audits = _wide(width, whole.keys, in_bin, p, confidence)
    else:
        total = rows if rows is not None else int((budget or 0) / price)
        if total < len(whole):
            raise InputError(
                f"{total:,} rows to be judged are less than one for each of the {len(whole):,} "
                "lines: spend more, or divide by fewer columns with --by"
            )
        audits = equal(total, there)
    chance, low, high = allocate(in_bin, p, audits, confidence)
    rate = u.sum(1) / np.maximum(there, 1)
    return Plan(lines.keys, whole.keys, to, sums, in_bin, chance, rate, low, high)


def _wide(
    width: float, lines: dict[str, list[Any]], rows: Floats, p: Floats, confidence: float
) -> Floats:
    """The audits of each line that make its interval so wide.

    Raises:
        InputError: No number of them does.
    """
    audits = audits_for(rows, p, width, confidence)
    if np.isnan(audits).any():
        at = int(np.flatnonzero(np.isnan(audits))[0])
        there = rows.sum(1)
        _, low, high = allocate(rows, p, there, confidence)
        name = ", ".join(str(values[at]) for values in lines.values()) or "all rows"
        raise InputError(
            f"no audit makes the interval {width:.2%} wide for {name}: were all of its "
            f"{there[at]:,.0f} rows judged, it would still be {(high - low)[at]:.2%} wide. Sample "
            "more answers, or ask for a wider interval"
        )
    return audits


def _picks(plan: Plan, rng: np.random.Generator) -> Ints:
    """The drawn rows: cell and bin, and the place among the rows of these, as one number."""
    cells = np.arange(len(plan.to))
    line = np.broadcast_to(plan.to[:, None], plan.sums.rows.shape)
    at = np.broadcast_to(np.arange(BINS + 1), plan.sums.rows.shape)
    cell = np.broadcast_to(cells[:, None], plan.sums.rows.shape)
    order = np.lexsort((cell.ravel(), at.ravel(), line.ravel()))  # by line, then bin, then question
    rows = plan.sums.rows.ravel()[order]
    line, at, cell = (a.ravel()[order] for a in (line, at, cell))
    edges = np.cumsum(plan.chance[line, at] * rows)
    first = np.searchsorted(line, line)
    before = np.where(first > 0, edges[first - 1], 0.0)  # of the lines before
    start = rng.random(len(plan.rows))[line]
    # Sums of many chances end a little off the whole number that they should reach.
    upto = np.floor(edges - before + start + 1e-9).astype(np.int64)
    counts = np.diff(upto, prepend=0)
    new = np.flatnonzero(first == np.arange(len(line)))
    counts[new] = upto[new]
    picks = []
    for where in np.flatnonzero(counts):
        n = min(int(counts[where]), int(rows[where]))
        code = int(cell[where] * (BINS + 1) + at[where])
        picks.append(code << PLACES | np.sort(rng.choice(int(rows[where]), n, replace=False)))
    return np.concatenate(picks).astype(np.int64)


def _place(code: Ints, seen: Ints) -> Ints:
    """How many rows of the same code came before each; `seen` is brought up to date."""
    place: Ints = seen[code] + nth(code, len(seen))
    seen += counted(code, len(seen))
    return place


def _rows(batch: pa.RecordBatch, source: Source, at: Ints, code: Ints, plan: Plan) -> pa.Table:
    """Some rows, each with its chance and its stratum; columns have the types of the file."""
    rows = pa.Table.from_batches([batch.take(pa.array(at))])
    for place, field in enumerate(source.schema):
        if rows[field.name].type != field.type and pa.types.is_dictionary(rows[field.name].type):
            rows = rows.set_column(place, field.name, rows[field.name].cast(field.type))
    for name in source.parts.keys() - set(source.schema.names):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, rows[name].cast(pa.string()))
    cell, stratum = np.divmod(code, BINS + 1)
    chance = plan.chance[plan.to[cell], stratum]
    for name, values in ((PROBABILITY, pa.array(chance)), (STRATUM, [LABELS[s] for s in stratum])):
        if name in rows.column_names:
            raise InputError(f"{source.name} has the column {name}: it is an audit itself")
        rows = rows.append_column(name, pa.array(values))
    return rows
