"""One run of the judge over rows: client, answers and ledger, open while it lasts."""

import asyncio
import os
from collections import Counter, deque
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict
from itertools import count, repeat
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import pyarrow as pa

from .._emscore import InputError, __version__
from ..errors import EndpointError, RequestFailed
from ..progress import Progress
from ..sampling.answers import PASSING
from ..sampling.client import Client
from ..sampling.endpoint import Endpoint
from ..sampling.journal import Journal
from ..sampling.suites import Suite, load_suite
from . import columns
from .answers import Answers
from .asking import Judge
from .columns import Said
from .ledger import Ledger, Prices
from .prompts import Prompts
from .rows import Rows

_AHEAD = 4  # batches whose rows are asked about at the same time

_T = TypeVar("_T")


class Summary(TypedDict):
    """What a run of the judge tells at its end, and what its ledger keeps."""

    rows: int
    outcomes: dict[str, int]
    passing: int  # rows that the same call asks about again
    judge: str
    models: list[str]  # that answered, by the server's word
    endpoint: str
    suite: str
    prompts: str  # hash of the templates
    score_types: dict[str, int]  # rows by how their scores came about
    note: str  # what the endpoint gives
    reused: int  # judgements that needed no request
    spent: dict[str, Any]  # see `ledger.Spent`; its dollars are None where there are no prices
    prices: dict[str, float] | None  # US dollars for a million tokens
    budget: float | None
    version: str


class Job:
    """An async context manager; the arguments are those of `judge`.

    Args:
        journal: Where the ledger's entries are kept until no row is left to ask about; None where
            nothing shall outlive the process.
        source: Which two runs with a journal must share, as they must the judge and its prompts.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint | str,
        model: str,
        suite: Suite | str | os.PathLike[str] | None,
        budget: float | None,
        prices: Prices | None,
        served_as: str | None,
        cache: str | os.PathLike[str] | None,
        progress: Progress | None,
        journal: Path | None = None,
        source: str | None = None,
    ) -> None:
        if budget is not None and prices is None:
            raise InputError("a budget needs prices: those of a million prompt and answer tokens")
        self.client = Client(endpoint)
        self.model = model
        given = suite is None or isinstance(suite, Suite)
        self.prompts = Prompts(suite if given else load_suite(suite))  # type: ignore[arg-type]
        self.outcomes: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self.score_types: Counter[str] = Counter()
        self.passing = 0
        self.done = bytearray()
        """A byte for each row: 1 once it is judged."""
        self._budget = budget
        self._prices = prices
        self._served_as = served_as
        self._cache = cache
        self._progress = progress
        self._journal_path = journal
        self._journal: Journal | None = None
        self._identity = {
            "journal of": "emscore judge",
            "model": model,
            "prompts": self.prompts.hash,
            **({} if source is None else {"source": source}),
        }

    async def __aenter__(self) -> "Job":
        async with AsyncExitStack() as stack:
            if self._journal_path is not None:
                journal = Journal(self._journal_path, self._identity)
                self._journal = stack.enter_context(journal)
            self.ledger = Ledger(self._journal, self._prices or Prices(), self._budget)
            answers = stack.enter_context(Answers(self._cache))
            client = await stack.enter_async_context(self.client)
            self.judge = Judge(client, self.model, answers, self.ledger, served_as=self._served_as)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def finish(self) -> None:
        """Ends the journal, unless rows of the output, now whole, are to be asked about again."""
        if self._journal is not None and not self.passing:
            self._journal.remove()

    async def judged(self, rows: Rows, schema: pa.Schema) -> AsyncGenerator[pa.RecordBatch, None]:
        """The rows in order, with what the judge says, in `schema`."""
        self.done = bytearray(len(rows))
        begun = self.ledger.spent.requests
        try:
            await self.judge.prepare()
        except (EndpointError, RequestFailed):
            if self._journal is not None and not begun:
                self._journal.remove()  # a wrong name must not stand in the way of the right one
            raise
        async with aclosing(_ahead(self._batches(rows, schema))) as batches:
            async for batch in batches:
                for name, counts in (
                    ("outcome", self.outcomes),
                    ("model", self.models),
                    ("score_type", self.score_types),
                ):
                    counts.update(batch[f"judge_{name}"].drop_null().to_pylist())
                yield batch

    def summary(self) -> Summary:
        """What was done and what it cost, where prices are known."""
        spent = asdict(self.ledger.spent)
        if self._prices is None:
            spent |= {"cost": None, "at_most": None}
        return {
            "rows": sum(self.outcomes.values()),
            "outcomes": dict(self.outcomes.most_common()),
            "passing": self.passing,
            "judge": self.model,
            "models": sorted(self.models),
            "endpoint": self.client.endpoint.url,
            "suite": self.prompts.name,
            "prompts": self.prompts.hash,
            "score_types": dict(self.score_types.most_common()),
            "note": self.judge.note,
            "reused": self.judge.reused,
            "spent": spent,
            "prices": None if self._prices is None else asdict(self._prices),
            "budget": self._budget,
            "version": __version__,
        }

    def _batches(
        self, rows: Rows, schema: pa.Schema
    ) -> Iterator[Coroutine[Any, Any, pa.RecordBatch]]:
        first = 0
        for batch in rows.batches():
            yield self._batch(batch, first, rows, schema)
            first += batch.num_rows

    async def _batch(
        self, batch: pa.RecordBatch, first: int, rows: Rows, schema: pa.Schema
    ) -> pa.RecordBatch:
        has_ids = "question_id" in batch.schema.names
        ids = batch["question_id"].to_pylist() if has_ids else repeat(None)
        said = await _together(
            self._row(place, question_id, question, response)
            for place, question_id, (question, response) in zip(
                count(first), ids, rows.texts(batch), strict=False
            )
        )
        return columns.extended(batch, said, schema)

    async def _row(self, place: int, question_id: str | None, question: str, response: str) -> Said:
        said = None
        if response.strip():
            prompts = self.prompts.of(question_id)
            answers = await _together(
                self.judge.ask(prompt, question, response) for prompt in prompts
            )
            said = {prompt.name: one for prompt, one in zip(prompts, answers, strict=True)}
            self.passing += any(one.reading.outcome in PASSING for one in answers)
        self.done[place] = 1
        if self._progress is not None:
            spent = self.ledger.spent
            tokens = spent.prompt_tokens + spent.completion_tokens
            self._progress(self.done.count(1), len(self.done), tokens)
        return said


async def _ahead(coroutines: Iterator[Coroutine[Any, Any, _T]]) -> AsyncGenerator[_T, None]:
    """The results in order, with the next few under way."""
    tasks: deque[asyncio.Task[_T]] = deque()
    try:
        for coroutine in coroutines:
            tasks.append(asyncio.ensure_future(coroutine))
            if len(tasks) == _AHEAD:
                yield await tasks.popleft()
        while tasks:
            yield await tasks.popleft()
    finally:
        await _ended(tasks)


async def _together(coroutines: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """The results of all; where one fails, the others end with it."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _ended(tasks)


async def _ended(tasks: Iterable["asyncio.Task[_T]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
