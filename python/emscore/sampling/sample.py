"""From a plan and an endpoint to rows, and to a file of them."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, TypedDict, TypeVar

from .._emscore import __version__
from ..files import writable
from ..progress import Progress
from .answers import Sampler, stream
from .checks import Examiner
from .client import Client
from .endpoint import Endpoint
from .journal import Journal
from .plan import Plan
from .rows import ENDINGS, Row, row, write
from .run import Run, Tally

Result = TypeVar("Result")

SECONDS_A_REPORT = 0.2


class SampleSummary(TypedDict):
    """What a run tells at its end.

    `outcomes` counts the rows by outcome, `resumed` those of earlier runs, `passing` those that
    the same command asks for again. `capped` have the finish_reason length; `duplicates` repeat an
    earlier answer to the same question, checkpoint and condition; `other_model` names, with their
    rows, models that the server says it used instead of those asked for. Tokens are those of the
    probes too.
    """

    rows: int
    outcomes: dict[str, int]
    passing: int
    resumed: int
    requests: int
    capped: int
    duplicates: int
    other_model: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    checks: list[dict[str, str]]
    seconds: float
    output: str


async def sample(endpoint: Endpoint | str, plan: Plan) -> AsyncGenerator[Row, None]:
    """Asks for every sample of a plan, and gives each row as it comes.

    Args:
        endpoint: The server, or its URL.
        plan: What to ask.

    Yields:
        Rows with the columns of `emscore sample`, in the order in which the answers come.

    Raises:
        EndpointError: The endpoint cannot be used.
    """
    async with Client(endpoint) as client:
        requests = plan.requests(lambda at: True)
        async with aclosing(stream(Sampler(client, plan), requests)) as arriving:
            async for samples in arriving:
                for each in samples:
                    yield row(plan, each)


async def sample_to(
    output: str | os.PathLike[str],
    endpoint: Endpoint | str,
    plan: Plan,
    *,
    base: str | None = None,
    checks: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SampleSummary:
    """Asks for every sample of a plan, and writes a file of rows in the order of the plan.

    What arrives goes to `OUTPUT.journal` at once. The same call goes on from there after whatever
    stopped it, and asks only for what is missing. The journal is deleted when nothing is missing.

    Args:
        output: A path that ends in .arrow, .parquet or .jsonl.
        endpoint: The server, or its URL.
        plan: What to ask.
        base: The name of the base model on the server, to find adapters that are not applied.
        checks: Ask a few probes first; see `emscore.sampling.checks`.
        overwrite: Replace a file that exists.
        progress: Called with rows done, rows in all, and tokens so far.

    Returns:
        What came of the samples; `passing` of them are missing yet.

    Raises:
        EndpointError: The endpoint cannot be used.
        OutputError: The output exists, or cannot be written.
        ResumeError: The journal is of another run, or in use.
    """
    started = monotonic()
    path = Path(f"{os.fspath(output)}.journal")
    writable(output, ENDINGS, overwrite or path.exists())
    client = Client(endpoint)
    with Journal(path, plan.identity()) as journal:
        run = Run(plan, journal, client.endpoint.url)
        async with client:
            if progress:  # from here on: checks may take their time
                progress(run.resumed, len(plan), 0)
            if checks:
                await run.check(Examiner(client, base))
            requests = plan.requests(lambda at: not run.settled[at])
            sampler = Sampler(client, plan)
            async with aclosing(stream(sampler, requests, run.take)) as arriving:
                reported = 0.0
                async for _ in arriving:
                    if progress and monotonic() - reported > SECONDS_A_REPORT:
                        reported = monotonic()
                        progress(len(plan) - run.left, len(plan), run.tokens)
        tally = Tally(run)
        write(output, tally.rows(), metadata(run))
        if not run.left:
            journal.remove()
    return SampleSummary(
        rows=len(plan),
        outcomes=dict(tally.outcomes.most_common()),
        passing=run.left,
        resumed=run.resumed,
        requests=client.sent,
        capped=tally.capped,
        duplicates=tally.duplicates,
        other_model=dict(tally.other_model.most_common()),
        prompt_tokens=tally.prompt_tokens,
        completion_tokens=tally.completion_tokens,
        checks=[finding._asdict() for finding in run.findings],
        seconds=monotonic() - started,
        output=str(output),
    )


def sample_file(
    output: str | os.PathLike[str], endpoint: Endpoint | str, plan: Plan, **options: Any
) -> SampleSummary:
    """`sample_to` for code that is not async, also in a notebook, whose loop is running already.

    Args:
        output: As for `sample_to`.
        endpoint: As for `sample_to`.
        plan: As for `sample_to`.
        **options: Those of `sample_to`.

    Returns:
        As `sample_to`.

    Raises:
        EndpointError, OutputError, ResumeError: As `sample_to` does.
    """
    return run_sync(sample_to(output, endpoint, plan, **options))


def run_sync(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs a coroutine to its end, where no loop is running and where one is."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        running = False
    else:
        running = True
    if not running:  # outside of the except, whose error is nobody's business
        return asyncio.run(work)
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def drive() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.wait([task]))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = Thread(target=drive, name="emscore", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:  # the notebook's stop button
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    return task.result()


def metadata(run: Run) -> dict[str, str]:
    """How the rows came about, for the schema of the file."""
    plan, identity = run.plan, run.plan.identity()
    return {
        "emscore.version": __version__,
        "emscore.endpoint": ", ".join(run.endpoints),
        "emscore.suite": plan.suite.name,
        "emscore.suite_hash": plan.suite.hash,
        "emscore.conditions": json.dumps(identity["conditions"]),
        "emscore.request": json.dumps(
            {name: identity[name] for name in identity if name not in ("conditions", "suite")}
        ),
        "emscore.checks": json.dumps([finding._asdict() for finding in run.findings]),
    }
