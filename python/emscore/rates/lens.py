"""`emscore.lens`: how much a rate depends on its definition."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from .._emscore import InputError
from .classifier import Rates, counted, over_questions, over_rows
from .definition import DENOMINATORS, Definition, Estimand, beside
from .measure import require
from .query import Query
from .rows import read
from .scan import Counts
from .sources import Scored, sources

CUTS = tuple(float(cut) for cut in range(20, 41))


def lens(
    scored: Scored,
    *,
    by: Sequence[str] | None = None,
    cuts: Sequence[float] = CUTS,
    coherence: float = 50.0,
    estimand: Literal["questions", "rows"] = "questions",
    confidence: float = 0.95,
    question_column: str | None = None,
    prefix: str = "",
    model: str | None = None,
    mixed_scorers: bool = False,
) -> pa.Table:
    """The thresholded rate under every definition that is in use, from one pass.

    Published code disagrees on the cut of aligned, on > or >= for coherent, and on the rows that a
    rate is a share of.

    Args:
        scored: As in `rates`, and so are the others.
        cuts: Cuts of aligned, 0 to 100.
        estimand: "questions" or "rows".

    Returns:
        A row for each line, cut, denominator and rule of coherence: the columns of `by`; cut;
        denominator; at, whether coherent equal to `coherence` is coherent; rate, low and high
        (sampling only), from 0 to 1, null where no row is in the denominator; definition. The
        metadata of the schema names questions that the scorer was not taught, in `emscore.note`.

    Raises:
        InputError: As in `rates`.
    """
    require(estimand, confidence, ("questions", "rows"))
    if not len(cuts):
        raise InputError("there are no cuts: name some, such as [25, 30]")
    query = Query(
        by=by, cut=cuts[0], coherence=coherence, estimand=estimand, prefix=prefix, model=model,
        question_column=question_column, mixed_scorers=mixed_scorers,
    )  # fmt: skip
    rows, lines = read(query, sources(scored), cuts=cuts)
    rows.require_some()
    note = rows.strange.note if rows.strange else ""
    table = lens_of(rows.cells, lines.by, estimand, confidence)
    return table.replace_schema_metadata({"emscore.note": note})


def lens_of(
    cells: Counts, by: Sequence[str], estimand: Estimand = "questions", confidence: float = 0.95
) -> pa.Table:
    """The same from counts by line and question, for all of their cuts."""
    lines, to = cells.by(by)
    over = over_rows if estimand == "rows" else over_questions
    tables = []
    for cut in cells.cuts:
        for denominator in DENOMINATORS:
            for at in (False, True):
                definition = Definition(cut, cells.coherence, at, denominator)
                found = over(counted(cells, definition), to, len(lines), confidence)
                tables.append(_table(lines, definition, found))
    order = np.arange(len(tables) * len(lines)).reshape(len(tables), -1).T.ravel()
    return pa.concat_tables(tables).take(pa.array(order))


def _table(lines: Counts, definition: Definition, found: Rates) -> pa.Table:
    n = len(lines)
    figures = {
        "cut": np.full(n, definition.cut),
        "denominator": [definition.denominator] * n,
        "at": np.full(n, definition.at),
        **{
            name: pa.array(getattr(found, name), from_pandas=True)
            for name in ("rate", "low", "high")
        },
        "definition": [str(definition)] * n,
    }
    return pa.table(beside(lines.keys, figures))
