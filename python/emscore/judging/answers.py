"""Answers that were paid for: a SQLite file by the hash of what was asked, shared by all runs."""

import errno
import json
import os
import sqlite3
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple
from hashlib import sha256
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows, where two runs at once may pay for the same answer
    fcntl = None  # type: ignore[assignment]

from .._emscore import CacheError
from .protocol import Answer

_VERSION = 1
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT) WITHOUT ROWID"


class Answers:
    """A context manager over one file of answers.

    An answer is with the operating system when `keep` returns: it outlives the process. Several
    may use the file at once, in one process or in many.

    Raises:
        CacheError: The file cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = default_path() if path is None else Path(path)
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            (version,) = self._base.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise CacheError(
                    f"{self.path} is from another version of emscore: name another file with "
                    "--cache"
                )
            self._base.execute(_TABLE)
            self._base.execute(f"PRAGMA user_version = {_VERSION}")
            self._claims = open(f"{self.path}-claims", "ab")  # noqa: SIM115

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        self._claims.close()
        self._base.close()

    def find(self, key: bytes) -> Answer | None:
        """The answer to a request, where it is known."""
        with self._told():
            found = self._base.execute("SELECT answer FROM answers WHERE key = ?", (key,))
            row = found.fetchone()
            return None if row is None else _unpacked(row[0])

    def keep(self, key: bytes, answer: Answer) -> None:
        """Keeps the answer to a request."""
        text = json.dumps(astuple(answer))
        with self._told():
            self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, text))

    def forget(self, keys: Iterable[bytes]) -> None:
        """Has these requests asked anew."""
        with self._told():
            self._base.executemany("DELETE FROM answers WHERE key = ?", ((key,) for key in keys))

    @contextmanager
    def claim(self, key: bytes) -> Iterator[bool]:
        """Whether a request may be sent: nobody else is waiting for its answer."""
        free = self._lock(key, take=True)
        try:
            yield free
        finally:
            if free:
                self._lock(key, take=False)

    def _lock(self, key: bytes, *, take: bool) -> bool:
        """Locks or frees one byte of an empty file, which the end of the process frees as well."""
        if fcntl is not None:
            place = int.from_bytes(key[:7], "big")
            try:
                if sys.platform == "linux":  # a lock of this file, and not of the whole process
                    kind = fcntl.F_WRLCK if take else fcntl.F_UNLCK
                    lock = struct.pack("hhqqi", kind, os.SEEK_SET, place, 1, 0)
                    fcntl.fcntl(self._claims, fcntl.F_OFD_SETLK, lock)
                else:
                    how = fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN
                    fcntl.lockf(self._claims, how, 1, place)
            except OSError as error:  # which a file system without locks raises as well
                return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            # These are about what is in the file; with others the answers in it are sound.
            damaged = type(error) is sqlite3.DatabaseError or isinstance(error, ValueError)
            mend = "mend or delete it" if damaged else "make room, or see that you may write there"
            raise CacheError(
                f"the judge's answers in {self.path} cannot be used ({error}): {mend}, or name "
                "another file with --cache"
            ) from error


def key(url: str, body: dict[str, Any]) -> bytes:
    """The hash of a request: the endpoint and everything that is sent."""
    text = json.dumps([url, body], sort_keys=True, ensure_ascii=True)
    return sha256(text.encode()).digest()


def default_path() -> Path:
    """Where answers are kept when no file is named."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "emscore" / "judge.sqlite"


def _unpacked(text: str) -> Answer:
    model, fingerprint, said, finish_reason, top, *counts = json.loads(text)
    pairs = tuple((token, logprob) for token, logprob in top)
    return Answer(model, fingerprint, said, finish_reason, pairs, *counts)
