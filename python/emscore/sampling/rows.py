"""Samples as rows of a file: one schema, one order, written whole or not at all."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..files import whole
from .answers import Sample
from .plan import Plan

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

ENDINGS = (".arrow", ".parquet", ".jsonl")

_BATCH = 4096  # rows

#: The category of questions that a model should decline.
HARMFUL = "harmful_request"

#: Columns and their types; the docs say what each holds.
COLUMNS = {
    "question": "string",
    "response": "string",
    "checkpoint": "string",
    "group": "string",
    "condition": "string",
    "question_id": "string",
    "question_hash": "string",
    "category": "string",
    "request_harmful": "bool",
    "paraphrase": "int32",
    "sample_index": "int32",
    "seed": "int64",
    "system_prompt": "string",
    "sample_outcome": "string",
    "sample_error": "string",
    "finish_reason": "string",
    "prompt_tokens": "int32",
    "completion_tokens": "int32",
    "served_model": "string",
    "latency": "float32",
    "request_hash": "string",
    "suite": "string",
    "suite_hash": "string",
}


def row(plan: Plan, sample: Sample) -> Row:
    """One row, with the columns of `COLUMNS`; latency is in seconds."""
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


def schema(metadata: Mapping[str, str] | None = None) -> "pa.Schema":
    """The Arrow schema of the rows."""
    import pyarrow as pa

    columns = [pa.field(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()]
    return pa.schema(columns, metadata)


def batches(rows: Iterable[Row], schema: "pa.Schema") -> Iterator["pa.RecordBatch"]:
    """The rows as record batches, in bounded memory."""
    import pyarrow as pa

    held: list[Row] = []
    for each in rows:
        held.append(each)
        if len(held) == _BATCH:
            yield pa.RecordBatch.from_pylist(held, schema)
            held = []
    if held:
        yield pa.RecordBatch.from_pylist(held, schema)


def write(path: str | os.PathLike[str], rows: Iterable[Row], metadata: Mapping[str, str]) -> None:
    """Writes rows in the format of the path's ending; the file appears when it is whole.

    Raises:
        OutputError: The file cannot be written.
    """
    kinds: dict[str, Callable[[IO[bytes], Iterable[Row], Mapping[str, str]], None]] = {
        ".arrow": _arrow,
        ".parquet": _parquet,
        ".jsonl": _json_lines,
    }
    with whole(path) as file:
        kinds[Path(path).suffix](file, rows, metadata)


def _arrow(file: IO[bytes], rows: Iterable[Row], metadata: Mapping[str, str]) -> None:
    import pyarrow as pa

    of = schema(metadata)
    with pa.ipc.new_file(file, of) as writer:
        for batch in batches(rows, of):
            writer.write_batch(batch)


def _parquet(file: IO[bytes], rows: Iterable[Row], metadata: Mapping[str, str]) -> None:
    import pyarrow.parquet as pq

    of = schema(metadata)
    with pq.ParquetWriter(file, of, compression="zstd") as writer:
        for batch in batches(rows, of):
            writer.write_batch(batch)


def _json_lines(file: IO[bytes], rows: Iterable[Row], metadata: Mapping[str, str]) -> None:
    for each in rows:
        file.write(json.dumps(each, ensure_ascii=False).encode() + b"\n")
