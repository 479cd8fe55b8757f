"""Files and folders that appear only when they are whole; and TOML files as they are read."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ._emscore import InputError, OutputError

try:
    import fcntl
except ImportError:  # not on Windows, where two runs at once are not noticed
    fcntl = None  # type: ignore[assignment]

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def writable(
    path: str | os.PathLike[str], endings: Sequence[str] = (), overwrite: bool = False
) -> Path:
    """`path`, where a file can come to be: asked before any work is done for it.

    Raises:
        OutputError: It exists, its folder does not, or its ending is none of these.
    """
    target = Path(path)
    if endings and target.suffix not in endings:
        *others, last = endings
        listed = f"{', '.join(others)} or {last}" if others else last
        raise OutputError(f"{target} has to end in {listed}")
    if target.exists() and not overwrite:
        mend = "name another file, or allow it to be replaced (--overwrite)"
        raise OutputError(f"{target} exists; {mend}")
    if not target.absolute().parent.is_dir():
        raise OutputError(f"there is no folder {target.parent} to write {target.name} to")
    return target


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file under a temporary name, which becomes `path` when all is on the disk.

    Raises:
        OutputError: It cannot be written.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def lock(file: int | IO[bytes]) -> None:
    """Keeps other runs out of a file or folder, until it is closed.

    Raises:
        OSError: There is one (BlockingIOError), or the file system has no locks.
    """
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        InputError: It cannot be read, or is not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error


def to_json(data: Any, indent: int | None = None) -> str:
    """Plain data as JSON: NaN, which JSON has no word for, as null; a date and the like as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        return None if isinstance(value, float) and value != value else value

    return json.dumps(plain(data), indent=indent, ensure_ascii=False, allow_nan=False, default=str)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text as `whole` does.

    Raises:
        OutputError: It cannot be written.
    """
    with whole(path) as file:
        file.write(text.encode())


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Writes plain data as `to_json`, on several lines, as `whole` does.

    Raises:
        OutputError: It cannot be written.
    """
    write_text(path, to_json(data, indent=2) + "\n")


def unoccupied(path: str | os.PathLike[str]) -> Path:
    """`path`, which must not exist yet: asked before long work as well as after it.

    Raises:
        OutputError: It exists, or the folder that it is to be in does not.
    """
    target = Path(path)
    if target.exists():
        raise OutputError(f"{target} exists: name a folder that does not")
    if not target.absolute().parent.is_dir():
        raise OutputError(f"there is no folder {target.parent} to make {target.name} in")
    return target


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder beside `path`, which becomes `path` when all in it is on the disk.

    Raises:
        OutputError: `path` exists, or its parent does not.
    """
    target = unoccupied(path)
    try:
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    except OSError as error:
        raise OutputError(f"{target} cannot be made: {error.strerror or error}") from error
    try:
        yield partial
        for file in partial.iterdir():
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        partial.chmod(0o755)
        partial.rename(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
