"""Tables of rates as files, in the format of their ending."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from .._emscore import OutputError

ENDINGS = (".parquet", ".arrow", ".csv", ".json", ".jsonl")


def require_writable(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Checks a path before any work is done for it.

    Raises:
        OutputError: It exists, its folder does not, or its ending is none of ENDINGS.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise OutputError(f"{path} has to end in one of {', '.join(ENDINGS)}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: say --overwrite to replace it, or name another file")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"there is no folder {path.parent} to write {path.name} to")
    return path


def to_json(values: Any, indent: int | None = None) -> str:
    """As JSON; what it has no word for, such as a date, as text."""
    return json.dumps(values, ensure_ascii=False, indent=indent, default=str)


def write(table: pa.Table, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Writes a table; the file appears when it is whole.

    Raises:
        OutputError: As in `require_writable`, or it cannot be written.
    """
    path = require_writable(path, overwrite)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
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
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except pa.ArrowException as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
