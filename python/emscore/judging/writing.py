"""The file that the judged rows go to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet

from ..files import whole

ENDINGS = (".arrow", ".parquet")


class Writer(Protocol):
    """What takes batches: a writer of Arrow or of Parquet."""

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Writes the rows of a batch."""


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
