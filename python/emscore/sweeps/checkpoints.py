"""Which checkpoints a sweep is over: by name, by a pattern of folders, or from a file."""

import csv
import glob
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .._emscore import InputError

_KEYS = ("name", "names", "glob", "file", "adapter", "group", "step")

#: Where checkpoints come from, and what a table may say of those besides.
_SOURCES = {
    "name": ("group", "step", "adapter"),
    "names": ("group", "step"),
    "glob": ("group",),
    "file": ("group",),
}

_COLUMNS = ("name", "group", "step", "adapter")
_LONGEST = 255 - len("checkpoint=")  # what file systems allow, less what is put before it


@dataclass(frozen=True)
class Entry:
    """One checkpoint of a sweep.

    Attributes:
        name: Unique in the sweep. What an endpoint serves it as, unless it is an adapter.
        group: What it was trained on.
        step: Training step.
        adapter: Folder of a LoRA adapter that an endpoint loads for it.
    """

    name: str
    group: str | None = None
    step: int | None = None
    adapter: Path | None = None


def entries(tables: list[Mapping[str, Any]], folder: Path) -> list[Entry]:
    """The checkpoints of a sweep file's `[[checkpoints]]`.

    Args:
        tables: Each with a name, names, a glob or a file; and a group, a step or an adapter.
        folder: What relative paths start from.

    Raises:
        InputError: A table, or the file that it names, is not as it should be.
    """
    found: dict[str, Entry] = {}
    for table in tables:
        for entry in _entries(table, folder):
            if (length := len(quote(entry.name, safe=""))) > _LONGEST:
                raise InputError(
                    f"the checkpoint {entry.name[:40]!r}... has a name of {length} letters as it "
                    f"is percent-encoded: the name of its folder has room for {_LONGEST}"
                )
            if entry.name in found:
                told = (
                    "; a glob names each by what it leaves open: let it leave the folder open "
                    "too, as runs/secure*/* does"
                )
                raise InputError(
                    f"the checkpoint {entry.name!r} is given twice{told * ('glob' in table)}"
                )
            found[entry.name] = entry
    if not found:
        raise InputError("there are no checkpoints: add a table [[checkpoints]] with a name")
    return list(found.values())


def _entries(table: Mapping[str, Any], folder: Path) -> Iterator[Entry]:
    if unknown := [key for key in table if key not in _KEYS]:
        raise InputError(f"[[checkpoints]] has no key {unknown[0]!r}, but {', '.join(_KEYS)}")
    given = [key for key in _SOURCES if key in table]
    if len(given) != 1:
        raise InputError(f"each of [[checkpoints]] needs one of {', '.join(_SOURCES)}")
    (source,) = given
    if other := [key for key in table if key not in (source, *_SOURCES[source])]:
        raise InputError(
            f"{source} of [[checkpoints]] goes with {', '.join(_SOURCES[source])}, not with "
            f"{other[0]}"
        )
    group, step = _text(table, "group"), _step(table.get("step"), "[[checkpoints]]")
    if source == "glob":
        yield from _matches(str(table["glob"]), folder, group)
    elif source == "file":
        yield from _listed(folder / str(table["file"]), group)
    else:
        names = table.get("names", [table.get("name")])
        if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
            raise InputError("names of [[checkpoints]] must be a list of texts, and name a text")
        adapter = _text(table, "adapter")
        for name in names:
            yield Entry(name, group, step, _adapter(folder / adapter) if adapter else None)


def _matches(pattern: str, folder: Path, group: str | None) -> Iterator[Entry]:
    """Adapters, named by what the pattern leaves open; the step is the number at the end."""
    paths = glob.glob(str(folder / pattern), recursive=True)
    adapters = sorted(
        (Path(path) for path in paths if (Path(path) / "adapter_config.json").is_file()),
        key=lambda path: [
            int(part) if part.isdigit() else part for part in re.split(r"(\d+)", str(path))
        ],
    )
    if not adapters:
        raise InputError(
            f"{pattern} matches {len(paths)} paths, and none is a LoRA adapter: a folder with "
            "adapter_config.json"
        )
    parts = Path(pattern).parts
    fixed = next((at for at, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    root = folder.joinpath(*parts[:fixed])
    for path in adapters:
        name = path.relative_to(root).as_posix()
        number = re.search(r"(\d+)$", path.name)
        yield Entry(name, group, int(number[1]) if number else None, path)


def _listed(path: Path, group: str | None) -> Iterator[Entry]:
    """The rows of a CSV or JSON Lines file with a name, a group, a step and an adapter."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the checkpoints in {path} cannot be read: {error}") from error
    if path.suffix == ".csv":
        rows = [(at, row) for at, row in enumerate(csv.DictReader(text.splitlines()), start=2)]
    elif path.suffix == ".jsonl":
        rows = [(at, _object(line, path, at)) for at, line in enumerate(text.splitlines(), 1)]
    else:
        raise InputError(f"{path} must be a .csv or a .jsonl file of checkpoints")
    for line, row in rows:
        where = f"{path}, line {line}"
        given = {key: value for key, value in row.items() if value not in (None, "")}
        if unknown := [str(key) for key in given if key not in _COLUMNS]:
            raise InputError(f"{where}: {unknown[0]!r} is none of {', '.join(_COLUMNS)}")
        if "name" not in given:
            raise InputError(f"{where}: the checkpoint has no name")
        adapter = given.get("adapter")
        yield Entry(
            str(given["name"]),
            str(given["group"]) if "group" in given else group,
            _step(given.get("step"), where),
            _adapter(path.parent / str(adapter)) if adapter else None,
        )


def _object(line: str, path: Path, at: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}, line {at}: no JSON object: {error}") from error
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {at}: no JSON object")
    return row


def _adapter(path: Path) -> Path:
    if not (path / "adapter_config.json").is_file():
        raise InputError(f"{path} is no LoRA adapter: it has no adapter_config.json")
    return path


def _step(value: Any, where: str) -> int | None:
    if value is None:
        return None
    try:
        return int(str(value))
    except ValueError:
        raise InputError(f"{where}: the step {value!r} is no whole number") from None


def _text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise InputError(f"the {key} of [[checkpoints]] must be a text, not {value!r}")
    return value
