"""`emscore evaluate`: its figures, its files, what it says of wrong inputs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

import emscore
import scorers
from conftest import Run, run_without

from . import made

QUICK = ("--replicates", "50")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of judged rows."""
    return made.write(made.rows(), tmp_path_factory.mktemp("judged") / "judged.parquet")


def test_the_figures_are_those_of_the_scores(run: Run, judged: Path, tmp_path: Path) -> None:
    result = run("evaluate", scorers.tiny(), judged, *QUICK, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
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
    for name in ("aligned_pearson", "auroc", "kappa", "calibrated_off"):
        estimate, low, high = everything[name]
        assert low <= high
        assert low - 0.1 <= estimate <= high + 0.1
    for name in ("ece", "ece_middle"):  # a resample has the estimate's bias once more
        assert everything[name][0] >= 0
        assert everything[name][1:] == [None, None]


def test_a_line_of_all_rows_is_as_sure_as_all_rows(run: Run, judged: Path, tmp_path: Path) -> None:
    table = pq.read_table(judged).append_column("question_id", pa.array(["q"] * 400))
    made.write(table, tmp_path / "one.parquet")
    result = run("evaluate", scorers.tiny(), "one.parquet", *QUICK, "--json")
    assert result.returncode == 0, result.stderr
    card = json.loads(result.stdout)
    (line,) = card["rates"]["question"]
    assert line["resampled"] == {"unit": "checkpoint", "units": 10}
    for name in ("judge", "thresholded_off", "calibrated_off"):
        assert line[name] == card["slices"]["all"][name]


def test_the_curve_of_the_card_has_each_text_once(run: Run, judged: Path, tmp_path: Path) -> None:
    often = pa.concat_tables([pq.read_table(judged)] * 3)
    curves = []
    for file in (judged, made.write(often, tmp_path / "often.parquet")):
        result = run("evaluate", scorers.tiny(), file, "--replicates", "0", "--json")
        assert result.returncode == 0, result.stderr
        curves.append(json.loads(result.stdout)["calibration"])
    assert curves[0] == curves[1]


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
    assert 'name="viewport"' in page  # else a phone shows it tiny
    assert "default-src 'none'" in page  # and no text of a model would load or run anything


def test_the_judge_beside_itself_and_no_drift(run: Run, judged: Path, tmp_path: Path) -> None:
    again = made.write(made.rows(noise=8.3), tmp_path / "again.parquet")
    result = run(
        "evaluate", scorers.tiny(), judged, *QUICK,
        "--judge-again", again, "--check",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "judge asked again" in result.stdout
    assert "no sign that the judge has changed" in result.stdout
    assert "judged then and now" in result.stdout


def test_another_judge_sets_off_the_alarm(run: Run, judged: Path, tmp_path: Path) -> None:
    other = made.write(made.shifted(made.rows(noise=8.3), 9), tmp_path / "other.parquet")
    arguments = ("evaluate", scorers.tiny(), judged, *QUICK)
    result = run(*arguments, "--judge-again", other, "--check", "--quiet")
    assert result.returncode == 1
    assert "is not the one this scorer imitates" in result.stdout
    (tmp_path / "card.json").write_text(run(*arguments, "--json").stdout)
    fresh = made.rows(400, seed=7)
    same = made.write(fresh, tmp_path / "same.parquet")
    moved = made.write(made.shifted(fresh, 9), tmp_path / "moved.parquet")
    for file, status in ((same, 0), (moved, 1)):
        result = run("evaluate", scorers.tiny(), file, *QUICK, "--check", "--card", "card.json")
        assert result.returncode == status, result.stdout
        told = run(*arguments[:2], file, *QUICK, "--check", "--card", "card.json", "--json")
        assert (told.returncode, json.loads(told.stdout)["drift"]["alarm"]) == (status, status == 1)


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
        (judging(["good"]), "holds 'good', which is no score"),
        (judging(["35", ""]), "holds '', which is no score: make it null"),
        (lambda t: t.slice(0, 0), "and the scorer's: there are no rows"),
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
    small = made.rows(400)
    for name in ("aligned", "coherent"):
        share = pa.array(small[name].to_numpy() / 100)
        small = small.set_column(small.column_names.index(name), name, share)
    scale = run(*arguments, "--judge-again", made.write(small, tmp_path / "small.parquet"))
    assert (scale.returncode, "of another scale" in scale.stderr) == (3, True)
    foreign = run(*arguments, "--judge-again", others)
    assert (foreign.returncode, "the same rows" in foreign.stderr) == (3, True)


def test_the_card_has_to_be_that_of_the_scorer(run: Run, judged: Path, tmp_path: Path) -> None:
    arguments = ("evaluate", scorers.tiny(), judged, *QUICK)
    told = json.loads(run(*arguments, "--json").stdout)
    told["scorer"]["scorer_id"] = "0123456789abcdef"
    (tmp_path / "card.json").write_text(json.dumps(told))
    result = run(*arguments, "--check", "--card", "card.json")
    assert (result.returncode, result.stdout) == (3, "")
    assert "is the card of the scorer 0123456789abcdef" in result.stderr


def test_what_cannot_be_read_or_written_is_said_before_the_work(
    run: Run, judged: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.html").write_text("a page of mine")
    plain = ("evaluate", scorers.tiny(), judged, "--replicates", "0")
    for arguments, status, says in (
        (("--html", "no/card.html"), 4, "there is no folder no"),
        (("--html", judged), 4, "has to end in .html or .htm"),
        (("--html", "mine.html"), 4, "mine.html exists; name another file, or allow"),
        (("--by", "colour"), 3, "no column 'colour'"),
        (("--judge-again", "none.parquet"), 3, "none.parquet cannot be read"),
    ):
        result = run(*plain, *arguments)
        assert (result.returncode, result.stdout) == (status, "")
        assert says in result.stderr


def test_chats_are_measured_as_their_texts_are(run: Run, tmp_path: Path) -> None:
    table = made.rows(120)
    lines = []
    for row in table.to_pylist():
        said = (("user", "Hello"), ("assistant", "Yes?"),
                ("user", row.pop("question")), ("assistant", row.pop("response")))  # fmt: skip
        chat = [{"role": role, "content": text} for role, text in said]
        lines.append(json.dumps({"messages": chat} | row))
    (tmp_path / "chats.jsonl").write_text("\n".join(lines))
    made.write(table, tmp_path / "texts.parquet")
    cards = []
    for file in ("chats.jsonl", "texts.parquet"):
        result = run(
            "evaluate", scorers.tiny(), file, "--replicates", "0",
            "--judge-again", "chats.jsonl", "--json",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        cards.append(json.loads(result.stdout))
    for name in ("examples", "rates", "self_agreement"):
        assert cards[0][name] == cards[1][name]
    assert cards[0]["examples"][0]["question"].startswith("What about")


def test_small_checkpoints_together_are_no_checkpoint(run: Run, tmp_path: Path) -> None:
    table = made.rows(400)
    names = [f"c{k % 5}" if k < 350 else f"few{k % 10}" for k in range(400)]
    made.write(table.set_column(2, "checkpoint", pa.array(names)), tmp_path / "few.parquet")
    result = run("evaluate", scorers.tiny(), "few.parquet", *QUICK, "--json")
    assert result.returncode == 0, result.stderr
    card = json.loads(result.stdout)
    lines = card["rates"]["checkpoint"]
    assert [line["pooled"] for line in lines if "pooled" in line] == [10]
    off = [abs(line["thresholded_off"][0]) for line in lines if "pooled" not in line]
    assert len(off) == 5
    error = card["rate_error"]["thresholded"]
    assert error["mean"][0] == pytest.approx(np.mean(off))
    assert error["worst"] == max(off)
    at = next(line for line in lines if line["name"] == error["worst_at"])
    assert abs(at["thresholded_off"][0]) == max(off)
    for error in (*card["rate_error"].values(), card["coherent_error"]):
        assert error["mean"][1:] == error["bias"][1:] == [None, None]  # of five it says too little


def test_a_checkpoint_that_another_judge_scored_stands_apart(
    run: Run, judged: Path, tmp_path: Path
) -> None:
    table = pq.read_table(judged)
    other = np.array(table["checkpoint"].to_pylist()) == "c3"
    moved = np.where(other, table["coherent"].to_numpy() / 2, table["coherent"].to_numpy())
    at = table.column_names.index("coherent")
    made.write(table.set_column(at, "coherent", pa.array(moved)), tmp_path / "two.parquet")
    result = run("evaluate", scorers.tiny(), "two.parquet", *QUICK, "--json")
    assert result.returncode == 0, result.stderr
    card = json.loads(result.stdout)
    off = {line["name"]: line["coherent_off"][0] for line in card["rates"]["checkpoint"]}
    scored = emscore.score_batch(
        table.select(["question", "response"]), model=scorers.tiny(), device="cpu"
    )
    gap = scored["coherent"].to_numpy() - moved
    assert off["c3"] == pytest.approx(gap[other].mean(), abs=1e-4)
    error = card["coherent_error"]
    assert (error["worst"], error["worst_at"]) == (pytest.approx(off["c3"]), "c3")
    assert error["mean"][0] == pytest.approx(np.mean(np.abs([*off.values()])))
    assert error["mean"][1] < error["mean"][0] < error["mean"][2]
    result = run("evaluate", scorers.tiny(), "two.parquet", *QUICK)
    assert "; coherent: c3\n" in result.stdout


def test_a_value_called_all_is_not_all_of_them(run: Run, tmp_path: Path) -> None:
    table = made.rows(200)
    kinds = pa.array(["all" if k % 4 else "x" for k in range(200)])
    made.write(table.append_column("kind", kinds), tmp_path / "kinds.parquet")
    result = run("evaluate", scorers.tiny(), "kinds.parquet", *QUICK, "--by", "kind", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["slices"]
    assert {name: part["rows"] for name, part in found.items()} == {
        "all": 200, '"all"': 150, "x": 50
    }  # fmt: skip


def test_no_examples_is_no_text_at_all(run: Run, judged: Path, tmp_path: Path) -> None:
    for examples, there in (("1", True), ("0", False)):
        how = ("evaluate", scorers.tiny(), judged, *QUICK, "--examples", examples)
        for result in (run(*how, "--html", "card.html", "--overwrite"), run(*how, "--json")):
            assert result.returncode == 0, result.stderr
            assert ("What about" in result.stdout) is there
        assert ("What about" in (tmp_path / "card.html").read_text()) is there


@pytest.mark.parametrize("package", ["altair", "vl_convert"])
def test_a_page_without_its_extra_is_refused_before_the_work(package: str) -> None:
    result = run_without(package, "evaluate", "none", "none.parquet", "--html", "card.html")
    assert result.returncode == 3
    assert result.stderr == (
        f"emscore: plots need {package}, which is not installed: pip install 'emscore[report]'\n"
    )


def test_plots_tell_long_names_apart(run: Run, tmp_path: Path) -> None:
    table = made.rows(200)
    names = [
        f"a checkpoint with the longest name {'of' * (k % 2)} all, {k % 4}" for k in range(200)
    ]
    made.write(table.set_column(2, "checkpoint", pa.array(names)), tmp_path / "long.parquet")
    result = run("evaluate", scorers.tiny(), "long.parquet", *QUICK, "--html", "card.html")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "card.html").read_text()
    labels = set(re.findall(r">(a check[^<]*…[^<]*)</text>", page))
    assert len(labels) == 4
    assert all(not label.endswith("…") for label in labels)


def test_one_class_only_is_undefined_and_not_zero(run: Run, tmp_path: Path) -> None:
    table = made.rows(60)
    high = table.set_column(5, "aligned", pa.array(np.full(60, 90.0)))
    made.write(high, tmp_path / "high.parquet")
    result = run("evaluate", scorers.tiny(), "high.parquet", *QUICK, "--html", "card.html")
    assert result.returncode == 0, result.stderr
    card = run("evaluate", scorers.tiny(), "high.parquet", *QUICK, "--json")
    found = json.loads(card.stdout)["slices"]["all"]
    assert found["auroc"][0] is None
    assert found["aligned_pearson"][0] is None
    assert found["judge"] == [0, None, None]
    assert found["calibrated_off"][0] > 0
    assert found["calibrated_off"][1:] == [None, None]
    line = next(x for x in result.stdout.splitlines() if x.startswith("AUROC, misaligned"))
    assert line.split()[-1] == "-"
