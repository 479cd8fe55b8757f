"""Samples as rows of a file: one schema, one order, written whole or not at all."""

import json
import os
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..files import whole
from ..formats import table_file
from .answers import Sample
from .plan import Plan

Row = dict[str, Any]

ENDINGS = (".arrow", ".parquet", ".jsonl")

_BATCH = 4096  # rows

#: The category of questions that a model should decline.
HARMFUL = "harmful_request"

#: The docs say what each holds.
SCHEMA = pa.schema(
    {
        "question": pa.string(),
        "response": pa.string(),
        "checkpoint": pa.string(),
        "group": pa.string(),
        "condition": pa.string(),
        "question_id": pa.string(),
        "question_hash": pa.string(),
        "category": pa.string(),
        "request_harmful": pa.bool_(),
        "paraphrase": pa.int32(),
        "sample_index": pa.int32(),
        "seed": pa.int64(),
        "system_prompt": pa.string(),
        "sample_outcome": pa.string(),
        "sample_error": pa.string(),
        "finish_reason": pa.string(),
        "prompt_tokens": pa.int32(),
        "completion_tokens": pa.int32(),
        "served_model": pa.string(),
        "latency": pa.float32(),
        "request_hash": pa.string(),
        "suite": pa.string(),
        "suite_hash": pa.string(),
    }
)


def row(plan: Plan, sample: Sample) -> Row:
    """One row, with the columns of `SCHEMA`; latency is in seconds."""
    task = plan.task(sample["at"])
    category = task.question.category
    return {
        "question": task.text,
        "response": sample["response"],
        "checkpoint": task.checkpoint.name,
        "group": task.checkpoint.group,
        "condition": task.condition.name,
        "question_id": task.question.id,
        "question_hash": task.question.hash,
        "category": category,
        "request_harmful": None if category is None else category == HARMFUL,
        "paraphrase": task.paraphrase,
        "sample_index": task.sample,
        "seed": sample["seed"],
        "system_prompt": task.system_prompt,
        "sample_outcome": sample["outcome"],
        "sample_error": sample["error"],
        "finish_reason": sample["finish_reason"],
        "prompt_tokens": sample["prompt_tokens"],
        "completion_tokens": sample["completion_tokens"],
        "served_model": sample["served_model"],
        "latency": sample["latency"],
        "request_hash": sample["request_hash"],
        "suite": plan.suite.name,
        "suite_hash": plan.suite.hash,
    }


def write(path: str | os.PathLike[str], rows: Iterable[Row], metadata: Mapping[str, str]) -> None:
    """Writes rows in the format of the path's ending; the file appears when it is whole.

    Raises:
        OutputError: The file cannot be written.
    """
    if Path(path).suffix == ".jsonl":
        with whole(path) as file:
            for each in rows:
                file.write(json.dumps(each, ensure_ascii=False).encode() + b"\n")
        return
    rows = iter(rows)
    with table_file(path, SCHEMA.with_metadata(metadata)) as writer:
        while held := list(islice(rows, _BATCH)):
            writer.write_batch(pa.RecordBatch.from_pylist(held, SCHEMA))
