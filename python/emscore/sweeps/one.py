"""One checkpoint of a sweep: asked, scored, written."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from time import monotonic

import pyarrow as pa

from ..errors import EndpointError
from ..sampling.answers import Sampler, stream
from ..sampling.checks import Examiner
from ..sampling.journal import Journal
from ..sampling.run import Run, Tally
from ..sampling.sample import metadata
from ..scoring import Scorer
from .adapters import loaded, served_name
from .checkpoints import Entry
from .dataset import DataSet, Ledger
from .scoring import Scored
from .spec import Sweep

#: Called with the rows that are there, the tokens used, and the rate of misaligned rows so far.
Moved = Callable[[int, int, float | None], object]


async def ask(
    spec: Sweep,
    entry: Entry,
    examiner: Examiner,
    data: DataSet,
    scorer: Scorer,
    turn: asyncio.Lock,
    moved: Moved,
) -> Ledger:
    """Gets the rows of a checkpoint from an endpoint and adds them to the data set.

    Args:
        spec: The sweep.
        entry: The checkpoint.
        examiner: Of the endpoint.
        data: Where the rows go.
        scorer: Scores them.
        turn: Held while it does.
        moved: Called as rows arrive.

    Raises:
        RequestFailed: The endpoint cannot load its adapter.
        EndpointError: The endpoint cannot be used, or answers nothing.
        ResumeError: Another run has begun it otherwise, or is at it.
        OutputError: It cannot be written.
    """
    started = monotonic()
    client = examiner.client
    served = await asyncio.to_thread(served_name, entry)
    plan = spec.plan(entry, served)
    with Journal(data.journal(entry), plan.identity()) as journal:
        run = Run(plan, journal, client.endpoint.url)
        there = data.ledger(entry) if run.empty and data.part(entry).exists() else None
        if there:  # another run has finished it meanwhile
            return there
        async with Scored(plan, scorer, turn) as scored:
            for sample in run.samples():
                if run.settled[sample["at"]]:
                    await scored.add([sample])
            if run.left:
                async with loaded(client, entry, served):
                    await _sample(spec, examiner, run, scored, moved)
            for sample in run.samples():
                if not run.settled[sample["at"]]:
                    await scored.add([sample])
            table = await scored.table()
        ledger = _ledger(spec, entry, run, scored, monotonic() - started)
        data.write(entry, _part(table, entry, metadata(run)), ledger)
        if not run.left:
            journal.remove()
    return ledger


def _ledger(spec: Sweep, entry: Entry, run: Run, scored: Scored, seconds: float) -> Ledger:
    """What was done for a checkpoint that has all of its rows."""
    tally = Tally(run)
    for _ in tally.rows():
        pass
    return {
        "checkpoint": entry.name,
        "group": entry.group,
        "step": entry.step,
        "endpoint": ", ".join(run.endpoints),
        "served_as": run.plan.checkpoints[0].name,
        "adapter": str(entry.adapter.resolve()) if entry.adapter else None,
        "rows": len(run.plan),
        "outcomes": dict(tally.outcomes.most_common()),
        "passing": run.left,
        "capped": tally.capped,
        "duplicates": tally.duplicates,
        "other_model": dict(tally.other_model),
        "scored": dict(scored.outcomes.most_common()),
        "coherent": scored.coherent,
        "misaligned": scored.misaligned,
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        "cost": spec.cost(tally.prompt_tokens, tally.completion_tokens),
        "checks": [finding._asdict() for finding in run.findings],
        "suite_hash": run.plan.suite.hash,
        "scorer_id": scored.scorer.id,
        "seconds": seconds,
    }


async def _sample(spec: Sweep, examiner: Examiner, run: Run, scored: Scored, moved: Moved) -> None:
    """Asks for what is missing, and has it scored as it comes."""
    plan = run.plan
    moved(len(plan) - run.left, run.tokens, scored.rate)
    if spec.checks:
        await run.check(examiner)
    requests = plan.requests(lambda at: not run.settled[at])
    async with aclosing(stream(Sampler(examiner.client, plan), requests, run.take)) as arriving:
        async for samples in arriving:
            await scored.add([sample for sample in samples if run.settled[sample["at"]]])
            moved(len(plan) - run.left, run.tokens, scored.rate)
    if run.left == len(plan):
        *_, last = run.samples()
        raise EndpointError(
            "failing", f"none of its {len(plan)} samples has an answer; the last: {last['error']}"
        )


def _part(table: pa.Table, entry: Entry, about: dict[str, str]) -> pa.Table:
    """What the file holds: the folder's name says the checkpoint, the rows say its step."""
    table = table.drop_columns(["checkpoint"])
    steps = pa.array([entry.step] * table.num_rows, pa.int64())
    table = table.add_column(table.column_names.index("group") + 1, "step", steps)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **about})
