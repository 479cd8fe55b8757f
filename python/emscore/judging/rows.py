"""The rows to be judged: where they come from, their texts, and a random sample of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.json

from .. import formats, inputs
from .._emscore import InputError
from ..texts import ALIASES, CHAT, is_chat, is_text, turns

#: A path, folder or list of paths; or data in memory: a pyarrow Table, a DataFrame, ...
Source: TypeAlias = Any

PROBABILITY = "audit_probability"
"""Column with the probability by which a row came into a sample."""

_BATCH = 1024  # rows
_BLOCK = 1 << 26  # bytes of text that are parsed at a time; no row may be longer


@dataclass(frozen=True)
class Rows:
    """Rows with questions and responses.

    Attributes:
        data: All columns.
        question: Column of the questions.
        response: Column of the responses.
    """

    data: ds.Dataset
    question: str
    response: str

    def __len__(self) -> int:
        with _readable("the input"):
            count: int = self.data.count_rows()
            return count

    @property
    def schema(self) -> pa.Schema:
        """Of all columns."""
        return self.data.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, in order."""
        with _readable("the input"):
            for batch in self.data.to_batches(batch_size=_BATCH):
                if batch.num_rows:
                    yield batch

    def texts(self, batch: pa.RecordBatch) -> Iterator[tuple[str, str]]:
        """The question and the response of each row; what is null is empty."""
        questions = batch[self.question].to_pylist()
        responses = batch[self.response].to_pylist()
        for question, response in zip(questions, responses, strict=True):
            if isinstance(question, list):
                question, _ = turns(question)
            if isinstance(response, list):
                _, response = turns(response)
            yield question or "", response or ""


def rows(source: Source, question_column: str | None, response_column: str | None) -> Rows:
    """The rows of files, or of data in memory.

    Raises:
        InputError: A file cannot be read or has no such columns.
    """
    data = _dataset(source)
    question = _column(data.schema, "question", question_column)
    response = _column(data.schema, "response", response_column)
    if question_column is None and response_column is None:
        # A chat's answer belongs to its own question, not to one in another column.
        if response == CHAT:
            question = CHAT
        elif question == CHAT:
            raise InputError(
                f"both {CHAT} and {response} may hold the response: say --response-column {CHAT}, "
                f"or --response-column {response}, to which the chat is the question"
            )
    return Rows(data, question, response)


def drawn(every: Rows, n: int, seed: int) -> tuple[Rows, "np.ndarray[Any, np.dtype[np.int64]]"]:
    """A simple random sample without replacement, in the order in which it was drawn.

    The first rows of a larger sample with the same seed are a smaller one. Their column
    audit_probability says by which probability each came in; where the rows are a sample already,
    the two probabilities are multiplied.

    Returns:
        The sample, and the place of each of its rows among all, int64 of shape (n,).
    """
    total = len(every)
    places = np.random.default_rng(seed).permutation(total)[:n]
    with _readable("the input"):
        table = every.data.take(pa.array(places))
    chance: pa.ChunkedArray = pa.chunked_array([np.full(len(places), len(places) / max(total, 1))])
    if PROBABILITY in table.column_names:
        with _readable(f"the column {PROBABILITY}"):
            chance = pc.multiply(chance, table[PROBABILITY].cast(pa.float64()))
        at = table.column_names.index(PROBABILITY)
        table = table.set_column(at, PROBABILITY, chance)
    else:
        table = table.append_column(PROBABILITY, chance)
    return Rows(ds.dataset(table), every.question, every.response), places


def _column(schema: pa.Schema, role: str, given: str | None) -> str:
    wanted = (role, *ALIASES[role], CHAT) if given is None else (given,)
    name = next((name for name in wanted if name in schema.names), None)
    if name is None:
        raise InputError(
            f"there is no {role} column {' or '.join(wanted)} among {', '.join(schema.names)}: "
            f"name it with --{role}-column"
        )
    kind = schema.field(name).type
    if not (is_text(kind) or is_chat(kind)):
        raise InputError(f"the {role} column {name} holds {kind}, not text or a chat")
    return name


def _dataset(source: Source) -> ds.Dataset:
    if isinstance(source, (str, os.PathLike)):
        return _path(Path(source))
    if isinstance(source, list) and source and isinstance(source[0], (str, os.PathLike)):
        with _readable("the files together"):
            return ds.dataset([_path(Path(path)) for path in source])
    return ds.dataset(inputs.reader(source).read_all())


def _path(path: Path) -> ds.Dataset:
    with _readable(str(path)):
        if path.is_dir():
            return _folder(path)
        with path.open("rb") as file:
            magic = file.read(6)
        if magic.startswith(b"PAR1"):
            return ds.dataset(path, format="parquet", partitioning=_partitioning(path))
        if magic == b"ARROW1":
            return ds.dataset(path, format="ipc", partitioning=_partitioning(path))
        return ds.dataset(_table(path))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Says what cannot be read."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error


def _folder(path: Path) -> ds.Dataset:
    """A data set of all the files in a folder, such as a sweep writes."""
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and formats.ending_of(file.name)
        and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    )
    if not files:
        raise InputError(f"the folder {path} has no files of {', '.join(formats.ENDINGS)}")
    return ds.dataset([_path(file) for file in files])


def _partitioning(path: Path) -> Any:
    """What folders called key=value say, as text: a checkpoint called 100 is no number."""
    keys = [part.split("=", 1)[0] for part in path.parts[:-1] if "=" in part]
    return ds.partitioning(pa.schema([(key, pa.string()) for key in keys]), flavor="hive")


def _table(path: Path) -> pa.Table:
    if formats.ending_of(path.name) in formats.JSON_LINES:
        return _json_lines(path)
    schema, read = formats.opened(str(path))
    return pa.Table.from_batches(read(schema.names), schema)


def _json_lines(path: Path) -> pa.Table:
    """All columns, in which texts stay texts: pyarrow takes those like 2024-08-06 for dates."""

    def read(schema: pa.Schema | None) -> pa.Table:
        with formats.unpacked(str(path)) as file:
            return pyarrow.json.read_json(
                file,
                pyarrow.json.ReadOptions(block_size=_BLOCK),
                pyarrow.json.ParseOptions(explicit_schema=schema),
            )

    table = read(None)
    schema = pa.schema([field.with_type(_undated(field.type)) for field in table.schema])
    return table if schema == table.schema else read(schema)


def _undated(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_undated(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_undated(field.type)) for field in kind])
    return pa.string() if pa.types.is_timestamp(kind) else kind
