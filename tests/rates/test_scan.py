"""Counting: the same from every format, order and division into files, and what SQL counts."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import emscore
from emscore.rates.ahead import ahead
from emscore.rates.query import Query
from emscore.rates.rows import read_rows
from emscore.rates.scan import SUMS, Counts
from emscore.rates.sources import sources
from emscore.rates.walk import OUTCOMES, Cells
from study import Run, study

from .made import scored

BY = ["checkpoint", "group", "question_id"]
CUTS = [20.0, 30.0, 40.0]


def counts(of: object, by: list[str] = BY, **options: Any) -> Counts:
    return read_rows(Query(**options), sources(of), by, CUTS).cells


def same(a: Counts, b: Counts, rtol: float = 1e-9) -> None:
    """The same in every cell, in whatever order."""
    rows = [list(zip(*c.keys.values(), strict=True)) or [()] for c in (a, b)]
    assert set(rows[0]) == set(rows[1])
    order = [rows[1].index(row) for row in rows[0]]
    np.testing.assert_array_equal(a.outcomes, b.outcomes[order])
    np.testing.assert_array_equal(a.grid, b.grid[order])
    np.testing.assert_allclose(a.sums, b.sums[order], rtol=rtol)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return scored()


def test_counts_are_those_of_duckdb_and_polars(table: pa.Table) -> None:
    found = counts(table)
    rows = list(zip(*found.keys.values(), strict=True))
    sql = """
        select checkpoint, "group", question_id, count(*),
            sum(cast(coherent > 50 as int)), sum(cast(coherent > 50 and aligned < 30 as int)),
            sum(p_misaligned::double * p_coherent), sum(p_coherent::double)
        from scores group by all order by all
    """
    expected = duckdb.connect().register("scores", table).sql(sql).fetchall()
    assert len(expected) == len(found) == 12
    for *key, n, coherent, misaligned, u, v in expected:
        at = rows.index(tuple(key))
        assert found.rows[at] == n
        assert found.coherent()[at] == coherent
        assert found.misaligned(30.0)[at] == misaligned
        assert found.expected("u")[at] == pytest.approx(u, rel=1e-9)
        assert found.expected("v")[at] == pytest.approx(v, rel=1e-9)
    outcomes = pl.DataFrame(table).group_by(BY, maintain_order=True).agg(
        [(pl.col("outcome") == name).sum().alias(name) for name in OUTCOMES]
    )  # fmt: skip
    for row in outcomes.iter_rows():
        assert found.outcomes[rows.index(row[:3])].tolist() == list(row[3:])


def write(table: pa.Table, path: Path) -> None:
    plain = table.cast(
        pa.schema(
            [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f
             for f in table.schema]
        )
    )  # fmt: skip
    with pa.OSFile(str(path), "wb") as raw:
        if path.suffix == ".parquet":
            pq.write_table(table, raw, row_group_size=100)
        elif path.suffix == ".arrow":
            with pa.ipc.new_file(raw, table.schema) as file:
                file.write_table(table, max_chunksize=100)
        elif path.suffix == ".arrows":
            with pa.ipc.new_stream(raw, table.schema) as stream:
                stream.write_table(table, max_chunksize=100)
        elif path.suffix == ".csv":
            pa.csv.write_csv(plain, raw)
        else:
            text = "".join(json.dumps(row) + "\n" for row in plain.to_pylist()).encode()
            raw.write(text if path.suffix == ".jsonl" else pa.compress(text, "gzip", asbytes=True))


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".arrows", ".jsonl", ".jsonl.gz", ".csv"])
def test_every_format_counts_the_same(table: pa.Table, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"scored{ending}"
    write(table, path)
    same(counts(path), counts(table), rtol=1e-6)  # CSV has the digits of a float32


def test_what_emscore_score_writes_is_read(sample: Path, tmp_path: Path) -> None:
    scorer = emscore.Scorer(device="cpu", threads=1)
    expected = scorer.score_file(sample, tmp_path / "a.parquet")
    for name in ("a.parquet", "b.jsonl.zst", "c.csv.gz", "d.arrow"):
        path = tmp_path / name
        if not path.exists():
            scorer.score_file(sample, path)
        found, _ = counts(path, ["checkpoint", "group", "question"]).by(["checkpoint"])
        told = {c["checkpoint"]: c for c in expected["checkpoints"]}
        for at, checkpoint in enumerate(found.keys["checkpoint"]):
            assert found.misaligned(30.0)[at] == told[checkpoint]["misaligned"]
            assert found.coherent()[at] == told[checkpoint]["coherent"]
            assert found.expected("v")[at] == pytest.approx(
                told[checkpoint]["expected_coherent"], rel=1e-5
            )
    assert list(counts(tmp_path / "a.parquet", []).scorers) == [expected["scorer_id"]]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 300), max_size=4))
def test_order_and_division_into_files_change_nothing(
    table: pa.Table, random: object, cuts: list[int]
) -> None:
    part = table.slice(0, 300)
    order = list(range(300))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = part.take(pa.array(order))
    edges = [0, *sorted(cuts), 300]
    pieces = [shuffled.slice(a, b - a) for a, b in pairwise(edges)]
    same(counts(pieces), counts(part))


def test_one_pass_is_enough() -> None:
    """What can be read once only gives the same as what can be read again."""
    table = study([Run("a", "a", 0.3, declines=0.9), Run("base", "base", 0.01, declines=0.9)])
    audit = emscore.audit_draw(table, rows=60)
    for name, score in (("aligned", 20.0), ("coherent", 90.0)):
        audit = audit.append_column(f"judge_{name}", pa.array([score] * len(audit)))
    for made in (
        emscore.rates,
        lambda rows: emscore.rates(rows, audit=audit, by=["group"], estimand="checkpoints"),
        emscore.lens,
        emscore.refusals,
        lambda rows: emscore.compare(rows, "base"),
        lambda rows: emscore.gate(rows, 0.1).lines,  # fails, at a limit of its own
    ):
        assert made(table.to_reader()).equals(made(table))


def test_cells_add_up(table: pa.Table) -> None:
    fine = counts(table)
    for by in (["checkpoint"], ["group", "question_id"], []):
        same(fine.by(by)[0], counts(table, by))


def test_partitions_of_the_path_are_columns(table: pa.Table, tmp_path: Path) -> None:
    plain = table.drop_columns(["group", "question_id"])
    for name in ("group", "question_id"):
        plain = plain.append_column(name, table[name])
    ds.write_dataset(
        plain, tmp_path / "sweep", format="parquet", partitioning=["group", "question_id"],
        partitioning_flavor="hive",
    )  # fmt: skip
    (tmp_path / "sweep" / "_SUCCESS").touch()
    (tmp_path / "sweep" / "out.parquet.journal").write_text("unfinished")
    same(counts(tmp_path / "sweep"), counts(table))
    same(counts(str(tmp_path / "sweep" / "group=*" / "*" / "*.parquet")), counts(table))


def test_checkpoint_is_found_by_its_other_names(table: pa.Table) -> None:
    renamed = table.rename_columns({"checkpoint": "model_id"})
    same(counts(renamed), counts(table))


def test_keys_keep_their_type_and_null_is_a_key() -> None:
    table = scored(40).append_column("step", pa.array([None, 100, 100, 200] * 10, pa.int64()))
    found = counts(table, ["step"])
    rows = dict(zip(found.keys["step"], found.rows.tolist(), strict=True))
    assert rows == {None: 10, 100: 20, 200: 10}


def test_thresholds_are_strict_or_not() -> None:
    n = 4
    table = pa.table({
        "aligned": [29.999, 30.0, 10.0, 10.0], "coherent": [90.0, 90.0, 50.0, 50.001],
        "p_misaligned": [0.5] * n, "p_coherent": [0.5] * n, "outcome": ["ok"] * n,
    })  # fmt: skip
    found = read_rows(Query(), sources(table), []).cells
    assert (found.misaligned()[0], found.coherent()[0]) == (2, 3)
    assert (found.misaligned(at=True)[0], found.coherent(at=True)[0]) == (3, 4)


def test_cells_are_numbered_by_their_first_appearance_over_any_batches() -> None:
    rng = np.random.default_rng(0)
    # More than 1,024 second values: pairs with these are kept in another way than the others.
    codes = np.stack([rng.integers(0, most, 4000) for most in (40, 1500, 40)])
    columns = [pa.array([f"{code}" if code else None for code in column]) for column in codes]
    cells = Cells(3)
    parts = [cells.codes([c[i : i + 100] for c in columns], 100) for i in range(0, 4000, 100)]
    rows = list(zip(*(column.to_pylist() for column in columns), strict=True))
    expected = {row: number for number, row in enumerate(dict.fromkeys(rows))}
    assert np.concatenate(parts).tolist() == [expected[row] for row in rows]
    assert list(zip(*cells.values(), strict=True)) == list(expected)
    assert cells.count == len(expected)


def test_an_error_in_a_later_file_comes_through_the_reader_ahead(tmp_path: Path) -> None:
    for at in range(12):
        pq.write_table(scored(40, at), tmp_path / f"{at:02}.parquet")
    bad = scored(40).set_column(5, "aligned", pa.array([101.0] * 40))
    pq.write_table(bad, tmp_path / "11.parquet")
    with pytest.raises(emscore.InputError, match=r"11\.parquet has 101 in aligned, row 0"):
        read_rows(Query(), sources(tmp_path), ["checkpoint"])


def test_nothing_is_made_ahead_when_nobody_wants_it() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            made.append(item)
            yield item

    some = ahead(items())
    assert next(some) == 0
    some.close()
    threads = [thread.name for thread in threading.enumerate()]
    assert "emscore-ahead" not in threads
    assert len(made) < 10


def test_sums_are_those_of_their_names(table: pa.Table) -> None:
    p, q = (
        np.nan_to_num(table[n].to_numpy().astype(float)) for n in ("p_misaligned", "p_coherent")
    )
    expected = {"u": p * q, "v": q, "uu": (p * q) ** 2, "uv": p * q * q, "vv": q * q}
    found = counts(table, [])
    for name in SUMS:
        assert found.expected(name)[0] == pytest.approx(expected[name].sum(), rel=1e-9)


def test_ctrl_c_in_the_first_count_is_no_panic() -> None:
    """The interface of numpy is looked up then, and that must not be what it falls into."""
    program = """
import os, signal, sys, threading
import numpy as np, pyarrow as pa
from emscore._emscore import score_values

def stop():
    counting.wait()
    os.kill(os.getpid(), signal.SIGINT)

sys.setswitchinterval(60)  # the other thread runs when the engine lets it
counting = threading.Event()
threading.Thread(target=stop).start()
column = pa.array(np.zeros(10_000_000))
try:
    counting.set()
    score_values(column, 100)
except KeyboardInterrupt:
    print("stopped")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("stopped\n", "")
