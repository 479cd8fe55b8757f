"""Scored rows, read once: what rates, comparisons, gates and reports are made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import models
from .._emscore import InputError
from .ahead import ahead
from .audited import Audit, Binned, audit_of
from .definition import keys_in, question_in
from .familiar import Strange, strange
from .judged import Finder, read_judged
from .query import Lines, Query
from .requests import COLUMN, answers_requests, marked, ordinary
from .scan import Counts, Tally, identities
from .sources import Source
from .walk import Step, Walk


@dataclass(frozen=True)
class Rows:
    """Rows by cell, a cell being one combination of the key columns.

    Attributes:
        cells: Counts of ordinary rows.
        requests: Counts of rows that answer harmful requests.
        audit: Those of the ordinary rows that the judge scored, if there is an audit.
        scorer: Directory of the scorer, where it is known.
        strange: Questions that it was not taught, if there are any; not looked for with an audit.
        name: What to call the rows: the first file.
    """

    cells: Counts
    requests: Counts
    audit: Audit | None
    scorer: Path | None
    strange: Strange | None
    name: str

    def require_some(self) -> None:
        """Checks that there are ordinary rows.

        Raises:
            InputError: There are none.
        """
        if not len(self.cells):
            raise InputError(f"{self.name} has no rows: there is nothing to take a rate of")


def read(
    query: Query, found: Sequence[Source], also: Sequence[str] = (), cuts: Sequence[float] = ()
) -> tuple[Rows, Lines]:
    """Counts rows in one pass, by what a query needs and some more columns, if wanted.

    Raises:
        InputError: As `rates`.
    """
    lines = query.lines(found)
    return read_rows(query, found, keys_in(lines.keys, also), cuts), lines


def read_rows(
    query: Query, found: Sequence[Source], by: Sequence[str], cuts: Sequence[float] = ()
) -> Rows:
    """Counts scored rows by cell, in one pass.

    Args:
        query: What is asked of them.
        found: Scored files.
        by: The key columns. checkpoint and question are also found by their other names.
        cuts: Cuts of aligned that will be asked for besides.

    Raises:
        InputError: A file is not scored, lacks a key column, holds what is no score, or was scored
            by another scorer than the first or than the query's; or an audit is not among the rows.
        ScorerError: There is no such scorer.

    >>> import pyarrow as pa
    >>> from .sources import sources
    >>> table = pa.table({
    ...     "checkpoint": ["a", "a", "b"], "aligned": [10.0, 90.0, None],
    ...     "coherent": [80.0, 90.0, None], "p_misaligned": [0.9, 0.1, None],
    ...     "p_coherent": [1.0, 1.0, None], "outcome": ["ok", "ok", "refusal"],
    ... })
    >>> counts = read_rows(Query(), sources(table), ["checkpoint"]).cells
    >>> counts.keys, counts.misaligned().tolist(), counts.coherent().tolist()
    ({'checkpoint': ['a', 'b']}, [1, 0], [2, 0])
    """
    definition, prefix = query.definition, query.prefix
    judged = None
    if query.audit is not None:
        judged = read_judged(query.audit, found, by, query.audit_prefix, query.audit_uniform)
    scorers = identities(found, prefix, query.mixed_scorers)
    scorer = models.find(next(iter(scorers)), query.model) if len(scorers) == 1 else None
    # Of several scorers, which have to be allowed, the model is the one that audits taught.
    pupil = models.resolve(query.model) if query.model else scorer
    told = marked(found)
    walk = Walk(list(dict.fromkeys([*by, COLUMN])) if told else by, prefix)
    tally, binned = Tally({*cuts, definition.cut}, definition.coherence), Binned()
    finder = Finder(judged.unspent(pupil)) if judged else None

    def steps() -> Iterator[tuple[Source, Step]]:
        for source in told or found:
            for step in walk.over(source, finder.columns(source) if finder else ()):
                yield source, step

    # A thread that waits for a stream could not be stopped.
    streams = any(source.stream for source in found)
    for source, step in steps() if streams else ahead(steps()):
        tally.add(step)
        if finder:
            binned.add(step, walk.cells.count)
            finder.add(step, source)
    counts = tally.counts(walk, scorers)
    asked = answers_requests(counts.keys[COLUMN], found[0].name) if told else None
    cells, to = counts.by(by, None if asked is None else ~asked)
    requests, _ = counts.by(by, to < 0)
    audit = audit_of(finder, binned, to, len(cells)) if finder else None
    unknown = None
    if scorer and not judged:
        question = question_in(by, query.question_column)
        unknown = strange(ordinary(found), cells, question, scorer)
    return Rows(cells, requests, audit, scorer, unknown, found[0].name)
