"""The file that the judged rows go to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet

from .._emscore import OutputError
from ..files import whole


class Writer(Protocol):
    """What takes batches: a writer of Arrow or of Parquet."""

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Writes the rows of a batch."""


def require_writable(path: Path, overwrite: bool) -> None:
    """Checks a path before any work is done for it.

    Raises:
        OutputError: It exists, has another ending or its folder does not exist.
    """
    if path.suffix not in (".arrow", ".parquet"):
        raise OutputError(f"{path} must end in .arrow or .parquet")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: say --overwrite to replace it, or name another file")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"there is no folder {path.parent} to write {path.name} to")


@contextmanager
def table_file(path: Path, schema: pa.Schema) -> Iterator[Writer]:
    """A writer of batches; the file appears when all of them are in it.

    Raises:
        OutputError: It cannot be written.
    """
    with whole(path) as file:
        if path.suffix == ".parquet":
            writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        else:
            writer = pa.ipc.new_file(file, schema)
        with writer:
            yield writer
