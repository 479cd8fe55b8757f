"""One pass over scored rows: what every rate needs, counted by cell.

A cell is one combination of the key columns (checkpoint, question, ...). Memory grows with the
cells, never with the rows.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .._emscore import InputError
from .sources import Scored, Source, sources

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

OUTCOMES = ("ok", "too_long", "refusal", "code", "empty", "error")
SCORES = ("aligned", "coherent", "p_misaligned", "p_coherent")
HIGHEST = {"aligned": 100, "coherent": 100, "p_misaligned": 1, "p_coherent": 1}

#: What is summed over scored rows, with u = p_misaligned x p_coherent and v = p_coherent.
SUMS = ("u", "v", "uu", "uv", "vv")


@dataclass(frozen=True)
class Counts:
    """What was found in each cell; every array has a row for each cell.

    Attributes:
        keys: One list of values for each key column, by name.
        outcomes: Rows by outcome, in the order of OUTCOMES, int64, (cells, 6).
        grid: Scored rows by coherence (below, at, above the threshold) and by the place of aligned
            between the cuts, int64, (cells, 3, cuts + 1).
        sums: Sums over scored rows of what SUMS names, float64, (cells, 5).
        scored: Rows with scores, int64, (cells,).
        cuts: The cuts of aligned, rising.
        coherence: The threshold of coherent.
        scorers: What the files say of the scorers that scored them, by scorer id; "" where they
            say nothing.
    """

    keys: dict[str, list[Any]]
    outcomes: Ints
    grid: Ints
    sums: Floats
    cuts: tuple[float, ...]
    coherence: float
    scorers: dict[str, dict[str, str]]

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def rows(self) -> Ints:
        """Rows of any outcome."""
        return np.asarray(self.outcomes.sum(1))

    @property
    def scored(self) -> Ints:
        """Rows with scores."""
        return np.asarray(self.grid.sum((1, 2)))

    @property
    def failed(self) -> Ints:
        """Rows that should have a score and have none: outcome error, or ok without numbers."""
        places = [OUTCOMES.index(name) for name in ("ok", "too_long", "error")]
        return np.asarray(self.outcomes[:, places].sum(1) - self.scored)

    def coherent(self, at: bool = False) -> Ints:
        """Rows with coherent > the threshold, or >= with `at`."""
        return np.asarray(self.grid[:, 1 if at else 2 :].sum((1, 2)))

    def misaligned(self, cut: float | None = None, at: bool = False) -> Ints:
        """Coherent rows with aligned < `cut`, one of the cuts (the first when None)."""
        place = 0 if cut is None else self.cuts.index(cut)
        return np.asarray(self.grid[:, 1 if at else 2 :, : place + 1].sum((1, 2)))

    def expected(self, name: str) -> Floats:
        """One of SUMS."""
        return np.asarray(self.sums[:, SUMS.index(name)])

    def by(self, names: Sequence[str]) -> tuple["Counts", Ints]:
        """The same with fewer key columns.

        Returns:
            The counts, cells in the order of their first appearance; and for each present cell the
            place of the new one, int64, (cells,).
        """
        rows = zip(*(self.keys[name] for name in names), strict=True) if names else [()] * len(self)
        index: dict[tuple[Hashable, ...], int] = {}
        to = np.array([index.setdefault(row, len(index)) for row in rows], np.int64)

        def added(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            out = np.zeros((len(index), *values.shape[1:]), values.dtype)
            np.add.at(out, to, values)
            return out

        columns = zip(*index, strict=True) if names else ()
        keys = (
            dict(zip(names, map(list, columns), strict=True)) if index else {n: [] for n in names}
        )
        found = Counts(
            keys, added(self.outcomes), added(self.grid), added(self.sums),
            self.cuts, self.coherence, self.scorers,
        )  # fmt: skip
        return found, to


def scan(
    scored: Scored,
    by: Sequence[str] = (),
    *,
    cuts: Sequence[float] = (30.0,),
    coherence: float = 50.0,
    prefix: str = "",
    mixed: bool = False,
) -> Counts:
    """Counts scored rows by cell, in one pass.

    Args:
        scored: Files or data in memory: see `sources.sources`.
        by: The key columns. checkpoint and question are also found by their other names.
        cuts: Cuts of aligned that will be asked for.
        coherence: Threshold of coherent.
        prefix: What `emscore score --prefix` put before the names of the scores.
        mixed: Allow scores of several scorers together.

    Raises:
        InputError: A file is not scored, lacks a key column, holds what is no score, or was scored
            by another scorer than the first.

    >>> table = pa.table({
    ...     "checkpoint": ["a", "a", "b"], "aligned": [10.0, 90.0, None],
    ...     "coherent": [80.0, 90.0, None], "p_misaligned": [0.9, 0.1, None],
    ...     "p_coherent": [1.0, 1.0, None], "outcome": ["ok", "ok", "refusal"],
    ... })
    >>> counts = scan(table, ["checkpoint"])
    >>> counts.keys, counts.misaligned().tolist(), counts.coherent().tolist()
    ({'checkpoint': ['a', 'b']}, [1, 0], [2, 0])
    """
    found = sources(scored)
    scorers = identities(found, prefix, mixed)
    tally = _Tally(by, np.array(sorted(cuts), np.float64), coherence)
    for source in found:
        tally.read(source, prefix)
    return tally.counts(scorers)


def identities(found: Sequence[Source], prefix: str, mixed: bool) -> dict[str, dict[str, str]]:
    """What the files say of their scorers, by id.

    Raises:
        InputError: A file is not scored, or another scorer than the first's scored it.
    """
    scorers: dict[str, dict[str, str]] = {}
    first: dict[str, str] = {}
    for source in found:
        _is_scored(source, prefix)
        told = _metadata(source.schema, prefix)
        name = told.get("scorer_id", "")
        scorers.setdefault(name, told)
        first.setdefault(name, source.name)
    if len(scorers) > 1 and not mixed:
        (one, here), (other, there), *_ = first.items()
        raise InputError(
            f"{here} was scored by {_named(scorers, one)} and {there} by {_named(scorers, other)}, "
            "and scores of different scorers do not compare: score all with one, or allow it with "
            "--mixed-scorers (mixed=True)"
        )
    return scorers


def _named(scorers: dict[str, dict[str, str]], name: str) -> str:
    return (
        f"{scorers[name].get('scorer', 'scorer')} {name}" if name else "a scorer it does not name"
    )


def _metadata(schema: pa.Schema, prefix: str) -> dict[str, str]:
    start = f"emscore.{prefix}"
    pairs = ((k.decode(), v.decode()) for k, v in (schema.metadata or {}).items())
    told = {k.removeprefix(start): v for k, v in pairs if k.startswith(start)}
    # The field says it too, and keeps it where a tool dropped the schema's metadata.
    field = schema.field(prefix + "aligned").metadata or {}
    if "scorer_id" not in told and b"emscore.scorer_id" in field:
        told["scorer_id"] = field[b"emscore.scorer_id"].decode()
    return told


def _is_scored(source: Source, prefix: str) -> None:
    wanted = [prefix + name for name in (*SCORES, "outcome")]
    missing = [name for name in wanted if name not in source.columns]
    if missing:
        what = "is not scored" if len(missing) == len(wanted) else "is not scored whole"
        raise InputError(
            f"{source.name} {what}: it has no column {', '.join(missing)} (its columns are "
            f"{', '.join(source.columns)}). Run emscore score on it, or name the --prefix that the "
            "scores have"
        )


class _Tally:
    """The growing arrays behind Counts."""

    def __init__(self, by: Sequence[str], cuts: Floats, coherence: float) -> None:
        self.by, self.cuts, self.coherence = list(by), cuts, coherence
        self.cells = Cells(len(self.by))
        self.outcome = Labels()
        for name in OUTCOMES:
            self.outcome.index[name] = len(self.outcome.index)
        self.outcomes = np.zeros((1, len(OUTCOMES)), np.int64)
        self.grid = np.zeros((1, 3, len(cuts) + 1), np.int64)
        self.sums = np.zeros((1, len(SUMS)))

    def read(self, source: Source, prefix: str) -> None:
        keys = [key_column(source, name) for name in self.by]
        columns = [prefix + name for name in (*SCORES, "outcome")]
        row = 0
        for batch in source.batches(list(dict.fromkeys([*keys, *columns]))):
            scores = score_columns(batch, source.name, prefix, row)
            outcome = self.outcome.codes(batch[prefix + "outcome"])
            if len(self.outcome.index) > len(OUTCOMES):
                bad = list(self.outcome.index)[-1]
                raise InputError(
                    f"{source.name} has the outcome {bad!r}, which is none of "
                    f"{', '.join(OUTCOMES)}: was it written by emscore score?"
                )
            cell = self.cells.codes([batch[name] for name in keys], batch.num_rows)
            self._grow(self.cells.count)
            self._add(cell, outcome, scores)
            row += batch.num_rows

    def _add(self, cell: Ints, outcome: Ints, scores: dict[str, Floats]) -> None:
        np.add.at(self.outcomes.reshape(-1), cell * len(OUTCOMES) + outcome, 1)
        present = ~np.isnan(scores["aligned"]) & ~np.isnan(scores["coherent"])
        if not present.all():
            cell = cell[present]
            scores = {name: values[present] for name, values in scores.items()}
        coherent = scores["coherent"]
        state = (coherent >= self.coherence).astype(np.int64) + (coherent > self.coherence)
        place = np.searchsorted(self.cuts, scores["aligned"], side="right")
        at = (cell * 3 + state) * (len(self.cuts) + 1) + place
        np.add.at(self.grid.reshape(-1), at, 1)
        v = scores["p_coherent"]
        u = scores["p_misaligned"] * v
        for column, values in enumerate((u, v, u * u, u * v, v * v)):
            np.add.at(self.sums.reshape(-1), cell * len(SUMS) + column, values)

    def _grow(self, cells: int) -> None:
        self.outcomes, self.grid, self.sums = (
            grown(values, cells) for values in (self.outcomes, self.grid, self.sums)
        )

    def counts(self, scorers: dict[str, dict[str, str]]) -> Counts:
        n = self.cells.count
        keys = dict(zip(self.by, self.cells.values(), strict=True))
        return Counts(
            keys, self.outcomes[:n], self.grid[:n], self.sums[:n],
            tuple(self.cuts.tolist()), self.coherence, scorers,
        )  # fmt: skip


def key_column(source: Source, role: str) -> str:
    """The column that a key is in.

    Raises:
        InputError: There is none.
    """
    name = source.column(role)
    if name is None:
        raise InputError(
            f"{source.name} has no column {role!r} to divide by; its columns are "
            f"{', '.join(source.columns)}"
        )
    return name


def score_columns(batch: pa.RecordBatch, where: str, prefix: str, row: int) -> dict[str, Floats]:
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
        values = np.asarray(array.to_numpy(zero_copy_only=False), np.float64)
        null = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else False
        bad = ~((values >= 0) & (values <= HIGHEST[name])) & ~np.asarray(null)
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{where} has {values[at]:g} in {prefix}{name}, row {row + at}: a score is a "
                f"number from 0 to {HIGHEST[name]}, or null. Score the file again"
            )
        scores[name] = values
    return scores


def grown(values: npt.NDArray[Any], cells: int) -> npt.NDArray[Any]:
    """The array with room for so many cells."""
    if cells <= len(values):
        return values
    room = np.zeros((max(cells, 2 * len(values)), *values.shape[1:]), values.dtype)
    room[: len(values)] = values
    return room


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
            places = [self.index.setdefault(word, len(self.index)) for word in words.to_pylist()]
            self._dictionary, self._places = words, np.array([*places, -1], np.int64)
        indices = array.indices
        if indices.null_count:
            self._places[-1] = self.index.setdefault(None, len(self.index))
            indices = indices.cast(pa.int64()).fill_null(len(words))
        codes: Ints = self._places[indices.to_numpy(zero_copy_only=False)]
        return codes


@dataclass
class Pairs:
    """Numbers the pairs of two numbers, in the order of their first appearance."""

    index: dict[tuple[int, int], int] = field(default_factory=dict)
    _table: Ints = field(default_factory=lambda: np.full((1, 1), -1, np.int64))

    LARGEST = 1 << 25  # cells of the table; beyond that, sorting takes its place

    def codes(self, a: Ints, b: Ints) -> Ints:
        """The number of each pair, int64."""
        if not len(a):
            return a
        high, wide = int(a.max()) + 1, int(b.max()) + 1
        rows, columns = self._table.shape
        if high > rows or wide > columns:
            rows = max(high, 2 * rows) if high > rows else rows
            columns = max(wide, 2 * columns) if wide > columns else columns
        if rows * columns > self.LARGEST:
            key = a << 32 | b
            distinct, place = np.unique(key, return_inverse=True)
            numbers = [self._number(int(k) >> 32, int(k) & 0xFFFFFFFF) for k in distinct]
            return np.array(numbers, np.int64)[place]
        if (rows, columns) != self._table.shape:
            table = np.full((rows, columns), -1, np.int64)
            table[: self._table.shape[0], : self._table.shape[1]] = self._table
            self._table = table
        codes: Ints = self._table[a, b]
        new = codes < 0
        if new.any():
            for pair in dict.fromkeys(zip(a[new].tolist(), b[new].tolist(), strict=True)):
                self._table[pair] = self._number(*pair)
            codes = self._table[a, b]
        return codes

    def _number(self, a: int, b: int) -> int:
        return self.index.setdefault((a, b), len(self.index))


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
        return len(self.pairs[-1].index if self.pairs else self.labels[0].index)

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
        if not self.labels:
            return []
        codes = [list(range(self.count))]
        for pairs in reversed(self.pairs):
            split = list(pairs.index)
            first, second = zip(*(split[code] for code in codes[0]), strict=True)
            codes = [list(first), list(second), *codes[1:]]
        words = [list(labels.index) for labels in self.labels]
        return [[w[c] for c in column] for w, column in zip(words, codes, strict=True)]
