"""Rows that answer harmful requests, apart from the others.

Whether a model does what it should decline is another question than whether it is misaligned: a
jailbroken model does the first and not the second. The column `request_harmful`, which `emscore
sample` writes, tells the rows apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .sources import Source

COLUMN = "request_harmful"
TRUE = ("true", "1", "1.0")


def ordinary(found: Sequence[Source]) -> list[Source]:
    """The sources without the rows that answer harmful requests."""
    return [_ordinary(source) if COLUMN in source.columns else source for source in found]


def marked(found: Sequence[Source]) -> list[Source]:
    """All sources with the column, false where it was not there; none if no source has it."""
    if not any(COLUMN in source.columns for source in found):
        return []
    return [
        source
        if COLUMN in source.columns
        else replace(source, parts=source.parts | {COLUMN: "false"})
        for source in found
    ]


def answers_requests(values: Sequence[Any]) -> npt.NDArray[np.bool_]:
    """Which values of the column mark an answer to a harmful request.

    >>> answers_requests([True, "TRUE", 1, False, None]).tolist()
    [True, True, True, False, False]
    """
    return np.array([str(value).lower() in TRUE for value in values], np.bool_)


def _ordinary(source: Source) -> Source:
    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        wanted = list(dict.fromkeys([*columns, COLUMN]))
        for batch in source.batches(wanted):
            told = pc.utf8_lower(batch.column(wanted.index(COLUMN)).cast(pa.string()))
            true = pc.is_in(told, pa.array(TRUE))
            rows = batch.filter(pc.invert(true))
            yield rows.select(range(len(columns)))

    return replace(source, _read=read)
