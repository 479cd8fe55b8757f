"""Scored files, whatever their format, as streams of the few columns that rates need.

| format                          | found by       | read                                       |
|---------------------------------|----------------|--------------------------------------------|
| Parquet                         | its magic      | only the needed columns, by pyarrow.dataset |
| Arrow IPC file, Arrow IPC stream | their magic   | mapped from disk                           |
| JSON Lines, CSV (.gz, .zst too) | their ending   | block by block                             |

The columns of JSON Lines, and their types, are those of the first lines, up to 4 MB of them.

A folder is read whole, and what its path says (`group=insecure/part-0.parquet`) becomes columns.
Where some files have a checkpoint, group or condition, rows of the others have none, and are of the
condition "plain".
"""

import glob
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.json

from .. import inputs
from .._emscore import InputError

#: Paths, folders and globs, or data in memory: a pyarrow Table, a DataFrame, ...
Scored: TypeAlias = Any

ENDINGS = (".parquet", ".arrow", ".arrows", ".ipc", ".feather", ".jsonl", ".ndjson", ".csv")
PACKED = (".gz", ".zst")
ROWS_A_BATCH = 1 << 17
BLOCK = 1 << 24  # bytes of text that are parsed at a time; no row may be longer
HEAD = 1 << 22  # bytes of JSON Lines that tell the columns and their types

#: Names that a column may go by, after its own.
ALIASES = {
    "checkpoint": ("model", "model_id", "model_key"),
    "question": ("prompt", "question_text", "user"),
    "response": ("answer", "completion", "output", "generated_text"),
}

_NUMBERS = ("aligned", "coherent", "p_misaligned", "p_coherent")

#: Columns by which rows are told apart, and what rows of files without them have.
_DIVIDING = {"checkpoint": None, "group": None, "condition": "plain"}

#: Columns that hold names, or texts, even where every one of them looks like a number.
_NAMES = {
    *_DIVIDING, "question_id", *ALIASES, *(name for names in ALIASES.values() for name in names)
}  # fmt: skip

#: A reader of some columns, the wanted ones, in batches.
Read: TypeAlias = Callable[[list[str]], Iterator[pa.RecordBatch]]


@dataclass
class Source:
    """One file, or one table in memory."""

    name: str
    schema: pa.Schema
    _read: Read
    parts: dict[str, str | None]  # what the path says: {"group": "insecure"}
    stream: bool = False  # can be read once only

    @property
    def columns(self) -> list[str]:
        """Names of all columns, those of the path included."""
        return [*self.schema.names, *(name for name in self.parts if name not in self.schema.names)]

    def column(self, role: str) -> str | None:
        """The column that plays a role (checkpoint, question, response, or any name), if any."""
        names = (role, *ALIASES.get(role, ()))
        return next((name for name in names if name in self.columns), None)

    def require_one(self, names: Sequence[str]) -> None:
        """Checks that names are clear.

        Raises:
            InputError: Several columns have one of them.
        """
        for name in names:
            if len(self.schema.get_all_field_indices(name)) > 1:
                raise InputError(f"{self.name} has several columns called {name}: rename one")

    def kind(self, name: str) -> pa.DataType:
        """Type of the values of a column."""
        if name not in self.schema.names:
            return pa.string()  # the path says them
        kind = self.schema.field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def has_text(self, name: str) -> bool:
        """Whether a column is of strings."""
        kind = self.kind(name)
        return bool(
            pa.types.is_string(kind) or pa.types.is_large_string(kind)
            or pa.types.is_string_view(kind)
        )  # fmt: skip

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, in order, with these columns in this order (all of them: None).

        Raises:
            InputError: The file cannot be read on.
        """
        wanted = list(self.columns if columns is None else columns)
        self.require_one(wanted)
        stored = [name for name in wanted if name in self.schema.names]
        with _named(self.name):
            for batch in self._read(stored):
                arrays = [
                    batch[name] if name in stored else _constant(self.parts[name], batch.num_rows)
                    for name in wanted
                ]
                yield pa.RecordBatch.from_arrays(arrays, names=wanted)


def sources(scored: Scored) -> list[Source]:
    """Every file of the paths, folders and globs, or the one table that is given.

    Args:
        scored: A path, folder or glob, or several; "-" for an Arrow stream on the standard input;
            data in memory: a pyarrow Table, a pandas or polars DataFrame, a list of dicts; or
            sources, which are given back.

    Raises:
        InputError: There is no such file, or it is none of these formats.
    """
    listed = [scored] if isinstance(scored, (str, os.PathLike)) else scored
    if isinstance(listed, Sequence) and all(isinstance(p, (str, os.PathLike)) for p in listed):
        found = [source for path in listed for source in _path(os.fspath(path))]
        if not found:
            raise InputError("there are no scored files: name some, or a folder with some")
        return _divided(found)
    if isinstance(listed, Sequence) and all(isinstance(one, Source) for one in listed):
        return list(listed)
    if isinstance(listed, Sequence) and all(hasattr(t, "__arrow_c_stream__") for t in listed):
        return _divided([_memory(table, f"table {at}") for at, table in enumerate(listed)])
    return [_memory(scored, "the table")]


def _divided(found: list[Source]) -> list[Source]:
    for name, value in _DIVIDING.items():
        having = [source for source in found if source.column(name)]
        texts = [source for source in having if source.has_text(str(source.column(name)))]
        if texts and (other := next((s for s in having if s not in texts), None)):
            kind = other.kind(str(other.column(name)))
            if not pa.types.is_null(kind):
                here, there = texts[0].name, other.name
                raise InputError(f"{here} has text in {name}, {there} has {kind}: make them alike")
        for source in found if having else ():
            if source not in having:
                source.parts[name] = value
    return found


def require_files(found: Sequence[Source], what: str) -> None:
    """Checks that rows can be read twice.

    Raises:
        InputError: They cannot.
    """
    if any(source.stream for source in found):
        raise InputError(f"{what} in two passes: give a file or a table, not a stream")


def _memory(data: Any, name: str) -> Source:
    reader = inputs.reader(data)
    if data is not reader:  # can be read again
        return Source(
            name, reader.schema, lambda columns: _chosen(inputs.reader(data), columns), {}
        )
    return Source(name, reader.schema, lambda columns: _chosen(reader, columns), {}, stream=True)


def _path(path: str) -> list[Source]:
    if path == "-":
        with _named("the standard input"):
            reader = pa.ipc.open_stream(sys.stdin.buffer)
        name = "the standard input"
        return [Source(name, reader.schema, lambda c: _chosen(reader, c), {}, stream=True)]
    if os.path.isdir(path):
        found = sorted(
            str(file)
            for file in Path(path).rglob("*")
            if file.is_file() and _ending(file.name) and not _hidden(file.relative_to(path))
        )
        if not found:
            raise InputError(f"the folder {path} has no scored files ({', '.join(ENDINGS)})")
        return [_file(file) for file in found]
    if not os.path.exists(path) and glob.has_magic(path):
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            raise InputError(f"no file matches {path}")
        return [source for file in found for source in _path(file)]
    return [_file(path)]


def _file(path: str) -> Source:
    with _named(path):
        with open(path, "rb") as file:
            magic = file.read(6)
        if not magic:
            raise InputError(f"{path} is empty")
        schema, read = _format(path, magic)
    return Source(path, schema, read, _hive(path))


def _format(path: str, magic: bytes) -> tuple[pa.Schema, Read]:
    if magic.startswith(b"PAR1"):
        return _parquet(path)
    if magic == b"ARROW1":
        data = ds.dataset(os.path.abspath(path), format="ipc")
        return data.schema, lambda columns: _scan(data, columns)
    if magic.startswith(b"\xff\xff\xff\xff"):
        with pa.memory_map(path) as file:
            schema = pa.ipc.open_stream(file).schema
        return schema, lambda columns: _stream(path, columns)
    ending = _ending(path)
    if ending in (".jsonl", ".ndjson"):
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
        yield from _chosen(pa.ipc.open_stream(file), columns)


def _json_lines(path: str) -> tuple[pa.Schema, Read]:
    with _opened(path) as file:
        head = file.read(HEAD)
        lines = head.split(b"\n")
        if len(head) == HEAD:  # the last one may go on
            lines = lines[:-1] or [head + file.read(BLOCK - HEAD)]
    kinds: dict[str, pa.DataType | None] = {}
    for line in filter(bytes.strip, lines):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise InputError(f"{path} has something else than a JSON object on a line")
        for name, value in row.items():
            kinds[name] = _kind(name, value, kinds.get(name, pa.null()))
    schema = pa.schema(
        [
            (name, pa.string() if pa.types.is_null(kind) else kind)
            for name, kind in kinds.items()
            if kind is not None
        ]
    )

    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        options = pa.json.ParseOptions(
            explicit_schema=pa.schema([schema.field(name) for name in columns]),
            unexpected_field_behavior="ignore",
        )
        block = pa.json.ReadOptions(block_size=BLOCK)
        with (
            _opened(path) as file,
            pa.json.open_json(file, read_options=block, parse_options=options) as reader,
        ):
            yield from _chosen(reader, columns)

    return schema, read


def _opened(path: str) -> pa.NativeFile:
    """A file of text, unpacked; pyarrow itself takes no notice of .GZ."""
    packed = {".gz": "gzip", ".zst": "zstd"}.get(os.path.splitext(path.lower())[1])
    return pa.input_stream(path, compression=packed)


def _kind(name: str, value: Any, so_far: pa.DataType | None) -> pa.DataType | None:
    """Type of a column with one more JSON value; None for lists and objects: no rate needs them."""
    if isinstance(value, (dict, list)) or so_far is None:
        return None
    if name.endswith(_NUMBERS):
        return pa.float64()
    if value is None:
        return so_far
    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    kind = kinds.get(type(value), pa.string())
    if so_far in (kind, pa.null()):
        return kind
    return pa.float64() if {kind, so_far} == {pa.int64(), pa.float64()} else pa.string()


def _csv(path: str) -> tuple[pa.Schema, Read]:
    block = pa.csv.ReadOptions(block_size=BLOCK)
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    with (
        _opened(path) as file,
        pa.csv.open_csv(file, read_options=block, parse_options=parse) as reader,
    ):
        schema = pa.schema([(f.name, _csv_kind(f)) for f in reader.schema])

    def read(columns: list[str]) -> Iterator[pa.RecordBatch]:
        convert = pa.csv.ConvertOptions(
            include_columns=columns,
            column_types={name: schema.field(name).type for name in columns},
        )
        with _opened(path) as file, pa.csv.open_csv(file, block, parse, convert) as reader:
            yield from _chosen(reader, columns)

    return schema, read


def _csv_kind(field: pa.Field) -> pa.DataType:
    """Type of a column; names stay names that look like numbers or dates, as of models."""
    if field.name.endswith(_NUMBERS):
        return pa.float64()
    return pa.string() if field.name in _NAMES or pa.types.is_temporal(field.type) else field.type


def _chosen(reader: Any, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The batches with some of their columns; none of them has more rows than it had."""
    for batch in reader:
        yield batch.select(columns)


def _constant(value: str | None, rows: int) -> pa.Array:
    if value is None:
        return pa.nulls(rows, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))


def _hive(path: str) -> dict[str, str | None]:
    """What `key=value` folders on the way to a file say."""
    steps = (step.split("=", 1) for step in Path(path).parts[:-1] if "=" in step)
    return {unquote(key): unquote(value) for key, value in steps}


def _ending(name: str) -> str:
    """The ending that says the format, without that of a compression; "" for any other."""
    stem, ending = os.path.splitext(name.lower())
    ending = os.path.splitext(stem)[1] if ending in PACKED else ending
    return ending if ending in ENDINGS else ""


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Says in which file something went wrong."""
    try:
        yield
    except (pa.ArrowException, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name} cannot be read: {str(error).splitlines()[0]}") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from error
