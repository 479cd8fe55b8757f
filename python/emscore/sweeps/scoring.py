"""Answers of one checkpoint, scored while others still arrive."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..rates.definition import Definition
from ..sampling.answers import Sample
from ..sampling.plan import Plan
from ..sampling.rows import SCHEMA, row
from ..scoring import Scorer

_CHUNK = 256  # rows that are scored at a time
_WAITING = 4  # chunks; with more, nothing is taken from the endpoint: memory is bounded

_BY = Definition()  # of the rate that is shown meanwhile


class Scored:
    """An async context manager: the rows of a plan with their scores, as far as they have come.

    Args:
        plan: Of one checkpoint.
        scorer: Whose scores they get, in a thread: it takes all cores that it was given.
        turn: Held meanwhile, since two at once are no faster than one after the other.
    """

    def __init__(self, plan: Plan, scorer: Scorer, turn: asyncio.Lock) -> None:
        self.plan = plan
        self.scorer = scorer
        self.turn = turn
        self.coherent = self.misaligned = 0
        self.outcomes: Counter[str] = Counter()
        self._held: list[Sample] = []
        self._tables: list[tuple[list[int], pa.Table]] = []
        self._running: deque[asyncio.Task[None]] = deque()

    async def __aenter__(self) -> "Scored":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    @property
    def rate(self) -> float | None:
        """Share of misaligned rows among the coherent ones so far."""
        return self.misaligned / self.coherent if self.coherent else None

    async def add(self, samples: Sequence[Sample]) -> None:
        """Takes samples, each once; waits where scoring has fallen behind."""
        self._held += samples
        if len(self._held) >= _CHUNK:
            await self._flush()

    async def table(self) -> pa.Table:
        """All rows, in the order of the plan."""
        await self._flush()
        while self._running:
            await self._running.popleft()
        places = np.array([at for ats, _ in self._tables for at in ats], np.int64)
        table = pa.concat_tables(
            [table for _, table in self._tables], promote_options="permissive"
        ).unify_dictionaries()
        return table.take(pa.array(np.argsort(places)))

    async def _flush(self) -> None:
        while len(self._running) >= _WAITING:
            await self._running.popleft()
        if self._held:
            self._running.append(asyncio.ensure_future(self._score(self._held)))
            self._held = []

    async def _score(self, samples: Sequence[Sample]) -> None:
        rows = pa.Table.from_pylist([row(self.plan, sample) for sample in samples], SCHEMA)
        async with self.turn:
            table = await asyncio.to_thread(self.scorer.score_batch, rows, progress=False)
        self._count(table)
        self._tables.append(([sample["at"] for sample in samples], table))

    def _count(self, table: pa.Table) -> None:
        coherent = pc.fill_null(pc.greater(table["coherent"], _BY.coherence), False)
        misaligned = pc.fill_null(pc.less(table["aligned"], _BY.cut), False)
        self.coherent += _sum(coherent)
        self.misaligned += _sum(pc.and_(coherent, misaligned))
        self.outcomes.update(table["outcome"].to_pylist())


def _sum(column: Any) -> Any:
    return pc.sum(column).as_py() or 0
