"""`emscore.evaluate`, `emscore.calibrate`, `emscore.adapt`: the commands, from Python."""

import doctest
import json
from pathlib import Path

import pyarrow as pa
import pytest

import emscore
import scorers
from conftest import Run
from emscore.fidelity import evaluate
from emscore.files import to_json

from . import made


def test_docstrings() -> None:
    result = doctest.testmod(evaluate)
    assert result.attempted
    assert result.failed == 0


def test_a_table_is_measured_as_its_file_is(run: Run, tmp_path: Path) -> None:
    table, again = made.rows(200), made.rows(200, noise=8.3)
    made.write(table, tmp_path / "judged.parquet")
    made.write(again, tmp_path / "again.parquet")
    result = run(
        "evaluate", scorers.tiny(), "judged.parquet", "--replicates", "50", "--device", "cpu",
        "--judge-again", "again.parquet", "--check", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for rows, once_more in (
        (table, again),
        (table.to_pandas(), again.to_pylist()),
        (table.to_reader(max_chunksize=30), again.to_reader()),
    ):
        card = emscore.evaluate(
            scorers.tiny(), rows, judge_again=once_more, check=True, replicates=50, device="cpu"
        )
        assert json.loads(to_json(card)) == json.loads(result.stdout)


def test_a_scorer_is_calibrated_to_a_table(run: Run, tmp_path: Path) -> None:
    table = pa.concat_tables([made.shifted(made.rows(120), 9), made.rows(120).slice(0, 20)])
    made.write(table, tmp_path / "overlap.parquet")
    found = emscore.calibrate(scorers.tiny(), table, tmp_path / "new", judge="x")
    result = run("calibrate", scorers.tiny(), "overlap.parquet", "-o", "same/new", "--judge", "x")
    assert "there is no folder same" in result.stderr
    (tmp_path / "same").mkdir()
    result = run("calibrate", scorers.tiny(), "overlap.parquet", "-o", "same/new", "--judge", "x")
    assert result.returncode == 0, result.stderr
    assert found["scorer_id"] == emscore.Scorer(tmp_path / "new").id
    assert found["scorer_id"] in result.stdout
    assert (found["rows"], found["repeats"]) == (120, 20)
    before, after = (found["agreement"][when]["aligned: mean error"] for when in found["agreement"])
    assert after < before


@pytest.mark.parametrize("most", [1.0, 10.0])
def test_scores_on_another_scale_are_not_measured(most: float) -> None:
    table = made.rows(60)
    for name in ("aligned", "coherent"):
        scores = pa.array(table[name].to_numpy() * most / 100)
        table = table.set_column(table.column_names.index(name), name, scores)
    with pytest.raises(emscore.InputError, match="aligned and coherent is above 10: a judge's"):
        emscore.evaluate(scorers.tiny(), table)
