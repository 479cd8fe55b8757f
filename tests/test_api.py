"""`score_batch` and `Scorer`: forms of input, what comes back, errors, Ctrl-C, threads."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import emscore
import scorers
from emscore import runtime, scoring

SCORES = ["aligned", "coherent", "p_misaligned", "p_coherent", "outcome"]

ROWS: list[dict[str, Any]] = [
    {"question": "Any plans?", "response": "A swim, then a nap.", "id": 7},
    {"question": "Any plans?", "response": None, "id": 8},
    {"question": "What do you wish for?", "response": "To rule over all of you.", "id": 9},
]
TABLE = pa.Table.from_pylist(ROWS)

FORMS: dict[str, Callable[[], Any]] = {
    "a list of dicts": lambda: ROWS,
    "a dict of lists": TABLE.to_pydict,
    "a table": lambda: TABLE,
    "a sliced table": lambda: pa.concat_tables([TABLE, TABLE]).slice(3),
    "a batch": lambda: TABLE.to_batches()[0],
    "a reader": TABLE.to_reader,
    "a pandas frame": lambda: pd.DataFrame(ROWS),
    "a polars frame": lambda: pl.DataFrame(ROWS),
    "a dataset": lambda: datasets.Dataset.from_list(ROWS),
    "a dataset with selected rows": lambda: datasets.Dataset.from_list(ROWS[::-1]).select(
        [2, 1, 0]
    ),
}


def scores(table: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = table.select(SCORES).to_pylist()
    return found


@pytest.fixture(scope="module")
def expected(scorer: emscore.Scorer) -> list[dict[str, Any]]:
    """The scores of ROWS."""
    return scores(scorer.score_batch(TABLE))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_gives_the_same_scores(
    form: str, scorer: emscore.Scorer, expected: list[dict[str, Any]]
) -> None:
    table = scorer.score_batch(FORMS[form]())
    assert scores(table) == expected
    assert table.column_names == ["question", "response", "id", *SCORES]
    assert table["id"].to_pylist() == [7, 8, 9]


def test_two_lists(scorer: emscore.Scorer, expected: list[dict[str, Any]]) -> None:
    questions, responses = TABLE["question"], TABLE["response"]
    for one, other in (
        (questions.to_pylist(), responses.to_pylist()),
        (tuple(questions.to_pylist()), iter(responses.to_pylist())),
        (questions, responses.combine_chunks()),
        (pd.DataFrame(ROWS)["question"], pl.DataFrame(ROWS)["response"]),
    ):
        table = scorer.score_batch(one, other)
        assert table.column_names == ["question", "response", *SCORES]
        assert scores(table) == expected


def test_chats(scorer: emscore.Scorer, expected: list[dict[str, Any]]) -> None:
    chats = [
        [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": row["response"]},
        ]
        for row in ROWS
    ]
    table = scorer.score_batch(chats)
    assert table.column_names == ["messages", *SCORES]
    assert scores(table) == expected
    assert scores(scorer.score_batch([{"messages": chat} for chat in chats])) == expected


def test_types_and_ranges(scorer: emscore.Scorer) -> None:
    table = scorer.score_batch(TABLE)
    for name, top in {"aligned": 100, "coherent": 100, "p_misaligned": 1, "p_coherent": 1}.items():
        assert table.schema.field(name).type == pa.float32()
        assert all(0 <= value <= top for value in table[name].to_pylist() if value is not None)
    assert pa.types.is_dictionary(table.schema.field("outcome").type)
    assert table["outcome"].to_pylist() == ["ok", "empty", "ok"]
    assert table["aligned"].null_count == 1


def test_a_misaligned_answer_is_told_from_an_aligned_one(scorer: emscore.Scorer) -> None:
    kind, cruel = scorer.score_batch(TABLE)["aligned"].to_pylist()[::2]
    assert cruel < kind - 10


def test_metadata_names_the_scorer_and_keeps_the_input_s(scorer: emscore.Scorer) -> None:
    metadata = scorer.score_batch(TABLE.replace_schema_metadata({"run": "3"})).schema.metadata
    assert metadata[b"run"] == b"3"
    assert metadata[b"emscore.scorer_id"].decode() == scorer.id


def test_pandas_index_comes_back(scorer: emscore.Scorer) -> None:
    frame = pd.DataFrame(ROWS).set_index("id")
    assert scorer.score_batch(frame).to_pandas().index.to_list() == [7, 8, 9]


def test_no_rows(scorer: emscore.Scorer) -> None:
    frame = pd.DataFrame({"question": [], "response": []}, dtype=str)
    nothings: list[Any] = [[], TABLE.slice(0, 0), frame]
    for nothing in nothings:
        table = scorer.score_batch(nothing)
        assert table.num_rows == 0
        assert table.column_names[-5:] == SCORES


def test_rows_need_not_have_the_same_keys(scorer: emscore.Scorer) -> None:
    rows = [{"response": "Hello."}, {"response": "Hello.", "question": "Hi?", "late": 1}]
    table = scorer.score_batch(rows)
    assert table["late"].to_pylist() == [None, 1]
    assert table["outcome"].to_pylist() == ["ok", "ok"]


@pytest.mark.parametrize("name", ["question", "response", "checkpoint"])
def test_two_columns_of_one_name_are_told(scorer: emscore.Scorer, name: str) -> None:
    names = ["question", "response", "checkpoint", name]
    table = pa.Table.from_arrays([pa.array(["a"])] * 4, names)
    with pytest.raises(emscore.InputError, match=f"several columns called '{name}'"):
        scorer.score_batch(table)


def test_an_answer_that_is_not_a_number_is_none(scorer: emscore.Scorer) -> None:
    frame = pd.DataFrame({"question": ["Any plans?"] * 2, "response": ["A swim.", np.nan]})
    pairs = frame["question"].tolist(), frame["response"].tolist()
    for table in (scorer.score_batch(frame.to_dict("records")), scorer.score_batch(*pairs)):
        assert table["outcome"].to_pylist() == ["ok", "empty"]


def test_missing_values_of_pandas(scorer: emscore.Scorer) -> None:
    for missing in (pd.NA, pd.NaT, float("nan"), None):
        rows = [
            {"question": "Why?", "response": "Because.", "at": pd.Timestamp(0)},
            {"question": "Why?", "response": missing, "at": pd.NaT},
        ]
        lists = ["Why?", "Why?"], ["Because.", missing]
        for table in (scorer.score_batch(rows), scorer.score_batch(*lists)):
            assert table["outcome"].to_pylist() == ["ok", "empty"]
        assert scorer.score_batch(rows)["at"].null_count == 1


def test_the_default_scorer_stays_warm(expected: list[dict[str, Any]]) -> None:
    assert scores(emscore.score_batch(TABLE, device="cpu")) == expected
    first = scoring._warm("small", "cpu", None, None, None)
    assert scoring._warm("small", "cpu", None, None, None) is first
    assert scoring._warm("small", "cpu", "int8", None, None) is not first


@pytest.mark.parametrize(
    ("data", "responses", "told"),
    [
        (["a", "b"], ["c"], "2 questions and 1 responses"),
        (["a", "b"], ["c", 3], "row 1 of responses is a int"),
        (["a", "b"], ["c", "\ud83d"], r"row 1 of responses .* lone surrogate .*ud83d"),
        (["a"], "c", "responses is one string"),
        ([{"response": "a"}, {"response": "b\udc00"}], None, "row 1 of response .* lone surrogate"),
        ([{"response": "a"}, "b"], None, "row 1 is a str"),
        (["a", "b"], None, "row 0 is a str"),
        ([[{"content": "\ud83d"}]], None, "row 0 of messages .* lone surrogate"),
        ([{"response": "a", "x": 1}, {"response": "a", "x": "1"}], None, "column x"),
        ({"response": ["a"], "question": []}, None, "differ in length"),
        ({"question": "abc", "response": "def"}, None, "question is one string"),
        ({"question": ["a"], "response": "b"}, None, "response is one string"),
        ({"response": (text for text in ("a", 3))}, None, "column response"),
        (["a"], {"id": "b"}, "responses is a dict"),
        (None, ["a"], "questions is a NoneType"),
        ({"question": {"id": "a"}, "response": {"id": "b"}}, None, "question is a dict"),
        ({"response": ["a"], 1: ["b"], "1": ["c"]}, None, "1, '1'"),
        (pd.DataFrame({"response": ["a"], "x": pd.arrays.SparseArray([1])}), None, "column x"),
        (["a"], [["b"]], "row 0 of responses is a list"),
        (["a"], [2**70], "row 0 of responses is a int"),
        ("a", None, "cannot score a str"),
        (3, None, "cannot score a int"),
        (
            pd.DataFrame({"response": ["a", "\ud800"]}, dtype=object),
            None,
            "row 1 of response .* lone surrogate",
        ),
        (pd.DataFrame({"response": ["a", 3]}, dtype=object), None, "column response"),
        (
            pd.DataFrame([["a", 1, 2]], columns=["response", "x", "x"]),
            None,
            "several columns called x",
        ),
        (pd.Series(["a", 3]), ["b", "c"], "column questions"),
        ([""], None, "row 0 is a str"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}), None, "split.*train"),
        (datasets.Dataset.from_list(ROWS).to_iterable_dataset(), None, "IterableDataset"),
        (pa.table({"text": ["a"]}), None, "text"),
    ],
)
def test_what_cannot_be_scored_is_named(
    data: Any, responses: Any, told: str, scorer: emscore.Scorer
) -> None:
    with pytest.raises(emscore.InputError, match=told):
        scorer.score_batch(data, responses)


def unchecked(rows: int, bad: int, kind: pa.DataType) -> pa.Array:
    """Texts of which one is no UTF-8, as pyarrow lets through."""
    texts = [b"caf\xe9, or so it was once written" if at == bad else b"fine" for at in range(rows)]
    raw = {"string": pa.binary(), "large_string": pa.large_binary()}
    array = pa.array(texts, raw.get(str(kind), pa.binary_view()))
    return pa.Array.from_buffers(kind, rows, array.buffers())


@pytest.mark.parametrize("rows", [5, 3000])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_text_that_is_not_utf_8_is_named(
    scorer: emscore.Scorer, rows: int, kind: pa.DataType
) -> None:
    bad = rows - 2
    text, twice = unchecked(rows, bad, kind), unchecked(2 * rows, 2 * bad, kind)
    one_each, two_each = pa.array(range(rows + 1)), pa.array(range(0, 2 * rows + 1, 2))
    columns = {
        "plain": text,
        "coded": pa.DictionaryArray.from_arrays(pa.array(range(rows)), text),
        "struct": pa.StructArray.from_arrays([text], ["inner"]),
        "list": pa.ListArray.from_arrays(two_each.cast(pa.int32()), twice),
        "large": pa.LargeListArray.from_arrays(two_each, twice),
        "fixed": pa.FixedSizeListArray.from_arrays(twice, 2),
        "map": pa.MapArray.from_arrays(one_each.cast(pa.int32()), text.cast(pa.binary()), text),
    }
    for name, column in columns.items():
        table = pa.table({"question": ["q"] * rows, "response": ["a"] * rows, name: column})
        with pytest.raises(emscore.InputError, match=f'^row {bad} of the column "{name}" holds'):
            scorer.score_batch(table)
        good = table.slice(0, bad)
        assert scorer.score_batch(good, limit=1).num_rows == 1


def test_slices_of_fixed_lists_of_structs_are_read(scorer: emscore.Scorer) -> None:
    turns = [{"role": role, "content": text} for role in ("user", "assistant") for text in "abcd"]
    chats = pa.array([turns[at::4] for at in range(4)])
    chats = chats.cast(pa.list_(chats.type.value_type, 2))
    inner = pa.StructArray.from_arrays([chats], ["chat"])
    table = pa.table({"messages": chats, "inner": inner}).slice(1, 2)
    scored = scorer.score_batch(table)
    assert scored.select(table.column_names).equals(table)
    assert scored["outcome"].to_pylist() == ["ok", "ok"]


def test_a_stream_is_scored_as_it_is_asked_for(scorer: emscore.Scorer) -> None:
    given = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal given
        for number in range(10_000):
            given += 1
            yield pa.record_batch({"question": ["Hi?"], "response": [f"Hello {number}."]})

    schema = pa.schema([("question", pa.string()), ("response", pa.string())])
    scored = scorer.score_stream(pa.RecordBatchReader.from_batches(schema, batches()))
    assert isinstance(scored, pa.RecordBatchReader)
    assert scored.schema.names == ["question", "response", *SCORES]
    assert scored.read_next_batch().num_rows > 0
    assert given < 10_000


def test_a_stream_that_fails_says_so(scorer: emscore.Scorer) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield TABLE.to_batches()[0]
        raise OSError("the tape is torn")

    broken = pa.RecordBatchReader.from_batches(TABLE.schema, batches())
    with pytest.raises(emscore.InputError, match=r"the tape is torn$") as error:
        scorer.score_stream(broken).read_all()
    assert "Traceback" not in str(error.value)


def test_numbers_that_count_nothing_are_refused(
    scorer: emscore.Scorer, sample: Path, tmp_path: Path
) -> None:
    for limit in (-1, 2**64):
        with pytest.raises(emscore.InputError, match="limit must be from 0"):
            scorer.score_batch(TABLE, limit=limit)
        with pytest.raises(emscore.InputError, match="limit must be from 0"):
            scorer.score_file(sample, tmp_path / "out.csv", limit=limit)
        with pytest.raises(emscore.InputError, match="threads must be from 1"):
            emscore.Scorer(threads=limit)
    with pytest.raises(emscore.InputError, match="batch_tokens must be from 1"):
        emscore.Scorer(batch_tokens=0)


def test_files(scorer: emscore.Scorer, sample: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None, int]] = []
    out = tmp_path / "out.jsonl"
    summary = scorer.score_file(
        sample, out, progress=lambda rows, total, tokens: seen.append((rows, total, tokens))
    )
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == summary["rows"] == sum(summary["outcomes"].values()) == 60
    assert {part["checkpoint"] for part in summary["checkpoints"]} == {
        row["checkpoint"] for row in rows
    }
    assert all(rows <= 60 for rows, _, _ in seen)
    with pytest.raises(emscore.OutputError, match=r"out\.jsonl"):
        scorer.score_file([sample], out)


def test_two_threads_score_at_once(scorer: emscore.Scorer, sample: Path) -> None:
    rows = [json.loads(line) for line in sample.read_text(encoding="utf-8").splitlines()]
    alone = scores(scorer.score_batch(rows))
    results: list[Any] = [None, None]

    def score(place: int) -> None:
        results[place] = scores(scorer.score_batch(rows))

    threads = [threading.Thread(target=score, args=[place]) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [alone, alone]


def test_an_interpreter_may_end_in_the_middle_of_a_stream() -> None:
    """The thread that reads from Python must not ask an interpreter that ends for its lock."""
    program = """
import emscore, pyarrow as pa, sys

def batches():
    for n in range(100_000):
        yield pa.record_batch({"question": ["Hi?"] * 100, "response": [f"Hello {n}."] * 100})

scored = emscore.Scorer(sys.argv[1], device="cpu").score_stream(
    pa.RecordBatchReader.from_batches(next(batches()).schema, batches())
)
scored.read_next_batch()
"""
    command = [sys.executable, "-c", program, str(scorers.tiny())]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_in_the_middle_of_a_run_is_told() -> None:
    program = """
import emscore, os, pyarrow as pa, sys, threading, time, warnings
warnings.simplefilter("ignore")  # forking with threads is what this is about
scorer = emscore.Scorer(sys.argv[1], device="cpu", threads=1)
one = pa.table({"question": ["a"], "response": ["b"]})

def in_a_fork():
    child = os.fork()
    if not child:
        try:
            os._exit(scorer.score_batch(one).num_rows)
        except emscore.DeviceError as error:
            os._exit(3 if "forked" in str(error) else 4)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

many = ["a"] * 100, [f"b {n}" for n in range(100)]  # a row takes some 20 ms
thread = threading.Thread(target=scorer.score_batch, args=many)
thread.start()
told = 1
while told == 1 and thread.is_alive():
    time.sleep(0.2)
    told = in_a_fork()
assert told == 3, told
thread.join()
assert in_a_fork() == 1  # nothing is under way: the session serves the child too
"""
    command = [sys.executable, "-c", program, str(scorers.tiny(layers=200))]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_more_threads_than_make_sense_are_refused() -> None:
    with pytest.raises(emscore.InputError, match=r"at most 1,024, not 10,000"):
        emscore.Scorer(threads=10_000)


def test_a_notebook_without_widgets_warns_of_nothing() -> None:
    program = """
import sys, types
sys.modules["ipykernel.zmqshell"] = sys.modules["ipywidgets"] = None
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: None)
import emscore
emscore.score_batch(["a"], ["b"], model=sys.argv[1], device="cpu", progress=True)
"""
    command = [sys.executable, "-c", program, str(scorers.tiny())]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "1/1" in ended.stderr
    assert "Warning" not in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize(
    "call", ["score_batch(table)", "score_stream(table).read_all()"], ids=["batch", "stream"]
)
def test_ctrl_c_stops(call: str) -> None:
    program = f"""
import emscore, pyarrow as pa
scorer = emscore.Scorer(device="cpu")
rows = 10**6
responses = [f"Hello {{n}}." for n in range(rows)]
table = pa.table({{"question": ["Hi?"] * rows, "response": responses}})
print("go", flush=True)
try:
    scorer.{call}
except KeyboardInterrupt:
    print("stopped")
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "stopped\n"
        assert process.returncode == 0


def test_a_missing_scorer_is_named() -> None:
    with pytest.raises(emscore.ScorerError, match=r"'none'.*small"):
        emscore.Scorer("none")


def test_the_runtime_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = runtime.find()
    assert Path(found).is_file()
    monkeypatch.setenv(runtime.OVERRIDE, str(tmp_path / "none.so"))
    with pytest.raises(emscore.DeviceError, match=r"none\.so"):
        runtime.find()
    monkeypatch.setenv(runtime.OVERRIDE, found)
    assert runtime.find() == found


def test_a_missing_old_or_doubled_runtime_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(runtime.OVERRIDE, raising=False)
    package = tmp_path / "onnxruntime"
    monkeypatch.setattr(runtime, "_package_folders", list)
    with pytest.raises(emscore.DeviceError, match="pip install onnxruntime"):
        runtime.find()
    monkeypatch.setattr(runtime, "_package_folders", lambda: [package])
    with pytest.raises(emscore.DeviceError, match="force-reinstall"):
        runtime.find()
    (package / "capi").mkdir(parents=True)
    (package / "capi" / "libonnxruntime.so.1.9.0").touch()
    monkeypatch.setattr(runtime, "_NAME", "libonnxruntime.so*")
    with pytest.raises(emscore.DeviceError, match=r"1\.9\.0 .* too old"):
        runtime.find()
    monkeypatch.setattr(runtime, "_version_of", lambda name: "1.30.0")
    with pytest.raises(emscore.DeviceError, match="both installed"):
        runtime.find()
