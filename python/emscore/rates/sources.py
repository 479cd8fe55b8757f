"""Scored files, whatever their format, as streams of the few columns that rates need.

Where there is no response but a column of chats, `messages`, their last turns are question and
response.

A folder is read whole, and what its path says (`group=insecure/part-0.parquet`) becomes columns.
Where some files have a checkpoint, group or condition, rows of the others have none, and are of the
condition "plain".
"""

import glob
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import pyarrow as pa

from .. import inputs
from .._emscore import InputError
from ..formats import ALIASES, ENDINGS, Read, chosen, ending_of, opened
from ..texts import CHAT, is_chat, turns

#: Paths, folders and globs, or data in memory: a pyarrow Table, a DataFrame, ...
Scored: TypeAlias = Any

#: Columns by which rows are told apart, and what rows of files without them have.
_DIVIDING = {"checkpoint": None, "group": None, "condition": "plain"}


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
        """Names of all columns, those of the path and of chats included."""
        return list(dict.fromkeys([*self.schema.names, *self.parts, *self.turns]))

    @property
    def turns(self) -> list[str]:
        """Which texts are turns of chats, since they have no columns."""
        names = self.schema.names
        if CHAT not in names or not is_chat(self.schema.field(CHAT).type):
            return []
        without = [r for r in ("question", "response") if not {r, *ALIASES[r]} & set(names)]
        return without if "response" in without else []

    def column(self, role: str) -> str | None:
        """The column that plays a role (checkpoint, question, response, or any name), if any."""
        told = (self.schema.metadata or {}).get(f"emscore.{role}_column".encode(), b"").decode()
        names = (told, role, *ALIASES.get(role, ()))
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
            return pa.string()  # the path says them, or a chat
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
        said = set(wanted) & set(self.turns)
        stored = [name for name in wanted if name in self.schema.names]
        read = [*stored, *([CHAT] if said and CHAT not in stored else [])]
        with _named(self.name):
            for batch in self._read(read):
                texts = _said(batch[CHAT]) if said else {}
                arrays = [
                    batch[name] if name in stored
                    else texts[name] if name in said
                    else _constant(self.parts[name], batch.num_rows)
                    for name in wanted
                ]  # fmt: skip
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
    if not isinstance(data, pa.RecordBatchReader):  # can be read again
        return Source(name, reader.schema, lambda columns: chosen(inputs.reader(data), columns), {})
    return Source(name, reader.schema, lambda columns: chosen(reader, columns), {}, stream=True)


def _path(path: str) -> list[Source]:
    if path == "-":
        try:
            reader = pa.ipc.open_stream(sys.stdin.buffer)
        except pa.ArrowException as error:
            raise InputError(
                "the standard input is no Arrow stream, as emscore score ... -o - writes it"
            ) from error
        name = "the standard input"
        return [Source(name, reader.schema, lambda c: chosen(reader, c), {}, stream=True)]
    if os.path.isdir(path):
        found = sorted(
            str(file)
            for file in Path(path).rglob("*")
            if file.is_file() and ending_of(file.name) and not _hidden(file.relative_to(path))
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
        schema, read = opened(path)
    return Source(path, schema, read, _hive(path))


def _said(chats: pa.Array) -> dict[str, pa.Array]:
    """Question and response of each chat."""
    pairs = [turns(chat) for chat in chats.to_pylist()]
    return {
        role: pa.array([pair[at] for pair in pairs], pa.large_string())
        for at, role in enumerate(("question", "response"))
    }


def _constant(value: str | None, rows: int) -> pa.Array:
    if value is None:
        return pa.nulls(rows, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([value]))


def _hive(path: str) -> dict[str, str | None]:
    """What `key=value` folders on the way to a file say."""
    steps = (step.split("=", 1) for step in Path(path).parts[:-1] if "=" in step)
    return {unquote(key): unquote(value) for key, value in steps}


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
