"""What an unfinished run has got so far: one checksummed line a record, only ever appended to."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from .._emscore import OutputError, ResumeError
from ..files import lock

Record = dict[str, Any]

_FORMAT = "emscore journal 1"

#: What parts of an identity are called, where their key is no word for a person.
_WORDS = {
    "suite": "version of the suite",
    "scorer_id": "scorer",
    "checkpoints": "list of checkpoints",
    "samples": "number of samples",
    "conditions": "set of conditions",
    "parameters": "set of parameters",
}


class Journal:
    """An append-only file of JSON objects that survives being cut off at any byte.

    Its first record says what run it belongs to. A line is a CRC-32 of the JSON text, the text, and
    a line break: a torn end is cut off, and a line that was damaged later spoils itself alone.
    A record is with the operating system when `append` returns: it outlives the process, and, once
    `close` has returned, a loss of power. A journal without a record binds nobody: it becomes that
    of the next run, and is not left behind.
    """

    def __init__(self, path: str | os.PathLike[str], identity: Record) -> None:
        """Opens the journal of a run, or starts it.

        Args:
            path: Where it is or shall be.
            identity: What makes two runs the same run.

        Raises:
            ResumeError: The file is in use, is no journal, or belongs to another run.
            OutputError: It cannot be read or written.
        """
        self.path = Path(path)
        try:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115
            self._reader = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
        try:
            self._lock()
            self._end = self._cut_torn_end()
            self._head = self._identity_of(identity)
            if self._end == self._head:
                self._begin(identity)
        except BaseException:
            self._file.close()
            self._reader.close()
            raise
        self._first = self._end

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: Iterable[Record]) -> list[int]:
        """Adds records in one piece: after a kill all of them are there, or none.

        Returns:
            Where each record is, for `read`.

        Raises:
            OutputError: The disk is full, or gone.
        """
        lines = [_line(record) for record in records]
        places, end = [], self._end
        for line in lines:
            places.append(end)
            end += len(line)
        self._write(b"".join(lines))
        self._end = end
        return places

    def replay(self) -> Iterator[tuple[int, Record]]:
        """The records of earlier runs that are whole, and where, in the order of writing."""
        place = self._head
        while place < self._first:
            self._reader.seek(place)
            line = self._reader.readline()
            if (record := _record(line)) is not None:
                yield place, record
            place += len(line)

    def read(self, place: int) -> Record:
        """The record at a place that `append` or `replay` gave.

        Raises:
            ResumeError: It has been damaged since then.
        """
        self._reader.seek(place)
        if (record := _record(self._reader.readline())) is None:
            raise ResumeError(f"{self.path} changed while it was in use (at byte {place:,})")
        return record

    def close(self) -> None:
        """Puts everything on the disk, and lets other runs have the file."""
        if not self._file.closed:
            if self._end == self._head:
                self.path.unlink(missing_ok=True)
            os.fsync(self._file.fileno())
            self._file.close()
            self._reader.close()

    def remove(self) -> None:
        """Closes and deletes it: the run is finished."""
        self.path.unlink(missing_ok=True)
        self._file.close()
        self._reader.close()

    def _write(self, line: bytes) -> None:
        data = memoryview(line)
        try:
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            self._file.truncate(self._end)  # half a record would spoil the next one
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error

    def _lock(self) -> None:
        try:
            lock(self._file)
        except OSError as error:
            raise ResumeError(f"another run is writing {self.path}: wait for it") from error

    def _cut_torn_end(self) -> int:
        """Cuts off what follows the last line break; gives back the size that is left."""
        size = self._reader.seek(0, os.SEEK_END)
        end, block = size, 1 << 16
        while end > 0:
            start = max(end - block, 0)
            self._reader.seek(start)
            found = self._reader.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            self._file.truncate(end)
        return end

    def _identity_of(self, identity: Record) -> int:
        """Compares the first record, where there is one, with the identity; gives its length."""
        if self._end == 0:
            return 0
        self._reader.seek(0)
        line = self._reader.readline()
        head = _record(line)
        if head is None or head.get("journal") != _FORMAT:
            raise ResumeError(f"{self.path} is no journal that can be read: move it away")
        other = difference(head["identity"], identity)
        if other and self._end > len(line):
            raise ResumeError(
                f"{self.path} is of an unfinished run with another {other}: finish that run with "
                "its own command, or delete this file to begin anew"
            )
        return len(line)

    def _begin(self, identity: Record) -> None:
        """Makes it the journal of this run, which has no record yet."""
        self._file.truncate(0)
        self._end = 0
        self._write(_line({"journal": _FORMAT, "identity": identity}))
        self._head = self._end = self.path.stat().st_size
        self._reader.close()  # its buffer holds what was there before
        self._reader = self.path.open("rb")


def difference(found: Record, identity: Mapping[str, Any]) -> str:
    """In what an identity that was written differs from one, in words; nothing where in nothing.

    >>> difference({"samples": [2, 2], "seed": 0}, {"samples": [3, 3], "seed": 0})
    'number of samples (there: 2; now: 3)'
    """
    # As JSON, so that a tuple equals the list that it comes back as.
    wanted = json.loads(json.dumps(identity))
    other = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    if "suite" in other and "samples" in other:
        other.remove("samples")  # of each question
    told = []
    for name in other:
        there, now = _shown(found.get(name)), _shown(wanted.get(name))
        values = f" (there: {there}; now: {now})" if there != now else ""
        told.append(_WORDS.get(name, name) + values)
    return " and another ".join(told)


def _shown(value: Any) -> str:
    """A part of an identity; of a list the names, each once."""
    parts = value if isinstance(value, list) else [value]
    names = [each["name"] if isinstance(each, dict) and "name" in each else each for each in parts]
    text = ", ".join(dict.fromkeys(str(name) for name in names))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line(record: Record) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    data = text.encode("utf-8", "surrogatepass")
    return b"%08x %b\n" % (crc32(data), data)


def _record(line: bytes) -> Record | None:
    """The record in a line, or None where it is not as it was written."""
    checksum, _, data = line[:-1].partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % crc32(data):
        return None
    record: Record = json.loads(data.decode("utf-8", "surrogatepass"))
    return record
