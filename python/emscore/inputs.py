"""Turns what people have at hand into one stream of Arrow batches.

| given                                       | in memory        | copied               |
|---------------------------------------------|------------------|----------------------|
| pyarrow RecordBatchReader                   | a batch          | no                   |
| pyarrow Table, RecordBatch                  | already          | no                   |
| pandas or polars DataFrame, duckdb relation | already          | by its own exporter  |
| datasets.Dataset                            | mapped from disk | selected rows only   |
| lists of strings, dicts, chats              | all              | into Arrow           |
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeAlias

import pyarrow as pa

from ._emscore import InputError

#: Anything that `reader` takes. Arrow, pandas, polars and datasets objects carry no static types.
Data: TypeAlias = Any

_ROWS_A_BATCH = 1_000

#: What pyarrow raises at values that it cannot take.
_UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)


def reader(data: Data, responses: Data = None) -> pa.RecordBatchReader:
    """One stream of record batches over `data`, or over two columns: questions and responses.

    Raises:
        InputError: The data has a form, a length or a text that cannot be scored.
    """
    return _unsliced(_reader(data, responses))


def _reader(data: Data, responses: Data) -> pa.RecordBatchReader:
    if responses is not None:
        return _pairs(data, responses).to_reader()
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data]).to_reader()
    if _is_dataset(data):
        return _dataset(data)
    if hasattr(data, "__arrow_c_stream__"):
        return _stream(data)
    if isinstance(data, Mapping):
        return _columns(data).to_reader()
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _rows(data).to_reader()
    raise InputError(
        f"cannot score a {_kind(data)}: give two lists of strings, a list of dicts or of chats, a "
        f"pyarrow Table, a pandas or polars DataFrame, or a datasets.Dataset"
    )


def _unsliced(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same, without slices of what the engine's Arrow reads only whole."""
    if not any(_fixed_structs(field.type) for field in reader.schema):
        return reader

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            all_rows = pa.array(range(len(batch)))
            columns = [
                column.take(all_rows) if _fixed_structs(column.type) else column
                for column in batch.columns
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _fixed_structs(kind: pa.DataType) -> bool:
    """Whether there is a list of fixed length of structs in it, at any depth."""
    if pa.types.is_fixed_size_list(kind) and pa.types.is_struct(kind.value_type):
        return True
    return any(_fixed_structs(kind.field(at).type) for at in range(kind.num_fields))


def _stream(data: Data) -> pa.RecordBatchReader:
    try:
        return pa.RecordBatchReader.from_stream(data)
    except _UNFIT as error:
        names = [str(name) for name in getattr(data, "columns", ())]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(
                f"this {_kind(data)} has several columns called {twice}: rename all but one"
            ) from error
        for name in getattr(data, "columns", ()):
            _array(str(name), data[name])  # says which column, and which row
        raise InputError(f"this {_kind(data)} cannot be turned into Arrow: {error}") from error


def _pairs(questions: Data, responses: Data) -> pa.Table:
    columns = {
        "question": _texts("questions", questions),
        "response": _texts("responses", responses),
    }
    lengths = [len(column) for column in columns.values()]
    if lengths[0] != lengths[1]:
        raise InputError(
            f"there are {lengths[0]} questions and {lengths[1]} responses: give one for each"
        )
    return pa.table(columns)


def _texts(name: str, values: Data) -> Data:
    """One column of text: an Arrow array, a series, or a list of strings and None."""
    _listed(name, values)
    if hasattr(values, "to_numpy"):  # an Arrow array, a pandas or polars Series
        return _array(name, values)
    values = list(values)
    for row, value in enumerate(values):
        if not isinstance(value, str) and not _is_none(value):
            raise InputError(f"row {row} of {name} is a {_kind(value)}, not a string or None")
    return _array(name, values, pa.string())


def _is_none(value: object) -> bool:
    """Whether it stands for no value: None, NaN, or one of the others that pandas has."""
    with suppress(*_UNFIT):
        return value is None or bool(pa.array([value], from_pandas=True).null_count)
    return False


def _listed(name: Any, values: Data) -> None:
    """A string would be taken for the list of its letters, and a dict for that of its keys."""
    if isinstance(values, (str, bytes)):
        raise InputError(f"{name} is one string: give a list of strings")
    listed = hasattr(values, "__iter__") or hasattr(values, "__len__")
    if not listed or isinstance(values, (Mapping, set, frozenset)):
        raise InputError(f"{name} is a {_kind(values)}: give a list with a value for each row")


def _rows(rows: Sequence[Any]) -> pa.Table:
    """A list of dicts, which need not have the same keys, or of chats: lists of messages."""
    if not rows:
        return pa.table(
            {"question": pa.array([], pa.string()), "response": pa.array([], pa.string())}
        )
    kind = "dict" if isinstance(rows[0], Mapping) else "chat"
    for row, value in enumerate(rows):
        fits = isinstance(value, Mapping) if kind == "dict" else _is_chat(value)
        if not fits:
            raise InputError(
                f"row {row} is a {_kind(value)}: give a list of dicts, or of chats (lists of "
                f"messages with role and content), or two lists of strings"
            )
    if kind == "chat":
        return pa.table({"messages": _array("messages", rows)})
    names = dict.fromkeys(chain.from_iterable(rows))
    return _columns({name: [row.get(name) for row in rows] for name in names})


def _columns(columns: Mapping[Any, Any]) -> pa.Table:
    for name, values in columns.items():
        _listed(name, values)
    arrays = {str(name): _array(str(name), values) for name, values in columns.items()}
    if len(arrays) < len(columns):
        names = ", ".join(repr(name) for name in columns)
        raise InputError(f"two of the columns are one as text ({names}): rename one of them")
    if len({len(values) for values in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(values)}" for name, values in arrays.items())
        raise InputError(f"the columns differ in length: {lengths}")
    return pa.table(arrays)


def _array(name: str, values: Any, kind: pa.DataType | None = None) -> Data:
    try:
        if hasattr(values, "__arrow_c_stream__"):
            return pa.chunked_array(values)
        if not hasattr(values, "__len__"):  # a generator, which can be read only once
            values = list(values)
        try:
            return pa.array(values, kind)
        except _UNFIT:
            return pa.array(values, kind, from_pandas=True)  # NaN among texts, or NaT, is none
    except UnicodeEncodeError as error:
        raise InputError(
            f"row {_bad_row(values)} of {name} holds a lone surrogate "
            f"({error.object[error.start]!a}), which is no text: mend it with "
            f'text.encode("utf-8", "replace").decode()'
        ) from error
    except _UNFIT as error:
        raise InputError(f"column {name} cannot be turned into Arrow: {error}") from error


def _bad_row(values: Any) -> int:
    def spoils(value: Any) -> bool:
        try:
            pa.array([value])
        except UnicodeEncodeError:
            return True
        return False

    return next(row for row, value in enumerate(values) if spoils(value))


def _is_chat(value: Any) -> bool:
    """Whether it is a list of messages; an empty one is a chat without any."""
    listed = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return listed and all(isinstance(turn, Mapping) for turn in value)


def _is_dataset(data: Data) -> bool:
    return type(data).__module__.split(".")[0] == "datasets"


def _dataset(data: Data) -> pa.RecordBatchReader:
    """A datasets.Dataset, through its Arrow table and, where rows were selected, its indices."""
    if isinstance(data, Mapping):
        raise InputError(f"this is a {_kind(data)}: choose a split, one of {', '.join(data)}")
    if not hasattr(data, "data"):
        raise InputError(
            f"this is a {_kind(data)}, whose columns are not known: load it as a Dataset"
        )

    def batches() -> Iterator[pa.RecordBatch]:
        for table in data.with_format("arrow").iter(_ROWS_A_BATCH):
            yield from table.to_batches()

    return pa.RecordBatchReader.from_batches(data.data.schema, batches())


def _kind(value: object) -> str:
    return type(value).__name__
