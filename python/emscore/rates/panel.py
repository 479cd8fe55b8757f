"""Counts laid out for comparison: which checkpoint answered what, and how often badly."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .arrays import Ints
from .contrast import Side, side
from .scan import Counts

Unit = tuple[Hashable, ...]
Judge: TypeAlias = Callable[[Ints], Side]


@dataclass(frozen=True)
class Panel:
    """Misaligned and counted answers of every member (a checkpoint of a unit) to every question.

    Attributes:
        members: For each unit that is compared (a checkpoint, a group, a step of a group) the
            places of its members.
        k: Misaligned answers, int64, (members + 1, questions); the last place is empty.
        n: Counted answers, likewise.
        cell: Which cell of the counts they were, likewise; -1 where there is none.
    """

    members: dict[Unit, list[int]]
    k: Ints
    n: Ints
    cell: Ints

    def sides(
        self, lines: Sequence[Sequence[Unit]], judge: Judge | None = None
    ) -> tuple[list[Side], npt.NDArray[np.bool_], Ints]:
        """The sides of each line, on the questions that all of them answered.

        Args:
            lines: For each line the units that it compares.
            judge: What makes a side out of cells, int64, (lines, members, questions), -1 where
                there is none, in place of the counts.

        Returns:
            A side for each unit of a line; those questions, bool, (lines, questions); and how many
            others some of them answered, (lines,).
        """
        columns = [self._places(column) for column in zip(*lines, strict=True)]
        answered = self.n > 0
        by_side = [answered[places].any(1) for places in columns]
        shared = np.logical_and.reduce(by_side)
        left_out = (np.logical_or.reduce(by_side) & ~shared).sum(1)

        def one(places: Ints) -> Side:
            if judge is None:
                return side(self.k[places], self.n[places], shared)
            used = shared[:, None, :] & answered[places]
            return judge(np.where(used, self.cell[places], -1))

        return [one(places) for places in columns], shared, left_out

    def answers(self, unit: Unit) -> tuple[Ints, Ints]:
        """Misaligned and counted answers of a unit, each (questions,)."""
        places = self.members[unit]
        return self.k[places].sum(0), self.n[places].sum(0)

    def _places(self, units: Sequence[Unit]) -> Ints:
        found = [self.members[unit] for unit in units]
        places = np.full((len(found), max(map(len, found))), len(self.k) - 1)
        for line, members in enumerate(found):
            places[line, : len(members)] = members
        return places


def panel(
    counts: Counts,
    events: Ints,
    base: Ints,
    *,
    units: Sequence[str],
    members: Sequence[str] = (),
    questions: Sequence[str],
) -> Panel:
    """Lays out counts.

    Args:
        counts: With key columns of all these names.
        events: Answers that are misaligned (or refusals), int64, (cells,).
        base: Answers that count, likewise.
        units: Columns that name what is compared.
        members: Columns that name the checkpoints of a unit.
        questions: Columns that say what was asked: the question, and how.
    """

    def rows(names: Sequence[str]) -> list[Unit]:
        if not names:
            return [()] * len(counts)
        return list(zip(*(counts.keys[name] for name in names), strict=True))

    member, place = _numbered(rows([*units, *members]))
    question, at = _numbered(rows(questions))
    k, n = (np.zeros((len(member) + 1, len(question)), np.int64) for _ in range(2))
    np.add.at(k, (place, at), events)
    np.add.at(n, (place, at), base)
    cell = np.full_like(n, -1)
    cell[place, at] = np.arange(len(counts))
    found: dict[Unit, list[int]] = {}
    for here, names in enumerate(member):
        found.setdefault(names[: len(units)], []).append(here)
    return Panel(found, k, n, cell)


def _numbered(values: Sequence[Unit]) -> tuple[list[Unit], Ints]:
    """The different values, in order of appearance, and the place of each."""
    index: dict[Unit, int] = {}
    places = np.array([index.setdefault(value, len(index)) for value in values], np.int64)
    return list(index), places
