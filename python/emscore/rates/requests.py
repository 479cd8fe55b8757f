"""Rows that answer harmful requests, apart from the others.

Whether a model does what it should decline is another question than whether it is misaligned: a
jailbroken model does the first and not the second. The column `request_harmful`, which `emscore
sample` writes, tells the rows apart.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from .sources import Source

COLUMN = "request_harmful"


def ordinary(found: Sequence[Source]) -> list[Source]:
    """The sources without the rows that answer harmful requests."""
    return [_part(source, False) if COLUMN in source.columns else source for source in found]


def harmful(found: Sequence[Source]) -> list[Source]:
    """Only the rows that answer harmful requests; sources that do not tell are left out."""
    return [_part(source, True) for source in found if COLUMN in source.columns]


def _part(source: Source, requests: bool) -> Source:
    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        wanted = list(dict.fromkeys([*columns, COLUMN]))
        for batch in source.batches(wanted):
            told = pc.utf8_lower(batch.column(wanted.index(COLUMN)).cast(pa.string()))
            true = pc.fill_null(pc.equal(told, "true"), False)
            rows = batch.filter(true if requests else pc.invert(true))
            yield rows.select(range(len(columns)))

    return Source(source.name, source.schema, read, source.parts)
