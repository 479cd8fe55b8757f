"""Scored rows batch by batch: each with its cell, its outcome and its scores, checked.

A cell is one combination of the key columns (checkpoint, question, ...), known by its number, in
the order of first appearance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .._emscore import InputError, Pairs, score_values
from .arrays import Floats, Ints
from .sources import Source

SCORED = ("ok", "too_long")  # outcomes of rows that have scores
OUTCOMES = (*SCORED, "refusal", "code", "empty", "error")
SCORES = ("aligned", "coherent", "p_misaligned", "p_coherent")
HIGHEST = {"aligned": 100, "coherent": 100, "p_misaligned": 1, "p_coherent": 1}


class Step(NamedTuple):
    """Some rows, in order."""

    batch: pa.RecordBatch  # the columns that were asked for besides
    cell: Ints
    outcome: Ints  # place in OUTCOMES
    scores: dict[str, Floats]  # NaN where null

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """Whether a row has its scores."""
        return np.asarray(~np.isnan(sum(self.scores.values())))


class Walk:
    """Goes over files row by row, and numbers the cells that it meets.

    Args:
        by: The key columns. checkpoint and question are also found by their other names.
        prefix: What `emscore score --prefix` put before the names of the scores.
    """

    def __init__(self, by: Sequence[str], prefix: str = "") -> None:
        self.by, self.prefix = list(by), prefix
        self.cells = Cells(len(self.by))
        self._outcomes = Labels({name: at for at, name in enumerate(OUTCOMES)})

    @property
    def keys(self) -> dict[str, list[Any]]:
        """For each key column its value in each cell."""
        return dict(zip(self.by, self.cells.values(), strict=True))

    def over(self, source: Source, columns: Sequence[str] = ()) -> Iterator[Step]:
        """The rows of one file, with some more of its columns.

        Raises:
            InputError: A key column is missing, or a row holds what is no score or no outcome.
        """
        keys = [key_column(source, name) for name in self.by]
        told = [self.prefix + name for name in (*SCORES, "outcome")]
        row = 0
        for batch in source.batches(list(dict.fromkeys([*keys, *told, *columns]))):
            scores = _scores(batch, source.name, self.prefix, row)
            outcome = self._outcomes.codes(batch[told[-1]])
            if len(self._outcomes.index) > len(OUTCOMES):
                bad = list(self._outcomes.index)[-1]
                raise InputError(
                    f"{source.name} has the outcome {bad!r}, which is none of "
                    f"{', '.join(OUTCOMES)}: was it written by emscore score?"
                )
            cell = self.cells.codes([batch[name] for name in keys], batch.num_rows)
            step = Step(batch.select(list(columns)), cell, outcome, scores)
            without = outcome >= len(SCORED)
            if without.any() and len(wrong := np.flatnonzero(without & step.scored)):
                word = OUTCOMES[outcome[wrong[0]]]
                raise InputError(
                    f"{source.name} has scores in row {row + wrong[0]}, whose outcome is {word!r}: "
                    "such rows have none. Make them null, or the outcome ok"
                )
            yield step
            row += batch.num_rows


def key_column(source: Source, role: str) -> str:
    """The column that a key is in.

    Raises:
        InputError: There is none, or it holds lists or structs.
    """
    name = source.column(role)
    if name is None:
        raise InputError(
            f"{source.name} has no column {role!r} to divide by; its columns are "
            f"{', '.join(source.columns)}"
        )
    if pa.types.is_nested(source.kind(name)):
        raise InputError(
            f"{source.name} has {source.kind(name)} in {name}, by which rows cannot be divided: "
            "name other columns, or make it text"
        )
    return name


def _scores(batch: pa.RecordBatch, where: str, prefix: str, row: int) -> dict[str, Floats]:
    """The four scores as float64, NaN where they are null.

    Raises:
        InputError: A score is NaN, out of its range, or no number; `row` is that of the batch.
    """
    scores: dict[str, Floats] = {}
    for name in SCORES:
        array = batch[prefix + name]
        if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type)):
            if array.null_count < len(array):
                raise InputError(f"{where} has {array.type} in {prefix}{name}, not numbers")
            array = pa.nulls(len(array), pa.float64())
        values, bad = score_values(array, HIGHEST[name])
        if bad is not None:
            raise InputError(
                f"{where} has {values[bad]:g} in {prefix}{name}, row {row + bad}: a score is a "
                f"number from 0 to {HIGHEST[name]}, or null. Score the file again"
            )
        scores[name] = values
    return scores


@dataclass
class Labels:
    """Numbers the values of one column, in the order of their first appearance."""

    index: dict[Any, int] = field(default_factory=dict)
    _dictionary: pa.Array | None = None
    _places: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def codes(self, array: pa.Array) -> Ints:
        """The number of each value, int64."""
        if not pa.types.is_dictionary(array.type):
            array = pc.dictionary_encode(array)
        words = array.dictionary
        if self._dictionary is None or not words.equals(self._dictionary):
            # NaN is not itself, and no name: as where there is none.
            values = [word if word == word else None for word in words.to_pylist()]
            places = [self.index.setdefault(word, len(self.index)) for word in values]
            self._dictionary, self._places = words, np.array([*places, -1], np.int64)
        indices = array.indices
        if indices.null_count:
            self._places[-1] = self.index.setdefault(None, len(self.index))
            indices = indices.cast(pa.int64()).fill_null(len(words))
        codes: Ints = self._places[indices.to_numpy(zero_copy_only=False)]
        return codes


class Cells:
    """Numbers the combinations of several columns' values."""

    def __init__(self, columns: int) -> None:
        self.labels = [Labels() for _ in range(columns)]
        self.pairs = [Pairs() for _ in range(columns - 1)]

    @property
    def count(self) -> int:
        """Cells so far."""
        if not self.labels:
            return 1
        return len(self.pairs[-1] if self.pairs else self.labels[0].index)

    def codes(self, columns: Sequence[pa.Array], rows: int) -> Ints:
        """The cell of each row, int64."""
        if not columns:
            return np.zeros(rows, np.int64)
        code, *rest = (
            labels.codes(column) for labels, column in zip(self.labels, columns, strict=True)
        )
        for pairs, other in zip(self.pairs, rest, strict=True):
            code = pairs.codes(code, other)
        return code

    def values(self) -> list[list[Any]]:
        """The values of each column, by cell."""
        if not self.labels or not self.count:
            return [[] for _ in self.labels]
        codes = [list(range(self.count))]
        for pairs in reversed(self.pairs):
            split = pairs.pairs()
            first, second = zip(*(split[code] for code in codes[0]), strict=True)
            codes = [list(first), list(second), *codes[1:]]
        words = [list(labels.index) for labels in self.labels]
        return [[w[c] for c in column] for w, column in zip(words, codes, strict=True)]
