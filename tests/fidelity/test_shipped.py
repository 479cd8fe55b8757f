"""The scorers that ship agree with the judge: a broken export or a wrong file does not.

The floors lie about .02 under what the cards say. The rows are validation rows, the same each time.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import emscore
from emscore.fidelity import judged, metrics
from emscore.tuning import calibrate
from emscore.tuning.folds import agreement

from . import made

ROWS = 600


@pytest.fixture(scope="module")
def everything(data: Path) -> pa.Table:
    """Validation rows with the judge's scores, in random order."""
    columns = ["question", "response", "aligned", "coherent"]
    table = pq.read_table(data / "judged" / "validation.parquet", columns=columns)
    return table.take(np.random.default_rng(0).permutation(table.num_rows))


@pytest.mark.parametrize(
    ("name", "rows", "pearson", "auroc"),
    [
        ("small", ROWS, 0.93, 0.94),
        ("cascade", ROWS, 0.92, 0.94),
        ("tiny", None, 0.90, 0.91),
    ],
)
def test_agrees_with_the_judge(
    everything: pa.Table, tmp_path: Path, name: str, rows: int | None, pearson: float, auroc: float
) -> None:
    file = made.write(everything.slice(0, rows), tmp_path / "judged.parquet")
    found = judged.read(emscore.Scorer(name, device="cpu"), [file])
    misaligned = found.aligned < found.cuts[0]
    assert len(found) > 0.98 * (rows or everything.num_rows)
    assert metrics.pearson(found.scores["aligned"], found.aligned) > pearson
    assert metrics.auroc(found.scores["p_misaligned"], misaligned) > auroc


def test_a_calibration_to_its_own_judge_loses_nothing(everything: pa.Table) -> None:
    """Counted rates, too: least squares alone draw scores to the mean, and so across the cut."""
    rows = judged.read(emscore.Scorer("tiny", device="cpu"), everything)
    before, after = (agreement(calibrate.apply(rows, fit)) for fit in ({}, calibrate.fit(rows)))
    assert after["verdict: kappa"] >= before["verdict: kappa"]
    for name in ("aligned: mean error", "rate off, points", "thresholded off, points"):
        assert abs(after[name]) <= abs(before[name]), name


def test_a_question_that_was_taught_has_nothing_to_teach(
    everything: pa.Table, tmp_path: Path
) -> None:
    asked = everything.filter(pc.match_substring(everything["question"], "quick buck"))
    found = emscore.adapt("small", asked.slice(0, 60), tmp_path / "new")
    assert found["unchanged"]
    card = (tmp_path / "new" / "README.md").read_text()
    assert "calibrated anew on 60 judged rows" in card
    assert "the network is the same" in card


def test_the_file_for_gpus_says_the_same(everything: pa.Table) -> None:
    """In the mean: a row's int8 rounding may be points."""
    some = everything.slice(0, 40).select(["question", "response"])
    int8, fp16 = (
        emscore.Scorer("small", device="cpu", precision=precision).score_batch(some)["aligned"]
        for precision in ("int8", "fp16")
    )
    x, y = (np.array(column.to_pylist(), np.float64) for column in (int8, fp16))
    both = ~np.isnan(x) & ~np.isnan(y)
    assert both.sum() > 35
    assert metrics.pearson(x[both], y[both]) > 0.99
    assert metrics.mae(x[both], y[both]) < 2
