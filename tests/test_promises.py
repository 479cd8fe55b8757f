"""The promises that users may rely on: a row's score is its own, memory is constant, one bad row
spoils one row, a GPU that was asked for is never replaced. (That a killed run goes on where it
stopped is in test_resume.py.)
"""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import emscore
import scorers
from conftest import Run
from emscore import models, runtime
from scorers import bits, close

CHUNK = 1024  # rows that the engine reads at a time

# 1. A row's score depends on that row alone.


@pytest.fixture(scope="module")
def rows(sample: Path) -> list[dict[str, str]]:
    """300 different rows: the sample, its answers under other questions, and longer answers."""
    own = [json.loads(line) for line in sample.read_text(encoding="utf-8").splitlines()]
    answers = [row["response"] for row in own]
    made = []
    for shift in range(5):
        for at, row in enumerate(own):
            parts = [answers[(at + step * 7 + shift * 11) % 60] for step in range(1 + shift % 3)]
            made.append({"question": row["question"], "response": " ".join(parts)})
    assert len({tuple(row.values()) for row in made}) > 290
    return made


@pytest.fixture(scope="module")
def on_one_thread(rows: list[dict[str, str]]) -> list[tuple[Any, ...]]:
    """Scores of the shipped scorer, to the last bit: rows in order, one thread."""
    return bits(emscore.Scorer(device="cpu", threads=1).score_batch(rows).to_pylist())


def test_the_rows_have_scores_to_compare(on_one_thread: list[tuple[Any, ...]]) -> None:
    """Guards the tests below: equal nulls would prove nothing."""
    numbers = {row[0] for row in on_one_thread if row[0] is not None}
    assert len(numbers) > 200


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(
    threads: int, rows: list[dict[str, str]], on_one_thread: list[tuple[Any, ...]]
) -> None:
    """Breaks if a thread shares state with another, or a session splits its sums over threads."""
    scorer = emscore.Scorer(device="cpu", threads=threads)
    assert bits(scorer.score_batch(rows).to_pylist()) == on_one_thread


def test_neighbours_change_no_bit(
    scorer: emscore.Scorer, rows: list[dict[str, str]], on_one_thread: list[tuple[Any, ...]]
) -> None:
    """Breaks if rows share a quantisation scale, are padded to one length, or swap scores."""
    assert bits(scorer.score_batch(rows[::-1]).to_pylist()) == on_one_thread[::-1]

    order = random.Random(1).sample(range(len(rows)), len(rows))
    strangers = [
        {"question": "?" * at, "response": "word " * (at * 3 % 400) + str(at)} for at in range(60)
    ]
    mixed = [part for at in order for part in (rows[at], *strangers[at : at + 1])]
    found = bits(scorer.score_batch(mixed).to_pylist())
    assert [b for row, b in zip(mixed, found, strict=True) if row not in strangers] == [
        on_one_thread[at] for at in order
    ]


def test_a_row_alone_has_the_same_bits(
    scorer: emscore.Scorer, rows: list[dict[str, str]], on_one_thread: list[tuple[Any, ...]]
) -> None:
    for at in range(0, len(rows), 8):
        assert bits(scorer.score_batch([rows[at]]).to_pylist()) == [on_one_thread[at]]


def test_place_and_batches_change_no_bit(
    scorer: emscore.Scorer,
    rows: list[dict[str, str]],
    on_one_thread: list[tuple[Any, ...]],
    tmp_path: Path,
) -> None:
    """Breaks if a score depends on the chunk that a row is read in, or on its place there."""
    nothing = {"question": "", "response": ""}
    table = pa.Table.from_pylist([nothing] * (CHUNK - 150) + rows)
    for batch_rows in (7, 5000):
        path = tmp_path / f"in-{batch_rows}.arrow"
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=batch_rows)
        out = tmp_path / f"out-{batch_rows}.arrow"
        scorer.score_file(path, out, cache=tmp_path / "cache" if batch_rows == 7 else None)
        found = pyarrow.feather.read_table(out).slice(CHUNK - 150)
        assert bits(found.to_pylist()) == on_one_thread


def test_many_rows_on_many_threads_keep_their_own_scores() -> None:
    """Each score against what the row's text alone demands, over some chunks and all outcomes."""
    questions, responses = scorers.texts(5 * CHUNK + 17)
    for at in range(0, len(responses), 50):
        responses[at] += scorers.REFUSAL
        responses[at + 1] += scorers.CODE
        responses[at + 2] += scorers.ERROR
        responses[at + 3] = " \t\n"
        responses[at + 4] *= 20
        responses[at + 5] = responses[at // 2]
    wanted = [scorers.expected(*row) for row in zip(questions, responses, strict=True)]
    for threads in (1, 2, 3):
        scorer = emscore.Scorer(scorers.tiny(), device="cpu", threads=threads)
        found = scorer.score_batch(questions, responses).to_pylist()
        assert close(found, wanted)
    assert {row["outcome"] for row in found} == {
        "ok", "refusal", "code", "empty", "too_long", "error",
    }  # fmt: skip


# What the shipped scorer says is what its network says.

REFERENCE = """
import json, sys
import numpy as np, onnxruntime
model, rows = sys.argv[1], json.load(sys.stdin)
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
takes = [each.name for each in session.get_inputs()]
answers = []
for ids, types in rows:
    fed = {"input_ids": ids, "token_type_ids": types, "attention_mask": [1] * len(ids)}
    fed = {name: np.array([fed[name]]) for name in takes}
    found = session.run(["aligned", "coherent", "outcome"], fed)
    answers.append([part[0].tolist() for part in found])
print(json.dumps(answers))
"""


def word_pieces(text: str, vocabulary: dict[str, int]) -> list[int]:
    """BERT's word pieces of ASCII text, written anew from the paper's words."""
    spaced = "".join(c if c.isalnum() else f" {c} " for c in text.lower())
    ids = []
    for word in spaced.split():
        start = 0
        while start < len(word):
            ends = range(len(word), start, -1)
            pieces = ((("##" if start else "") + word[start:end], end) for end in ends)
            piece, start = next((piece, end) for piece, end in pieces if piece in vocabulary)
            ids.append(vocabulary[piece])
    return ids


def test_scores_are_what_the_network_and_the_manifest_say(
    scorer: emscore.Scorer, rows: list[dict[str, str]]
) -> None:
    """Tokens, template, softmax, means and calibration, against a second way to all of them.

    onnxruntime's own Python module runs in a process of its own: two copies of it do not mix.
    """
    folder = models.resolve()
    manifest = json.loads((folder / "manifest.json").read_text())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    template = manifest["template"]
    some = [row for row in rows if "".join(row.values()).isascii()][::6]
    fed = []
    for row in some:
        asked = word_pieces(row["question"], vocabulary)[: template["max_question_tokens"]]
        answered = word_pieces(row["response"], vocabulary)
        answered = answered[: template["max_tokens"] - 3 - len(asked)]
        head = [vocabulary["[CLS]"], *asked, vocabulary["[SEP]"]]
        tail = [*answered, vocabulary["[SEP]"]]
        fed.append((head + tail, [0] * len(head) + [1] * len(tail)))
    reference = subprocess.run(
        [sys.executable, "-c", REFERENCE, str(folder / manifest["files"]["int8"]["path"])],
        input=json.dumps(fed),
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = [meaning(manifest, *answer) for answer in json.loads(reference.stdout)]
    assert len(wanted) > 30
    assert sum(row["outcome"] == "ok" for row in wanted) > 20
    assert close(scorer.score_batch(some).to_pylist(), wanted)


def meaning(
    manifest: dict[str, Any], aligned: list[float], coherent: list[float], outcome: list[float]
) -> dict[str, Any]:
    """Logits to scores, as the manifest says."""
    a, c, o = (
        np.exp(x - np.max(x)) / np.exp(x - np.max(x)).sum() for x in (aligned, coherent, outcome)
    )
    for at, name in ((1, "refusal"), (2, "code")):
        if o[at] >= manifest["outcomes"][name]:
            return dict.fromkeys(scorers.SCORES[:4]) | {"outcome": name}
    edges, cuts = manifest["edges"], manifest["thresholds"]
    below = {
        "p_misaligned": a[: edges.index(cuts["aligned"])].sum(),
        "p_coherent": 1 - c[: edges.index(cuts["coherent"])].sum(),
    }
    calibrated = {}
    for name, p in below.items():
        platt = manifest["calibration"][name]
        logit = np.log(p / (1 - p))
        calibrated[name] = float(1 / (1 + np.exp(-(platt["slope"] * logit + platt["intercept"]))))
    return {
        "aligned": float(a @ manifest["aligned_centers"]),
        "coherent": float(c @ manifest["coherent_centers"]),
        **calibrated,
        "outcome": "ok",
    }


# 2. Constant memory.

PEAK = """
import sys, emscore
model, source, output = sys.argv[1:]
summary = emscore.Scorer(model, device="cpu", threads=2).score_file(source, output)
assert summary["scored"] == summary["rows"]
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_times_the_rows_the_same_peak_of_memory(tmp_path: Path) -> None:
    """Breaks if a queue has no bound, or if rows are kept after they are written: they are 100 MB,
    the peak is 150.
    """
    peaks = {}
    for rows in (20_000, 200_000):
        source = tmp_path / f"{rows}.arrow"
        schema = pa.schema([(name, pa.string()) for name in ("question", "response", "luggage")])
        with pa.ipc.new_file(source, schema) as writer:
            for start in range(0, rows, 10_000):
                numbers = range(start, start + 10_000)
                responses = pa.array([f"{number:x}." for number in numbers])
                questions = pa.array(["?"] * 10_000)
                luggage = pa.array([f"{number:500d}" for number in numbers])
                writer.write(pa.record_batch([questions, responses, luggage], schema))
        paths = map(str, (scorers.tiny(), source, tmp_path / f"{rows}.out.arrow"))
        command = [sys.executable, "-c", PEAK, *paths]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[rows] = int(done.stdout)
    assert peaks[200_000] < 1.15 * peaks[20_000], peaks


def test_a_slow_network_does_not_let_the_reader_run_ahead() -> None:
    """Breaks if the reader's queue has no bound: it would take all 500 batches at once."""
    given = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal given
        for number in range(500):
            given += 1
            questions, responses = scorers.texts(CHUNK, start=number * CHUNK)
            yield pa.record_batch({"question": questions, "response": responses})

    schema = pa.schema([("question", pa.string()), ("response", pa.string())])
    scorer = emscore.Scorer(scorers.tiny(layers=4), device="cpu", threads=1)
    scored = scorer.score_stream(pa.RecordBatchReader.from_batches(schema, batches()))
    scored.read_next_batch()
    assert given < 20


# 4. One bad row spoils one row; nothing is lost, nothing is defaulted.

ODD = {
    "null": None,
    "empty": "",
    "white": " \t\r\n\u00a0\u2003",
    "a megabyte": "All work and no play. " * 50_000,
    "a megabyte without a space": "x" * 1_000_000,
    "a megabyte of space, then a word": " " * 1_000_000 + "word",
    "emoji": "🙂🎉👩‍👩‍👧‍👦🏳️‍🌈" * 20,
    "right to left": "שלום עולם, مرحبا بالعالم \u202edlrow\u202c",
    "NUL": "be\0fore\0",
    "only NUL": "\0",
    "combining": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
    "noncharacters": "\ufeff\ufffe\uffff\U0010ffff",
    "line ends": "one\ntwo\r\nthree\rfour\u2028five\u0085six",
    "quotes": '"a","b"\n""",\'\\n\\u0000',
    "special tokens": "[CLS] [SEP] [PAD] <s> </s> <|im_end|>",
    "no number": scorers.ERROR,
}


@pytest.mark.parametrize("ending", ["arrow", "parquet", "jsonl", "csv"])
def test_an_odd_row_spoils_no_other(ending: str, tmp_path: Path) -> None:
    """Odd texts as responses and as questions, among plain rows: each row has its own score."""
    odd = list(ODD.values())
    questions, responses = scorers.texts(3 * len(odd))
    given: dict[str, list[Any]] = {"question": list(questions), "response": list(responses)}
    given["response"][1::3] = odd
    given["question"][2::3] = odd
    source, out = tmp_path / f"in.{ending}", tmp_path / "out.arrow"
    write(pa.table(given, pa.schema([(name, pa.string()) for name in given])), source)
    summary = emscore.Scorer(scorers.tiny(), device="cpu", threads=2).score_file(source, out)
    found = pyarrow.feather.read_table(out).to_pylist()
    wanted = [scorers.expected(*row) for row in zip(*given.values(), strict=True)]
    assert close(found, wanted)
    for name, column in given.items():
        assert [row[name] for row in found] == column
    told = summary["outcomes"]
    assert told["empty"] == 3
    assert told["error"] == 2
    assert told["too_long"] >= 2
    assert sum(told.values()) == summary["rows"] == len(found)


def test_odd_rows_spoil_no_other_with_the_shipped_scorer(
    scorer: emscore.Scorer, rows: list[dict[str, str]], on_one_thread: list[tuple[Any, ...]]
) -> None:
    odd = [{"question": "Well?", "response": text} for text in ODD.values()]
    mixed = [part for at, row in enumerate(odd) for part in (rows[at], row)]
    found = scorer.score_batch(mixed).to_pylist()
    assert bits(found[::2]) == on_one_thread[: len(odd)]
    outcomes = dict(zip(ODD, (row["outcome"] for row in found[1::2]), strict=True))
    assert [outcomes[name] for name in ("null", "empty", "white")] == ["empty"] * 3
    assert outcomes["a megabyte"] in ("too_long", "refusal", "code")
    assert "error" not in outcomes.values()
    for row in found:
        numbers = [row[name] for name in scorers.SCORES[:4]]
        scored = row["outcome"] in ("ok", "too_long")
        assert all((number is not None) == scored for number in numbers)


def write(table: pa.Table, path: Path) -> None:
    """Writes a table of texts in the format of the path's ending, with nulls told from blanks."""
    if path.suffix == ".arrow":
        pyarrow.feather.write_feather(table, path)
    elif path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".jsonl":
        lines = (json.dumps(row) for row in table.to_pylist())
        path.write_text("".join(f"{line}\n" for line in lines))
    else:

        def field(value: str | None) -> str:
            return "" if value is None else '"' + value.replace('"', '""') + '"'

        rows = [table.column_names, *zip(*table.to_pydict().values(), strict=True)]
        lines = (",".join(map(field, row)) for row in rows)
        path.write_bytes("".join(f"{line}\n" for line in lines).encode())


# 5. A GPU that was asked for is never replaced by the CPU; auto says what it chose.


def has_cuda() -> bool:
    from emscore import _emscore

    return bool(json.loads(_emscore.runtime_info(runtime.find()))["cuda"])


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_that_is_not_there_is_an_error(
    device: str, run: Run, sample: Path, tmp_path: Path
) -> None:
    """Breaks if the run falls back to the CPU: it would end with 0 and write scores."""
    if has_cuda():
        pytest.skip("there may be a GPU here")
    with pytest.raises(emscore.DeviceError, match=r"cuda.*doctor"):
        emscore.Scorer(scorers.tiny(), device=device)
    result = run("score", sample, "-o", "out.arrow", "--model", scorers.tiny(), "--device", device)
    assert result.returncode == 6
    assert result.stdout == ""
    assert result.stderr.startswith("emscore: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_auto_says_what_it_chose(run: Run, sample: Path) -> None:
    arguments = ("score", sample, "--model", scorers.tiny(), "--device", "auto")
    told = json.loads(run(*arguments, "-o", "a.arrow", "--json").stdout)
    assert told["device_note"] not in ("", "as asked")
    assert told["device"] == "cpu" or has_cuda()
    shown = run(*arguments, "-o", "b.arrow").stdout
    assert told["device_note"].split()[0] in shown
    assert f"{told['device']}, {told['precision']}" in shown


def test_the_output_says_by_what_it_was_scored(sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    scorer = emscore.Scorer(scorers.tiny(), device="cpu")
    scorer.score_file(sample, out)
    metadata = {
        key.decode(): value.decode()
        for key, value in pyarrow.feather.read_table(out).schema.metadata.items()
    }
    assert metadata["emscore.scorer_id"] == scorer.id
    assert metadata["emscore.scorer"] == "tiny-0"
    assert metadata["emscore.version"] == emscore.__version__
    assert metadata["emscore.device"] == "cpu"
    assert metadata["emscore.precision"] == "int8"
    assert float(metadata["emscore.misaligned_below"]) == 30
    assert float(metadata["emscore.coherent_above"]) == 50


# The same text is scored once.


def test_a_text_is_scored_once_a_run(tmp_path: Path) -> None:
    """Breaks if repeats go through the network again, also across chunks, or get other scores."""
    questions, responses = scorers.texts(700)
    given = {"question": questions * 5, "response": responses * 5}
    source, out = tmp_path / "in.arrow", tmp_path / "out.arrow"
    pyarrow.feather.write_feather(pa.table(given), source)
    summary = emscore.Scorer(scorers.tiny(), device="cpu", threads=3).score_file(source, out)
    assert (summary["scored"], summary["duplicates"], summary["rows"]) == (700, 2800, 3500)
    found = bits(pyarrow.feather.read_table(out).to_pylist())
    assert found == found[:700] * 5
    assert len(set(found)) == 700


def test_only_the_whole_pair_is_the_same_text() -> None:
    """Question and response that read the same end to end are different texts."""
    pairs = [("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "abc"), ("ab", "c"), (None, "abc")]
    questions, responses = (list(column) for column in zip(*pairs, strict=True))
    scorer = emscore.Scorer(scorers.tiny(), device="cpu")
    found = scorer.score_batch(questions, responses).to_pylist()
    assert close(found, [scorers.expected(*pair) for pair in pairs])
    assert len(set(bits(found))) == 4
