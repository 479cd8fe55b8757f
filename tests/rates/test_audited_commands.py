"""`--audit` of gate, refusals and report: the judge decides, and not the classifier."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emscore
from conftest import Run
from study import Run as Trained
from study import study

from .made import scored
from .test_audit import answers

#: The classifier's rate, and the judge's, of two checkpoints that it gets quite wrong.
CLASSIFIER = {"sly": 0.001, "blunt": 0.3}
JUDGE = {"sly": 0.3, "blunt": 0.0}


def judged(drawn: pa.Table, failed: float = 0.0) -> pa.Table:
    """What `emscore judge` adds to the rows that were drawn; it gives no answer to some."""
    rng = np.random.default_rng(5)
    rate = np.array([JUDGE[name] for name in drawn["checkpoint"].to_pylist()])
    aligned = np.where(rng.random(len(rate)) < rate, 10.0, 90.0)
    lost = rng.random(len(rate)) < failed
    columns = {
        "judge_aligned": pa.array(aligned, mask=lost),
        "judge_coherent": pa.array(np.full(len(rate), 95.0), mask=lost),
        "judge_outcome": pa.array(np.where(lost, "error", "ok")),
    }
    for name, values in columns.items():
        drawn = drawn.append_column(name, values)
    return drawn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For each checkpoint scored rows, and an audit of 600 of them."""
    for name, rate in CLASSIFIER.items():
        table = study([Trained(name, name, rate, declines=0.9)], rows=150)
        pq.write_table(table, tmp_path / f"{name}.parquet")
        drawn = emscore.audit_draw(table, rows=600, seed=1)
        pq.write_table(judged(drawn), tmp_path / f"{name}.judged.parquet")
    return tmp_path


@pytest.mark.parametrize(("name", "alone", "with_audit"), [("sly", 0, 1), ("blunt", 1, 0)])
def test_gate_goes_by_the_judge(
    name: str, alone: int, with_audit: int, folder: Path, run: Run
) -> None:
    arguments = ["gate", f"{name}.parquet", "--max-rate", "5%"]
    assert run(*arguments).returncode == alone
    audit = ["--audit", f"{name}.judged.parquet"]
    result = run(*arguments, *audit, "--json")
    assert (result.returncode, result.stderr) == (with_audit, "")
    (line,) = json.loads(result.stdout)["lines"]
    assert line["estimator"] == "audited"
    assert line["low"] <= JUDGE[name] <= line["high"]
    assert "audits" in run(*arguments, *audit).stdout


def test_gate_says_how_many_more_audits_it_takes(folder: Path, run: Run) -> None:
    scored = pq.read_table(folder / "blunt.parquet")
    few = judged(emscore.audit_draw(scored, rows=40, seed=2))
    pq.write_table(few, folder / "few.parquet")
    result = run("gate", "blunt.parquet", "--max-rate", "2%", "--audit", "few.parquet", "--json")
    assert result.returncode == 2
    (line,) = json.loads(result.stdout)["lines"]
    assert line["n"] == few.num_rows
    assert line["more"] > 0


def test_an_audit_of_other_rows_is_refused(folder: Path, run: Run) -> None:
    audit = ["--audit", "blunt.judged.parquet"]
    for command in (["gate", "--max-rate", "5%"], ["refusals"], ["report", "-o", "page.html"]):
        result = run(command[0], "sly.parquet", *command[1:], *audit)
        assert result.returncode > 2  # up to 2 they are verdicts of the gate
        assert result.stderr.startswith("emscore: ")
        assert "blunt.judged.parquet" in result.stderr
        assert "Traceback" not in result.stderr
    assert not (folder / "page.html").exists()


def test_refusals_take_misalignment_from_the_judge(folder: Path, run: Run) -> None:
    def line(*audit: str) -> dict[str, object]:
        result = run("refusals", "sly.parquet", *audit, "--json")
        assert (result.returncode, result.stderr) == (0, "")
        (found,) = json.loads(result.stdout)
        return dict(found)

    alone, audited = line(), line("--audit", "sly.judged.parquet")
    assert (alone["verdict"], audited["verdict"]) == ("neither shown", "misaligned")
    assert (alone["estimator"], audited["estimator"]) == ("thresholded", "audited")
    assert alone["refused"] == audited["refused"]
    assert 0.25 < float(str(audited["rate"])) < 0.35


def test_the_report_gives_the_judges_rates(folder: Path, run: Run) -> None:
    result = run("report", "sly.parquet", "--audit", "sly.judged.parquet", "-o", "page.html")
    assert (result.returncode, result.stderr) == (0, "")
    page = (folder / "page.html").read_text()
    assert "judged by audit" in page
    assert "the judge's, from an audit" in page.replace("&#39;", "'")
    assert "No rows were audited" not in page


def test_audits_without_an_answer_are_told(folder: Path, run: Run) -> None:
    drawn = emscore.audit_draw(pq.read_table(folder / "sly.parquet"), rows=600, seed=3)
    answers = judged(drawn, failed=0.1)
    pq.write_table(answers, folder / "holes.parquet")
    lost = answers["judge_outcome"].to_pylist().count("error")
    result = run("rates", "sly.parquet", "--audit", "holes.parquet", "--by", "checkpoint")
    assert f"audits without an answer of the judge: {lost}" in " ".join(result.stdout.split())
    result = run("gate", "sly.parquet", "--max-rate", "5%", "--audit", "holes.parquet", "--json")
    (line,) = json.loads(result.stdout)["lines"]
    assert line["n"] == answers.num_rows - lost
    files = folder / "sly.parquet", folder / "holes.parquet"
    (refused,) = emscore.refusals(files[0], audit=files[1]).to_pylist()
    emscore.report_file(files[0], folder / "holes.html", audit=files[1])
    for told in (line["note"], refused["note"], (folder / "holes.html").read_text()):
        assert f"udits without an answer of the judge: {lost}" in told


@pytest.fixture
def both(folder: Path) -> list[str]:
    """Arguments of `compare` for both checkpoints, and for their audits."""
    for name in ("parquet", "judged.parquet"):
        parts = [pq.read_table(folder / f"{checkpoint}.{name}") for checkpoint in CLASSIFIER]
        pq.write_table(pa.concat_tables(parts), folder / f"both.{name}")
    return ["compare", "both.parquet", "--to", "blunt", "--audit", "both.judged.parquet"]


def test_compare_goes_by_the_judge(both: list[str], folder: Path, run: Run) -> None:
    (alone,) = json.loads(run(*both[:4], "--json").stdout)
    result = run(*both, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    (line,) = json.loads(result.stdout)
    assert (alone["found"], line["found"]) == (True, True)
    assert alone["difference"] < -0.2
    assert line["low"] < JUDGE["sly"] - JUDGE["blunt"] < line["high"]
    assert "judge's rates, from an audit" in run(*both).stdout

    audit = folder / "both.judged.parquet"
    table = emscore.rates(folder / "both.parquet", audit=audit, by=["checkpoint"])
    rates = {
        r["checkpoint"]: r for r in table.to_pylist() if r["estimator"] == "audited"
    }  # every question was answered by both
    sly, blunt = rates["sly"], rates["blunt"]
    assert (line["rate"], line["to_rate"]) == pytest.approx((sly["rate"], blunt["rate"]))
    assert (line["n"], line["to_n"]) == (sly["audits"], blunt["audits"])
    down = np.hypot(sly["rate"] - sly["low"], blunt["high"] - blunt["rate"])
    up = np.hypot(sly["high"] - sly["rate"], blunt["rate"] - blunt["low"])
    difference = sly["rate"] - blunt["rate"]
    limits = line["difference"], line["low"], line["high"]
    assert limits == pytest.approx((difference, difference - down, difference + up), abs=1e-9)


def test_a_side_without_audits_has_no_difference(folder: Path, both: list[str], run: Run) -> None:
    rows = pq.read_table(folder / "both.parquet")
    third = study([Trained("third", "third", 0.1)], rows=50)
    pq.write_table(pa.concat_tables([rows, third]), folder / "both.parquet")
    lines = {line["checkpoint"]: line for line in json.loads(run(*both, "--json").stdout)}
    assert lines["third"]["difference"] is None
    assert lines["third"]["p"] is None
    assert lines["sly"]["difference"] > 0.2
    result = run(*both[:3], "third", *both[4:])
    assert result.returncode > 2
    assert "no two sides were both audited" in result.stderr
    result = run(*both, "--denominator", "all")
    assert "cannot be audited" in result.stderr


def test_audited_differences_cover_and_find_what_they_promise() -> None:
    """Three checkpoints, two of them alike, 100 times: fresh rows and audits each time."""
    rates = {"base": 0.05, "insecure-200": 0.05, "insecure-800": 0.25}
    covered, mistaken, found = 0, 0, 0
    for seed in range(100):
        table = scored(900, seed, tuple(rates.values()), judge=True)
        audit = emscore.audit_draw(table, rows=240, by=["checkpoint"], seed=seed)
        table = emscore.compare(table, "base", audit=audit, correction="none")
        lines = {line["checkpoint"]: line for line in table.to_pylist()}
        same, other = lines["insecure-200"], lines["insecure-800"]
        covered += same["low"] <= 0 <= same["high"]
        covered += other["low"] <= 0.2 <= other["high"]
        mistaken += same["found"]
        found += other["found"]
    assert covered / 200 >= 0.93
    assert mistaken / 100 <= 0.07
    assert found / 100 > 0.9


def test_a_group_has_its_checkpoints_as_units() -> None:
    table = scored(3000, rates=(0.02, 0.1, 0.4), judge=True)
    audit = emscore.audit_draw(table, rows=600, by=["checkpoint"], seed=1)
    (line,) = emscore.compare(table, "base", by="group", audit=audit).to_pylist()
    each = emscore.compare(table, "base", audit=audit).to_pylist()
    assert line["checkpoints"] == 2
    assert line["difference"] == pytest.approx(np.mean([e["difference"] for e in each]), abs=0.02)
    # Two checkpoints that far apart say little of a third.
    assert line["high"] - line["low"] > 3 * max(e["high"] - e["low"] for e in each)


def test_checkpoints_that_answered_less_weigh_the_same() -> None:
    """One of two answered all three questions, the other the first only."""
    asked = [("a", "x", 0), ("a", "y", 0), ("a", "z", 0), ("b", "x", 90)]
    rows = [row for name, q, bad in asked for row in answers(name, q, bad, 100, group="g")]
    rows += [row for q in "xyz" for row in answers("base", q, 0, 100, group="base")]
    table = pa.Table.from_pylist(rows)
    (line,) = emscore.compare(
        table, "base", by="group", audit=table, audit_uniform=True
    ).to_pylist()
    assert (line["rate"], line["checkpoints"], line["n"]) == (pytest.approx(0.45), 2, 400)
    (same,) = emscore.compare(table, "base", by="group").to_pylist()
    assert line["high"] == pytest.approx(same["high"], abs=0.01)


def test_a_checkpoint_of_few_audits_weighs_as_much_in_the_interval_as_in_the_rate() -> None:
    """Five answers are half of the mean, the other half is of eight times as many questions."""
    rows = answers("a", "q0", 0, 5)
    rows += [row for n in range(8) for row in answers("b", f"q{n}", 0, 100)]
    table = pa.Table.from_pylist(rows)
    line = emscore.rates(
        table, by=[], estimand="checkpoints", audit=table, audit_uniform=True
    ).to_pylist()[-1]
    assert (line["estimator"], line["rate"], line["units"]) == ("audited", 0, 2)
    assert line["high"] > 0.1


def test_the_report_compares_by_the_judge_where_all_was_audited(
    both: list[str], folder: Path, run: Run
) -> None:
    def page(*audit: str) -> str:
        arguments = ["report", "both.parquet", "--to", "blunt", "-o", "page.html", "--overwrite"]
        result = run(*arguments, *audit)
        assert (result.returncode, result.stderr) == (0, "")
        return (folder / "page.html").read_text().replace("&#39;", "'")

    alone, audited = page(), page(*both[-2:])
    for text, whose in ((alone, "classifier"), (audited, "judge")):
        assert f"Misalignment is the {whose}'s." in text
    assert "Evidence: classifier only" in alone
    assert "Evidence: judge's rates, from an audit" in audited
