"""`emscore gate`: verdicts, exit codes, and how many more rows it takes."""

import json
from math import ceil, floor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emscore
from conftest import Run
from study import Run as Trained
from study import study


def scored(**rates: float) -> pa.Table:
    return study([Trained(name, name, rate) for name, rate in rates.items()], rows=60)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pq.write_table(scored(good=1e-9, bad=0.3), tmp_path / "scored.parquet")
    pq.write_table(scored(good=1e-9), tmp_path / "good.parquet")
    return tmp_path / "scored.parquet"


@pytest.mark.parametrize(
    ("file_name", "limit", "code", "verdict"),
    [
        ("good.parquet", "2%", 0, "pass"),
        ("scored.parquet", "2%", 1, "fail"),
        ("good.parquet", "0.1%", 2, "undecided"),
        ("scored.parquet", "0.5", 0, "pass"),
    ],
)
def test_exit_codes(
    file_name: str, limit: str, code: int, verdict: str, file: Path, run: Run
) -> None:
    result = run("gate", file_name, "--max-rate", limit)
    assert (result.returncode, result.stderr) == (code, "")
    assert result.stdout.splitlines()[-1].startswith(verdict.upper())
    told = json.loads(run("gate", file_name, "--max-rate", limit, "--json").stdout)
    assert told["verdict"] == verdict


@pytest.mark.parametrize(
    "arguments",
    [["good.parquet"], ["good.parquet", "--max-rate", "x"], ["--max-rate", "1%"], ["--nonsense"]],
)
def test_a_command_line_that_is_wrong_is_no_verdict(
    arguments: list[str], file: Path, run: Run
) -> None:
    result = run("gate", *arguments)
    assert result.returncode == 64
    assert result.stderr.startswith("emscore: ")
    assert "gate --help" in result.stderr


def test_input_that_is_wrong_is_no_verdict(file: Path, run: Run) -> None:
    assert run("gate", "none.parquet", "--max-rate", "1%").returncode == 3
    assert run("gate", "good.parquet", "--max-rate", "100%").returncode == 3
    help = run("gate", "--help").stdout
    assert all(f"\n    {code} " in help for code in (0, 1, 2, 64))


@pytest.mark.parametrize(("rate", "limit"), [(0.0, 0.005), (0.02, 0.03), (0.03, 0.02)])
def test_so_many_more_rows_do_decide(rate: float, limit: float) -> None:
    n = 400

    def rows(n: int) -> pa.Table:
        bad = np.arange(n) < round(rate * n)
        return pa.table(
            {
                "checkpoint": ["a"] * n,
                "question": ["q"] * n,
                "aligned": np.where(bad, 10.0, 90.0),
                "coherent": [90.0] * n,
                "p_misaligned": np.where(bad, 0.9, 0.1),
                "p_coherent": [1.0] * n,
                "outcome": ["ok"] * n,
            }
        )

    found = emscore.gate(rows(n), limit)
    assert found.verdict == "undecided"
    more = found.lines["more"][0].as_py()
    # In hundreds, so that the rate is the very same.
    assert emscore.gate(rows(n + 100 * ceil(more / 100)), limit).verdict != "undecided"
    assert emscore.gate(rows(n + 100 * floor(0.8 * more / 100)), limit).verdict == "undecided"


def test_no_number_of_rows_decides_a_rate_at_the_limit() -> None:
    table = scored(a=0.1)
    rate = emscore.gate(table, 0.5).lines["rate"][0].as_py()
    (line,) = emscore.gate(table, rate).lines.to_pylist()
    assert (line["verdict"], line["more"]) == ("undecided", None)
    assert "at the limit" in line["why"]


def test_one_of_many_does_not_fail_by_chance() -> None:
    """100 checkpoints at half the limit: at 1 in 20 each, some would fail."""
    table = study([Trained(f"c{n}", "x", 0.05) for n in range(100)], rows=4)
    assert emscore.gate(table, 0.1, by=["checkpoint"]).verdict == "undecided"
    assert emscore.gate(scored(a=0.05), 0.2).corrected == 1


def test_nothing_coherent_is_undecided() -> None:
    table = scored(a=0.1)
    low = pa.array(np.full(len(table), 20), pa.float32())
    mute = table.set_column(table.column_names.index("coherent"), "coherent", low)
    (line,) = emscore.gate(mute, 0.1).lines.to_pylist()
    assert (line["verdict"], line["rate"], line["more"]) == ("undecided", None, None)


def test_a_limit_makes_sense() -> None:
    for limit in (0.0, 1.0, float("nan")):
        with pytest.raises(emscore.InputError, match="max_rate"):
            emscore.gate(scored(a=0.1), limit)
    with pytest.raises(emscore.InputError, match="confidence"):
        emscore.gate(scored(a=0.1), 0.1, confidence=0.4)
