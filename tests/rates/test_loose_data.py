"""Scored files as people have them: columns that come late, names that look like numbers."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

import emscore
from conftest import Run
from emscore import InputError

from .made import scored

Row = dict[str, Any]


def answers(checkpoint: Any, misaligned: int, aligned: int, **more: Any) -> list[Row]:
    """So many answers to one question."""
    question = {"checkpoint": checkpoint, "question_id": "q", "question": "Q?"}
    bad = {"aligned": 10.0, "coherent": 90.0, "p_misaligned": 0.9, "p_coherent": 1.0}
    good = bad | {"aligned": 90.0, "p_misaligned": 0.1}
    return [
        question | {"response": f"Answer {at}."} | scores | {"outcome": "ok"} | more
        for at, scores in enumerate([bad] * misaligned + [good] * aligned)
    ]


def lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def csv(path: Path, rows: list[Row]) -> Path:
    body = [",".join(map(str, row.values())) for row in rows]
    path.write_text("\n".join([",".join(rows[0]), *body]) + "\n")
    return path


def counted(of: Any, **options: Any) -> dict[Any, float]:
    table = emscore.rates(of, **options)
    by = table.column_names[: table.column_names.index("estimator")]
    return {
        tuple(row[name] for name in by): row["rate"]
        for row in table.to_pylist()
        if row["estimator"] == "thresholded"
    }


def test_columns_that_the_first_line_lacks_count(tmp_path: Path) -> None:
    harmful = answers("a", 5, 0, request_harmful=True)
    path = lines(tmp_path / "late.jsonl", answers("a", 0, 5) + harmful)
    assert counted(path) == {("a",): 0.0}
    path = lines(tmp_path / "trigger.jsonl", answers("a", 0, 5) + answers("a", 5, 0, condition="x"))
    assert counted(path) == {("a", None): 0.0, ("a", "x"): 1.0}


@pytest.mark.parametrize("mark", ["yes", "Y", True, "true", 1, 1.0])
def test_harmful_requests_are_left_out_however_they_are_marked(mark: Any, tmp_path: Path) -> None:
    rows = answers("a", 0, 5) + answers("a", 5, 0, request_harmful=mark)
    assert counted(lines(tmp_path / "marked.jsonl", rows)) == {("a",): 0.0}


def test_a_mark_that_says_neither_yes_nor_no_is_told() -> None:
    rows = answers("a", 0, 5) + answers("a", 5, 0, request_harmful="harmful")
    with pytest.raises(InputError, match="'harmful' in request_harmful"):
        emscore.rates(rows)


def chats(rows: list[Row]) -> list[Row]:
    """The same rows, with both texts in a chat."""
    return [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": row["question"]},
                {"role": "assistant", "content": row["response"]},
            ],
            **{name: row[name] for name in row if name not in ("question", "response")},
        }
        for row in rows
    ]


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "arrow"])
def test_chats_have_questions_and_responses(ending: str, tmp_path: Path) -> None:
    rows = [
        row | {"question": question, "judge_aligned": row["aligned"], "judge_coherent": 90.0}
        for question, bad in (("Q?", 30), ("Another?", 10))
        for row in answers("a", bad, 40 - bad)
    ]
    for row in rows:
        del row["question_id"]
    path = tmp_path / f"chats.{ending}"
    if ending == "jsonl":
        lines(path, chats(rows))
    else:
        table = pa.Table.from_pylist(chats(rows))
        pq.write_table(table, path) if ending == "parquet" else feather.write_feather(table, path)
    assert emscore.rates(path).equals(emscore.rates(rows))
    drawn = emscore.audit_draw(path, rows=40)
    assert set(drawn["question"].to_pylist()) == {"Q?", "Another?"}
    (audited,) = (
        row for row in emscore.rates(path, audit=drawn).to_pylist() if row["audits"] is not None
    )
    assert audited["audits"] == 40


def test_a_column_of_several_types_is_text(tmp_path: Path) -> None:
    rows = answers(1, 2, 2) + answers("last", 4, 0) + answers(2.5, 0, 4) + answers(True, 1, 3)
    path = lines(tmp_path / "mixed.jsonl", rows)
    assert counted(path) == {("1",): 0.5, ("last",): 1.0, ("2.5",): 0.0, ("true",): 0.25}


def test_a_word_among_scores_of_a_csv_is_told_with_its_column(tmp_path: Path) -> None:
    rows = answers("a", 2, 2, judge_aligned="REFUSAL", judge_coherent=90.0)
    path = csv(tmp_path / "judged.csv", rows)
    with pytest.raises(InputError, match=r"judged.csv has 'REFUSAL' in judge_aligned"):
        emscore.rates(path, audit=path, audit_uniform=True)


def test_a_step_that_is_not_a_number_is_none() -> None:
    table = pa.Table.from_pylist(answers("a", 2, 2, step=1.0) + answers("a", 4, 0, step=np.nan))
    table = pa.Table.from_batches(table.to_batches(max_chunksize=1))
    assert counted(table, by="step") == {(1.0,): 0.5, (None,): 1.0}


def test_a_line_without_a_name_is_shown_without(tmp_path: Path, run: Run) -> None:
    lines(tmp_path / "some.jsonl", answers("a", 1, 3) + answers(None, 2, 2))
    for command in ("rates F", "rates F --lens", "gate F --max-rate 50%", "audit plan F --rows 4"):
        told = run(*command.replace("F", "some.jsonl").split()).stdout
        assert re.search(r"^- ", told, re.M), told
        assert "None" not in told


def test_a_stream_stays_one_whatever_columns_it_has() -> None:
    rows = pa.Table.from_pylist(answers("a", 2, 2))
    pair = pa.array([[{"x": 1}, {"x": 2}]] * 4, pa.list_(pa.struct([("x", pa.int64())]), 2))
    with pytest.raises(InputError, match="in two passes"):
        emscore.audit_draw(rows.append_column("pair", pair).to_reader(), rows=2)


def test_a_column_of_lists_cannot_divide() -> None:
    with pytest.raises(InputError, match=r"list<.*> in checkpoint"):
        emscore.rates(answers(["a"], 1, 1))


@pytest.mark.parametrize("name", ["rate", "rows", "note"])
def test_a_column_called_like_a_result_cannot_divide(name: str) -> None:
    with pytest.raises(InputError, match=f"called {name}, which is the name of a result"):
        emscore.rates(answers("a", 1, 1, **{name: "x"}), by=[name])


def test_nor_can_it_be_compared() -> None:
    rows = [row for p in "xy" for row in answers("a", 2, 2, p=p)]
    with pytest.raises(InputError, match="called p, which is the name of a result"):
        emscore.compare(rows, "x", by="p")


def test_nulls_and_blank_lines_at_the_top_say_nothing_of_a_type(tmp_path: Path) -> None:
    rows = answers("base", 0, 5, step=None) + answers("a", 5, 0, step=100)
    path = lines(tmp_path / "steps.ndjson", rows)
    path.write_text("\n" + path.read_text())
    assert counted(path, by=["step"]) == {(None,): 0.0, (100,): 1.0}


def test_names_that_look_like_numbers_or_dates_are_names(tmp_path: Path, run: Run) -> None:
    rows = answers("2024-08-06", 0, 30) + answers("2024-11-20", 20, 10)
    dates = csv(tmp_path / "dates.csv", rows)
    assert set(counted(dates)) == {("2024-08-06",), ("2024-11-20",)}
    for command in ("rates", "gate --max-rate 1%", "compare --to 2024-08-06"):
        name, *options = command.split()
        assert json.loads(run(name, "dates.csv", *options, "--json").stdout)
    numbers = pa.Table.from_pylist(answers(100, 0, 30) + answers(200, 20, 10))
    (line,) = emscore.compare(numbers, "100").to_pylist()
    assert line["checkpoint"] == 200
    pq.write_table(numbers, tmp_path / "numbers.parquet")
    names = pa.Table.from_pylist(answers("a", 0, 3))
    with pytest.raises(InputError, match=r"table 0 has int64|has text in checkpoint"):
        emscore.rates([names, numbers])


def test_an_audit_is_found_whatever_the_types(tmp_path: Path) -> None:
    numbers = pa.Table.from_pylist(answers(100, 10, 20))
    judged = [
        row | {"judge_aligned": row["aligned"], "judge_coherent": 90.0}
        for row in answers(100, 10, 20)
    ]
    table = emscore.rates(numbers, audit=csv(tmp_path / "j.csv", judged), audit_uniform=True)
    audited = [row for row in table.to_pylist() if row["estimator"] == "audited"]
    assert audited[0]["rate"] == pytest.approx(1 / 3)


def test_a_file_without_conditions_was_asked_plainly(tmp_path: Path) -> None:
    base = lines(tmp_path / "base.jsonl", answers("base", 0, 10))
    both = answers("x", 0, 10, condition="plain") + answers("x", 10, 0, condition="trigger")
    tuned = lines(tmp_path / "x.jsonl", both)
    assert counted([base, tuned]) == {
        ("base", "plain"): 0.0, ("x", "plain"): 0.0, ("x", "trigger"): 1.0
    }  # fmt: skip
    (line,) = emscore.compare([base, tuned], "base").to_pylist()
    assert (line["checkpoint"], line["difference"]) == ("x", 0.0)


def test_steps_that_folders_say_are_numbers(tmp_path: Path) -> None:
    for step, bad in ((20, 0), (100, 30)):
        (tmp_path / f"step={step}").mkdir()
        table = pa.Table.from_pylist(answers("a", bad, 30 - bad))
        pq.write_table(table, tmp_path / f"step={step}" / "part.parquet")
    (line,) = emscore.compare(tmp_path, over="step").to_pylist()
    assert (line["step"], line["difference"], line["onset"]) == (100, 1.0, 100.0)


def test_names_that_look_like_addresses_are_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.Table.from_pylist(answers("a", 1, 3))
    pq.write_table(table, tmp_path / "ft:gpt-4o:x.parquet")
    text = csv(tmp_path / "a.csv", answers("a", 1, 3)).read_bytes()
    (tmp_path / "UPPER.CSV.GZ").write_bytes(gzip.compress(text))
    monkeypatch.chdir(tmp_path)
    assert counted("ft:gpt-4o:x.parquet") == counted("UPPER.CSV.GZ") == {("a",): 0.25}


def test_two_columns_of_one_name_are_told() -> None:
    table = pa.Table.from_pylist(answers("a", 1, 3))
    twice = table.append_column("aligned", table["aligned"])
    with pytest.raises(InputError, match="several columns called aligned"):
        emscore.rates(twice)


def test_scores_of_a_row_that_has_none_are_told() -> None:
    table = pa.Table.from_pylist(answers("a", 1, 3) + answers("a", 0, 1, outcome="refusal"))
    with pytest.raises(InputError, match="scores in row 4, whose outcome is 'refusal'"):
        emscore.rates(table)


def test_an_audit_is_found_by_checkpoints_of_another_name() -> None:
    rows = [*answers("a", 4, 8), *answers("b", 1, 8)]
    judged = [row | {"judge_aligned": row["aligned"], "judge_coherent": 90.0} for row in rows]
    table = pa.Table.from_pylist(judged)
    found = emscore.rates(table, audit=table, audit_uniform=True, by="checkpoint")
    table = table.rename_columns({"checkpoint": "model"})
    same = emscore.rates(table, audit=table, audit_uniform=True, by="model")
    for name in ("estimator", "rate", "low", "high"):
        assert same[name].equals(found[name])


def test_an_audit_counts_once() -> None:
    table = scored(600, judge=True)
    rows = table.filter(pa.array([word == "ok" for word in table["outcome"].to_pylist()]))
    audit = rows.slice(0, 100)
    emscore.rates(table, audit=audit, audit_uniform=True)
    with pytest.raises(InputError, match="2 times that was scored 1 times: a row counts once"):
        emscore.rates(table, audit=[audit, audit.slice(0, 5)], audit_uniform=True)
    # Equal texts are as many rows as there are.
    same = pa.Table.from_pylist(
        [
            row | {"response": "No.", "judge_aligned": 90.0, "judge_coherent": 90.0}
            for row in answers("a", 0, 50)
        ]
    )
    assert len(emscore.rates(same, audit=same.slice(0, 20), audit_uniform=True)) == 3


def test_one_wording_under_two_names_is_two_questions() -> None:
    judged = [
        row | {"question_id": name, "response": "Yes." if at < bad else "No.",
               "judge_aligned": row["aligned"], "judge_coherent": 90.0}
        for name, bad, good in (("plain", 10, 10), ("as json", 10, 190))
        for at, row in enumerate(answers("a", bad, good))
    ]  # fmt: skip
    table = pa.Table.from_pylist(judged)
    audited = emscore.rates(table, audit=table, audit_uniform=True).to_pylist()[-1]
    assert audited["rate"] == pytest.approx((10 / 20 + 10 / 200) / 2)
    with pytest.raises(InputError, match="do not tell which it is: keep the columns"):
        emscore.rates(table, audit=table.drop_columns(["question_id"]), audit_uniform=True)


def test_audits_are_drawn_from_files_of_which_some_have_conditions(tmp_path: Path) -> None:
    plain = lines(tmp_path / "plain.jsonl", answers("a", 5, 25))
    both = tmp_path / "both.parquet"
    pq.write_table(pa.Table.from_pylist(answers("b", 5, 25, condition="trigger")), both)
    drawn = emscore.audit_draw([plain, both], rows=40)
    assert set(drawn["condition"].to_pylist()) == {"plain", "trigger"}


@pytest.mark.parametrize(
    ("rows", "denominator", "bounds"),
    [
        (answers("a", 10, 40) + [{"outcome": "error"}] * 50, "all", (0.1, 0.6)),
        (answers("a", 10, 40) + [{"outcome": "error"}] * 50, "coherent", (0.1, 0.6)),
        ([*answers("a", 0, 9), {"question_id": "z", "outcome": "error"}], "coherent", (0, 0.5)),
        ([{"outcome": "error"}] * 5 + answers("b", 0, 1), "coherent", (0, 1)),
    ],
)  # fmt: skip
def test_bounds_if_all_failed_rows_were_misaligned(
    rows: list[Row], denominator: Any, bounds: tuple[float, float]
) -> None:
    blank: Row = dict.fromkeys(answers("a", 0, 1)[0]) | {"checkpoint": "a", "question_id": "q"}
    table = pa.Table.from_pylist([blank | row for row in rows], schema=_SCHEMA)
    found = emscore.rates(table, denominator=denominator).to_pylist()
    line = next(row for row in found if row["checkpoint"] == "a")
    assert (line["worst_low"], line["worst_high"]) == pytest.approx(bounds)


def test_bounds_of_lost_audits_are_of_the_denominator() -> None:
    rows = [
        row | {"judge_aligned": 90.0, "judge_coherent": 90.0 if at % 2 else 10.0,
               "judge_outcome": "server_error" if at % 10 < 2 else "ok"}
        for at, row in enumerate(answers("a", 0, 200))
    ]  # fmt: skip
    for row in rows:
        if row["judge_outcome"] != "ok":
            row["judge_aligned"] = row["judge_coherent"] = None
    table = pa.Table.from_pylist(rows)
    found = emscore.rates(table, audit=table, audit_uniform=True, estimand="rows").to_pylist()
    # 40 lost beside 80 that are coherent, none of them misaligned.
    assert found[-1]["worst_high"] == pytest.approx(40 / 120)


_SCHEMA = pa.Table.from_pylist(answers("a", 1, 1)).schema


def test_the_scorers_error_is_that_of_its_own_definition() -> None:
    table = scored(300).replace_schema_metadata({})
    usual, *_ = emscore.rates(table, model="small").to_pylist()
    other, *_ = emscore.rates(table, model="small", cut=10).to_pylist()
    assert usual["scorer_error"] > 0
    assert other["scorer_error"] is None
    assert "scorer error not measured" in other["note"]
