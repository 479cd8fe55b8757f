"""What cannot be read as rates: one clear sentence, and never a number."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import emscore
from conftest import Run
from emscore import InputError

from .made import scored


def replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def with_value(table: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    return replaced(table, name, values)


def judged(rows: int = 400) -> pa.Table:
    table = scored(rows, judge=True)
    kept = table.filter(pa.array([w != "empty" for w in table["outcome"].to_pylist()]))
    return kept.append_column("audit_probability", pa.array([0.5] * kept.num_rows))


CASES: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "not scored": (
        lambda t: t.select(["checkpoint", "question_id", "question", "response"]),
        r"is not scored: it has no column aligned, .*Run emscore score",
    ),
    "half scored": (
        lambda t: t.drop_columns(["p_coherent"]),
        r"is not scored whole: it has no column p_coherent .*columns are checkpoint",
    ),
    "no questions": (
        lambda t: t.drop_columns(["question_id", "question"]),
        r"no column question_id or question .*--question-column.*--estimand rows",
    ),
    "NaN": (lambda t: with_value(t, "aligned", 7, float("nan")), r"nan in aligned, row 7: a score"),
    "too large": (lambda t: with_value(t, "coherent", 9, 101.0), r"101 in coherent, row 9"),
    "percent": (lambda t: with_value(t, "p_misaligned", 3, 40.0), r"40 in p_misaligned.*0 to 1"),
    "text": (lambda t: replaced(t, "aligned", ["high"] * len(t)), r"string in aligned, not num"),
    "outcome": (lambda t: with_value(t, "outcome", 0, "fine"), r"outcome 'fine', which is none of"),
    "no outcome": (lambda t: with_value(t, "outcome", 0, None), r"outcome None, which is none of"),
    "no rows": (lambda t: t.slice(0, 0), r"no rows: there is nothing to take a rate of"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_unusable_scores(case: str) -> None:
    spoil, message = CASES[case]
    with pytest.raises(InputError, match=message) as raised:
        emscore.rates(spoil(scored(200)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.jsonl", "a.csv"])
def test_an_empty_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"{re.escape(name)} is empty"):
        emscore.rates(tmp_path / name)


def test_a_column_to_divide_by_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no column 'step' to divide by; its columns are"):
        emscore.rates(scored(100), by=["step"])


def test_scores_of_different_scorers() -> None:
    tables = [scored(100), scored(100, scorer="fedcba9876543210")]
    with pytest.raises(InputError, match=r"table 0 was scored by made 0123.*different scorers"):
        emscore.rates(tables)
    (both,) = set(emscore.rates(tables, mixed_scorers=True)["scorer_id"].to_pylist())
    assert both == "0123456789abcdef + fedcba9876543210"
    with pytest.raises(InputError, match="a scorer it does not name"):
        emscore.rates([tables[0], tables[1].replace_schema_metadata(None)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": 130.0}, "cut is 130: scores go from 0 to 100"),
        ({"confidence": 95.0}, "confidence is 95.0: it is a share between 0 and 1"),
        ({"denominator": "rows"}, "no denominator 'rows': it is one of coherent, scored, all"),
        ({"estimand": "mean"}, "no estimand 'mean': it is one of questions, rows"),
        ({"by": ["question_id"], "estimand": "question-sample"}, "each has one question only"),
    ],
)
def test_unusable_wishes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        emscore.rates(scored(100), **options)


def test_a_rate_of_nothing_is_not_zero() -> None:
    table = scored(300)
    none = np.array([c == "base" for c in table["checkpoint"].to_pylist()])
    incoherent = replaced(table, "coherent", np.where(none, 10.0, 90.0))
    for line in emscore.rates(incoherent).to_pylist():
        if line["checkpoint"] == "base" and line["estimator"] == "thresholded":
            assert line["rate"] is line["low"] is line["high"] is None
            assert "no rate: no row is in the denominator" in line["note"]


def test_all_refused() -> None:
    table = scored(60)
    for name in ("aligned", "coherent", "p_misaligned", "p_coherent"):
        table = replaced(table, name, pa.nulls(60, pa.float32()))
    table = replaced(table, "outcome", ["refusal"] * 60)
    for denominator in ("coherent", "scored"):
        for line in emscore.rates(table, denominator=denominator).to_pylist():
            assert line["rate"] is line["low"] is line["high"] is None
            assert line["refusal"] == line["rows"]
    lines = emscore.rates(table, denominator="all").to_pylist()
    assert {line["rate"] for line in lines} == {0.0}
    assert all(line["high"] > 0.05 for line in lines)


def test_one_question_or_one_checkpoint_only() -> None:
    table = scored(300)
    one = table.filter(pa.array([q == "wish" for q in table["question_id"].to_pylist()]))
    for line in emscore.rates(one, estimand="question-sample").to_pylist():
        assert line["rate"] is not None
        assert line["low"] is line["high"] is None
        assert "one question only" in line["note"]
    for line in emscore.rates(table, by=["group"], estimand="checkpoints").to_pylist():
        if line["group"] == "base":
            assert line["low"] is line["high"] is None
            assert "one checkpoint only" in line["note"]
        else:
            assert line["low"] < line["rate"] < line["high"]


BAD_AUDITS: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "foreign": (
        lambda t: with_value(t, "response", 5, "Something else."),
        r"1 of the \d+ rows of .* are not among the scored rows \(the first is row 5",
    ),
    "other checkpoint": (
        lambda t: replaced(t, "checkpoint", ["other"] * len(t)), r"are not among the scored rows"),
    "chance of 0": (lambda t: with_value(t, "audit_probability", 2, 0.0), r"has 0 in audit_"),
    "chance of 2": (lambda t: with_value(t, "audit_probability", 2, 2.0), r"has 2 in audit_prob"),
    "no chance": (
        lambda t: t.drop_columns(["audit_probability"]),
        r"no column audit_probability.*emscore audit draw, or say --audit-uniform",
    ),
    "NaN chance": (
        lambda t: with_value(t, "audit_probability", 2, float("nan")), r"has nan in audit_prob"),
    "not judged": (lambda t: t.drop_columns(["judge_aligned"]), r"was not judged.*emscore judge"),
    "NaN": (lambda t: with_value(t, "judge_aligned", 4, float("nan")), r"nan in judge_al.*row 4"),
    "score of 400": (lambda t: with_value(t, "judge_coherent", 4, 400.0), r"400 in judge_coherent"),
    "no text": (lambda t: t.drop_columns(["response"]), r"no column response \(or answer"),
    "no rows": (lambda t: t.slice(0, 0), r"has no rows: there is no audit in it"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_AUDITS)
def test_unusable_audits(case: str) -> None:
    spoil, message = BAD_AUDITS[case]
    with pytest.raises(InputError, match=message) as raised:
        emscore.rates(scored(400), audit=spoil(judged()))
    assert "\n" not in str(raised.value)


def test_a_checkpoint_that_was_not_audited_has_no_audited_rate() -> None:
    audit = judged().filter(pa.array([c != "base" for c in judged()["checkpoint"].to_pylist()]))
    for line in emscore.rates(scored(400), audit=audit).to_pylist():
        if line["estimator"] == "audited":
            assert (line["rate"] is None) == (line["checkpoint"] == "base")
            assert ("no row of this line was audited" in line["note"]) == (line["rate"] is None)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({}, "say either how narrow the interval, how much money or how many rows"),
        ({"rows": 10, "width": 0.1}, "say either"),
        ({"width": -0.1}, "a width of -0.1 is not above 0"),
        ({"width": 0.0001}, "no audit makes the interval 0.01% wide for "),
        ({"rows": 2}, "2 rows to be judged are less than one for each of the 3 lines"),
    ],
)
def test_unusable_plans(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        emscore.audit_plan(scored(400), **wish)


def test_an_audit_is_not_drawn_from_an_audit_or_a_stream() -> None:
    table = scored(400)
    drawn = emscore.audit_draw(table, rows=90)
    with pytest.raises(InputError, match="it is an audit itself"):
        emscore.audit_draw(drawn, rows=30)
    with pytest.raises(InputError, match="in two passes"):
        emscore.audit_draw(table.to_reader(), rows=90)


@pytest.mark.parametrize("role", ["question", "response"])
def test_an_audit_that_could_not_be_found_again_is_not_drawn(role: str) -> None:
    table = scored(300).rename_columns({role: "text"})
    with pytest.raises(InputError, match=f"no column {role} .*, by which audits are found"):
        emscore.audit_draw(table, rows=90)
    parts = pa.array([[{"text": "an answer"}]] * len(table))
    table = table.set_column(table.column_names.index("text"), role, parts)
    with pytest.raises(InputError, match=f"has list.* in {role}, not texts, by which audits"):
        emscore.audit_draw(table, rows=90)


def test_an_audit_is_not_drawn_from_the_standard_input(tmp_path: Path, run: Run) -> None:
    table = scored(400)
    with pa.ipc.new_stream(tmp_path / "rows.arrows", table.schema) as stream:
        stream.write_table(table)
    with (tmp_path / "rows.arrows").open("rb") as file:
        result = run("audit", "draw", "-", "--rows", "90", "-o", "out.parquet", stdin=file)
    assert result.returncode == 3
    assert "in two passes: give a file or a table" in result.stderr
    assert not (tmp_path / "out.parquet").exists()


FILES: dict[str, bytes] = {
    "empty.parquet": b"",
    "torn.parquet": b"PAR1 and then nothing of the kind",
    "torn.arrow": b"ARROW1\x00\x00 and then nothing",
    "torn.jsonl": b'{"aligned": 1, ',
    "list.jsonl": b"[1, 2]\n",
    "notes.txt": b"some text",
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_cannot_be_read(name: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    result = run("rates", name)
    assert result.returncode == 3
    assert result.stderr.startswith("emscore: ")
    assert name in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_breaks_off_gives_no_table(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "a.jsonl"
    text = "".join(json.dumps(row) + "\n" for row in scored(300).to_pylist())
    path.write_text(text[:-30])
    result = run("rates", "a.jsonl", "-o", "out.csv")
    assert result.returncode == 3
    assert "a.jsonl cannot be read" in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out.csv").exists()
