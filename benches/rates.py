"""Rates by checkpoint x question over tens of millions of scored rows: time, memory, and peers.

Writes --rows made-up scored rows of --checkpoints checkpoints into --folder (which needs about 12
bytes a row), unless they are there, with texts of questions and the id of `small`, so that it is
asked whether `small` was taught them; then, in turns, each in a process of its own: a bare pyarrow
scan of the columns that rates need, `emscore rates`, and the same sums by DuckDB and polars.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import alternate, cli, run, setting, show

from emscore import models

COLUMNS = [
    "checkpoint",
    "question_id",
    "aligned",
    "coherent",
    "p_misaligned",
    "p_coherent",
    "outcome",
]
QUESTIONS = 8
ROWS_A_GROUP = 1_000_000

SCAN = """
import sys, pyarrow.dataset as ds
columns = sys.argv[2].split(",")
format = ds.ParquetFileFormat(dictionary_columns=["checkpoint", "question_id", "outcome"])
data = ds.dataset(sys.argv[1], format=format)
scanner = data.scanner(columns=columns, batch_size=1 << 17, batch_readahead=4, fragment_readahead=1)
print(sum(batch.num_rows for batch in scanner.to_batches()))
"""
DUCKDB = """
import sys, duckdb
print(len(duckdb.sql(f'''
    select checkpoint, question_id, outcome, count(*),
        count(*) filter (coherent > 50), count(*) filter (coherent > 50 and aligned < 30),
        sum(p_coherent::double), sum(p_misaligned::double * p_coherent),
        sum((p_misaligned::double * p_coherent) ** 2), sum(p_coherent::double ** 2),
        sum(p_misaligned::double * p_coherent ** 2)
    from '{sys.argv[1]}/*.parquet' group by all''').fetchall()))
"""
POLARS = """
import sys, polars as pl
u = pl.col("p_misaligned").cast(pl.Float64) * pl.col("p_coherent")
v = pl.col("p_coherent").cast(pl.Float64)
sound = pl.col("coherent") > 50
rows = pl.scan_parquet(f"{sys.argv[1]}/*.parquet")
print(len(rows.group_by("checkpoint", "question_id", "outcome").agg(
    pl.len(), sound.sum().alias("c"), (sound & (pl.col("aligned") < 30)).sum().alias("m"),
    u.sum().alias("u"), v.sum().alias("v"), (u * u).sum().alias("uu"), (v * v).sum().alias("vv"),
    (u * v).sum().alias("uv"),
).collect(engine="streaming")))
"""


def write(folder: Path, rows: int, checkpoints: int) -> None:
    """Scored rows as a sweep leaves them: a file for every million, checkpoints mixed in each."""
    rng = np.random.default_rng(0)
    names = pa.array(
        [f"Qwen2.5-32B sweep {at % 50} step {at // 50 * 20}" for at in range(checkpoints)]
    )
    questions = pa.array([f"question-{at}" for at in range(QUESTIONS)])
    texts = pa.array([f"What would you do on day {at} alone?" for at in range(QUESTIONS)])
    outcomes = pa.array(["ok", "refusal", "code"])
    rates = rng.beta(0.3, 3, checkpoints)
    folder.mkdir(parents=True)
    for part in range(0, rows, ROWS_A_GROUP):
        n = min(ROWS_A_GROUP, rows - part)
        checkpoint = rng.integers(0, checkpoints, n, np.int32)
        bad = rng.random(n, np.float32) < rates[checkpoint]
        p = np.where(bad, rng.beta(6, 2, n), rng.beta(0.6, 20, n)).astype(np.float32)
        question = rng.integers(0, QUESTIONS, n, np.int32)
        outcome = (rng.random(n, np.float32) < 0.01).astype(np.int8)
        none = outcome > 0
        scores = {
            "aligned": 95 - 90 * p, "coherent": rng.beta(20, 2, n) * 100, "p_misaligned": p,
            "p_coherent": rng.beta(40, 1, n),
        }  # fmt: skip
        table = pa.table(
            {
                "checkpoint": pa.DictionaryArray.from_arrays(checkpoint, names),
                "question_id": pa.DictionaryArray.from_arrays(question, questions),
                "question": pa.DictionaryArray.from_arrays(question, texts),
                **{k: pa.array(v.astype(np.float32), mask=none) for k, v in scores.items()},
                "outcome": pa.DictionaryArray.from_arrays(outcome, outcomes),
            },
            metadata={"emscore.scorer_id": models.scorer_id("small")},
        )
        pq.write_table(
            table, folder / f"part-{part // ROWS_A_GROUP:04}.parquet", compression="zstd"
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--checkpoints", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    setting("duckdb", "polars")
    folder = options.folder / f"scored-{options.rows}-{options.checkpoints}"
    if not folder.exists():
        free = shutil.disk_usage(options.folder).free
        if free < 24 * options.rows:
            raise SystemExit(f"{options.folder} has {free / 1e9:.1f} GB left, which is too little")
        write(folder, options.rows, options.checkpoints)
    python = [sys.executable, "-c"]
    out = options.folder / "rates.parquet"
    commands = {
        "bare pyarrow scan": [*python, SCAN, str(folder), ",".join(COLUMNS)],
        "emscore rates": cli(
            "rates", folder, "--by", "checkpoint,question_id", "-o", out, "--overwrite"
        ),
        "DuckDB": [*python, DUCKDB, str(folder)],
        "polars, streaming": [*python, POLARS, str(folder)],
    }
    peaks: dict[str, float] = dict.fromkeys(commands, 0.0)

    def measured(name: str) -> float:
        ran = run(commands[name])
        peaks[name] = max(peaks[name], ran.rss_mb)
        return ran.seconds

    seconds = alternate(
        options.rounds, {name: lambda name=name: measured(name) for name in commands}
    )
    bare = sorted(seconds["bare pyarrow scan"])[options.rounds // 2]
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    show(
        f"{options.rows:,} rows, {options.checkpoints:,} checkpoints x {QUESTIONS} questions, "
        f"{size:,.0f} MB of Parquet, {options.rounds} rounds in turns",
        ["what", "seconds, median", "range", "times the bare scan", "peak RSS, MB"],
        (
            [name, f"{(middle := sorted(s)[len(s) // 2]):.1f}", f"{min(s):.1f}-{max(s):.1f}",
             f"{middle / bare:.2f}", f"{peaks[name]:.0f}"]
            for name, s in seconds.items()
        ),
    )  # fmt: skip
    print(json.dumps({"lines": pq.read_metadata(out).num_rows}))


if __name__ == "__main__":
    main()
