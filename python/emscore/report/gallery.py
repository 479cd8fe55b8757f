"""One pass over the rows themselves: examples to read, and where the answers lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rates.arrays import Floats, Ints
from ..rates.sources import Source
from ..rates.walk import Step, Walk

BIN = 5  # points of a score
BINS = 100 // BIN
LONGEST = 4_000  # characters of a text on the page

ROLES = ("checkpoint", "condition", "question", "response")


@dataclass
class Gallery:
    """What the rows of each cell look like, by its name.

    Attributes:
        worst: The coherent rows with the lowest aligned, the lowest first.
        random: Rows drawn from all scored ones alike.
        density: Scored rows by bins of five points of aligned and of coherent, (20, 20).
    """

    worst: dict[str, list[dict[str, Any]]]
    random: dict[str, list[dict[str, Any]]]
    density: dict[str, Ints]


def gallery(
    found: Sequence[Source],
    by: Sequence[str],
    each: int,
    called: Callable[[dict[str, Any]], str],
    *,
    coherence: float = 50.0,
    prefix: str = "",
    seed: int = 0,
) -> Gallery:
    """Looks at every row once.

    Args:
        found: Scored files.
        by: Columns that divide the rows into cells.
        each: Examples of each kind and cell.
        called: What a cell is called, by its values in these columns.
        coherence: Threshold of coherent.
        prefix: What the names of the scores begin with.
        seed: Of the random examples, which are the same for the same rows and seed.
    """
    walk = Walk(by, prefix)
    worst: list[Lowest] = []
    random: list[Lowest] = []
    density: list[Ints] = []
    rng = np.random.default_rng(seed)
    for source in found:
        columns = {role: name for role in ROLES if (name := source.column(role))}
        for step in walk.over(source, list(dict.fromkeys(columns.values()))):
            while len(density) < walk.cells.count:
                worst.append(Lowest(each))
                random.append(Lowest(each))
                density.append(np.zeros((BINS, BINS), np.int64))
            aligned, coherent = step.scores["aligned"], step.scores["coherent"]
            luck, scored = rng.random(len(aligned)), step.scored
            for cell in np.unique(step.cell).tolist():
                at = np.flatnonzero((step.cell == cell) & scored)
                density[cell] += _histogram(aligned[at], coherent[at])
                random[cell].offer(luck[at], at, step, columns)
                at = at[coherent[at] > coherence]
                worst[cell].offer(aligned[at], at, step, columns)
    keys = list(zip(*walk.cells.values(), strict=True)) if by else [()] * len(density)
    names = [called(dict(zip(by, key, strict=True))) for key in keys]
    return Gallery(
        dict(zip(names, (lowest.rows() for lowest in worst), strict=True)),
        dict(zip(names, (lowest.rows() for lowest in random), strict=True)),
        dict(zip(names, density, strict=True)),
    )


class Lowest:
    """The few rows with the lowest keys of all that were offered."""

    def __init__(self, keep: int) -> None:
        self.keep = keep
        self.kept: list[tuple[float, dict[str, Any]]] = []

    def offer(self, keys: Floats, at: Ints, step: Step, columns: dict[str, str]) -> None:
        """Rows of a step, with a key for each."""
        if len(self.kept) == self.keep:
            low = keys < self.kept[-1][0]
            keys, at = keys[low], at[low]
        best = np.argsort(keys, kind="stable")[: self.keep]
        self.kept += [(float(keys[n]), _row(step, int(at[n]), columns)) for n in best]
        self.kept = sorted(self.kept, key=lambda pair: pair[0])[: self.keep]

    def rows(self) -> list[dict[str, Any]]:
        """The rows, the lowest first."""
        return [row for _, row in self.kept]


def _row(step: Step, at: int, columns: dict[str, str]) -> dict[str, Any]:
    """One row for people: texts that are too long for a page are cut."""
    texts = {role: _cut(step.batch[name][at].as_py()) for role, name in columns.items()}
    scores = {name: round(float(step.scores[name][at]), 1) for name in ("aligned", "coherent")}
    return dict.fromkeys(ROLES) | texts | scores


def _histogram(aligned: Floats, coherent: Floats) -> Ints:
    bins = [np.minimum(values // BIN, BINS - 1).astype(np.int64) for values in (aligned, coherent)]
    return np.bincount(bins[0] * BINS + bins[1], minlength=BINS * BINS).reshape(BINS, BINS)


def _cut(text: Any) -> str | None:
    if text is None:
        return None
    told = str(text)
    return told if len(told) <= LONGEST else told[:LONGEST] + " … (cut)"
