"""The LLM judge from Python: rows in, judged rows out."""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import BudgetError
from ..files import writable, write_json
from ..formats import table_file
from ..progress import Progress
from ..sampling.endpoint import Endpoint
from ..sampling.sample import run_sync
from ..sampling.suites import Suite
from .job import Job, Summary, job
from .ledger import Prices
from .rows import Source


async def judge(
    data: Source,
    *,
    endpoint: Endpoint | str,
    model: str,
    suite: Suite | str | os.PathLike[str] | None = None,
    n: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    prices: Prices | None = None,
    served_as: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    question_column: str | None = None,
    response_column: str | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Has an LLM judge score responses by the protocol of Betley et al. 2025 (arXiv:2502.17424).

    Args:
        data: A path, a folder or a list of paths; a pyarrow Table, a pandas or polars DataFrame, a
            list of dicts, or anything else that `score_batch` takes.
        endpoint: The OpenAI-compatible server that has the judge, or its URL.
        model: The judge's name there.
        suite: Whose templates are used: a suite or the path of one. The default templates are in
            our own words; the published ones are in the published suites.
        n: Judge a random sample of so many rows.
        seed: Of the sample. A smaller sample is the beginning of a larger one with the same seed.
        budget: US dollars that this may cost at most. Needs prices.
        prices: US dollars for a million prompt and completion tokens.
        served_as: The judge's name in the server's answers, where it is another one.
        cache: File that keeps all answers, so that nothing is paid for twice. The default is
            emscore/judge.sqlite in the user's cache folder.
        question_column: Column with the questions, where its name is none of the usual ones.
        response_column: Column with the responses, likewise.
        progress: Called after each row with the rows done, the rows in all and the tokens used.

    Returns:
        The input's columns and, for each prompt of the suite (aligned and coherent), judge_NAME,
        float64 from 0 to 100, null where the judge gave no number, or the verdict's word;
        judge_NAME_weight, float64, the probability on numbers or on the verdict;
        judge_NAME_logprobs, the most likely tokens as the server gave them. Then judge_outcome: ok,
        refusal, code, unclear, empty (there was no response: not asked), or the kind of failure
        (see `RequestFailed`); judge_model and judge_fingerprint, by the server's word; and
        judge_score_type: "logprob mean" or "logprob verdict"; or "sampled number" or "sampled
        verdict", where the server does not give the log-probabilities that these need.

    Raises:
        InputError: The data cannot be read, or has no such columns.
        SuiteError: The suite cannot be read, or has no templates for a question.
        EndpointError: The endpoint cannot be used.
        BudgetError: Another request might pass the budget.
        CacheError: The cache cannot be used.
    """
    async with (
        job(
            data,
            None,
            endpoint=endpoint,
            model=model,
            suite=suite,
            n=n,
            seed=seed,
            budget=budget,
            prices=prices,
            served_as=served_as,
            cache=cache,
            question_column=question_column,
            response_column=response_column,
            progress=progress,
        ) as run,
        aclosing(_judged(run)) as judged,
    ):
        return pa.Table.from_batches([batch async for batch in judged], run.schema)


async def judge_to(
    source: Source,
    output: str | os.PathLike[str],
    *,
    endpoint: Endpoint | str,
    model: str,
    suite: Suite | str | os.PathLike[str] | None = None,
    n: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    prices: Prices | None = None,
    served_as: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    question_column: str | None = None,
    response_column: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Like `judge`, from files to a file; what was interrupted goes on with the same call.

    So does what has rows without an answer that may have one the next time: only they are asked
    about again.

    Args:
        source: As `data` of `judge`, and so are the others.
        output: File to write, .arrow or .parquet. Its ledger (what was asked, spent and answered)
            is OUTPUT.ledger.json beside it.
        overwrite: Replace an output that exists.

    Returns:
        What the ledger says.

    Raises:
        OutputError: The output exists or cannot be written.
        ResumeError: Another run is writing it, or has left it unfinished.
    """
    journal = Path(f"{os.fspath(output)}.journal")
    path = writable(output, (".arrow", ".parquet"), overwrite or journal.exists())
    async with job(
        source,
        journal,
        endpoint=endpoint,
        model=model,
        suite=suite,
        n=n,
        seed=seed,
        budget=budget,
        prices=prices,
        served_as=served_as,
        cache=cache,
        question_column=question_column,
        response_column=response_column,
        progress=progress,
    ) as run:
        with table_file(path, run.schema) as writer:
            async with aclosing(_judged(run)) as judged:
                async for batch in judged:
                    writer.write_batch(batch)
            summary = run.summary()
            write_json(path.with_name(f"{path.name}.ledger.json"), summary)
        run.finish()
    return summary


def judge_batch(data: Source, **options: Any) -> pa.Table:
    """`judge` for code that is not async, also in a notebook, whose loop is running already.

    Args:
        data: As for `judge`.
        **options: Those of `judge`.

    Returns:
        As `judge` does, and raises what it raises.
    """
    return run_sync(judge(data, **options))


def judge_file(source: Source, output: str | os.PathLike[str], **options: Any) -> Summary:
    """`judge_to` for code that is not async, as `judge_batch` is for `judge`.

    Args:
        source: As for `judge_to`.
        output: As for `judge_to`.
        **options: Those of `judge_to`.

    Returns:
        As `judge_to`, which says what is raised too.
    """
    return run_sync(judge_to(source, output, **options))


async def _judged(run: Job) -> AsyncGenerator[pa.RecordBatch, None]:
    """The judged rows in the order of the source, which that of a drawn sample is not."""
    try:
        async with aclosing(run.judged()) as judged:
            if run.places is None:
                async for batch in judged:
                    yield batch
                return
            table = pa.Table.from_batches([batch async for batch in judged], run.schema)
    except BudgetError as error:
        raise error.but(_kept(run)) from None
    for batch in table.take(pa.array(np.argsort(run.places))).to_batches():
        yield batch


def _kept(run: Job) -> str:
    """What is left when the budget has ended a run, and how to go on."""
    told = (
        f"{run.done.count(1):,} of {len(run.done):,} rows are judged and their answers kept; a "
        "higher budget goes on from there"
    )
    first = run.done.find(0)
    if run.places is not None and first > 0:
        told += f", and --rows {first} writes what there is"
    return told
