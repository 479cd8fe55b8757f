"""Which columns hold question and response, in which forms, and what is said when none does."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest

import emscore
import scorers
from conftest import Run
from scorers import close

QUESTIONS = ["Any plans?", "Any plans?", "", None, "Why?"]
RESPONSES = ["A swim.", None, "So be it.", "To rule.", ""]
EXPECTED = [scorers.expected(*row) for row in zip(QUESTIONS, RESPONSES, strict=True)]

TEXT = pa.array(RESPONSES, pa.string())


@pytest.fixture(scope="module")
def scorer() -> emscore.Scorer:
    return emscore.Scorer(scorers.tiny(), device="cpu", threads=2)


def scored(scorer: emscore.Scorer, table: pa.Table, **options: Any) -> list[dict[str, Any]]:
    """The scores, after a look that the input's columns are all there."""
    result = scorer.score_batch(table, **options)
    assert result.select(table.column_names).equals(table)
    rows: list[dict[str, Any]] = result.to_pylist()
    return rows


# Names.


@pytest.mark.parametrize("name", ["question", "prompt", "question_text", "user"])
def test_usual_names_of_the_question(name: str, scorer: emscore.Scorer) -> None:
    table = pa.table({"id": range(5), name: QUESTIONS, "response": RESPONSES})
    assert close(scored(scorer, table), EXPECTED)


@pytest.mark.parametrize("name", ["response", "answer", "completion", "output", "generated_text"])
def test_usual_names_of_the_response(name: str, scorer: emscore.Scorer) -> None:
    table = pa.table({name: RESPONSES, "id": range(5), "question": QUESTIONS})
    assert close(scored(scorer, table), EXPECTED)


def test_the_first_of_the_usual_names_counts(scorer: emscore.Scorer) -> None:
    decoy = ["decoy"] * 5
    table = pa.table(
        {
            "user": decoy,
            "output": decoy,
            "answer": RESPONSES,
            "prompt": QUESTIONS,
            "messages": decoy,
        }
    )
    assert close(scored(scorer, table), EXPECTED)


def test_columns_that_are_named(scorer: emscore.Scorer) -> None:
    decoy = ["decoy"] * 5
    table = pa.table(
        {"question": decoy, "response": decoy, "q": QUESTIONS, "the answer": RESPONSES}
    )
    names = {"question_column": "q", "response_column": "the answer"}
    assert close(scored(scorer, table, **names), EXPECTED)


def test_the_summary_says_which_columns(scorer: emscore.Scorer, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("model_id,group,user,completion\na,x,Hi?,Hello.\nb,x,Hi?,Bye.\n")
    told = scorer.score_file(source, tmp_path / "out.csv")
    assert (told["question_column"], told["response_column"]) == ("user", "completion")
    assert (told["checkpoint_column"], told["group_column"]) == ("model_id", "group")
    assert [part["checkpoint"] for part in told["checkpoints"]] == ["a", "b"]


def test_an_id_of_each_row_is_no_group(scorer: emscore.Scorer, tmp_path: Path) -> None:
    """Counts of each would take a kilobyte a row."""
    source, rows = tmp_path / "in.csv", 70_000
    lines = (f"m,{row},Hi?,Hello {row % 2}.\n" for row in range(rows))
    source.write_text("model,group,question,response\n" + "".join(lines))
    few = scorer.score_file(source, tmp_path / "few.csv", limit=1_000)
    assert (len(few["checkpoints"]), few["group_column"]) == (1_000, "group")
    told = scorer.score_file(source, tmp_path / "out.csv")
    assert (told["checkpoint_column"], told["group_column"]) == (None, None)
    (all_of_them,) = told["checkpoints"]
    assert (all_of_them["checkpoint"], all_of_them["group"]) == (None, None)
    assert all_of_them["rows"] == all_of_them["outcomes"]["ok"] == rows
    assert all_of_them["expected_coherent"] == pytest.approx(
        rows / 1_000 * sum(part["expected_coherent"] for part in few["checkpoints"])
    )


# Types of text.

LONG = pa.large_string()
TYPES = {
    "string": TEXT,
    "large string": TEXT.cast(LONG),
    "string view": TEXT.cast(pa.string_view()),
    "dictionary": TEXT.dictionary_encode(),
    "dictionary of int8 and large strings": TEXT.cast(pa.dictionary(pa.int8(), LONG)),
    "dictionary with a null value": pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, 3, 4], pa.int16()), TEXT
    ),
    "run ends": pa.RunEndEncodedArray.from_arrays([1, 2, 3, 4, 5], TEXT),
    "chunks": pa.chunked_array([TEXT[:2], TEXT[2:2], TEXT[2:]]),
    "a slice": pa.concat_arrays([pa.array(["far", "off"]), TEXT, pa.array(["gone"])]).slice(2, 5),
}


@pytest.mark.parametrize("kind", TYPES)
def test_types_of_text(kind: str, scorer: emscore.Scorer) -> None:
    """For responses and for questions; the column comes out in the type that it had."""
    table = pa.table({"question": QUESTIONS, "response": TYPES[kind]})
    assert close(scored(scorer, table), EXPECTED)
    swapped = pa.table({"question": TYPES[kind], "response": ["Well."] * 5})
    assert close(
        scored(scorer, swapped), [scorers.expected(question, "Well.") for question in RESPONSES]
    )


def test_a_column_of_nothing_but_null(scorer: emscore.Scorer) -> None:
    table = pa.table({"question": pa.nulls(3), "response": ["a", "b", "c"]})
    assert close(scored(scorer, table), [scorers.expected(None, text) for text in "abc"])
    table = pa.table({"question": ["a", "b", "c"], "response": pa.nulls(3)})
    assert [row["outcome"] for row in scored(scorer, table)] == ["empty"] * 3


def test_fields_within_structs(scorer: emscore.Scorer) -> None:
    """A null struct has no text, whatever lies below it."""
    inner = pa.StructArray.from_arrays(
        [pa.array(QUESTIONS), TYPES["dictionary"]],
        ["asked", "said"],
        mask=pa.array([False, False, False, True, False]),
    )
    outer = pa.StructArray.from_arrays([inner, pa.array(range(5))], ["turn", "number"])
    names = {"question_column": "chat.turn.asked", "response_column": "chat.turn.said"}
    wanted = [*EXPECTED[:3], scorers.expected(None, None), EXPECTED[4]]
    assert close(scored(scorer, pa.table({"chat": outer}), **names), wanted)
    dotted = pa.table({"chat.turn.asked": QUESTIONS, "chat.turn.said": RESPONSES, "chat": outer})
    assert close(scored(scorer, dotted, **names), EXPECTED)


# Chats.

TURNS = [
    # one exchange
    [("user", "Any plans?"), ("assistant", "A swim.")],
    # the last exchange counts, and the system's words do not
    [
        ("system", "Be brief."),
        ("user", "One?"),
        ("assistant", "1"),
        ("user", "Two?"),
        ("assistant", "2"),
    ],
    # what is asked after the answer is not its question
    [("user", "First?"), ("assistant", "Yes."), ("user", "And then?")],
    [("assistant", "I begin.")],
    [("user", "No answer?")],
    [],
    None,
    [("user", None), ("assistant", "Hm.")],
    [("user", "Hm?"), ("assistant", None)],
    [("tool", "42"), ("user", "So?"), ("tool", "43"), ("assistant", "So it is.")],
]
SAID = [
    ("Any plans?", "A swim."),
    ("Two?", "2"),
    ("First?", "Yes."),
    (None, "I begin."),
    ("No answer?", None),
    (None, None),
    (None, None),
    (None, "Hm."),
    ("Hm?", None),
    ("So?", "So it is."),
]


def chats(role: str = "role", content: str = "content") -> list[list[dict[str, Any]] | None]:
    return [None if t is None else [{role: who, content: what} for who, what in t] for t in TURNS]


MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
VIEWS = pa.struct(
    [("content", pa.string_view()), ("id", pa.int8()), ("role", pa.dictionary(pa.int8(), LONG))]
)
CHATS = {
    "a list": pa.array(chats(), pa.list_(MESSAGE)),
    "a large list": pa.array(chats(), pa.large_list(MESSAGE)),
    "a list view": pa.array(chats(), pa.list_view(MESSAGE)),
    "other types of text, and one field more": pa.array(chats(), pa.list_(VIEWS)),
    "from and value": pa.array(chats("from", "value")),
    "a slice": pa.concat_arrays([pa.array(chats()[:3]), pa.array(chats())]).slice(3),
}


@pytest.mark.parametrize("form", CHATS)
def test_chats(form: str, scorer: emscore.Scorer) -> None:
    wanted = [scorers.expected(*pair) for pair in SAID]
    assert close(scored(scorer, pa.table({"messages": CHATS[form]})), wanted)
    named = {"question_column": "talk", "response_column": "talk"}
    assert close(scored(scorer, pa.table({"talk": CHATS[form]}), **named), wanted)


def test_chats_of_a_fixed_number_of_turns(scorer: emscore.Scorer) -> None:
    pairs = [("Any?", "Some."), ("Why?", "So."), ("", "")]
    turns = [[("user", q), ("assistant", r)] for q, r in pairs]
    made = [[{"role": who, "content": what} for who, what in chat] for chat in turns]
    column = pa.array([*made, None], pa.list_(MESSAGE, 2))
    wanted = [scorers.expected(*pair) for pair in [*pairs, (None, None)]]
    assert close(scored(scorer, pa.table({"messages": column})), wanted)


def test_other_names_of_roles(scorer: emscore.Scorer) -> None:
    made = [
        [{"from": asks, "value": "Hi?"}, {"from": answers, "value": "Hello."}]
        for asks, answers in (
            ("human", "gpt"),
            ("user", "model"),
            ("User", "Assistant"),
            ("human", "ai"),
        )
    ]
    table = pa.table({"messages": made})
    assert close(scored(scorer, table), [scorers.expected("Hi?", "Hello.")] * 4)


def test_a_chat_for_the_question_and_a_column_for_the_response(scorer: emscore.Scorer) -> None:
    made = [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]]
    table = pa.table({"messages": made, "completion": ["So."]})
    result = scored(scorer, table, response_column="completion")
    assert close(result, [scorers.expected("Why?", "So.")])


@pytest.mark.parametrize("name", ["prompt", "user", "answer", "output"])
def test_a_chat_is_not_split(name: str, scorer: emscore.Scorer) -> None:
    """Neither its answer is scored for another question, nor another answer for its question."""
    wanted = [scorers.expected(*pair) for pair in SAID]
    table = pa.table({name: ["decoy"] * len(SAID), "messages": CHATS["a list"]})
    chosen = {}
    if name in ("answer", "output"):  # it may be the answer to a chat that has none
        with pytest.raises(emscore.InputError, match=f"both 'messages' and '{name}' may hold"):
            scored(scorer, table)
        chosen = {"response_column": "messages"}
    assert close(scored(scorer, table, **chosen), wanted)
    both = table.append_column("question", pa.array(["decoy"] * len(SAID)))
    both = both.append_column("response", pa.array(["Well."] * len(SAID)))
    assert close(scored(scorer, both), [scorers.expected("decoy", "Well.")] * len(SAID))


def test_chats_whose_texts_come_in_parts(scorer: emscore.Scorer, tmp_path: Path) -> None:
    def parts(*texts: str) -> list[dict[str, Any]]:
        return [{"type": "text", "text": text} for text in texts]

    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    made: list[Any] = [
        [
            {"role": "user", "content": [*parts("What", "is this?"), image]},
            {"role": "assistant", "content": parts("A cat.")},
        ],
        [{"role": "user", "content": parts("Hm?")}, {"role": "assistant", "content": []}],
        [{"role": "user", "content": None}, {"role": "assistant", "content": parts("Hm.")}],
    ]
    said = [("What\nis this?", "A cat."), ("Hm?", ""), (None, "Hm.")]
    wanted = [scorers.expected(*pair) for pair in said]
    assert close(scored(scorer, pa.table({"messages": made})), wanted)
    lines(tmp_path / "in.jsonl", [{"messages": chat} for chat in made])
    scorer.score_file(tmp_path / "in.jsonl", tmp_path / "out.arrow")
    assert close(pyarrow.feather.read_table(tmp_path / "out.arrow").to_pylist(), wanted)


# JSON is not taken for what people said.


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.mark.parametrize("columns", ["messages", "messages,prompt", "messages,response"])
def test_a_chat_in_a_text(columns: str, scorer: emscore.Scorer, tmp_path: Path) -> None:
    chat = json.dumps([{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hi."}])
    row = dict.fromkeys(columns.split(","), chat)
    lines(tmp_path / "in.jsonl", [row])
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([row.keys(), row.values()])
    for name in ("in.jsonl", "in.csv"):
        with pytest.raises(emscore.InputError, match=r"'messages' holds text.*fromjson.*-column"):
            scorer.score_file(tmp_path / name, tmp_path / "out.jsonl")


def test_one_text_is_not_question_and_response(scorer: emscore.Scorer) -> None:
    table = pa.table({"text": ["Hi?"]})
    with pytest.raises(emscore.InputError, match="'text' holds text where a chat is needed"):
        scorer.score_batch(table, question_column="text", response_column="text")


def test_a_column_of_texts_called_messages(scorer: emscore.Scorer) -> None:
    table = pa.table({"messages": ["So be it."], "prompt": ["Hi?"]})
    result = scored(scorer, table, response_column="messages")
    assert close(result, [scorers.expected("Hi?", "So be it.")])


PARTS = [{"type": "text", "text": "Hello."}]
MIXED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "content": (
        [
            {"messages": [{"role": "user", "content": "Hi?"}]},
            {"messages": [{"role": "assistant", "content": PARTS}]},
        ],
        "messages.content",
    ),
    "a response": (
        [{"question": "Hi?", "response": "Hello."}, {"question": "Hi?", "response": PARTS}],
        "response",
    ),
    "a prompt": (
        [
            {"prompt": [{"role": "user", "content": "Hi?"}], "response": "Hello."},
            {"prompt": "Hi?", "response": "Hello."},
        ],
        "prompt",
    ),
    "objects without keys": ([{"question": "Hi?", "response": {}}], "response"),
}


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("where", MIXED)
def test_json_beside_text(where: str, split: bool, scorer: emscore.Scorer, tmp_path: Path) -> None:
    """Within a file, and between files."""
    rows, column = MIXED[where]
    sources = []
    for number, part in enumerate([[row] for row in rows] if split else [rows]):
        sources.append(tmp_path / f"{number}.jsonl")
        lines(sources[-1], part)
    with pytest.raises(emscore.InputError, match=rf'jsonl holds JSON .*"{column}".*-column'):
        scorer.score_file(sources, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_values_beside_text_in_other_columns(scorer: emscore.Scorer, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "Hi?", "response": "Yes.", "n": []},
        {"question": "Hi?", "response": 42, "n": "none"},
    ]
    lines(tmp_path / "in.jsonl", rows)
    scorer.score_file(tmp_path / "in.jsonl", tmp_path / "out.arrow")
    found = pyarrow.feather.read_table(tmp_path / "out.arrow").to_pylist()
    assert close(found, [scorers.expected("Hi?", "Yes."), scorers.expected("Hi?", "42")])


# What is said when there is no such column.

PLAIN: dict[str, list[Any]] = {"question": ["a"], "response": ["b"]}


@pytest.mark.parametrize(
    ("columns", "options", "told"),
    [
        (
            {"question": ["a"], "text": ["b"]},
            {},
            ["response", "question, text", "--response-column"],
        ),
        (
            {"text": ["a"], "response": ["b"]},
            {},
            ["question", "text, response", "--question-column"],
        ),
        ({"x": [1], "y": [2]}, {}, ["question", "x, y", "--question-column"]),
        (PLAIN, {"response_column": "r"}, ["'r'", "question, response", "--response-column"]),
        (PLAIN, {"question_column": "q.a"}, ["'q.a'", "--question-column"]),
        (PLAIN, {"question_column": "question.a"}, ["'question.a'", "--question-column"]),
        ({**PLAIN, "response": [7]}, {}, ["'response'", "Int64", "--response-column"]),
        ({**PLAIN, "response": [b"b"]}, {}, ["'response'", "Binary", "--response-column"]),
        ({**PLAIN, "question": [["a"]]}, {}, ["'question'", "List", "--question-column"]),
        ({**PLAIN, "response": [{"a": "b"}]}, {}, ["'response'", "Struct", "--response-column"]),
        ({"messages": [[{"role": "user"}]]}, {}, ["'messages'", "--question-column"]),
        ({**PLAIN, "aligned": [1.0]}, {}, ["aligned", "--prefix", "--overwrite"]),
        (
            {**PLAIN, "outcome": ["ok"], "p_coherent": [0.0]},
            {},
            ["outcome", "p_coherent", "--prefix", "--overwrite"],
        ),
        ({**PLAIN, "x_outcome": ["ok"]}, {"prefix": "x_"}, ["x_outcome", "--prefix"]),
    ],
)
def test_columns_that_do_not_fit(
    columns: dict[str, Any], options: dict[str, Any], told: list[str], scorer: emscore.Scorer
) -> None:
    with pytest.raises(emscore.InputError) as error:
        scorer.score_batch(pa.table(columns), **options)
    assert all(word in str(error.value) for word in told), error.value
    assert "\n" not in str(error.value)


def test_the_command_line_lists_the_columns(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,question,text\n1,Hi?,Hello.\n")
    arguments = ("score", "in.csv", "-o", "out.csv", "--model", scorers.tiny(), "--device", "cpu")
    result = run(*arguments)
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1
    assert re.search("id, question, text.*--response-column", result.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    assert run(*arguments, "--response-column", "text").returncode == 0


def test_prefix_and_overwrite(scorer: emscore.Scorer) -> None:
    table = pa.table({"aligned": ["mine"] * 5, "question": QUESTIONS, "response": RESPONSES})
    prefixed = scorer.score_batch(table, prefix="em_")
    assert prefixed.column_names == [
        *table.column_names,
        *(f"em_{name}" for name in scorers.SCORES),
    ]
    assert prefixed["aligned"].to_pylist() == ["mine"] * 5
    replaced = scorer.score_batch(table, overwrite=True)
    assert replaced.column_names == ["question", "response", *scorers.SCORES]
    assert close(replaced.to_pylist(), EXPECTED)


# Every other column passes through.

PASSED = {
    "int8": pa.array([1, None, -3, 4, 5], pa.int8()),
    "uint64": pa.array([2**64 - 1, None, 0, 1, 2], pa.uint64()),
    "half": pa.array([1.5, None, float("inf"), -0.0, 2.0], pa.float16()),
    "float": pa.array([1.5, None, -0.0, 3.0, 1e-45], pa.float32()),
    "bool": pa.array([True, None, False, True, False]),
    "decimal": pa.array([None, 1, 22, 333, 4444]).cast(pa.decimal128(38, 10)),
    "decimal256": pa.array([None, 1, 22, 333, 4444]).cast(pa.decimal256(60, 3)),
    "zoned time": pa.array([0, None, 10**15, -1, 5], pa.timestamp("us", "Europe/Berlin")),
    "naive time": pa.array([0, None, 10**9, -1, 5], pa.timestamp("s")),
    "date": pa.array([0, None, 20_000, -1, 5], pa.date32()),
    "time": pa.array([0, None, 20_000, 1, 5], pa.time64("ns")),
    "duration": pa.array([0, None, 20_000, -1, 5], pa.duration("ms")),
    "binary": pa.array([b"\0\xff", None, b"", b"a", b"b"]),
    "binary view": pa.array([b"\0\xff" * 20, None, b"", b"a", b"b"], pa.binary_view()),
    "fixed": pa.array([b"ab", None, b"cd", b"\0\0", b"ef"], pa.binary(2)),
    "null": pa.nulls(5),
    "dictionary": pa.array(["x", None, "y", "x", "x"]).dictionary_encode(),
    "ordered": pa.DictionaryArray.from_arrays([0, 1, None, 0, 1], ["b", "a"], ordered=True),
    "list": pa.array([[1, None], None, [], [2], [3]], pa.list_(pa.int32())),
    "fixed list": pa.array([[1, 2], None, [3, 4], [5, None], [6, 7]], pa.list_(pa.int32(), 2)),
    "list view": pa.array([[1, None], None, [], [2], [3]], pa.list_view(pa.int32())),
    "map": pa.array([[("a", 1)], None, [], [("b", None)], []], pa.map_(pa.string(), pa.int8())),
    "deep": pa.array(
        [[{"a": [{"b": "x"}]}], None, [], [None], [{"a": None}]],
        pa.list_(pa.struct([("a", pa.list_(pa.struct([("b", pa.large_string())])))])),
    ),
    "run ends": pa.RunEndEncodedArray.from_arrays([2, 5], pa.array(["x", None])),
    "interval": pa.array([(1, 2, 3), None, (0, 0, 0), (4, 5, 6), (7, 8, 9)]),
}


@pytest.mark.parametrize("via", ["memory", "arrow", "arrows"])
@pytest.mark.parametrize("name", PASSED)
def test_other_columns_pass_through(
    name: str, via: str, scorer: emscore.Scorer, tmp_path: Path
) -> None:
    """Values, type, nullability, field metadata, extension metadata, schema metadata, order."""
    column = PASSED[name]
    extension = {"ARROW:extension:name": "own.thing", "ARROW:extension:metadata": "{}", "unit": "m"}
    schema = pa.schema(
        [
            pa.field("first", pa.int64(), nullable=False),
            pa.field(name, column.type, metadata=extension),
            pa.field("response", pa.string()),
            pa.field("question", pa.string(), metadata={"asked by": "me"}),
        ],
        metadata={"run": "3", "emscore": "mine", "pandas": '{"index_columns": []}'},
    )
    table = pa.table([pa.array(range(5)), column, TEXT, pa.array(QUESTIONS)], schema=schema)
    if via == "memory":
        result = scorer.score_batch(table)
    else:
        source, out = tmp_path / f"in.{via}", tmp_path / f"out.{via}"
        new = pa.ipc.new_file if via == "arrow" else pa.ipc.new_stream
        with new(source, schema) as writer:
            writer.write_table(table, max_chunksize=2)
        scorer.score_file(source, out)
        opened = pa.ipc.open_file(out) if via == "arrow" else pa.ipc.open_stream(out)
        result = opened.read_all()
    kept = result.select(table.column_names)
    assert kept.equals(table, check_metadata=False)
    for field in schema:
        assert result.schema.field(field.name).equals(field, check_metadata=True)
    assert result.schema.metadata.items() >= schema.metadata.items()
    assert result.column_names == [*table.column_names, *scorers.SCORES]
    assert close(result.to_pylist(), EXPECTED)
    result.validate(full=True)


def test_two_columns_of_one_name_pass_through(scorer: emscore.Scorer) -> None:
    table = pa.table([TEXT, pa.array(QUESTIONS), TEXT, TEXT], ["response", "question", "x", "x"])
    result = scorer.score_batch(table)
    assert result.column_names == ["response", "question", "x", "x", *scorers.SCORES]
