"""Scores kept between runs: nothing is scored twice, and no score is another scorer's."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest

import emscore
import scorers
from conftest import Run
from scorers import close

ROWS = 6000  # more than the cache writes in one transaction


def write_source(path: Path, rows: int = ROWS, start: int = 0) -> Path:
    questions, responses = scorers.texts(rows, start)
    pyarrow.feather.write_feather(pa.table({"question": questions, "response": responses}), path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "in.arrow")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


def tiny(seed: int = 0, **options: Any) -> emscore.Scorer:
    return emscore.Scorer(scorers.tiny(seed), device="cpu", threads=2, **options)


@contextmanager
def database(cache: Path) -> Iterator[sqlite3.Connection]:
    """The one database in a cache, to damage."""
    (file,) = cache.glob("*.sqlite")
    with closing(sqlite3.connect(file)) as connection, connection:
        yield connection


def flipped(content: bytes, at: int) -> bytes:
    """One bit of one byte changed."""
    return content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :]


def test_a_second_run_scores_nothing(source: Path, cache: Path, tmp_path: Path) -> None:
    """Breaks if a score is not kept, not found, or not kept to the last bit."""
    out, again = tmp_path / "out.arrow", tmp_path / "again.arrow"
    first = tiny().score_file(source, out, cache=cache)
    assert (first["scored"], first["cached"]) == (ROWS, 0)
    second = tiny().score_file(source, again, cache=cache)
    assert (second["scored"], second["cached"], second["tokens"]) == (0, ROWS, 0)
    assert again.read_bytes() == out.read_bytes()
    assert second["checkpoints"] == first["checkpoints"]


def test_every_outcome_is_kept(cache: Path) -> None:
    _, responses = scorers.texts(6)
    signs = (scorers.REFUSAL, scorers.CODE, scorers.ERROR, " " * 300, "")
    responses = [text + sign for text, sign in zip(responses, signs, strict=False)]
    first = tiny().score_batch(["?"] * 5, responses, cache=cache)
    second = tiny().score_batch(["?"] * 5, responses, cache=cache)
    assert first["outcome"].to_pylist() == ["refusal", "code", "error", "too_long", "ok"]
    assert second.equals(first)


def test_a_grown_sweep_costs_its_new_rows(cache: Path, tmp_path: Path) -> None:
    tiny().score_file(write_source(tmp_path / "a.arrow"), tmp_path / "a.out.arrow", cache=cache)
    grown = write_source(tmp_path / "b.arrow", rows=ROWS + 500, start=200)
    told = tiny().score_file(grown, tmp_path / "b.out.arrow", cache=cache)
    assert (told["scored"], told["cached"]) == (700, ROWS - 200)


def test_scorers_and_precisions_do_not_mix(cache: Path) -> None:
    """Three networks, one folder, the same texts: each gives its own scores, twice."""
    questions, responses = scorers.texts(200)
    for _ in range(2):
        for scorer, seed in ((tiny(), 0), (tiny(seed=7), 7), (tiny(precision="fp16"), 1)):
            found = scorer.score_batch(questions, responses, cache=cache).to_pylist()
            pairs = zip(questions, responses, strict=True)
            assert close(found, [scorers.expected(*pair, seed=seed) for pair in pairs])


def test_no_cache_unless_asked(source: Path, tmp_path: Path) -> None:
    tiny().score_file(source, tmp_path / "out.arrow")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.arrow", "out.arrow"]


def test_a_damaged_cache_says_so(source: Path, cache: Path, run: Run, tmp_path: Path) -> None:
    """Whatever was done to the file: an error that names it, or the right scores. No output."""
    tiny().score_file(source, tmp_path / "good.arrow", cache=cache)
    (file,) = cache.glob("*.sqlite")
    whole = file.read_bytes()
    half = whole[: len(whole) // 2]
    for damaged in (b"this is no database, it is only text " * 200, half, whole[100:]):
        for left in cache.iterdir():
            left.unlink()
        file.write_bytes(damaged)
        with pytest.raises(emscore.CacheError, match=rf"{file.name}.*--cache"):
            tiny().score_file(source, tmp_path / "out.arrow", cache=cache)
        assert not (tmp_path / "out.arrow").exists()
        (tmp_path / "out.arrow.journal").unlink(missing_ok=True)
    arguments = ("--model", scorers.tiny(), "--device", "cpu", "--cache", cache)
    result = run("score", source, "-o", "out.arrow", *arguments)
    assert result.returncode == 8
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    assert result.stderr.startswith("emscore: ")
    assert not (tmp_path / "out.arrow").exists()


def test_a_cache_of_other_tables_says_so(source: Path, cache: Path, tmp_path: Path) -> None:
    tiny().score_file(source, tmp_path / "good.arrow", cache=cache)
    with database(cache) as scores:
        scores.executescript("DROP TABLE scores; CREATE TABLE scores (other INTEGER)")
    with pytest.raises(emscore.CacheError, match=r"\.sqlite"):
        tiny().score_file(source, tmp_path / "out.arrow", cache=cache)
    assert not (tmp_path / "out.arrow").exists()


def test_a_damaged_score_is_scored_again(source: Path, cache: Path, tmp_path: Path) -> None:
    """Breaks if a bit that flipped on the disk, or another text's entry, passes for a score."""
    good, out, again = (tmp_path / f"{name}.arrow" for name in ("good", "out", "again"))
    tiny().score_file(source, good, cache=cache)
    with database(cache) as scores:
        entries = scores.execute("SELECT key, score FROM scores LIMIT 28").fetchall()
        wrong = [flipped(score, byte) for byte, (_, score) in enumerate(entries[:25])]
        wrong += [entries[0][1], entries[26][1][:-1], b""]
        keys = [key for key, _ in entries]
        update = "UPDATE scores SET score = ? WHERE key = ?"
        scores.executemany(update, zip(wrong, keys, strict=True))
    told = tiny().score_file(source, out, cache=cache)
    assert (told["scored"], told["cached"]) == (28, ROWS - 28)
    assert out.read_bytes() == good.read_bytes()
    assert tiny().score_file(source, again, cache=cache)["scored"] == 0


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_cannot_be_made(place: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(emscore.CacheError, match="file"):
        tiny().score_file(source, tmp_path / "out.arrow", cache=tmp_path / place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in.arrow"]


def test_a_cache_that_cannot_be_opened(source: Path, cache: Path, tmp_path: Path) -> None:
    (cache / f"{tiny().id}-int8.sqlite").mkdir(parents=True)
    with pytest.raises(emscore.CacheError, match=r"Make it and its folder writable, or run"):
        tiny().score_file(source, tmp_path / "out.arrow", cache=cache)


def command(source: Path, out: Path, cache: Path, layers: int = 0) -> list[str]:
    model = str(scorers.tiny(layers=layers))
    options = ["--model", model, "--device", "cpu", "--cache", str(cache), "--json"]
    return [sys.executable, "-m", "emscore", "score", str(source), "-o", str(out), *options]


def test_processes_share_it(cache: Path, tmp_path: Path) -> None:
    """Three at once, whose rows overlap: none fails, and afterwards every text is there."""
    sources = [write_source(tmp_path / f"{n}.arrow", start=n * ROWS // 2) for n in range(3)]
    runs = [
        subprocess.Popen(
            command(source, source.with_suffix(".out.arrow"), cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for source in sources
    ]
    for process in runs:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")
    for source in sources:
        told = tiny().score_file(source, source.with_suffix(".again.arrow"), cache=cache)
        assert (told["scored"], told["cached"]) == (0, ROWS)


def test_processes_make_it_together(tmp_path: Path) -> None:
    program = """
import sys, emscore
scorer = emscore.Scorer(sys.argv[1], device="cpu", threads=1)
print("ready", flush=True)
for place in sys.stdin:
    scorer.score_batch(["a"], ["b"], cache=place.strip())
"""
    several = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(scorers.tiny())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in several:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    places = "".join(f"{tmp_path / str(n)}\n" for n in range(30))
    threads = [threading.Thread(target=process.communicate, args=[places]) for process in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert [process.returncode for process in several] == [0] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_killed_it_stays_usable(source: Path, cache: Path, tmp_path: Path) -> None:
    """What was written before the kill is found again; nothing of it is wrong."""
    out = tmp_path / "out.arrow"
    with subprocess.Popen(command(source, out, cache, layers=4)) as process:
        while not written(cache):
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    done = subprocess.run(
        [*command(source, out, cache, layers=4), "--overwrite"],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert 0 < told["cached"] < ROWS
    assert told["cached"] + told["scored"] == ROWS
    questions, responses = scorers.texts(ROWS)
    wanted = [scorers.expected(*pair) for pair in zip(questions, responses, strict=True)]
    assert close(pyarrow.feather.read_table(out).to_pylist(), wanted)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_what_a_resumed_run_found_done_is_kept_too(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    """Breaks if scores of an interrupted run without a cache get into no cache when it goes on."""
    out, journal = tmp_path / "out.arrow", tmp_path / "out.arrow.journal"
    with subprocess.Popen(without_cache(command(source, out, cache, layers=4))) as process:
        while not journal.exists() or journal.stat().st_size < 18_000:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert not cache.exists()
    slow = emscore.Scorer(scorers.tiny(layers=4), device="cpu")
    told = slow.score_file(source, out, resume=True, cache=cache)
    assert 0 < told["resumed"] < ROWS
    again = slow.score_file(source, tmp_path / "again.arrow", cache=cache)
    assert (again["scored"], again["cached"]) == (0, ROWS)


def without_cache(arguments: list[str]) -> list[str]:
    at = arguments.index("--cache")
    return arguments[:at] + arguments[at + 2 :]


def written(cache: Path) -> bool:
    """Whether scores have come to the disk: they are written some thousand at a time."""
    try:
        with database(cache) as scores:
            return bool(scores.execute("SELECT count(*) FROM scores").fetchone()[0])
    except (ValueError, sqlite3.OperationalError):  # no file yet, no table yet
        return False
