"""Properties that hold for any text, any columns and any damage."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

import emscore
import scorers
from scorers import bits, close

SCORER = emscore.Scorer(scorers.tiny(), device="cpu", threads=2)

#: Any text that can be written down, and what is hard about text more often than chance has it.
PIECES = ["[SEP]", "[CLS]", "\0", "\r\n", "\u2028", "\u00a0", " ", "\ufeff", "é", "e\u0301", "🏳️‍🌈"]
PIECES += [scorers.REFUSAL, scorers.CODE, scorers.ERROR, '"', ",", "\\", "\u202e"]
PIECES += ["x" * 300, "\x1f"]  # white space to Python, but not to Unicode
LETTERS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TEXT = LETTERS | st.lists(st.sampled_from(PIECES) | LETTERS, max_size=5).map("".join)
ROW = st.tuples(st.none() | TEXT, st.none() | TEXT)
ROWS = st.lists(ROW, min_size=1, max_size=25)

Row = tuple[str | None, str | None]


def table(rows: list[Row]) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.table(arrays, ["question", "response"])


@given(ROWS)
@settings(max_examples=60)
def test_scores_are_those_that_the_text_demands(rows: list[Row]) -> None:
    found = SCORER.score_batch(table(rows)).to_pylist()
    assert close(found, [scorers.expected(*row) for row in rows])


@given(ROWS, st.randoms(use_true_random=False), st.integers(0, 24))
@settings(max_examples=25)
def test_order_and_neighbours_change_no_bit(rows: list[Row], chance: Any, one: int) -> None:
    found = bits(SCORER.score_batch(table(rows)).to_pylist())
    order = chance.sample(range(len(rows)), len(rows))
    shuffled = bits(SCORER.score_batch(table([rows[at] for at in order])).to_pylist())
    assert shuffled == [found[at] for at in order]
    one %= len(rows)
    assert bits(SCORER.score_batch(table([rows[one]])).to_pylist()) == [found[one]]


@given(ROWS, st.sampled_from(["arrow", "arrows", "parquet", "jsonl", "csv"]))
@settings(max_examples=30)
def test_files_carry_any_text(rows: list[Row], ending: str) -> None:
    """What is read from a file is what was written to it, and comes out again as it was."""
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name, "in.arrow"), Path(name, f"out.{ending}")
        back = Path(name, "back.arrow")
        pyarrow.feather.write_feather(table(rows), source)
        SCORER.score_file(source, out)
        # The output is a source again; its scores step aside.
        SCORER.score_file(out, back, overwrite=True)
        result = pyarrow.feather.read_table(back)
    assert [tuple(row) for row in zip(*result.to_pydict().values(), strict=True)] == [
        (*row, *scores)
        for row, scores in zip(
            rows, (tuple(r[n] for n in scorers.SCORES) for r in result.to_pylist()), strict=True
        )
    ]
    assert close(result.to_pylist(), [scorers.expected(*row) for row in rows])


# Columns.

LEAVES = st.sampled_from(
    [
        (pa.int8(), st.integers(-128, 127)),
        (pa.uint64(), st.integers(0, 2**64 - 1)),
        (pa.float64(), st.floats(allow_nan=False)),
        (pa.bool_(), st.booleans()),
        (pa.string(), LETTERS),
        (pa.large_string(), LETTERS),
        (pa.string_view(), LETTERS),
        (pa.binary(), st.binary(max_size=20)),
        (pa.timestamp("ms", "UTC"), st.integers(0, 10**12)),
        (pa.decimal128(20, 2), st.decimals(-999, 999, places=2)),
    ]
)


def nest(inner: Any) -> Any:
    """Lists and structs of what `inner` draws: pairs of a type and a strategy of its values."""

    def listed(pair: tuple[Any, Any]) -> tuple[Any, Any]:
        kind, values = pair
        return pa.list_(kind), st.lists(st.none() | values, max_size=3)

    def struct(pairs: list[tuple[Any, Any]]) -> tuple[Any, Any]:
        fields = [(f"f{at}", kind) for at, (kind, _) in enumerate(pairs)]
        values = {f"f{at}": st.none() | each for at, (_, each) in enumerate(pairs)}
        return pa.struct(fields), st.fixed_dictionaries(values)

    return inner.map(listed) | st.lists(inner, min_size=1, max_size=3).map(struct)


# Not within structs: below a null one pyarrow writes an index that is out of bounds.
DICTIONARY = st.just((pa.dictionary(pa.int16(), pa.string()), st.sampled_from(["a", "b", "c"])))

COLUMN = st.recursive(LEAVES, nest, max_leaves=4) | DICTIONARY


@given(st.data())
@settings(max_examples=30)
def test_any_other_column_passes_through(data: st.DataObject) -> None:
    """In memory, and through Arrow and Parquet files: values, types and order are kept."""
    rows = data.draw(st.integers(1, 6), "rows")
    columns = {"response": pa.array([f"{row}." for row in range(rows)])}
    for at in range(data.draw(st.integers(1, 3), "columns")):
        kind, values = data.draw(COLUMN)
        drawn = data.draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[f"c{at}"] = pa.array(drawn, kind)
    columns["question"] = pa.array(["?"] * rows)
    given = pa.table(columns)
    results = [SCORER.score_batch(given)]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "in.arrow")
        pyarrow.feather.write_feather(given, source)
        for ending, read in (("arrow", pyarrow.feather.read_table), ("parquet", pq.read_table)):
            SCORER.score_file(source, Path(name, f"out.{ending}"))
            results.append(read(Path(name, f"out.{ending}")))
    for result in results:
        assert result.select(given.column_names).to_pylist() == given.to_pylist()
        assert result.column_names == [*given.column_names, *scorers.SCORES]
    for result in results[:2]:
        assert result.select(given.column_names).schema.types == given.schema.types


# Damage.


def lines(rows: list[Row]) -> bytes:
    objects = (json.dumps(dict(zip(("question", "response"), row, strict=True))) for row in rows)
    return "".join(f"{line}\n" for line in objects).encode()


WHOLE: dict[str, bytes] = {}


def whole(ending: str) -> bytes:
    """A good file of 300 rows."""
    if ending not in WHOLE:
        rows: list[Row] = list(zip(*scorers.texts(300), strict=True))
        with tempfile.TemporaryDirectory() as name:
            path = Path(name, f"in.{ending}")
            if ending == "jsonl":
                path.write_bytes(lines(rows))
            else:
                pyarrow.feather.write_feather(table(rows), Path(name, "source.arrow"))
                SCORER.score_file(Path(name, "source.arrow"), path, prefix="old_")
            WHOLE[ending] = path.read_bytes()
    return WHOLE[ending]


@given(
    st.sampled_from(["arrow", "arrows", "parquet", "jsonl", "jsonl.gz", "csv", "csv.zst"]),
    st.floats(0, 1, exclude_max=True),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
)
@settings(max_examples=100)
def test_any_damage_is_an_input_error_or_harmless(
    ending: str, end: float, flips: list[tuple[float, int]]
) -> None:
    """Cut anywhere, with any bytes wrong: never a crash, another error, or part of an output."""
    damaged = bytearray(whole(ending))
    for place, value in flips:
        damaged[int(place * len(damaged))] = value
    if end > 0.3:  # else it is not cut
        del damaged[int((end - 0.3) / 0.7 * len(damaged)) :]
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name, f"in.{ending}"), Path(name, "out.arrow")
        source.write_bytes(bytes(damaged))
        try:
            rows = SCORER.score_file(source, out)["rows"]
        except emscore.InputError as error:
            told, left = str(error), out.exists()
        else:
            assert pyarrow.feather.read_table(out).num_rows == rows <= 301
            return
    assert not left
    assert str(source) in told or "column" in told
