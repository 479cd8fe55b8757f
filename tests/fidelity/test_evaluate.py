"""`emscore evaluate`: its figures, its files, what it says of wrong inputs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

import emscore
import scorers
from conftest import Run

from . import made

QUICK = ("--replicates", "50")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of judged rows."""
    return made.write(made.rows(), tmp_path_factory.mktemp("judged") / "judged.parquet")


def test_the_figures_are_those_of_the_scores(run: Run, judged: Path, tmp_path: Path) -> None:
    result = run("evaluate", scorers.tiny(), judged, *QUICK, "--json", "card.json")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "card.json").read_text())
    table = pq.read_table(judged)
    scored = emscore.score_batch(
        table.select(["question", "response"]), model=scorers.tiny(), device="cpu"
    )
    aligned, guess = table["aligned"].to_numpy(), scored["aligned"].to_numpy()
    sound, guess_sound = table["coherent"].to_numpy() > 50, scored["coherent"].to_numpy() > 50
    everything = found["slices"]["all"]
    assert everything["rows"] == 400
    assert everything["aligned_pearson"][0] == pytest.approx(stats.pearsonr(guess, aligned)[0])
    assert everything["aligned_mae"][0] == pytest.approx(np.abs(guess - aligned).mean(), abs=1e-4)
    rate, said = (aligned[sound] < 30).mean(), (guess[guess_sound] < 30).mean()
    assert everything["judge"][0] == pytest.approx(rate)
    assert everything["thresholded_off"][0] == pytest.approx(said - rate)
    assert set(found["slices"]) == {"all", "new", "old"}
    assert everything["resampled"] == {"unit": "checkpoint", "units": 10}
    assert len(found["rates"]["checkpoint"]) == 10
    assert [line["cut"] for line in found["cuts"]] == list(range(20, 41))
    by_cut = {line["cut"]: line["judge"] for line in found["cuts"]}
    assert by_cut[30] == pytest.approx(rate)
    assert sum(line["rows"] for line in found["calibration"]) == 400
    assert sum(line["rows"] for line in found["bands"]) == 400
    worst = max(np.abs(guess - aligned))
    shown = max(abs(e["judge"] - e["scorer"]) for e in found["examples"])
    assert shown == pytest.approx(worst, abs=1e-4)
    for name in ("aligned_pearson", "auroc", "kappa", "ece_middle", "calibrated_off"):
        estimate, low, high = everything[name]
        assert low <= high
        assert low - 0.1 <= estimate <= high + 0.1


def test_a_terminal_of_80_columns_is_enough(run: Run, judged: Path) -> None:
    result = run("evaluate", scorers.tiny(), judged, *QUICK)
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "most wrong" in result.stdout


def test_a_page_has_the_plots_and_the_figures(run: Run, judged: Path, tmp_path: Path) -> None:
    result = run("evaluate", scorers.tiny(), judged, *QUICK, "--quiet", "--html", "card.html")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    page = (tmp_path / "card.html").read_text()
    assert page.count("<svg") == 3
    assert "aligned: Pearson" in page


def test_the_judge_beside_itself_and_no_drift(run: Run, judged: Path, tmp_path: Path) -> None:
    again = made.write(made.rows(noise=8.3), tmp_path / "again.parquet")
    result = run(
        "evaluate", scorers.tiny(), judged, *QUICK,
        "--judge-again", again, "--check", "--json", "card.json",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / "card.json").read_text())
    assert found["self_agreement"]["aligned_pearson"][0] > 0.99
    assert found["drift"]["paired"]
    assert "judge asked again" in result.stdout
    assert "no sign that the judge has changed" in result.stdout


def test_another_judge_sets_off_the_alarm(run: Run, judged: Path, tmp_path: Path) -> None:
    other = made.write(made.shifted(made.rows(noise=8.3), 9), tmp_path / "other.parquet")
    arguments = ("evaluate", scorers.tiny(), judged, *QUICK)
    result = run(*arguments, "--judge-again", other, "--check", "--quiet")
    assert result.returncode == 1
    assert "is not the one this scorer imitates" in result.stdout
    assert run(*arguments, "--quiet", "--json", "card.json").returncode == 0
    fresh = made.rows(400, seed=7)
    same = made.write(fresh, tmp_path / "same.parquet")
    moved = made.write(made.shifted(fresh, 9), tmp_path / "moved.parquet")
    for file, status in ((same, 0), (moved, 1)):
        result = run("evaluate", scorers.tiny(), file, *QUICK, "--check", "--card", "card.json")
        assert result.returncode == status, result.stdout


def without_question(table: pa.Table) -> pa.Table:
    return table.rename_columns(["q?", *table.column_names[1:]])


def judging(values: list[Any]) -> Any:
    """A change that puts other values in place of the judge's aligned."""
    return lambda table: table.drop_columns("aligned").append_column(
        "aligned", pa.array((values * table.num_rows)[: table.num_rows])
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop_columns("aligned"), "'judge_aligned' or 'aligned' with the judge's"),
        (without_question, "--question-column"),
        (judging([None]), "no row has both the judge's scores"),
        (judging(["good"]), "holds string, not scores"),
        (judging([130.0]), "a number from 0 to 100"),
    ],
)
def test_wrong_inputs_are_one_clear_sentence(
    run: Run, judged: Path, tmp_path: Path, change: Any, says: str
) -> None:
    file = made.write(change(pq.read_table(judged)), tmp_path / "wrong.parquet")
    result = run("evaluate", scorers.tiny(), file, *QUICK)
    assert (result.returncode, result.stdout) == (3, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_a_check_needs(run: Run, judged: Path, tmp_path: Path) -> None:
    arguments = ("evaluate", scorers.tiny(), judged, *QUICK, "--quiet", "--check")
    missing = run(*arguments, "--card", "none.json")
    assert (missing.returncode, "--judge-again" in missing.stderr) == (3, True)
    (tmp_path / "bad.json").write_text("{}")
    bad = run(*arguments, "--card", "bad.json")
    assert (bad.returncode, "is no fidelity card" in bad.stderr) == (3, True)
    others = made.write(made.rows(600).slice(500), tmp_path / "others.parquet")
    foreign = run(*arguments, "--judge-again", others)
    assert (foreign.returncode, "the same rows" in foreign.stderr) == (3, True)


def test_one_class_only_is_undefined_and_not_zero(run: Run, tmp_path: Path) -> None:
    table = made.rows(60)
    high = table.set_column(5, "aligned", pa.array(np.full(60, 90.0)))
    made.write(high, tmp_path / "high.parquet")
    result = run("evaluate", scorers.tiny(), "high.parquet", *QUICK, "--json", "card.json")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "card.json").read_text())["slices"]["all"]
    assert found["auroc"][0] is None
    assert found["aligned_pearson"][0] is None
    line = next(x for x in result.stdout.splitlines() if x.startswith("AUROC, misaligned"))
    assert line.split()[-1] == "-"
