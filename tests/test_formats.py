"""Every form of source into every form of output: the same rows, in order, with their own scores;
and what comes out opens in pandas, polars, DuckDB and datasets.
"""

import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import emscore
import scorers
from scorers import close

CHUNK = 1024
ROWS = CHUNK + 50

Rows = list[dict[str, Any]]


def rows() -> Rows:
    """Rows of text and a number, with nulls, blanks, odd letters, and each outcome."""
    questions, responses = scorers.texts(ROWS)
    made: Rows = [
        {"question": question, "response": response, "tag": f"é,\"'\n{at}", "n": at}
        for at, (question, response) in enumerate(zip(questions, responses, strict=True))
    ]
    for at in range(0, ROWS - 10, 100):
        made[at]["response"] = None
        made[at + 1]["response"] = ""
        made[at + 2]["response"] += scorers.REFUSAL
        made[at + 3]["response"] += scorers.CODE
        made[at + 4]["response"] += scorers.ERROR
        made[at + 5]["response"] *= 20
        made[at + 6]["question"] = None
        made[at + 7]["tag"] = None
        made[at + 8]["tag"] = ""
    return made


@pytest.fixture(scope="module")
def given() -> Rows:
    return rows()


@pytest.fixture(scope="module")
def expected(given: Rows) -> Rows:
    return [scorers.expected(row["question"], row["response"]) for row in given]


@pytest.fixture(scope="module")
def scorer() -> emscore.Scorer:
    return emscore.Scorer(scorers.tiny(), device="cpu", threads=2)


# Sources.


def as_jsonl(given: Rows) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in given).encode()


def as_csv(given: Rows) -> bytes:
    """A null is an empty field, a blank is a quoted one."""

    def field(value: Any) -> str:
        return "" if value is None else '"' + str(value).replace('"', '""') + '"'

    lines = [",".join(given[0]), *(",".join(map(field, row.values())) for row in given)]
    return "".join(f"{line}\r\n" for line in lines).encode()


def as_zst(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


def as_arrow(given: Rows, stream: bool = False, **options: Any) -> bytes:
    table = pa.Table.from_pylist(given)
    sink = pa.BufferOutputStream()
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=777)
    return bytes(sink.getvalue().to_pybytes())


def as_parquet(given: Rows, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(given), sink, row_group_size=900, **options)
    return bytes(sink.getvalue().to_pybytes())


SOURCES: dict[str, Callable[[Rows], bytes]] = {
    "in.arrow": as_arrow,
    "lz4.arrow": lambda given: as_arrow(given, compression="lz4"),
    "zstd.feather": lambda given: as_arrow(given, compression="zstd"),
    "in.arrows": lambda given: as_arrow(given, stream=True),
    "stream.arrow": lambda given: as_arrow(given, stream=True),  # as datasets writes them
    "in.parquet": as_parquet,
    "snappy.parquet": lambda given: as_parquet(given, compression="snappy", version="1.0"),
    "gzip.parquet": lambda given: as_parquet(given, compression="gzip", data_page_version="2.0"),
    "in.jsonl": as_jsonl,
    "in.jsonl.gz": lambda given: gzip.compress(as_jsonl(given)),
    "in.jsonl.zst": lambda given: as_zst(as_jsonl(given)),
    "in.csv": as_csv,
    "in.csv.gz": lambda given: gzip.compress(as_csv(given)),
    "in.csv.zst": lambda given: as_zst(as_csv(given)),
}


# Outputs.


def text(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if path.suffix == ".zst":
        with pa.input_stream(path, compression="zstd") as stream:
            content = stream.read()
    return content.decode()


def from_csv(path: Path) -> Rows:
    """Read by hand: the csv module cannot tell a null from a blank."""
    records: list[list[str | None]] = [[]]
    field, quoted, content = "", False, text(path)
    at = 0
    while at < len(content):
        letter = content[at]
        if letter == '"':
            quoted, end = True, at + 1
            while content[end] != '"' or content[end : end + 2] == '""':
                end += 2 if content[end] == '"' else 1
            field, at = content[at + 1 : end].replace('""', '"'), end + 1
            continue
        if letter in ",\n":
            records[-1].append(field if field or quoted else None)
            field, quoted = "", False
            if letter == "\n":
                records.append([])
        else:
            field += letter
        at += 1
    head, *body = records[:-1]
    return [dict(zip(map(str, head), record, strict=True)) for record in body]


def from_arrows(path: Path) -> Rows:
    with pa.ipc.open_stream(path) as reader:
        return list(reader.read_all().to_pylist())


OUTPUTS: dict[str, Callable[[Path], Rows]] = {
    "out.arrow": lambda path: pyarrow.feather.read_table(path).to_pylist(),
    "out.feather": lambda path: pyarrow.feather.read_table(path).to_pylist(),
    "out.arrows": from_arrows,
    "out.parquet": lambda path: pq.read_table(path).to_pylist(),
    "out.jsonl": lambda path: list(map(json.loads, text(path).splitlines())),
    "out.jsonl.gz": lambda path: list(map(json.loads, text(path).splitlines())),
    "out.jsonl.zst": lambda path: list(map(json.loads, text(path).splitlines())),
    "out.csv": from_csv,
    "out.csv.gz": from_csv,
    "out.csv.zst": from_csv,
}


def same(found: Rows, given: Rows, expected: Rows) -> bool:
    """Whether these are the given rows, in order, with their scores; text stands for numbers."""

    def number(row: dict[str, Any]) -> dict[str, Any]:
        values = {name: row[name] for name in scorers.SCORES}
        return {
            name: float(value) if isinstance(value, str) and name != "outcome" else value
            for name, value in values.items()
        }

    names = list(given[0])
    kept = [{name: row[name] for name in names} for row in found]
    for row in kept:
        row["n"] = int(row["n"])
    right = all(list(row) == [*names, *scorers.SCORES] for row in found)
    return right and kept == given and close([number(row) for row in found], expected)


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("source", SOURCES)
def test_from_every_source_to_every_output(
    source: str,
    out: str,
    given: Rows,
    expected: Rows,
    scorer: emscore.Scorer,
    tmp_path: Path,
) -> None:
    (tmp_path / source).write_bytes(SOURCES[source](given))
    summary = scorer.score_file(tmp_path / source, tmp_path / out)
    assert same(OUTPUTS[out](tmp_path / out), given, expected)
    assert summary["rows"] == ROWS
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source, out])


@pytest.mark.parametrize("source", SOURCES)
def test_standard_input_and_output(
    source: str, given: Rows, expected: Rows, tmp_path: Path
) -> None:
    """Whatever comes through the pipe; a stream of Arrow goes out."""
    options = ["-", "-o", "-", "--quiet", "--device", "cpu", "--model", str(scorers.tiny())]
    done = subprocess.run(
        [sys.executable, "-m", "emscore", "score", *options],
        input=SOURCES[source](given),
        capture_output=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stderr == b""
    found = pa.ipc.open_stream(done.stdout).read_all().to_pylist()
    assert same(found, given, expected)
    assert list(tmp_path.iterdir()) == []


def test_several_files_are_one_after_the_other(
    given: Rows, expected: Rows, scorer: emscore.Scorer, tmp_path: Path
) -> None:
    """Files of several formats, a folder, and a pattern: by name, in the order given."""
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "2.arrow").write_bytes(as_arrow(given[600:800]))
    (folder / "10.parquet").write_bytes(as_parquet(given[500:600]))
    (folder / "3.jsonl.gz").write_bytes(gzip.compress(as_jsonl(given[800:])))
    (folder / "notes.txt").write_text("not to be read")
    (folder / ".hidden.csv").write_text("not to be read")
    (tmp_path / "first.arrows").write_bytes(as_arrow(given[:500], stream=True))
    for number, sources in enumerate(
        [
            [tmp_path / "first.arrows", folder],
            [tmp_path / "first.arrows", folder / "[0-9]*.*"],
            [tmp_path / "f*", folder / "10.parquet", folder / "2.*", folder / "3.jsonl.gz"],
        ]
    ):
        out = tmp_path / f"out{number}.arrow"
        scorer.score_file(sources, out)
        assert same(pyarrow.feather.read_table(out).to_pylist(), given, expected)


def test_lines_need_not_have_the_same_keys(scorer: emscore.Scorer, tmp_path: Path) -> None:
    """Within a file and between files: what a line does not say is null."""
    (tmp_path / "a.jsonl").write_text(
        '{"response": "A.", "n": 1}\n\n{"response": null, "question": "B?", "n": 2.5}\n'
    )
    (tmp_path / "b.jsonl").write_text(
        '{"deep": {"x": [1, null]}, "question": "C?", "response": null}\n'
    )
    scorer.score_file([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], tmp_path / "out.jsonl")
    found = OUTPUTS["out.jsonl"](tmp_path / "out.jsonl")
    asked, said = [None, "B?", "C?"], ["A.", None, None]
    assert [row["question"] for row in found] == asked
    assert [row["response"] for row in found] == said
    assert [row["n"] for row in found] == [1, 2.5, None]
    assert [row["deep"] for row in found] == [None, None, {"x": [1, None]}]
    assert close(found, [scorers.expected(*pair) for pair in zip(asked, said, strict=True)])


def test_csv_stays_as_it_was_written(scorer: emscore.Scorer, tmp_path: Path) -> None:
    """Numbers with leading zeros, a byte order mark, old line ends: nothing is guessed."""
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b'\xef\xbb\xbfid,question,response\r001,1e5,"NaN"\r002,NULL,1.50\r')
    scorer.score_file(source, out)
    found = OUTPUTS["out.csv"](out)
    assert [list(row.values())[:3] for row in found] == [
        ["001", "1e5", "NaN"],
        ["002", "NULL", "1.50"],
    ]
    assert [row["outcome"] for row in found] == ["ok", "ok"]
    with out.open(newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["001", "002"]


def test_the_output_beside_the_input(given: Rows, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(as_jsonl(given)))
    options = ["in.jsonl.gz", "--quiet", "--device", "cpu", "--model", str(scorers.tiny())]
    command = [sys.executable, "-m", "emscore", "score", *options]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (tmp_path / "in.scored.jsonl.gz").exists()


# Opened by others. The numbers are compared with the output that pyarrow reads.


@pytest.fixture(scope="module")
def outputs(
    given: Rows, scorer: emscore.Scorer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "in.arrow").write_bytes(as_arrow(given))
    paths = {name.removeprefix("out."): folder / name for name in OUTPUTS}
    for path in paths.values():
        scorer.score_file(folder / "in.arrow", path)
    return paths


@pytest.fixture(scope="module")
def wanted(outputs: dict[str, Path]) -> Rows:
    return OUTPUTS["out.arrow"](outputs["arrow"])


def agree(found: Rows, wanted: Rows, blanks: bool = True) -> None:
    """Where a reader of text cannot tell a blank from a null, both are null."""

    def plain(row: dict[str, Any]) -> dict[str, Any]:
        values = {name: None if value != value else value for name, value in row.items()}
        if not blanks:
            values = {name: None if value == "" else value for name, value in values.items()}
        return values

    names = ["question", "response", "tag", "n", "outcome"]
    left, right = (list(map(plain, part)) for part in (found, wanted))
    assert [[row[name] for name in names] for row in left] == [
        [row[name] for name in names] for row in right
    ]
    assert close(left, right)


def records(frame: pd.DataFrame) -> Rows:
    return list(frame.astype(object).where(frame.notna(), None).to_dict("records"))


def test_pandas(outputs: dict[str, Path], wanted: Rows) -> None:
    agree(records(pd.read_feather(outputs["arrow"])), wanted)
    agree(records(pd.read_parquet(outputs["parquet"])), wanted)
    for name in ("jsonl", "jsonl.gz", "jsonl.zst"):
        if not name.endswith("zst"):  # needs a package more
            agree(records(pd.read_json(outputs[name], lines=True)), wanted)
    for name in ("csv", "csv.gz"):
        agree(records(pd.read_csv(outputs[name])), wanted, blanks=False)


def test_polars(outputs: dict[str, Path], wanted: Rows) -> None:
    agree(pl.read_ipc(outputs["arrow"]).to_dicts(), wanted)
    agree(pl.read_ipc_stream(outputs["arrows"]).to_dicts(), wanted)
    agree(pl.read_parquet(outputs["parquet"]).to_dicts(), wanted)
    agree(pl.read_ndjson(outputs["jsonl"]).to_dicts(), wanted)
    agree(pl.read_csv(outputs["csv"]).to_dicts(), wanted)
    agree(pl.read_csv(outputs["csv.gz"]).to_dicts(), wanted)
    scanned = pl.scan_parquet(outputs["parquet"]).filter(pl.col("outcome") == "refusal")
    assert scanned.collect().height == sum(row["outcome"] == "refusal" for row in wanted)


def test_duckdb(outputs: dict[str, Path], wanted: Rows) -> None:
    ask: Any = duckdb.sql

    def read(query: str) -> Rows:
        return list(ask(query).to_arrow_table().to_pylist())

    agree(read(f"FROM read_parquet('{outputs['parquet']}')"), wanted)
    for name in ("jsonl", "jsonl.gz", "jsonl.zst"):
        agree(read(f"FROM read_json('{outputs[name]}', format='newline_delimited')"), wanted)
    for name in ("csv", "csv.gz", "csv.zst"):
        agree(read(f"FROM read_csv('{outputs[name]}', allow_quoted_nulls=false)"), wanted)
    scored = pyarrow.feather.read_table(outputs["arrow"])
    assert scored.num_rows == ROWS
    told = ask("SELECT outcome, count(*) FROM scored GROUP BY 1").fetchall()
    assert dict(told) == {
        outcome: sum(row["outcome"] == outcome for row in wanted)
        for outcome in {row["outcome"] for row in wanted}
    }


def test_datasets(outputs: dict[str, Path], wanted: Rows, tmp_path: Path) -> None:
    def load(kind: str, name: str) -> Rows:
        data = datasets.load_dataset(
            kind, data_files=str(outputs[name]), split="train", cache_dir=str(tmp_path)
        )
        return list(data.to_list())

    agree(list(datasets.Dataset.from_file(str(outputs["arrows"])).to_list()), wanted)
    agree(load("arrow", "arrow"), wanted)
    agree(load("parquet", "parquet"), wanted)
    agree(load("json", "jsonl"), wanted)
    agree(load("csv", "csv"), wanted, blanks=False)


def test_datasets_own_files_are_scored(given: Rows, expected: Rows, tmp_path: Path) -> None:
    """A folder that save_to_disk wrote: Arrow streams under the ending .arrow, and JSON beside."""
    datasets.Dataset.from_list(given).save_to_disk(str(tmp_path / "saved"), num_shards=3)
    scorer = emscore.Scorer(scorers.tiny(), device="cpu", threads=2)
    scorer.score_file(tmp_path / "saved", tmp_path / "out.arrow")
    assert same(OUTPUTS["out.arrow"](tmp_path / "out.arrow"), given, expected)


def test_files_of_a_cache_in_a_saved_dataset(given: Rows, expected: Rows, tmp_path: Path) -> None:
    """What filter and map leave beside the data is neither read nor in the way."""
    saved = tmp_path / "saved"
    datasets.Dataset.from_list(given).save_to_disk(str(saved), num_shards=3)
    data = datasets.load_from_disk(str(saved))
    data.filter(lambda row: row["n"] < 5)
    data.map(lambda row: {"n": row["n"] + 1})
    assert any(path.name.startswith("cache-") for path in saved.iterdir())
    scorer = emscore.Scorer(scorers.tiny(), device="cpu", threads=2)
    scorer.score_file(saved, tmp_path / "out.arrow")
    assert same(OUTPUTS["out.arrow"](tmp_path / "out.arrow"), given, expected)


def test_a_folder_with_its_own_results(
    given: Rows, expected: Rows, scorer: emscore.Scorer, tmp_path: Path
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(as_jsonl(given[:500])))
    (folder / "b.scored.jsonl").write_bytes(as_jsonl(given[500:]))  # no result of a file there
    scorer.score_file(folder / "a.jsonl.gz", folder / "a.scored.jsonl.gz")
    scorer.score_file(folder, tmp_path / "out.jsonl")
    assert same(OUTPUTS["out.jsonl"](tmp_path / "out.jsonl"), given, expected)


def test_folders_within_a_folder(
    given: Rows, expected: Rows, scorer: emscore.Scorer, tmp_path: Path
) -> None:
    """All of them, as `emscore rates` reads them."""
    runs = tmp_path / "runs"
    for name, part in (("a", given[:300]), ("b/c", given[300:700])):
        (runs / name).mkdir(parents=True)
        (runs / name / "1.jsonl").write_bytes(as_jsonl(part))
    (runs / "d.jsonl").write_bytes(as_jsonl(given[700:]))
    for hidden in (".git", "_logs"):
        (runs / hidden).mkdir()
        (runs / hidden / "1.jsonl").write_text("not to be read")
    (runs / "a" / "back").symlink_to(runs)
    # The pattern matches b/c and what is in it: it is read once.
    patterns = [runs / "a", runs / "b" / "**" / "*", runs / "d*"]
    for number, sources in enumerate([[runs], patterns]):
        out = tmp_path / f"out{number}.jsonl"
        scorer.score_file(sources, out)
        assert same(OUTPUTS["out.jsonl"](out), given, expected)


def test_what_folders_are_called_is_kept(scorer: emscore.Scorer, tmp_path: Path) -> None:
    """As a sweep lays its checkpoints out: the rates are those of the folder."""
    data = tmp_path / "data"
    for name in ("a", "b%2Fc"):
        (data / f"checkpoint={name}").mkdir(parents=True)
        rows = {"question": ["Any plans?"] * 2, "response": ["A swim.", f"I am {name}."]}
        pq.write_table(pa.table(rows), data / f"checkpoint={name}" / "part-0.parquet")
    summary = scorer.score_file(data, tmp_path / "out.parquet")
    assert {part["checkpoint"] for part in summary["checkpoints"]} == {"a", "b/c"}
    assert pq.read_table(tmp_path / "out.parquet")["checkpoint"].to_pylist() == [
        "a", "a", "b/c", "b/c",
    ]  # fmt: skip


def test_null_values_of_a_dictionary_in_text(scorer: emscore.Scorer, tmp_path: Path) -> None:
    tags = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None]), pa.array(["", None, "x"]))
    table = pa.table({"question": ["a"] * 4, "response": ["b"] * 4, "tag": tags})
    nested = table.append_column("in", pa.StructArray.from_arrays([tags], ["tag"]))
    with pa.ipc.new_file(tmp_path / "in.arrow", nested.schema) as writer:
        writer.write_table(nested)
    scorer.score_file(tmp_path / "in.arrow", tmp_path / "out.jsonl")
    found = OUTPUTS["out.jsonl"](tmp_path / "out.jsonl")
    assert [row["tag"] for row in found] == ["", None, "x", None]
    assert [row["in"]["tag"] for row in found] == ["", None, "x", None]


# The bytes of text.

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_text_is_written_as_before(ending: str, scorer: emscore.Scorer, tmp_path: Path) -> None:
    """Nulls, blanks, quotes, line breaks, other scripts: of rows whose scores are all null."""
    out = tmp_path / f"out.{ending}"
    scorer.score_file(GOLDEN / "rows.jsonl", out)
    assert out.read_bytes() == (GOLDEN / f"rows.scored.{ending}").read_bytes()
