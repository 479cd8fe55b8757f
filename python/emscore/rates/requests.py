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

from .._emscore import InputError
from .sources import Source

COLUMN = "request_harmful"
LEFT_OUT = "emscore.requests"  # metadata of a table of rates: how many such rows there were
TRUE = ("true", "1", "1.0", "yes", "y", "t")
FALSE = ("false", "0", "0.0", "no", "n", "f", "")


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


def answers_requests(values: Sequence[Any], where: str = "the data") -> npt.NDArray[np.bool_]:
    """Which values of the column mark an answer to a harmful request.

    Raises:
        InputError: One says neither yes nor no.

    >>> answers_requests([True, "TRUE", 1, "yes", False, None]).tolist()
    [True, True, True, True, False, False]
    """
    words = ["" if value is None else str(value).strip().lower() for value in values]
    if strange := next((word for word in words if word not in (*TRUE, *FALSE)), None):
        raise InputError(
            f"{where} has {strange!r} in {COLUMN}, which takes true or false: say which it is"
        )
    return np.array([word in TRUE for word in words], np.bool_)


def _ordinary(source: Source) -> Source:
    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        wanted = list(dict.fromkeys([*columns, COLUMN]))
        for batch in source.batches(wanted):
            told = pc.dictionary_encode(batch.column(wanted.index(COLUMN)))
            asked = answers_requests([*told.dictionary.to_pylist(), None], source.name)
            at = told.indices.fill_null(len(asked) - 1).to_numpy(zero_copy_only=False)
            yield batch.filter(pa.array(~asked[at])).select(range(len(columns)))

    return replace(source, _read=read)
