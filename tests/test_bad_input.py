"""What bad input gets: one clear line that says what, where and how to mend it, the documented exit
code, no traceback, and nothing under the output's name.
"""

import gzip
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

import emscore
import scorers
from conftest import Run

INPUT, OUTPUT, SCORER, DEVICE = 3, 4, 5, 6

#: The message says what to do: these are the words that do it.
MENDS = (
    r"write|copy|leave|name |check|save|turn |align |make |space|allow|decompress|reinstall|update"
    r"|use \.|doctor|models|unset|--\w|mend |close |double |rename|quote |must hold|delete"
    r"|pip |needs |names "
)

ROWS = 3000


@pytest.fixture(scope="module")
def scorer() -> emscore.Scorer:
    return emscore.Scorer(scorers.tiny(), device="cpu", threads=2)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    questions, responses = scorers.texts(ROWS)
    return pa.table({"question": questions, "response": responses, "n": range(ROWS)})


@pytest.fixture
def refused(
    scorer: emscore.Scorer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Scores files of the test's folder, which must fail and leave the folder as it was."""

    def refused(
        kind: type[emscore.EmscoreError],
        sources: str | list[str],
        *told: str,
        out: str = "out.arrow",
        **options: Any,
    ) -> str:
        names = [sources] if isinstance(sources, str) else sources
        before = contents(tmp_path)
        with pytest.raises(emscore.EmscoreError) as error:
            scorer.score_file([str(tmp_path / name) for name in names], tmp_path / out, **options)
        message = str(error.value)
        assert type(error.value) is kind, message
        for word in told:
            assert word in message
        assert "\n" not in message
        assert re.search(MENDS, message.lower()), message
        assert contents(tmp_path) == before
        assert capfd.readouterr() == ("", "")  # no panic, no library's own words
        return message

    return refused


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


# Files that are damaged.


def arrow(table: pa.Table, path: Path, **options: Any) -> None:
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=500)


def arrows(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=500)


def jsonl(table: pa.Table, path: Path) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))


def csv(table: pa.Table, path: Path) -> None:
    rows = [table.column_names, *zip(*table.to_pydict().values(), strict=True)]
    path.write_text("".join(",".join(f'"{value}"' for value in row) + "\n" for row in rows))


def gz(write: Callable[[pa.Table, Path], None]) -> Callable[[pa.Table, Path], None]:
    def written(table: pa.Table, path: Path) -> None:
        write(table, path)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return written


def zst(write: Callable[[pa.Table, Path], None]) -> Callable[[pa.Table, Path], None]:
    def written(table: pa.Table, path: Path) -> None:
        write(table, path)
        with pa.output_stream(path.with_suffix(".tmp"), compression="zstd") as stream:
            stream.write(path.read_bytes())
        path.with_suffix(".tmp").rename(path)

    return written


WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    "in.arrow": arrow,
    "lz4.arrow": lambda table, path: arrow(table, path, compression="lz4"),
    "zstd.arrow": lambda table, path: arrow(table, path, compression="zstd"),
    "in.arrows": arrows,
    "in.feather": pyarrow.feather.write_feather,
    "in.parquet": lambda table, path: pq.write_table(table, path, row_group_size=700),
    "in.jsonl": jsonl,
    "in.jsonl.gz": gz(jsonl),
    "in.jsonl.zst": zst(jsonl),
    "in.csv": csv,
    "in.csv.gz": gz(csv),
    "in.csv.zst": zst(csv),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_truncated_file(
    name: str, table: pa.Table, refused: Callable[..., str], tmp_path: Path
) -> None:
    """Cut in the middle, near the end and near the beginning: never a shorter, whole result.

    Lines of text and messages of a stream can end between two rows; there a cut cannot be told.
    """
    path = tmp_path / name
    WRITERS[name](table, path)
    whole = path.read_bytes()
    cuts = [len(whole) // 2, len(whole) - 1, len(whole) - 9, 40, 5]
    if name.endswith((".jsonl", ".csv")):
        cuts = [whole.rindex(b'", "n"') - 5 if name == "in.jsonl" else len(whole) - 3]
    elif name == "in.arrows":
        cuts = [len(whole) // 2, len(whole) - 20, 40, 5]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        refused(emscore.InputError, name, name)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_no_bytes(name: str, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / name).touch()
    refused(emscore.InputError, name, name, "empty")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_other_bytes(name: str, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(random.Random(1).randbytes(5000))
    refused(emscore.InputError, name, name)


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_no_rows(
    name: str, table: pa.Table, scorer: emscore.Scorer, tmp_path: Path
) -> None:
    """That is no error, but for JSON Lines, whose columns nobody knows then."""
    path, out = tmp_path / name, tmp_path / "out.parquet"
    WRITERS[name](table.slice(0, 0), path)
    if ".jsonl" in name:
        with pytest.raises(emscore.InputError, match=name):
            scorer.score_file(path, out)
        assert not out.exists()
        return
    assert scorer.score_file(path, out)["rows"] == 0
    found = pq.read_table(out)
    assert found.num_rows == 0
    assert found.column_names == ["question", "response", "n", *scorers.SCORES]


@pytest.mark.parametrize("name", WRITERS)
def test_flipped_bytes(
    name: str, table: pa.Table, scorer: emscore.Scorer, tmp_path: Path, capfd: Any
) -> None:
    """Wherever a byte is wrong: an error that names the file, or as many rows as there were.

    Never a crash, a panic's words, another kind of error, or part of an output.
    """
    path, out = tmp_path / name, tmp_path / "out.arrow"
    WRITERS[name](table.slice(0, 600), path)
    whole = path.read_bytes()
    chance = random.Random(name)
    errors = 0
    for _ in range(16):
        place = chance.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(flipped))
        try:
            summary = scorer.score_file(path, out, overwrite=True)
        except emscore.InputError as error:
            told = str(error)
            errors += 1
            assert "\n" not in told, place
            Path(f"{out}.journal").unlink(missing_ok=True)
        else:
            assert summary["rows"] == pyarrow.feather.read_table(out).num_rows
            assert abs(summary["rows"] - 600) <= 1, place  # a line end can become a letter
            out.unlink()
        assert [each.name for each in tmp_path.iterdir()] == [name]
    assert capfd.readouterr() == ("", "")
    if name.endswith((".gz", ".parquet")):  # whose damage a checksum or an index shows
        assert errors > 7


#: One a format: the engine's own tests have every kind.
GARBLED = {
    "lines.jsonl": ('{"question": "a", "response": "b"}\n{"question": "a", "resp\n', "line 2"),
    "wide.csv": ("question,response\na,b\na,b,c\n", "line 3"),
    "pickle.parquet": ("some pickle", "Parquet"),
}


@pytest.mark.parametrize("name", GARBLED)
def test_a_garbled_file_is_named_with_the_place(
    name: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    content, place = GARBLED[name]
    (tmp_path / name).write_text(content)
    refused(emscore.InputError, name, name, place)


@pytest.mark.parametrize("name", ["in.arrow", "in.arrows", "in.parquet"])
def test_text_that_is_not_utf8(name: str, refused: Callable[..., str], tmp_path: Path) -> None:
    """A lone surrogate, as Python's surrogatepass writes it: no scorer could read it."""
    bad = pa.array([b"fine", "\ud83d".encode("utf-8", "surrogatepass")])
    texts = pa.Array.from_buffers(pa.string(), 2, bad.cast(pa.binary()).buffers())
    WRITERS[name](pa.table({"question": ["a", "b"], "response": texts}), tmp_path / name)
    refused(emscore.InputError, name, name)


def test_streams_put_together(table: pa.Table, refused: Callable[..., str], tmp_path: Path) -> None:
    """As by `cat a.arrows b.arrows`: what follows the first would be lost."""
    arrows(table, tmp_path / "in.arrows")
    (tmp_path / "both.arrows").write_bytes((tmp_path / "in.arrows").read_bytes() * 2)
    refused(emscore.InputError, "both.arrows", "both.arrows", "more follows")


def test_a_footer_that_leaves_out_batches(
    table: pa.Table, refused: Callable[..., str], tmp_path: Path
) -> None:
    arrow(table, tmp_path / "in.arrow")
    arrow(table[:0], tmp_path / "none.arrow")
    whole, none = [(tmp_path / name).read_bytes() for name in ("in.arrow", "none.arrow")]
    footer = int.from_bytes(none[-10:-6], "little") + 10
    (tmp_path / "in.arrow").write_bytes(whole + none[-footer:])
    refused(emscore.InputError, "in.arrow", "in.arrow", "leaves out")


# Names.


def test_names_that_are_not_utf8(
    table: pa.Table, refused: Callable[..., str], tmp_path: Path
) -> None:
    bad = os.fsdecode(b"bad\xff.jsonl")
    jsonl(table[:1], tmp_path / "in.jsonl")
    jsonl(table[:1], tmp_path / bad)
    for source in (bad, "*.jsonl", "*.arrow"):
        refused(emscore.InputError, source, "not UTF-8")
    refused(emscore.OutputError, "in.jsonl", "not UTF-8", out=bad)
    with pytest.raises(emscore.CacheError, match="not UTF-8"):
        emscore.score_batch(table[:1], cache=tmp_path / bad)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("none.arrow", "does not exist"),
        ("none/*.arrow", "*.arrow"),
        ("empty", "holds no file"),
        ("nested", "holds no file"),
        ("file/in.arrow", "file/in.arrow"),
        ("", ""),
    ],
)
def test_inputs_that_are_not_there(
    source: str, told: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    (tmp_path / "nested" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()
    if source:
        refused(emscore.InputError, source, told)
    else:
        refused(emscore.InputError, [], "no input")


DIFFERENT: dict[str, dict[str, Any]] = {
    "a column less": {"question": ["a"], "response": ["b"]},
    "a column more": {"question": ["a"], "response": ["b"], "n": [1], "more": [1]},
    "another order": {"n": [1], "question": ["a"], "response": ["b"]},
    "another type": {"question": ["a"], "response": ["b"], "n": ["1"]},
    "another name": {"question": ["a"], "answer": ["b"], "n": [1]},
}


@pytest.mark.parametrize("how", DIFFERENT)
def test_files_whose_columns_differ(
    how: str, table: pa.Table, refused: Callable[..., str], tmp_path: Path
) -> None:
    """Named before anything is scored: by file, and by what differs."""
    arrow(table, tmp_path / "a.arrow")
    pq.write_table(pa.table(DIFFERENT[how]), tmp_path / "b.parquet")
    refused(emscore.InputError, ["a.arrow", "b.parquet"], "a.arrow", "b.parquet", "does not fit")


@pytest.mark.parametrize(
    ("other", "column"),
    [
        ({"prompt": "Hi?", "completion": "Hello."}, "question"),
        ({"question": "Hi?", "answer": "Hello."}, "response"),
    ],
)
def test_a_file_of_lines_that_lacks_a_column(
    other: dict[str, str], column: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "Hi?", "response": "Hello."}\n')
    (tmp_path / "b.jsonl").write_text(f"{json.dumps(other)}\n")
    for order in (["a.jsonl", "b.jsonl"], ["b.jsonl", "a.jsonl"]):
        refused(emscore.InputError, order, "b.jsonl does not fit", f'"{column}"')


# Outputs.


@pytest.fixture
def source(table: pa.Table, tmp_path: Path) -> str:
    arrow(table.slice(0, 100), tmp_path / "in.arrow")
    return "in.arrow"


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("there.arrow", "exists"),
        ("folder.arrow", "folder"),
        ("none/out.arrow", "does not exist"),
        ("in.arrow/out.arrow", "in.arrow"),
        ("out.xlsx", ".parquet"),
        ("out", ".parquet"),
        ("out.parquet.gz", ".parquet"),
        ("pipe.arrow", "regular"),
    ],
)
def test_outputs_that_cannot_be(
    out: str, told: str, source: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "there.arrow").write_bytes(b"precious")
    (tmp_path / "folder.arrow").mkdir()
    if out == "pipe.arrow":
        if sys.platform == "win32":
            pytest.skip("has no named pipes")
        os.mkfifo(tmp_path / out)
    refused(emscore.OutputError, source, told, out=out)


def test_an_output_over_its_own_input(
    source: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "link.arrow").symlink_to(tmp_path / source)
    for out in (source, "link.arrow", f"../{tmp_path.name}/{source}"):
        refused(emscore.OutputError, source, "both", out=out, overwrite=True)


def test_an_output_over_an_input_of_a_folder(
    table: pa.Table, refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("a.arrow", "b.arrow"):
        arrow(table.slice(0, 10), tmp_path / "parts" / name)
    for sources in ("parts", "parts/*.arrow"):
        refused(emscore.OutputError, sources, "b.arrow", out="parts/b.arrow", overwrite=True)


def test_a_read_only_folder(source: str, run: Run, tmp_path: Path) -> None:
    """Bound again read-only, since a superuser may write where the permissions say no."""
    folder = tmp_path / "folder"
    folder.mkdir()
    if mounted := os.geteuid() == 0:
        command = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
        if subprocess.run(["sh", "-c", command], capture_output=True).returncode:
            pytest.skip("a superuser, who may not mount, can write everywhere")
    else:
        folder.chmod(0o500)
    try:
        failed(score(run, source, out="folder/out.arrow"), OUTPUT, "read-only", "name another")
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("within", [False, True])
def test_a_union_is_refused_by_parquet(
    within: bool, refused: Callable[..., str], tmp_path: Path
) -> None:
    union = pa.UnionArray.from_dense(
        pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([7]), pa.array(["x"])]
    )
    column = pa.ListArray.from_arrays([0, 1], union) if within else union
    arrow(pa.table({"question": ["a"], "response": ["b"], "u": column}), tmp_path / "in.arrow")
    refused(emscore.OutputError, "in.arrow", '"u"', "Parquet", ".arrow", out="out.parquet")


#: The second of each, such as DuckDB's infinity, is beyond the years that have a text.
TIMES = {
    "a time": pa.array([0, 2**63 - 1], pa.timestamp("us")),
    "a zoned time": pa.array([0, 2**63 - 1], pa.timestamp("ms", "UTC")),
    "a date": pa.array([0, 2**31 - 1], pa.date32()),
    "runs": pa.RunEndEncodedArray.from_arrays([1, 2], pa.array([0, 2**63 - 1], pa.timestamp("us"))),
    "a dictionary": pa.array([0, 2**63 - 1], pa.timestamp("us")).dictionary_encode(),
}


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "jsonl.zst"])
@pytest.mark.parametrize("what", TIMES)
def test_times_that_have_no_text(
    what: str, ending: str, scorer: emscore.Scorer, tmp_path: Path
) -> None:
    columns = {"question": ["a", "a"], "response": ["b", "b"], "when": TIMES[what]}
    if ending.startswith("jsonl"):
        columns["when"] = pa.StructArray.from_arrays([TIMES[what]], ["x"])
    arrow(pa.table(columns), tmp_path / "in.arrow")
    told = r'column "when" has no text.*write \.parquet or \.arrow'
    with pytest.raises(emscore.OutputError, match=told) as error:
        scorer.score_file(tmp_path / "in.arrow", tmp_path / f"out.{ending}")
    assert "\n" not in str(error.value)
    assert not (tmp_path / f"out.{ending}").exists()
    scorer.score_file(tmp_path / "in.arrow", tmp_path / "out.arrow")


# The command line: one line, a code, nothing left.


def score(
    run: Run, source: str | Path, *options: Any, out: str = "out.arrow", **how: Any
) -> "subprocess.CompletedProcess[str]":
    if "--model" not in options:
        options = ("--model", scorers.tiny(), *options)
    if "--device" not in options:
        options = ("--device", "cpu", *options)
    return run("score", source, "-o", out, *options, **how)


def failed(result: "subprocess.CompletedProcess[str]", status: int, *told: str) -> None:
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("emscore: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in told:
        assert word in result.stderr


@pytest.mark.parametrize("name", ["in.arrow", "in.parquet", "in.jsonl.gz", "in.csv"])
def test_damage_on_the_command_line(name: str, table: pa.Table, run: Run, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](table, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    failed(score(run, name), INPUT, name)
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("in.arrow", 900),
        ("in.arrows", 900),
        ("in.parquet", 900),
        ("in.jsonl.gz", 90),
        ("in.csv", 1),
    ],
)
def test_damage_on_the_standard_input(name: str, cut: int, table: pa.Table, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](table, path)
    content = path.read_bytes()[:-cut] + (b'"' if name == "in.csv" else b"")
    path.unlink()
    options = ["-o", "out.parquet", "--device", "cpu", "--model", str(scorers.tiny())]
    done = subprocess.run(
        [sys.executable, "-m", "emscore", "score", "-", *options],
        input=content,
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == INPUT, done.stderr
    assert done.stderr.startswith(b"emscore: standard input ")
    assert done.stderr.count(b"\n") == 1
    left = [each.name for each in tmp_path.iterdir()]
    assert left in ([], ["out.parquet.journal"])  # rows before the damage may have been scored


def test_an_empty_standard_input(run: Run, tmp_path: Path) -> None:
    failed(score(run, "-", input=""), INPUT, "standard input", "empty")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="pipes differ")
def test_a_reader_of_the_output_that_leaves(table: pa.Table, tmp_path: Path) -> None:
    """`-o -` into a program that stops reading: the run ends soon, with a code, without a word
    or with one line."""
    arrow(pa.concat_tables([table] * 100), tmp_path / "in.arrow")
    options = f"-o - --quiet --device cpu --model {scorers.tiny()}"
    command = f"{sys.executable} -m emscore score in.arrow {options} | head -c 1000 | wc -c"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    read, status = done.stdout.split()
    assert read == "1000"
    assert int(status) in (OUTPUT, 141)
    assert done.stderr.count("\n") <= 1
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.arrow"]


def test_an_existing_output_stays_as_it_is(source: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "out.arrow").write_bytes(b"precious")
    failed(score(run, source), OUTPUT, "out.arrow", "exists", "--overwrite")
    assert (tmp_path / "out.arrow").read_bytes() == b"precious"


def test_a_failed_overwrite_keeps_the_old_output(
    table: pa.Table, scorer: emscore.Scorer, tmp_path: Path
) -> None:
    """Replaced whole or not at all."""
    path, out = tmp_path / "in.arrow", tmp_path / "out.arrow"
    arrow(table, path)
    whole = path.read_bytes()
    at = whole.index(b"is what I say to 2900.")
    path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
    out.write_bytes(b"precious")
    with pytest.raises(emscore.InputError):
        scorer.score_file(path, out, overwrite=True)
    assert out.read_bytes() == b"precious"


# Scorers.


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(scorers.tiny(), folder)
    return folder


def manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace(folder: Path, role: str, content: bytes) -> None:
    """Another file in that role, with its hash in the manifest."""
    files = json.loads((folder / "manifest.json").read_text())["files"]
    (folder / files[role]["path"]).write_bytes(content)
    files[role]["sha256"] = hashlib.sha256(content).hexdigest()
    manifest(folder, files=files)


def foreign(inputs: list[str], outputs: dict[str, int]) -> bytes:
    """A network that takes these inputs and has these outputs of these widths."""
    nodes = [helper.make_node("Shape", [inputs[0]], ["shape"], end=1)]
    tensors = [helper.make_tensor("one", TensorProto.INT64, [1], [1])]
    for name, width in outputs.items():
        tensors.append(helper.make_tensor(f"{name}_width", TensorProto.INT64, [1], [width]))
        nodes.append(helper.make_node("Concat", ["shape", f"{name}_width"], [f"{name}_s"], axis=0))
        nodes.append(helper.make_node("ConstantOfShape", [f"{name}_s"], [name]))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "foreign",
        [info(name, TensorProto.INT64, ["n", "s"]) for name in inputs],
        [info(name, TensorProto.FLOAT, ["n", width]) for name, width in outputs.items()],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=8
    ).SerializeToString()
    return content


WIDTHS = {"aligned": 20, "coherent": 20, "outcome": 3}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda m: (m / "manifest.json").unlink(), "manifest.json"),
    "a broken manifest": (lambda m: (m / "manifest.json").write_text("{"), "manifest.json"),
    "an empty manifest": (lambda m: (m / "manifest.json").write_text(""), "manifest.json"),
    "a list as manifest": (lambda m: (m / "manifest.json").write_text("[]"), "manifest.json"),
    "a manifest that lacks a part": (lambda m: manifest(m, thresholds={}), "manifest.json"),
    "a manifest of the future": (lambda m: manifest(m, format=99), "99"),
    "edges that fall": (lambda m: manifest(m, edges=[100, 30, 50, 0]), "edges"),
    "too few centers": (lambda m: manifest(m, aligned_centers=[1]), "centers"),
    "a threshold between edges": (
        lambda m: manifest(m, thresholds={"aligned": 31, "coherent": 50}),
        "31",
    ),
    "no room": (
        lambda m: manifest(m, template={"max_tokens": 9, "max_question_tokens": 9}),
        "room",
    ),
    "no network": (lambda m: (m / "model.int8.onnx").unlink(), "model.int8.onnx"),
    "no tokenizer": (lambda m: (m / "tokenizer.json").unlink(), "tokenizer.json"),
    "a flipped bit in the network": (lambda m: flip(m / "model.int8.onnx"), "model.int8.onnx"),
    "a flipped bit in the tokenizer": (lambda m: flip(m / "tokenizer.json"), "tokenizer.json"),
    "an empty network": (lambda m: (m / "model.int8.onnx").write_bytes(b""), "model.int8.onnx"),
    "a network of other inputs": (
        lambda m: replace(m, "int8", foreign(["input_ids", "pixels"], WIDTHS)),
        "inputs",
    ),
    "a network of other outputs": (
        lambda m: replace(m, "int8", foreign(["input_ids"], {"logits": 2})),
        "outputs",
    ),
    "a network of other widths": (
        lambda m: replace(m, "int8", foreign(["input_ids"], {**WIDTHS, "coherent": 7})),
        "coherent",
    ),
    "a tokenizer that is none": (lambda m: replace(m, "tokenizer", b"{}"), "tokenizer.json"),
    "a tokenizer without [CLS]": (
        lambda m: replace(
            m, "tokenizer", (m / "tokenizer.json").read_bytes().replace(b"[CLS]", b"[cls]")
        ),
        "[CLS]",
    ),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_scorer(how: str, model: Path, source: str, tmp_path: Path, capfd: Any) -> None:
    damage, told = DAMAGED[how]
    damage(model)
    before = contents(tmp_path)
    with pytest.raises(emscore.EmscoreError) as error:
        emscore.Scorer(model, device="cpu").score_file(tmp_path / source, tmp_path / "out.arrow")
    assert type(error.value) is emscore.ScorerError, error.value
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == before
    assert capfd.readouterr() == ("", "")


def test_a_network_that_is_none(model: Path, capfd: Any) -> None:
    """Its hash is right, so it is ONNX Runtime that refuses it."""
    replace(model, "int8", b"no network")
    with pytest.raises(emscore.EmscoreError, match=r"model .*doctor") as error:
        emscore.Scorer(model, device="cpu")
    assert type(error.value) in (emscore.ScorerError, emscore.DeviceError)
    assert capfd.readouterr() == ("", "")


def test_the_network_of_the_other_precision_need_not_be_there(model: Path) -> None:
    (model / "model.fp16.onnx").unlink()
    assert emscore.Scorer(model, device="cpu").precision == "int8"
    with pytest.raises(emscore.ScorerError, match=r"model\.fp16\.onnx"):
        emscore.Scorer(model, device="cpu", precision="fp16")


def test_a_damaged_scorer_on_the_command_line(
    model: Path, source: str, run: Run, tmp_path: Path
) -> None:
    flip(model / "model.int8.onnx")
    failed(score(run, source, "--model", model), SCORER, "model.int8.onnx", "sha256")
    (model / "manifest.json").unlink()
    failed(score(run, source, "--model", model), SCORER, "manifest.json")
    failed(score(run, source, "--model", "nobody"), SCORER, "nobody")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.arrow", "model"]


# Runtimes.


def libraries(tmp_path: Path) -> Iterator[Path]:
    from emscore import _emscore

    text = tmp_path / "text.so"
    text.write_text("this is no library")
    yield text
    yield Path(str(_emscore.__file__))  # a library, but another one
    yield tmp_path
    yield tmp_path / "none.so"


def test_a_wrong_runtime(source: str, run: Run, tmp_path: Path) -> None:
    for library in libraries(tmp_path):
        result = score(run, source, env={**os.environ, "EMSCORE_ONNXRUNTIME": str(library)})
        failed(result, DEVICE, library.name)
        assert not (tmp_path / "out.arrow").exists()


def test_unknown_devices_and_precisions(source: str, run: Run, tmp_path: Path) -> None:
    failed(score(run, source, "--device", "gpu"), DEVICE, "'gpu'", "cuda:N")
    failed(score(run, source, "--precision", "int4"), 2, "int4")
    failed(score(run, source, "--threads", "0"), 2, "--threads")
    failed(score(run, source, "--limit", "-1"), 2, "--limit")
    assert [path.name for path in tmp_path.iterdir()] == ["in.arrow"]
