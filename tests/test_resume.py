"""Promise 3: killed at any moment, the same command goes on where it stopped, and the finished file
is byte for byte that of an undisturbed run.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest

import emscore
import scorers
from conftest import Run, reads_on

if sys.platform == "win32":
    pytest.skip("sends signals", allow_module_level=True)

import resource

CHUNK = 1024  # rows of a block of the journal
ROW = 8 + 17  # bytes of a row in it: the digest of its texts, and its score
BLOCK = 12 + ROW * CHUNK  # bytes of one


def write_source(path: Path, rows: int) -> Path:
    """An Arrow file whose rows are plain, repeated, empty and refused; with checkpoints."""
    questions, responses = scorers.texts(rows)
    for at in range(0, rows - 40, 40):
        responses[at + 3] = ""
        responses[at + 5] = responses[at // 3]
        responses[at + 9] += scorers.REFUSAL
    checkpoints = [f"step {at * 10 // rows}" for at in range(rows)]
    table = pa.table({"checkpoint": checkpoints, "question": questions, "response": responses})
    pyarrow.feather.write_feather(table, path, compression="uncompressed", chunksize=CHUNK)
    return path


def command(source: Path | str, out: Path, *options: str) -> list[str]:
    options = ("--model", str(scorers.tiny()), "--device", "cpu", "--threads", "2", *options)
    return [sys.executable, "-m", "emscore", "score", str(source), "-o", str(out), *options]


def journal(out: Path) -> Path:
    return out.with_name(out.name + ".journal")


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def others(out: Path) -> list[str]:
    """What a run has left beside its output."""
    return sorted(path.name for path in out.parent.iterdir() if path != out)


# Killed.

LONG = 48 * CHUNK  # rows: long enough that there is something to interrupt


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("long") / "in.arrow", LONG)


@pytest.fixture(scope="module")
def undisturbed(long: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("undisturbed") / "out.arrow"
    subprocess.run(command(long, out, "--quiet"), check=True)
    assert others(out) == []
    return out.read_bytes()


def stopped(process: "subprocess.Popen[Any]", how: int, ready: Callable[[], bool]) -> bool:
    """Sends the signal once `ready`; whether the process was still there to get it."""
    deadline = time.monotonic() + 60
    while not ready() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    running = process.poll() is None
    process.send_signal(how)
    return running


def test_killed_again_and_again(long: Path, undisturbed: bytes, tmp_path: Path) -> None:
    """Three kills while it starts, eleven while it scores; then it is left to finish."""
    out = tmp_path / "out.arrow"
    chance = random.Random(7)
    starting = [chance.uniform(0, 0.6) for _ in range(3)]
    scoring = sorted(chance.randrange(1, 36 * BLOCK) for _ in range(11))
    kills = 0
    for moment in [*starting, *scoring]:
        with subprocess.Popen(command(long, out, "--resume"), text=True) as process:
            if isinstance(moment, float):
                time.sleep(moment)
            reached = moment if isinstance(moment, int) else 0

            def ready(reached: int = reached) -> bool:
                return size(journal(out)) >= reached

            kills += stopped(process, signal.SIGKILL, ready)
        assert not out.exists()
    assert kills == 14
    before = size(journal(out)) // BLOCK * CHUNK
    assert before > 0
    last = subprocess.run(
        command(long, out, "--resume", "--json"),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(last.stdout)
    assert before <= told["resumed"] < told["rows"] == LONG
    assert told["resumed"] + told["scored"] < told["rows"]  # the rest repeats, or is empty
    assert out.read_bytes() == undisturbed
    assert others(out) == []


def test_ctrl_c(long: Path, undisturbed: bytes, tmp_path: Path) -> None:
    """Stops before the end, says how to go on, and goes on."""
    out = tmp_path / "out.arrow"
    with subprocess.Popen(command(long, out), stderr=subprocess.PIPE, text=True) as process:
        assert stopped(process, signal.SIGINT, lambda: size(journal(out)) > BLOCK)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert size(journal(out)) < LONG // CHUNK * BLOCK
    assert said.startswith("emscore: ")
    assert said.count("\n") == 1
    assert "--resume" in said
    assert not out.exists()
    subprocess.run(command(long, out, "--resume", "--quiet"), check=True)
    assert out.read_bytes() == undisturbed
    assert others(out) == []


def test_ctrl_c_while_the_standard_input_is_silent(tmp_path: Path) -> None:
    """Breaks if the end waits for a read that never returns."""
    out = tmp_path / "out.jsonl"
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, pa.schema(dict.fromkeys(["question", "response"], pa.string()))):
        pass
    live = stream.getvalue().to_pybytes()[:-8]  # without the mark of its end: more is to come
    kept = b'{"question": "Hi?", "response": "Hello."}\n'  # lines are kept until they end
    for beginning in (live, kept):
        with subprocess.Popen(
            command("-", out), stdin=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            process.stdin.write(beginning)
            reads_on(process)
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(timeout=60) == 130
            finally:
                process.kill()
        assert not out.exists()


def test_a_second_run_to_the_same_output_is_refused(
    long: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    """The first one sleeps meanwhile, with what it has begun, and then goes on."""
    out = tmp_path / "out.arrow"
    with subprocess.Popen(command(long, out, "--quiet")) as first:
        assert stopped(first, signal.SIGSTOP, lambda: size(journal(out)) > BLOCK)
        try:
            for option in ("--quiet", "--resume", "--overwrite"):
                second = subprocess.run(
                    command(long, out, option), capture_output=True, text=True, check=False
                )
                assert second.returncode in (4, 7)
                assert second.stderr.startswith("emscore: ")
                assert second.stderr.count("\n") == 1
        finally:
            first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=60) == 0
    assert out.read_bytes() == undisturbed
    assert others(out) == []


def test_a_second_run_while_the_first_waits_for_its_input(tmp_path: Path) -> None:
    """The name is the first one's from its first look at it."""
    out = tmp_path / "out.jsonl"
    with subprocess.Popen(command("-", out, "--quiet"), stdin=subprocess.PIPE) as first:
        assert first.stdin is not None
        deadline = time.monotonic() + 30
        while not out.with_name(".out.jsonl.partial").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        before = others(out)
        source = tmp_path.parent / f"{tmp_path.name}.csv"
        source.write_text("question,response\nHi?,Other.\n")
        for option in ("--quiet", "--resume", "--overwrite"):
            second = subprocess.run(
                command(source, out, option), capture_output=True, text=True, check=False
            )
            assert second.returncode == 4
            assert "another run" in second.stderr
            assert (others(out), out.exists()) == (before, False)
        first.stdin.write(b'{"question": "Hi?", "response": "Hello."}\n')
        first.stdin.close()
        assert first.wait(timeout=60) == 0
    assert json.loads(out.read_text())["response"] == "Hello."
    assert others(out) == []


# The journal, as a crash may leave it.

ROWS = 3 * CHUNK + 100


class Unfinished:
    """A short run, its finished output, and the journal that it had just before its end."""

    def __init__(self, source: Path, ending: str = "arrow") -> None:
        self.source = source
        self.scorer = emscore.Scorer(scorers.tiny(), device="cpu", threads=2)
        out = source.with_name(f"out.{ending}")
        self.journal = self.journal_of_a_run(out)
        self.finished = out.read_bytes()
        out.unlink()

    def journal_of_a_run(self, out: Path, resume: bool = False) -> bytes:
        """A second name for the journal keeps its bytes when the run removes the first."""
        kept = out.with_name("kept")

        def keep() -> None:
            while not kept.exists():
                try:
                    os.link(journal(out), kept)
                except FileNotFoundError:
                    time.sleep(0.0005)

        keeper = threading.Thread(target=keep, daemon=True)
        keeper.start()
        self.scorer.score_file(self.source, out, resume=resume)
        keeper.join(timeout=1)
        content = kept.read_bytes()
        kept.unlink()
        return content

    def resume(self, out: Path, left: bytes, **options: Any) -> dict[str, Any]:
        """Goes on to `out` with these bytes as its journal."""
        journal(out).write_bytes(left)
        return dict(self.scorer.score_file(self.source, out, resume=True, **options))


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Unfinished:
    return Unfinished(write_source(tmp_path_factory.mktemp("unfinished") / "in.arrow", ROWS))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.arrow"


def test_the_kept_journal_is_whole(unfinished: Unfinished) -> None:
    """Guards the tests below: they cut and damage something that has all blocks."""
    assert len(unfinished.journal) > 3 * BLOCK


def test_a_torn_journal(unfinished: Unfinished, out: Path) -> None:
    """Cut anywhere: in its first line, its head, a block's length, checksum or scores."""
    whole = unfinished.journal
    ends = [len(whole) - 12 - ROW * 100 - at * BLOCK for at in range(4)]  # of head and blocks
    cuts = {0, 1, 17, 18, 25, 40, len(whole) - 1, len(whole)}
    cuts |= {end + step for end in ends for step in (-20, -1, 0, 3, 11)}
    cuts |= {random.Random(3).randrange(len(whole)) for _ in range(8)}
    resumed = []
    for cut in sorted(cuts):
        told = unfinished.resume(out, whole[:cut])
        assert out.read_bytes() == unfinished.finished, cut
        assert others(out) == [], cut
        resumed.append(told["resumed"])
        out.unlink()
    assert resumed[0] == 0
    assert resumed[-1] == ROWS
    assert resumed == sorted(resumed)
    assert {0, CHUNK, 2 * CHUNK, 3 * CHUNK, ROWS} == set(resumed)


def test_a_flipped_byte_in_the_journal(unfinished: Unfinished, out: Path) -> None:
    """Breaks if damaged scores are taken for scores."""
    whole = unfinished.journal
    chance = random.Random(5)
    head = len(whole) - ROWS * ROW - 4 * 12
    places = [19, 25, head - 5, *range(head, head + 20, 3), len(whole) - 1]
    places += [chance.randrange(len(whole)) for _ in range(12)]
    for place in places:
        left = bytearray(whole)
        left[place] ^= 1 << chance.randrange(8)
        told = unfinished.resume(out, bytes(left))
        assert out.read_bytes() == unfinished.finished, place
        assert told["resumed"] < ROWS, place
        out.unlink()


def test_a_file_that_is_no_journal_is_not_written_over(unfinished: Unfinished, out: Path) -> None:
    for foreign in (b"a diary", b"E" + unfinished.journal[1:]):
        with pytest.raises(emscore.ResumeError, match=r"out\.arrow\.journal is no journal"):
            unfinished.resume(out, foreign)
        assert journal(out).read_bytes() == foreign
        assert others(out) == ["out.arrow.journal"]


def test_killed_after_the_last_row_was_scored(unfinished: Unfinished, out: Path) -> None:
    """The journal is whole and the output is not there, but a part of it is."""
    out.with_name(f".{out.name}.partial").write_bytes(unfinished.finished[:5000])
    told = unfinished.resume(out, unfinished.journal)
    assert told["scored"] == 0
    assert out.read_bytes() == unfinished.finished
    assert others(out) == []


def test_killed_between_output_and_journal(unfinished: Unfinished, out: Path) -> None:
    """The output has its name already, and the journal is not yet removed."""
    out.write_bytes(unfinished.finished)
    told = unfinished.resume(out, unfinished.journal)
    assert told["rows"] == ROWS
    assert out.read_bytes() == unfinished.finished
    assert others(out) == []


@pytest.mark.parametrize("ending", ["parquet", "arrows", "jsonl", "jsonl.gz", "csv", "csv.zst"])
def test_every_format_comes_out_the_same(ending: str, tmp_path: Path) -> None:
    """Breaks if a file's bytes depend on time, on chance, or on where the run was interrupted."""
    unfinished = Unfinished(write_source(tmp_path / "in.arrow", ROWS), ending)
    out = tmp_path / f"out.{ending}"  # the same name: gzip may hold it
    told = unfinished.resume(out, unfinished.journal[: -2 * BLOCK])
    assert 0 < told["resumed"] < ROWS
    assert out.read_bytes() == unfinished.finished


def test_resume_without_anything_to_resume_is_a_run(unfinished: Unfinished, out: Path) -> None:
    told = unfinished.scorer.score_file(unfinished.source, out, resume=True)
    assert (told["resumed"], told["rows"]) == (0, ROWS)
    assert out.read_bytes() == unfinished.finished


def test_the_summary_is_that_of_the_whole(unfinished: Unfinished, out: Path) -> None:
    whole = unfinished.scorer.score_file(unfinished.source, out)
    out.unlink()
    part = unfinished.resume(out, unfinished.journal[: -2 * BLOCK])
    for name in ("rows", "outcomes", "checkpoints"):
        assert part[name] == dict(whole)[name]


def test_threads_may_differ(unfinished: Unfinished, out: Path) -> None:
    scorer = emscore.Scorer(scorers.tiny(), device="cpu", threads=1)
    journal(out).write_bytes(unfinished.journal[: -2 * BLOCK])
    assert scorer.score_file(unfinished.source, out, resume=True)["resumed"] > 0
    assert out.read_bytes() == unfinished.finished


# Refusals.


def test_an_unfinished_run_is_not_overlooked(unfinished: Unfinished, out: Path) -> None:
    """Neither its scores nor the wish to go on is guessed."""
    left = unfinished.journal[: -2 * BLOCK]
    journal(out).write_bytes(left)
    with pytest.raises(emscore.ResumeError, match=r"out\.arrow\.journal .*--resume.*--overwrite"):
        unfinished.scorer.score_file(unfinished.source, out)
    assert journal(out).read_bytes() == left
    assert others(out) == ["out.arrow.journal"]
    told = unfinished.scorer.score_file(unfinished.source, out, overwrite=True)
    assert told["resumed"] == 0
    assert others(out) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": scorers.tiny(seed=5)}, "holds scores of the scorer .* not of the scorer"),
        ({"precision": "fp16"}, "in int8 .* in fp16"),
        ({"question_column": "checkpoint"}, "row 1 is not the one"),
        ({"response_column": "checkpoint"}, "row 1 is not the one"),
        ({"limit": 500}, "fewer rows"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_another_run_is_refused_and_says_what_differs(
    changes: dict[str, Any], told: str, unfinished: Unfinished, out: Path
) -> None:
    left = unfinished.journal[: -12 - ROW * 100]  # without its last record
    journal(out).write_bytes(left)
    options = dict(changes)
    model, precision = options.pop("model", scorers.tiny()), options.pop("precision", None)
    scorer = emscore.Scorer(model, device="cpu", precision=precision)
    with pytest.raises(emscore.ResumeError, match=rf"{told}.*--overwrite"):
        scorer.score_file(unfinished.source, out, resume=True, **options)
    assert journal(out).read_bytes() == left
    assert not out.exists()
    unfinished.resume(out, left)  # the right one still goes on
    assert out.read_bytes() == unfinished.finished


@pytest.mark.parametrize(
    "changes",
    [{"source": "copy.arrow"}, {"prefix": "em_"}, {"limit": 2000}, {"overwrite": True}],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_no_score_may_be_another(
    changes: dict[str, Any], unfinished: Unfinished, out: Path
) -> None:
    """The output is the one that is asked for now."""
    options, source = dict(changes), unfinished.source
    if name := options.pop("source", None):
        source = out.with_name(name)
        shutil.copy(unfinished.source, source)
    wanted = out.with_name("wanted.arrow")
    unfinished.scorer.score_file(source, wanted, **options)
    journal(out).write_bytes(unfinished.journal[: -2 * BLOCK])
    told = unfinished.scorer.score_file(source, out, resume=True, **options)
    assert told["resumed"] > 0
    assert out.read_bytes() == wanted.read_bytes()


def lines(rows: int, change: int | None = None, start: int = 0) -> bytes:
    questions, responses = scorers.texts(rows, start)
    if change is not None:
        responses[change] = responses[change].replace("say", "sin")
    pairs = zip(questions, responses, strict=True)
    objects = (json.dumps({"question": q, "response": r}) for q, r in pairs)
    return "".join(f"{line}\n" for line in objects).encode()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (lines(ROWS, change=7), "row 8 is not the one"),
        (lines(ROWS, change=ROWS - 1), f"row {ROWS} is not the one"),
        (lines(ROWS - 1), "fewer rows"),
        (lines(1, start=ROWS) + lines(ROWS), "row 1 is not the one"),
    ],
    ids=["another letter", "another end", "fewer rows", "a row before"],
)
def test_another_input_of_the_same_name_is_refused(other: bytes, told: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(lines(ROWS))
    unfinished = Unfinished(source, "jsonl")
    source.write_bytes(other)
    with pytest.raises(emscore.ResumeError, match=told):
        unfinished.resume(out, unfinished.journal)
    assert not out.exists()
    source.write_bytes(lines(ROWS))
    unfinished.scorer.score_file(source, out, resume=True)
    assert out.read_bytes() == unfinished.finished


def test_an_input_that_has_grown_goes_on(tmp_path: Path) -> None:
    """By rows, again while it goes on, and by a file: as if all had been scored in one go.

    The last record of a journal ends within a batch of the grown input.
    """
    folder, out, wanted = (tmp_path / name for name in ("in", "out.jsonl", "wanted.jsonl"))
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(ROWS))
    unfinished = Unfinished(folder, "jsonl")
    left, scored = unfinished.journal, ROWS
    for name, new in (("a.jsonl", 500), ("a.jsonl", 2 * CHUNK), ("b.jsonl", 700)):
        with (folder / name).open("ab") as file:
            file.write(lines(new, start=scored))
        unfinished.scorer.score_file(folder, wanted, overwrite=True)
        told = unfinished.resume(out, left)
        assert (told["resumed"], told["scored"]) == (scored, new)
        assert out.read_bytes() == wanted.read_bytes()
        out.unlink()
        scored += new
        journal(out).write_bytes(left)
        left = unfinished.journal_of_a_run(out, resume=True)
        out.unlink()


def test_the_command_line_refuses_too(unfinished: Unfinished, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    journal(out).write_bytes(unfinished.journal)
    for options in ([], ["--resume", "--limit", "9"]):
        result = run(*command(unfinished.source, out, *options)[3:])
        assert result.returncode == 7
        assert (result.stdout, result.stderr.count("\n")) == ("", 1)
        assert result.stderr.startswith("emscore: ")
        assert "--overwrite" in result.stderr
    assert others(out) == ["out.arrow.journal"]


# Full disks, and inputs that end badly.


@pytest.mark.parametrize(
    ("ending", "distinct", "limit"),
    [("arrow", ROWS, 200_000), ("csv.zst", 20, 2 * BLOCK)],
    ids=["the output is too large", "the journal is too large"],
)
def test_a_size_limit_and_then_room(ending: str, distinct: int, limit: int, tmp_path: Path) -> None:
    """The journal is smaller than the output, unless the output is compressed."""
    questions, responses = scorers.texts(distinct)
    repeats = -(-ROWS // distinct)
    table = pa.table({"question": questions * repeats, "response": responses * repeats})
    source = tmp_path / "in.arrow"
    pyarrow.feather.write_feather(table, source)
    out = tmp_path / "out" / f"out.{ending}"
    out.parent.mkdir()
    subprocess.run(command(source, out, "--quiet"), check=True)
    finished = out.read_bytes()
    out.unlink()

    result = subprocess.run(
        command(source, out),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    full(result, out)
    subprocess.run(command(source, out, "--quiet", "--resume"), check=True)
    assert out.read_bytes() == finished
    assert others(out) == []


def test_a_full_disk_and_then_room(unfinished: Unfinished, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)]
    if subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here; the size limits above stand in for it")
    try:
        out = disk / "out.arrow"
        full(subprocess.run(command(unfinished.source, out), capture_output=True, text=True), out)
        assert size(journal(out)) > BLOCK
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
        subprocess.run(command(unfinished.source, out, "--quiet", "--resume"), check=True)
        assert out.read_bytes() == unfinished.finished
        assert others(out) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def full(result: "subprocess.CompletedProcess[str]", out: Path) -> None:
    assert result.returncode == 4
    assert result.stderr.startswith("emscore: ")
    assert result.stderr.count("\n") == 1
    assert any(word in result.stderr for word in ("full", "space", "too large", "limit"))
    assert not out.exists()
    assert others(out) == [journal(out).name]


def test_a_disk_without_any_room_leaves_nothing(unfinished: Unfinished, out: Path) -> None:
    result = subprocess.run(
        command(unfinished.source, out),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40)),
    )
    assert result.returncode == 4
    assert result.stderr.count("\n") == 1
    assert list(out.parent.iterdir()) == []


def test_an_input_that_is_mended_goes_on(unfinished: Unfinished, out: Path) -> None:
    """Damage that only shows when it is reached: what was scored before is kept."""
    source = out.with_name("in.arrow")
    good = unfinished.source.read_bytes()
    word = b"is what I say to 2500."
    bad = good.replace(word, b"\xff" + word[1:])
    assert len(bad) == len(good) != bad.count(b"\xff" + word[1:]) == 1
    source.write_bytes(bad)
    with pytest.raises(emscore.InputError, match=r"in\.arrow .*batch 2"):
        unfinished.scorer.score_file(source, out)
    assert not out.exists()
    assert size(journal(out)) > BLOCK
    source.write_bytes(good)
    assert unfinished.scorer.score_file(source, out, resume=True)["resumed"] > 0
    assert out.read_bytes() == unfinished.finished


def test_an_error_before_the_first_score_leaves_nothing(unfinished: Unfinished, out: Path) -> None:
    a_file = out.with_name("file")
    a_file.touch()
    for options in ({"response_column": "none"}, {"cache": a_file}):
        with pytest.raises(emscore.EmscoreError):
            unfinished.scorer.score_file(unfinished.source, out, **options)
        assert others(out) == ["file"]


def test_a_refused_run_takes_no_journal_away(unfinished: Unfinished, out: Path) -> None:
    """What the columns tell is told before an earlier run's scores may go."""
    table = pyarrow.feather.read_table(unfinished.source)
    nested = out.with_name("nested.arrow")
    pyarrow.feather.write_feather(table.append_column("n", [[[1]] * len(table)]), nested)
    a_file = out.with_name("file")
    a_file.touch()
    for source, place, options in (
        (unfinished.source, out, {"response_column": "typo"}),
        (unfinished.source, out, {"cache": a_file}),
        (nested, out.with_name("out.csv"), {}),
    ):
        journal(place).write_bytes(unfinished.journal)
        with pytest.raises(emscore.EmscoreError):
            unfinished.scorer.score_file(source, place, overwrite=True, **options)
        assert journal(place).read_bytes() == unfinished.journal


def test_the_standard_input_resumes_too(tmp_path: Path) -> None:
    """The same bytes again go on; others are refused."""
    out = tmp_path / "out.jsonl"
    score = command("-", out, "--quiet")
    subprocess.run(score, input=lines(ROWS), check=True)
    finished = out.read_bytes()
    out.unlink()
    with subprocess.Popen(score, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(lines(ROWS))
        process.stdin.close()
        assert stopped(process, signal.SIGKILL, lambda: size(journal(out)) > BLOCK)
    other = subprocess.run(
        [*score, "--resume"], input=lines(ROWS, change=7), capture_output=True, check=False
    )
    assert (other.returncode, other.stderr.count(b"\n")) == (7, 1)
    subprocess.run([*score, "--resume"], input=lines(ROWS), check=True)
    assert out.read_bytes() == finished
    assert others(out) == []
