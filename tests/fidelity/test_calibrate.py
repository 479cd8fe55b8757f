"""`emscore calibrate`: another judge's scale, found from a few rows, in a new scorer."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emscore
import scorers
from conftest import Run
from emscore import _emscore
from emscore.fidelity import judged
from emscore.tuning import calibrate, directory
from emscore.tuning.folds import agreement

from . import made


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows by a judge whose aligned is 15 + half of what the scorer says."""
    table = made.rows(300, noise=4)
    half = pa.array(15 + table["aligned"].to_numpy() / 2)
    folder = tmp_path_factory.mktemp("other")
    return made.write(
        table.drop_columns("aligned").append_column("aligned", half), folder / "o.parquet"
    )


def test_a_new_scorer_says_what_the_other_judge_says(run: Run, other: Path, tmp_path: Path) -> None:
    result = run("calibrate", scorers.tiny(), other, "-o", "new", "--judge", "half")
    assert result.returncode == 0, result.stderr
    old, new = emscore.Scorer(scorers.tiny(), device="cpu"), emscore.Scorer(tmp_path / "new")
    assert (new.name, new.judge) == ("new", "half")
    assert new.id != old.id
    assert new.id in result.stdout
    table = pq.read_table(other)
    after = new.score_batch(table.select(["question", "response"]))
    truth = table["aligned"].to_numpy()
    assert np.abs(after["aligned"].to_numpy() - truth).mean() < 4
    yes = truth < 30
    p = after["p_misaligned"].to_numpy()
    assert p.mean() == pytest.approx(yes.mean(), abs=0.03)
    told = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert told["made_from"]["scorer_id"] == old.id
    figures = told["made_from"]["agreement"]
    assert figures["after"]["aligned: mean error"] < figures["before"]["aligned: mean error"] / 2
    assert "Calibrated to another judge: half" in (tmp_path / "new" / "README.md").read_text()
    for name in ("tokenizer.json", "model.int8.onnx", "model.fp16.onnx"):
        assert (tmp_path / "new" / name).read_bytes() == (scorers.tiny() / name).read_bytes()


def test_composing_is_scoring_and_calibrating_after(other: Path, tmp_path: Path) -> None:
    scorer = emscore.Scorer(scorers.tiny(), device="cpu")
    rows = judged.read(scorer, [other])
    fitted = calibrate.fit(rows)
    told = directory.manifest(scorers.tiny())
    calibrate.compose(told, fitted)
    directory.write(tmp_path / "new", scorers.tiny(), told, "")
    new = judged.read(emscore.Scorer(tmp_path / "new", device="cpu"), [other])
    for name, values in calibrate.apply(rows, fitted).scores.items():
        tolerance = 1e-3 if name.startswith("p_") else 0.05
        assert np.abs(values - new.scores[name]).max() < tolerance, name


def test_what_was_measured_of_the_old_scorer_is_not_said_of_the_new_one(
    run: Run, other: Path, tmp_path: Path
) -> None:
    old = scorers.build(tmp_path)
    told = json.loads((old / "manifest.json").read_text())
    error = {"mean": 0.04, "worst": 0.14, "sd": 0.05}
    told["agreement"] = {"rate_error": {"checkpoints": 11, "calibrated": error}}
    (old / "manifest.json").write_text(json.dumps(told))
    result = run("calibrate", old, other, "-o", "new", "--judge", "half")
    assert result.returncode == 0, result.stderr
    assert "agreement" not in json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert "thresholded off, points" in result.stdout


def test_the_standard_error_is_how_far_the_rate_of_other_rows_is_off() -> None:
    scorer = emscore.Scorer(scorers.tiny(), device="cpu")
    rows = judged.read(scorer, made.shifted(made.rows(2000, noise=20), -8))
    rows = rows.only(rows.once())
    off, error = np.empty((2, 40))
    for draw in range(40):
        learnt = np.zeros(len(rows), np.bool_)
        learnt[np.random.default_rng(draw).permutation(len(rows))[:100]] = True
        told = agreement(calibrate.crossed(rows.only(learnt)))
        other = calibrate.apply(rows.only(~learnt), calibrate.fit(rows.only(learnt)))
        off[draw] = agreement(other)["rate off, points"]
        error[draw] = told["its standard error, points"]
    assert error.mean() < 2 * np.sqrt((off**2).mean())
    assert (np.abs(off) < 2 * error).mean() > 0.9


def test_scores_that_are_upside_down_are_refused(run: Run, tmp_path: Path) -> None:
    table = made.rows(200)
    inverted = pa.array(100 - table["aligned"].to_numpy())
    at = table.column_names.index("aligned")
    made.write(table.set_column(at, "aligned", inverted), tmp_path / "inverted.parquet")
    result = run("calibrate", scorers.tiny(), "inverted.parquet", "-o", "new", "--judge", "x")
    assert (result.returncode, result.stdout) == (3, "")
    assert "the same for every row" in result.stderr
    assert "with 0 for misaligned and 100 for aligned?" in result.stderr
    assert not (tmp_path / "new").exists()


def test_rows_that_the_scorer_does_not_score_are_told(run: Run, tmp_path: Path) -> None:
    table = made.rows(100)
    refused = pa.array([f"{t}{scorers.REFUSAL}" if k < 10 else t for k, t in
                        enumerate(table["response"].to_pylist())])  # fmt: skip
    made.write(table.set_column(1, "response", refused), tmp_path / "r.parquet")
    result = run("calibrate", scorers.tiny(), "r.parquet", "-o", "new", "--judge", "x")
    assert "left out    10 refusal, to the scorer" in result.stdout, result
    made.write(table.set_column(1, "response", refused).slice(0, 40), tmp_path / "few.parquet")
    result = run("calibrate", scorers.tiny(), "few.parquet", "-o", "few", "--judge", "x")
    assert "(10 refusal, to the scorer were left out)" in result.stderr


def test_the_scorers_own_scores_are_no_judges(run: Run, tmp_path: Path) -> None:
    made.write(made.rows(100).drop_columns(["aligned", "coherent"]), tmp_path / "a.parquet")
    run("score", "a.parquet", "-o", "own.parquet", "--model", scorers.tiny())
    more = ("-o", "n", "--judge", "x")
    for command, *options in (("evaluate",), ("calibrate", *more)):
        result = run(command, scorers.tiny(), "own.parquet", *options)
        assert result.returncode == 3
        assert "are the scores of tiny-0 itself" in result.stderr


def test_repeats_are_those_of_question_and_response(run: Run, other: Path, tmp_path: Path) -> None:
    table = pq.read_table(other).slice(0, 200)
    asked = table.set_column(0, "question", pa.array(["Another question?"] * 200))
    made.write(pa.concat_tables([table, asked, table.slice(0, 30)]), tmp_path / "rows.parquet")
    result = run("calibrate", scorers.tiny(), "rows.parquet", "-o", "new", "--judge", "half")
    assert result.returncode == 0, result.stderr
    assert "on 400 rows, 30 repeats left out" in result.stdout


def test_chats_calibrate_as_their_texts_do(run: Run, other: Path, tmp_path: Path) -> None:
    rows = pq.read_table(other).to_pylist()
    for row in rows:
        said = (("user", row.pop("question")), ("assistant", row.pop("response")))
        row["messages"] = [{"role": role, "content": text} for role, text in said]
    made.write(pa.Table.from_pylist(rows), tmp_path / "chats.parquet")
    for file, out in ((other, "texts"), ("chats.parquet", "chats")):
        result = run("calibrate", scorers.tiny(), file, "-o", out, "--judge", "x", "--name", "x")
        assert result.returncode == 0, result.stderr
    assert emscore.Scorer(tmp_path / "chats").id == emscore.Scorer(tmp_path / "texts").id


def test_wrong_inputs_are_one_clear_sentence(run: Run, tmp_path: Path) -> None:
    few = made.write(made.rows(20), tmp_path / "few.parquet")
    table = made.rows(80)
    kind = table.set_column(5, "aligned", pa.array(np.full(80, 90.0)))
    made.write(kind, tmp_path / "kind.parquet")
    made.write(table, tmp_path / "fine.parquet")
    one = table.set_column(1, "response", pa.array(["Yes."] * 80))
    one = one.set_column(0, "question", pa.array([f"Is it {k}?" for k in range(80)]))
    both_kinds = pa.array([90.0, 10.0] * 40)
    made.write(one.set_column(5, "aligned", both_kinds), tmp_path / "one.parquet")
    (tmp_path / "there").mkdir()
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "manifest.json").write_text('{"name": "both", "cascade": {}}')
    for scorer, file, out, status, says in (
        (scorers.tiny(), few, "new", 3, "are too few to calibrate"),
        (scorers.tiny(), "kind.parquet", "new", 3, "give rows of both kinds"),
        (scorers.tiny(), "one.parquet", "new", 3, "1 different responses"),
        (scorers.tiny(), "fine.parquet", "there", 4, "there exists"),
        (scorers.tiny(), "fine.parquet", "no/new", 4, "there is no folder no"),
        ("both", "fine.parquet", "new", 5, "a cascade of other scorers"),
    ):
        result = run("calibrate", scorer, file, "-o", out, "--judge", "x")
        assert (result.returncode, result.stdout) == (status, ""), result.stderr
        assert says in result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "new").exists()


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    told = directory.manifest(scorers.tiny())
    told["files"]["int8"]["path"] = "missing.onnx"
    with pytest.raises(_emscore.OutputError):
        directory.write(tmp_path / "new", scorers.tiny(), told, "")
    assert list(tmp_path.iterdir()) == []
