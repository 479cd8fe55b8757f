"""Tables of rates as files, in the format of their ending."""

import os

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from .._emscore import OutputError
from ..files import to_json, whole, writable

ENDINGS = (".parquet", ".arrow", ".csv", ".json", ".jsonl")


def write(table: pa.Table, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Writes a table; the file appears when it is whole.

    Raises:
        OutputError: As in `writable`, or it cannot be written.
    """
    path = writable(path, ENDINGS, overwrite)
    try:
        with whole(path) as file:
            if path.suffix == ".parquet":
                pyarrow.parquet.write_table(table, file, compression="zstd")
            elif path.suffix == ".arrow":
                with pa.ipc.new_file(file, table.schema) as writer:
                    writer.write_table(table)
            elif path.suffix == ".csv":
                pyarrow.csv.write_csv(table, file)
            elif path.suffix == ".json":
                file.write(to_json(table.to_pylist(), indent=1).encode())
            else:
                for row in table.to_pylist():
                    file.write((to_json(row) + "\n").encode())
    except pa.ArrowException as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
