"""One run of the judge over rows: client, answers and ledger, open while it lasts."""

import asyncio
import os
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from itertools import count, repeat
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import numpy as np
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
from .rows import PROBABILITY, Rows, Source, drawn, rows

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


@dataclass
class Job:
    """A run while it lasts.

    Attributes:
        rows: What is judged, in the order in which it is.
        places: Where each of these rows is in a source that they are a sample of, int64; None where
            they are all of it.
        schema: Of the judged rows.
        judge: Whom it asks.
        prompts: What it asks.
        ledger: What that costs.
        journal: Of the ledger, until no row is left to ask about; None where nothing shall outlive
            the process.
        prices: None where they are not known.
        progress: Called after each row.
        counts: Rows by outcome, by model that answered, and by how their scores came about.
        passing: Rows that the same call asks about again.
        done: A byte for each row: 1 once it is judged.
    """

    rows: Rows
    places: "np.ndarray[Any, np.dtype[np.int64]] | None"
    schema: pa.Schema
    judge: Judge
    prompts: Prompts
    ledger: Ledger
    journal: Journal | None
    prices: Prices | None
    progress: Progress | None
    counts: dict[str, Counter[str]] = field(
        default_factory=lambda: {name: Counter() for name in ("outcome", "model", "score_type")}
    )
    passing: int = 0
    done: bytearray = field(default_factory=bytearray)

    def finish(self) -> None:
        """Ends the journal, unless rows of the output, now whole, are to be asked about again."""
        if self.journal is not None and not self.passing:
            self.journal.remove()

    async def judged(self) -> AsyncGenerator[pa.RecordBatch, None]:
        """The rows in their order, with what the judge says."""
        self.done = bytearray(len(self.rows))
        begun = self.ledger.spent.requests
        try:
            await self.judge.prepare()
        except (EndpointError, RequestFailed):
            if self.journal is not None and not begun:
                self.journal.remove()  # a wrong name must not stand in the way of the right one
            raise
        async with aclosing(_ahead(self._batches())) as batches:
            async for batch in batches:
                for name, counts in self.counts.items():
                    counts.update(batch[f"judge_{name}"].drop_null().to_pylist())
                yield batch

    def summary(self) -> Summary:
        """What was done and what it cost, where prices are known."""
        spent = asdict(self.ledger.spent)
        if self.prices is None:
            spent |= {"cost": None, "at_most": None}
        outcomes = self.counts["outcome"]
        return {
            "rows": outcomes.total(),
            "outcomes": dict(outcomes.most_common()),
            "passing": self.passing,
            "judge": self.judge.model,
            "models": sorted(self.counts["model"]),
            "endpoint": self.judge.client.endpoint.url,
            "suite": self.prompts.name,
            "prompts": self.prompts.hash,
            "score_types": dict(self.counts["score_type"].most_common()),
            "note": self.judge.note,
            "reused": self.judge.reused,
            "spent": spent,
            "prices": None if self.prices is None else asdict(self.prices),
            "budget": self.ledger.budget,
            "version": __version__,
        }

    def _batches(self) -> Iterator[Coroutine[Any, Any, pa.RecordBatch]]:
        first = 0
        for batch in self.rows.batches():
            yield self._batch(batch, first)
            first += batch.num_rows

    async def _batch(self, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        has_ids = "question_id" in batch.schema.names
        ids = batch["question_id"].to_pylist() if has_ids else repeat(None)
        said = await _together(
            self._row(place, question_id, question, response)
            for place, question_id, (question, response) in zip(
                count(first), ids, self.rows.texts(batch), strict=False
            )
        )
        return columns.extended(batch, said, self.schema)

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
        if self.progress is not None:
            spent = self.ledger.spent
            tokens = spent.prompt_tokens + spent.completion_tokens
            self.progress(self.done.count(1), len(self.done), tokens)
        return said


@asynccontextmanager
async def job(
    source: Source,
    journal: Path | None,
    *,
    endpoint: Endpoint | str,
    model: str,
    suite: Suite | str | os.PathLike[str] | None,
    n: int | None,
    seed: int,
    budget: float | None,
    prices: Prices | None,
    served_as: str | None,
    cache: str | os.PathLike[str] | None,
    question_column: str | None,
    response_column: str | None,
    progress: Progress | None,
) -> AsyncIterator[Job]:
    """Opens a run over rows of a source, with its journal, if any; the rest is as in `judge`.

    Two runs with one journal must share the source, the judge and its prompts.
    """
    if budget is not None and prices is None:
        raise InputError("a budget needs prices: those of a million prompt and answer tokens")
    given = suite is None or isinstance(suite, Suite)
    every, places = rows(source, question_column, response_column), None
    if n is not None or PROBABILITY in every.schema.names:
        # Of an audit all, in random order, so that those that are judged first are one too.
        every, places = drawn(every, len(every) if n is None else n, seed)
    prompts = Prompts(suite if given else load_suite(suite))  # type: ignore[arg-type]
    schema = columns.schema(every.schema, prompts.all)
    identity = {"journal of": "emscore judge", "model": model, "prompts": prompts.hash}
    if isinstance(source, str | os.PathLike):
        identity["source"] = str(source)
    client = Client(endpoint)
    async with AsyncExitStack() as stack:
        entries = None if journal is None else stack.enter_context(Journal(journal, identity))
        ledger = Ledger(entries, prices or Prices(), budget)
        answers = stack.enter_context(Answers(cache))
        await stack.enter_async_context(client)
        judge = Judge(client, model, answers, ledger, served_as=served_as)
        yield Job(every, places, schema, judge, prompts, ledger, entries, prices, progress)


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
