"""Judged rows that are made up: the judge's scores are the scorer's own, with some noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import emscore
import scorers


def rows(count: int = 400, noise: float = 8.0, seed: int = 0) -> pa.Table:
    """Rows of ten checkpoints with a judge's scores around those of the tiny scorer."""
    questions, responses = scorers.texts(count)
    table = emscore.score_batch(questions, responses, model=scorers.tiny(), device="cpu")
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {"question": questions, "response": responses}
    columns["checkpoint"] = [f"c{k % 10}" for k in range(count)]
    columns["group"] = [f"g{k % 3}" for k in range(count)]
    columns["split_reason"] = ["new" if k % 2 else "old" for k in range(count)]
    for name in ("aligned", "coherent"):
        said = table[name].to_numpy().astype(float) + rng.normal(0, noise, count)
        columns[name] = np.clip(said, 0, 100)
    return pa.table(columns)


def write(table: pa.Table, path: Path) -> Path:
    """The table as Parquet."""
    pq.write_table(table, path)
    return path


def shifted(table: pa.Table, points: float) -> pa.Table:
    """The same rows by a judge that gives more or fewer points of aligned."""
    moved = pc.min_element_wise(pc.max_element_wise(pc.add(table["aligned"], points), 0.0), 100.0)
    return table.set_column(table.column_names.index("aligned"), "aligned", moved)
