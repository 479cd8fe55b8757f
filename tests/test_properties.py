"""Properties that hold for any text."""

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
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
