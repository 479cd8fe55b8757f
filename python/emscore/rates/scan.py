"""What every rate needs of scored rows, counted by cell.

A cell is one combination of the key columns (checkpoint, question, ...). Memory grows with the
cells, never with the rows.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .. import _emscore
from .._emscore import InputError
from .arrays import Floats, Ints, gathered
from .sources import Source
from .walk import OUTCOMES, SCORES, Step, Walk

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

    def by(
        self, names: Sequence[str], only: npt.NDArray[np.bool_] | None = None
    ) -> tuple["Counts", Ints]:
        """The same with fewer key columns, of all cells or only some.

        Returns:
            The counts, cells in the order of their first appearance; and for each present cell the
            place of the new one, or -1, int64, (cells,).
        """
        if only is None and list(names) == list(self.keys):
            return self, np.arange(len(self))
        rows = zip(*(self.keys[name] for name in names), strict=True) if names else [()] * len(self)
        index: dict[tuple[Hashable, ...], int] = {}
        to = np.array(
            [
                index.setdefault(row, len(index)) if here else -1
                for row, here in zip(rows, repeat(True) if only is None else only, strict=False)
            ],
            np.int64,
        )
        columns = list(zip(*index, strict=True)) or [()] * len(names)
        found = replace(
            self,
            keys=dict(zip(names, map(list, columns), strict=True)),
            outcomes=gathered(to, self.outcomes, len(index)),
            grid=gathered(to, self.grid, len(index)),
            sums=gathered(to, self.sums, len(index)),
        )
        return found, to


def identities(
    found: Sequence[Source], prefix: str, mixed_scorers: bool
) -> dict[str, dict[str, str]]:
    """What the files say of their scorers, by id.

    Raises:
        InputError: A file is not scored, or another scorer than the first's scored it.
    """
    scorers: dict[str, dict[str, str]] = {}
    first: dict[str, str] = {}
    for source in found:
        _is_scored(source, prefix)
        told = metadata(source.schema, prefix)
        name = told.get("scorer_id", "")
        scorers.setdefault(name, told)
        first.setdefault(name, source.name)
    if len(scorers) > 1 and not mixed_scorers:
        (one, here), (other, there), *_ = first.items()
        raise InputError(
            f"{here} was scored by {_named(scorers, one)} and {there} by {_named(scorers, other)}, "
            "and scores of different scorers do not compare: score all with one, or allow it with "
            "--mixed-scorers (mixed_scorers=True)"
        )
    return scorers


def _named(scorers: dict[str, dict[str, str]], name: str) -> str:
    return (
        f"{scorers[name].get('scorer', 'scorer')} {name}" if name else "a scorer it does not name"
    )


def metadata(schema: pa.Schema, prefix: str) -> dict[str, str]:
    """What scored rows say of their scorer, by key; {} where they say nothing."""
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
    source.require_one(wanted)
    missing = [name for name in wanted if name not in source.columns]
    if missing:
        what = "is not scored" if len(missing) == len(wanted) else "is not scored whole"
        raise InputError(
            f"{source.name} {what}: it has no column {', '.join(missing)} (its columns are "
            f"{', '.join(source.columns)}). Run emscore score on it, or name the --prefix that the "
            "scores have"
        )


class Tally:
    """What becomes Counts, row by row."""

    def __init__(self, cuts: Iterable[float], coherence: float) -> None:
        self.cuts, self.coherence = tuple(sorted(map(float, cuts))), coherence
        self._native = _emscore.Tally(list(self.cuts), coherence)

    def add(self, step: Step) -> None:
        """Counts some rows."""
        self._native.add(step.cell, step.outcome, *(step.scores[name] for name in SCORES))

    def counts(self, walk: Walk, scorers: dict[str, dict[str, str]]) -> Counts:
        """What was counted, by the cells of the walk."""
        n = walk.cells.count
        outcomes, grid, sums = self._native.counts(n)
        return Counts(
            walk.keys,
            outcomes.reshape(n, len(OUTCOMES)),
            grid.reshape(n, 3, len(self.cuts) + 1),
            sums.reshape(n, len(SUMS)),
            self.cuts, self.coherence, scorers,
        )  # fmt: skip
