"""Runs a sweep: endpoints take checkpoints until none is left."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypedDict

from .._emscore import InputError, ResumeError
from ..errors import EndpointError, RequestFailed
from ..sampling.checks import Examiner, listed, models
from ..sampling.client import Client
from ..sampling.endpoint import Endpoint
from ..sampling.sample import run_sync
from ..scoring import Scorer
from .checkpoints import Entry
from .dataset import DataSet, Ledger
from .one import ask
from .spec import Server, Sweep, load, parse

log = logging.getLogger(__name__)

#: Checkpoints in a row that get nothing from one endpoint: then the fault is not their own.
_MISSES = 5


class SweepSummary(TypedDict):
    """What a sweep tells at its end, of all runs for its data set together."""

    output: str
    checkpoints: int  # that have rows
    rows: int
    outcomes: dict[str, int]  # of sampling
    passing: int  # rows without an answer that the same command asks for again
    failed: dict[str, str]  # checkpoints that have no rows, and why
    warnings: list[str]  # what the checks of the served models have found
    prompt_tokens: int
    completion_tokens: int
    cost: float | None  # US dollars
    suite: str
    suite_hash: str
    scorer_id: str
    seconds: float  # of this run


@dataclass
class Active:
    """A checkpoint that is being asked: the rows that are there, and what is known of them."""

    rows: int = 0
    tokens: int = 0  # of this run
    rate: float | None = None  # of misaligned rows


@dataclass
class State:
    """How far a sweep is.

    Attributes:
        total: Rows in all.
        rows_each: Rows of one checkpoint.
        finished_rows: Of checkpoints that are finished, by this run or an earlier one.
        finished_tokens: That these have used in this run.
        active: The checkpoints that are being asked, by name.
        finished: Ledgers of those that this run has finished, in their order.
    """

    total: int
    rows_each: int
    finished_rows: int
    finished_tokens: int = 0
    active: dict[str, Active] = field(default_factory=dict)
    finished: list[Ledger] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """That are there."""
        return self.finished_rows + sum(each.rows for each in self.active.values())

    @property
    def tokens(self) -> int:
        """That this run has used."""
        return self.finished_tokens + sum(each.tokens for each in self.active.values())


#: Called with the state whenever it has changed.
Watch = Callable[[State], object]


async def sweep(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Sweep, *, watch: Watch | None = None
) -> SweepSummary:
    """Asks many checkpoints the questions of a suite, and scores the answers as they come.

    What arrives is kept at once. The same call goes on from there after whatever stopped it, and
    asks only for what is missing.

    Args:
        spec: The path of a sweep file, or a mapping with the keys of one.
        watch: Called with the state whenever it has changed.

    Returns:
        What there is now; the rows are in the data set, a folder of Parquet files.

    Raises:
        InputError: The sweep file cannot be read, or something in it is not as it should be.
        SuiteError: A suite cannot be read.
        ScorerError: There is no such scorer.
        ResumeError: The data set is of another suite, scorer or plan, or another run is at it.
        OutputError: It cannot be written.
        EndpointError: No endpoint is left that can be used for what is missing.
    """
    if not isinstance(spec, Sweep):
        spec = parse(spec) if isinstance(spec, Mapping) else load(spec)
    runner = _Runner(spec, watch or (lambda state: None))
    await runner.run()
    return runner.summary()


def sweep_file(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Sweep, *, watch: Watch | None = None
) -> SweepSummary:
    """`sweep` for code that is not async, also in a notebook, whose loop is running already.

    Args:
        spec: As for `sweep`.
        watch: As for `sweep`.

    Returns:
        As `sweep`, which says what is raised too.
    """
    return run_sync(sweep(spec, watch=watch))


def identity(spec: Sweep, scorer_id: str) -> dict[str, Any]:
    """What all checkpoints of a data set have in common."""
    plan = spec.plan(spec.checkpoints[0], "").identity()
    del plan["checkpoints"]
    return {"scorer_id": scorer_id, **plan}


@dataclass
class _Place:
    """An endpoint at work.

    Attributes:
        server: As the sweep file has it.
        examiner: Of its client, which is open.
        listed: What it lists as served; None where it does not tell.
        failing: Checkpoints that it gives no answers of, while it answers.
        misses: How many of these came last, one after the other.
        forgot: Adapters that it no longer knew on the way, as after a restart.
        usable: Whether it answers.
    """

    server: Server
    examiner: Examiner
    listed: frozenset[str] | None
    failing: set[str] = field(default_factory=set)
    forgot: set[str] = field(default_factory=set)
    misses: int = 0
    usable: bool = True

    def serves(self, entry: Entry) -> bool:
        if entry.name in self.failing:
            return False
        if entry.adapter is not None:
            return self.server.adapters
        return self.listed is None or entry.name in self.listed


class _Runner:
    def __init__(self, spec: Sweep, watch: Watch) -> None:
        self.started = monotonic()
        self.spec = spec
        self.scorer = Scorer(spec.scorer, device=spec.device, threads=spec.threads)
        self.data = DataSet(spec.output)
        self.data.open(identity(spec, self.scorer.id))
        finished = dict.fromkeys(filter(self.data.finished, spec.checkpoints))
        self.data.require_unchanged(finished)
        self.pending = deque(each for each in spec.checkpoints if each not in finished)
        rows = len(spec.plan(spec.checkpoints[0], ""))
        self.state = State(rows * len(spec.checkpoints), rows, rows * len(finished))
        self.places: list[_Place] = []
        self.failed: dict[str, str] = {}
        self._watch = watch
        self._turn = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._lost: list[EndpointError] = []  # why endpoints were given up
        self._why: dict[str, str] = {}  # a checkpoint has no answers, by its name
        self._warned: set[str] = set()

    async def run(self) -> None:
        """Asks for all that is missing."""
        if not self.pending:
            return
        async with AsyncExitStack() as stack:
            lists = await asyncio.gather(
                *(listed(server.endpoint) for server in self.spec.servers), return_exceptions=True
            )
            for server, found in zip(self.spec.servers, lists, strict=True):
                if isinstance(found, EndpointError):
                    self._lost.append(found)
                elif isinstance(found, BaseException):
                    raise found
                else:
                    client = await stack.enter_async_context(Client(server.endpoint))
                    examiner = Examiner(client, self.spec.base)
                    self.places.append(_Place(server, examiner, found))
            if self.places:
                for error in self._lost:
                    self._warn(str(error))
                self._require_served()
            workers = [
                asyncio.ensure_future(self._work(place))
                for place in self.places
                for _ in range(place.server.at_once)
            ]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        told = "; ".join(dict.fromkeys(map(str, self._lost)))
        if self._lost and self.pending and not any(place.usable for place in self.places):
            left = f"{len(self.pending):,} of {len(self.spec.checkpoints):,} checkpoints are left"
            raise EndpointError(
                self._lost[-1].kind, f"{told}; {left}: the same command goes on from here"
            )
        for entry in self.pending:
            self.failed[entry.name] = self._why.get(entry.name, told)

    async def _work(self, place: _Place) -> None:
        """Takes checkpoints that this endpoint serves, until nothing is left for it."""
        while (entry := await self._next(place)) is not None:
            try:
                await self._ask(entry, place)
                place.misses = 0
            except ResumeError as error:  # of its own journal
                self.failed[entry.name] = str(error)
                self._warn(f"{entry.name} is left out: {error}")
            except (EndpointError, RequestFailed) as error:
                await self._miss(entry, place, error)
            finally:
                self.state.active.pop(entry.name, None)
                async with self._changed:
                    self._changed.notify_all()

    async def _miss(
        self, entry: Entry, place: _Place, error: EndpointError | RequestFailed
    ) -> None:
        """Puts a checkpoint back that gets no answers, and gives up an endpoint that has none."""
        others_come = await _others_come(error, place.server.endpoint)
        self.pending.appendleft(entry)
        if not place.usable:  # as another checkpoint has found
            return
        if entry.adapter and error.kind == "model" and entry.name not in place.forgot:
            place.forgot.add(entry.name)  # its next turn loads it again
            return
        place.misses += others_come
        if not others_come:
            if isinstance(error, RequestFailed):
                error = EndpointError("unreachable", str(error))
            self._give_up(place, error)
        elif place.misses >= _MISSES and (error.kind == "failing" or self._can_spare(place)):
            url = place.server.endpoint.url
            told = f"{url} gives {place.misses} checkpoints in a row no answers; the last: {error}"
            self._give_up(place, EndpointError("failing", told))
        else:
            place.failing.add(entry.name)
            self._why[entry.name] = str(error)
            if place.misses <= _MISSES:  # the summary tells of all
                self._warn(f"{entry.name} gets no answers: {error}")

    def _can_spare(self, place: _Place) -> bool:
        """Whether other endpoints serve all that this one does."""
        others = [each for each in self.places if each.usable and each is not place]
        return all(
            any(other.serves(entry) for other in others)
            for entry in self.pending
            if place.serves(entry)
        )

    async def _next(self, place: _Place) -> Entry | None:
        """The next checkpoint for an endpoint; waits while others may give one back."""
        async with self._changed:
            while place.usable:
                for entry in self.pending:
                    if place.serves(entry):
                        self.pending.remove(entry)
                        self.state.active[entry.name] = Active()
                        return entry
                if not self.state.active:
                    break
                await self._changed.wait()
            return None

    async def _ask(self, entry: Entry, place: _Place) -> None:
        active = self.state.active[entry.name]

        def moved(rows: int, tokens: int, rate: float | None) -> None:
            active.rows, active.tokens, active.rate = rows, tokens, rate
            self._watch(self.state)

        ledger = await ask(
            self.spec, entry, place.examiner, self.data, self.scorer, self._turn, moved
        )
        self.state.finished_rows += ledger["rows"]
        self.state.finished_tokens += active.tokens
        self.state.finished.append(ledger)
        del self.state.active[entry.name]
        self._watch(self.state)

    def _give_up(self, place: _Place, error: EndpointError) -> None:
        place.usable = False
        self._lost.append(error)
        if any(other.usable for other in self.places):  # where none is left the run's error tells
            self._warn(str(error))

    def _warn(self, told: str) -> None:
        """Once: all that are asked at an endpoint meet the same trouble."""
        if told not in self._warned:
            self._warned.add(told)
            log.warning("%s", told)

    def _require_served(self) -> None:
        """Checks before anything is asked that each checkpoint, and the base, has an endpoint."""
        wanted = [*self.pending]
        if self.spec.checks and self.spec.base:
            wanted.append(Entry(self.spec.base))
        homeless = [each for each in wanted if not any(p.serves(each) for p in self.places)]
        names = ", ".join(dict.fromkeys(each.name for each in homeless[:5]))
        more = f" and {len(homeless) - 5:,} more" if len(homeless) > 5 else ""
        if any(e.adapter for e in homeless) and not any(s.adapters for s in self.spec.servers):
            raise InputError(
                f"no endpoint loads the LoRA adapters of {names}{more}: add adapters = true to one "
                "of [[endpoints]]"
            )
        if homeless and not self._lost:  # an endpoint that is lost may have them
            has = sorted({name for place in self.places for name in place.listed or ()})
            raise EndpointError(
                "model",
                f"no endpoint serves {names}{more}, but {', '.join(has[:10]) or 'nothing'}",
            )

    def summary(self) -> SweepSummary:
        """Of all checkpoints that have rows, whichever run has got them."""
        found = (self.data.ledger(entry) for entry in self.spec.checkpoints)
        ledgers = [ledger for ledger in found if ledger is not None]
        outcomes: dict[str, int] = {}
        for ledger in ledgers:
            for name, rows in ledger["outcomes"].items():
                outcomes[name] = outcomes.get(name, 0) + rows
        prompt = sum(ledger["prompt_tokens"] for ledger in ledgers)
        completion = sum(ledger["completion_tokens"] for ledger in ledgers)
        return {
            "output": str(self.spec.output),
            "checkpoints": len(ledgers),
            "rows": sum(ledger["rows"] for ledger in ledgers),
            "outcomes": outcomes,
            "passing": sum(ledger["passing"] for ledger in ledgers),
            "failed": self.failed,
            "warnings": [
                f"{ledger['checkpoint']}: {check['told']}"
                for ledger in ledgers
                for check in ledger["checks"]
                if check["mark"] == "WARNING"
            ],
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cost": self.spec.cost(prompt, completion),
            "suite": self.spec.suite.name,
            "suite_hash": self.spec.suite.hash,
            "scorer_id": self.scorer.id,
            "seconds": monotonic() - self.started,
        }


async def _others_come(error: EndpointError | RequestFailed, endpoint: Endpoint) -> bool:
    """Whether an endpoint may answer for others than the checkpoint that met this error."""
    if isinstance(error, EndpointError) and error.kind != "failing":
        return error.kind == "model"
    try:
        await models(endpoint)
    except RequestFailed:
        return False
    except EndpointError as why:
        return why.kind == "path"  # no list, but an answer
    return True
