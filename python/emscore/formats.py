"""Formats of files: what columns a file has, a reader of some of them, and a writer.

| format                           | found by     | read                                        |
|----------------------------------|--------------|---------------------------------------------|
| Parquet                          | its magic    | only the needed columns, by pyarrow.dataset |
| Arrow IPC file, Arrow IPC stream | their magic  | mapped from disk                            |
| JSON Lines, CSV (.gz, .zst too)  | their ending | block by block                              |

The columns of JSON Lines, and their types, are those of the first lines, up to 4 MB of them.
"""

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import Any, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.json
import pyarrow.parquet

from . import texts
from ._emscore import InputError
from .files import whole
from .texts import CHAT

JSON_LINES = (".jsonl", ".ndjson")
ENDINGS = (".parquet", ".arrow", ".arrows", ".ipc", ".feather", *JSON_LINES, ".csv")
PACKED = (".gz", ".zst")
ROWS_A_BATCH = 1 << 17
BLOCK = 1 << 24  # bytes of text that are parsed at a time; no row may be longer
HEAD = 1 << 22  # bytes of JSON Lines that tell the columns and their types

#: Names that a column may go by, after its own.
ALIASES = {"checkpoint": ("model", "model_id", "model_key"), **texts.ALIASES}

_NUMBERS = ("aligned", "coherent", "p_misaligned", "p_coherent")

#: Columns that hold names, or texts, even where every one of them looks like a number.
_NAMES = {
    "group", "condition", "question_id",
    *ALIASES, *(name for names in ALIASES.values() for name in names)
}  # fmt: skip

#: A reader of some columns, the wanted ones, in batches.
Read: TypeAlias = Callable[[list[str]], Iterator[pa.RecordBatch]]


def ending_of(name: str) -> str:
    """The ending that says the format, without that of a compression; "" for any other."""
    stem, ending = os.path.splitext(name.lower())
    ending = os.path.splitext(stem)[1] if ending in PACKED else ending
    return ending if ending in ENDINGS else ""


def opened(path: str) -> tuple[pa.Schema, Read]:
    """The columns of a file, and a reader of some of them.

    Raises:
        InputError: It is of none of these formats, or empty.
        OSError, ArrowException, JSONDecodeError, UnicodeDecodeError: It cannot be read.
    """
    with open(path, "rb") as file:
        magic = file.read(6)
    if not magic:
        raise InputError(f"{path} is empty")
    if magic.startswith(b"PAR1"):
        return _parquet(path)
    if magic == b"ARROW1":
        data = ds.dataset(os.path.abspath(path), format="ipc")
        return data.schema, lambda columns: _scan(data, columns)
    if magic.startswith(b"\xff\xff\xff\xff"):
        with pa.memory_map(path) as file:
            schema = pa.ipc.open_stream(file).schema
        return schema, lambda columns: _stream(path, columns)
    ending = ending_of(path)
    if ending in JSON_LINES:
        return _json_lines(path)
    if ending == ".csv":
        return _csv(path)
    raise InputError(f"{path} is none of Parquet, Arrow, JSON Lines (.jsonl) and CSV (.csv)")


def _parquet(path: str) -> tuple[pa.Schema, Read]:
    path = os.path.abspath(path)  # a name such as ft:gpt.parquet looks like a URI
    schema = ds.dataset(path, format="parquet").schema
    # Names repeat: as dictionaries they are read, and counted, by number.
    names = [f.name for f in schema if pa.types.is_string(f.type) and f.name not in _TEXTS]
    format = ds.ParquetFileFormat(dictionary_columns=names)
    data = ds.dataset(path, format=format)
    return schema, lambda columns: _scan(data, columns)


_TEXTS = {name for role in ("question", "response") for name in (role, *ALIASES[role])}


def _scan(data: ds.Dataset, columns: list[str]) -> Iterator[pa.RecordBatch]:
    scanner = data.scanner(
        columns=columns, batch_size=ROWS_A_BATCH, batch_readahead=4, fragment_readahead=1
    )
    yield from scanner.to_batches()


def _stream(path: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(path) as file:
        yield from chosen(pa.ipc.open_stream(file), columns)


def _json_lines(path: str) -> tuple[pa.Schema, Read]:
    with unpacked(path) as file:
        head = file.read(HEAD)
        lines = head.split(b"\n")
        if len(head) == HEAD:  # the last one may go on
            lines = lines[:-1] or [head + file.read(BLOCK - HEAD)]
    kinds: dict[str, pa.DataType | None] = {}
    types: dict[str, set[type]] = {}
    chats = []
    for line in filter(bytes.strip, lines):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise InputError(f"{path} has something else than a JSON object on a line")
        for name, value in row.items():
            kinds[name] = _kind(name, value, kinds.get(name, pa.null()))
            types.setdefault(name, set()).add(type(value))
        chats.append(row.get(CHAT))
    if any(isinstance(chat, list) for chat in chats):
        with suppress(pa.ArrowException):  # of messages that are not alike
            kinds[CHAT] = pa.infer_type(chats)
    mixed = {
        name for name, of in types.items() if kinds[name] == pa.string() and of - {str, NoneType}
    }
    schema = pa.schema(
        [
            (name, pa.string() if pa.types.is_null(kind) else kind)
            for name, kind in kinds.items()
            if kind is not None
        ]
    )

    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        if mixed & set(columns):
            yield from _parsed(path, pa.schema([schema.field(name) for name in columns]))
            return
        options = pa.json.ParseOptions(
            explicit_schema=pa.schema([schema.field(name) for name in columns]),
            unexpected_field_behavior="ignore",
        )
        block = pa.json.ReadOptions(block_size=BLOCK)
        with (
            unpacked(path) as file,
            pa.json.open_json(file, read_options=block, parse_options=options) as reader,
        ):
            yield from chosen(reader, columns)

    return schema, read


def _parsed(path: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """JSON Lines with columns of several types, which become text as `emscore score` makes it."""

    def value(row: dict[str, Any], field: pa.Field) -> Any:
        found = row.get(field.name)
        if found is None or isinstance(found, str) or not pa.types.is_string(field.type):
            return found
        return json.dumps(found)

    with unpacked(path) as file, io.TextIOWrapper(file, "utf-8") as lines:
        rows = (json.loads(line) for line in lines if line.strip())
        while some := list(islice(rows, ROWS_A_BATCH)):
            columns = [pa.array([value(row, f) for row in some], f.type) for f in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def unpacked(path: str) -> pa.NativeFile:
    """A file of text, unpacked; pyarrow itself takes no notice of .GZ."""
    packed = {".gz": "gzip", ".zst": "zstd"}.get(os.path.splitext(path.lower())[1])
    return pa.input_stream(path, compression=packed)


def _kind(name: str, value: Any, so_far: pa.DataType | None) -> pa.DataType | None:
    """Type of a column with one more JSON value; None for lists and objects: no rate needs them."""
    if isinstance(value, (dict, list)) or so_far is None:
        return None
    number = name.endswith(_NUMBERS)  # such as s_aligned
    if value is None:
        return pa.float64() if number and pa.types.is_null(so_far) else so_far
    kinds = {bool: pa.bool_(), int: pa.float64() if number else pa.int64(), float: pa.float64()}
    kind = kinds.get(type(value), pa.string())
    if so_far in (kind, pa.null()):
        return kind
    return pa.float64() if {kind, so_far} == {pa.int64(), pa.float64()} else pa.string()


def _csv(path: str) -> tuple[pa.Schema, Read]:
    block = pa.csv.ReadOptions(block_size=BLOCK)
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    with (
        unpacked(path) as file,
        pa.csv.open_csv(file, read_options=block, parse_options=parse) as reader,
    ):
        schema = pa.schema([(f.name, _csv_kind(f)) for f in reader.schema])

    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        convert = pa.csv.ConvertOptions(
            include_columns=columns,
            column_types={name: schema.field(name).type for name in columns},
        )
        try:
            with unpacked(path) as file, pa.csv.open_csv(file, block, parse, convert) as reader:
                yield from chosen(reader, columns)
        except pa.ArrowInvalid as error:
            if not (told := re.search(r"CSV column #(\d+): .*invalid value '(.*)'", str(error))):
                raise
            raise InputError(
                f"{path} has {told[2]!r} in {schema.names[int(told[1])]}, which holds "
                f"{schema.types[int(told[1])]}: leave it empty where there is none"
            ) from error

    return schema, read


def _csv_kind(field: pa.Field) -> pa.DataType:
    """Type of a column; names stay names that look like numbers or dates, as of models."""
    if field.name.endswith(_NUMBERS):
        return pa.float64()
    return pa.string() if field.name in _NAMES or pa.types.is_temporal(field.type) else field.type


def chosen(reader: Any, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The batches with some of their columns; none of them has more rows than it had."""
    for batch in reader:
        yield batch.select(columns)


class Writer(Protocol):
    """What takes batches: a writer of Arrow or of Parquet."""

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Writes the rows of a batch."""


@contextmanager
def table_file(path: str | os.PathLike[str], schema: pa.Schema) -> Iterator[Writer]:
    """A writer of batches to .parquet or .arrow; the file appears when all of them are in it.

    Raises:
        OutputError: It cannot be written.
    """
    with whole(path) as file:
        if Path(path).suffix == ".parquet":
            writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        else:
            writer = pa.ipc.new_file(file, schema)
        with writer:
            yield writer
