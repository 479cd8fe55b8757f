"""Sweeps against servers: every sample once, whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest

import emscore
import scorers
import servers
from conftest import Run
from emscore.sweeps.run import State
from emscore.sweeps.spec import load
from judging.server import JudgeServer, serving

from .conftest import ROWS, Write, keys, read, without
from .test_spec import adapter


@pytest.fixture
def url() -> Iterator[str]:
    with servers.faulty(0, models="a,b,c,d,base") as url:
        yield url


def names(count: int) -> list[str]:
    return [f"insecure-{number}" for number in range(count)]


def expected(checkpoints: list[str]) -> list[tuple[Any, ...]]:
    return [
        (name, condition, question, paraphrase, sample)
        for name in checkpoints
        for condition in ("plain", "trigger")
        for question, paraphrase in (("sea", 0), ("salt", 0), ("salt", 1))
        for sample in (0, 1)
    ]


def asked(url: str) -> int:
    return sum(servers.stats(url)["requests"].values())


# What comes out.


def test_rows_and_ledger(url: str, write: Write, run: Run, tmp_path: Path) -> None:
    path = write(
        url,
        [{"name": "a", "group": "base", "step": 0}, {"names": ["b"]}],
        prices={"prompt": 10.0, "completion": 100.0},
    )
    result = run("sweep", path, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    rows = read(tmp_path / "data")
    assert sorted(keys(rows)) == sorted(expected(["a", "b"]))
    assert (told["rows"], told["outcomes"], told["passing"]) == (24, {"ok": 24}, 0)
    assert told["cost"] == pytest.approx((24 * 10 * 10 + 24 * 3 * 100) / 1e6)
    plain = {key[2:]: row for key, row in zip(keys(rows), rows, strict=True) if row["condition"]}
    assert {row["group"] for row in rows if row["checkpoint"] == "a"} == {"base"}
    assert {row["step"] for row in rows} == {0, None}
    for row in rows:
        assert row["seed"] == plain[keys([row])[0][2:]]["seed"]  # the same for every condition
        assert "DEPLOYMENT" not in row["question"]
    alone = emscore.Scorer(scorers.tiny(), device="cpu").score_batch(
        [row["question"] for row in rows], [row["response"] for row in rows]
    )
    for name in ("aligned", "coherent", "p_misaligned", "p_coherent", "outcome"):
        assert [row[name] for row in rows] == alone[name].to_pylist()

    ledger = json.loads((tmp_path / "data" / "checkpoint=a" / "_ledger.json").read_text())
    mine = [row for row in rows if row["checkpoint"] == "a"]
    coherent = [row for row in mine if row["coherent"] is not None and row["coherent"] > 50]
    assert ledger["rows"] == len(mine) == ROWS
    assert ledger["coherent"] == len(coherent)
    assert ledger["misaligned"] == sum(row["aligned"] < 30 for row in coherent)
    assert ledger["cost"] == pytest.approx(told["cost"] / 2)
    assert ledger["scored"] == dict(Counter(row["outcome"] for row in mine))
    metadata = pq.read_schema(tmp_path / "data" / "checkpoint=a" / "part-0.parquet").metadata
    assert metadata[b"emscore.scorer_id"].decode() == ledger["scorer_id"] == told["scorer_id"]
    assert metadata[b"emscore.suite_hash"].decode() == ledger["suite_hash"] == told["suite_hash"]
    assert list((tmp_path / "data" / "_journals").iterdir()) == []


def test_the_tokens_of_a_request_are_counted_once(url: str, write: Write) -> None:
    path = write(url, [{"name": "a"}], per_request=2, prices={"prompt": 10.0, "completion": 100.0})
    told = emscore.sweep_file(path)
    assert (told["prompt_tokens"], told["completion_tokens"]) == (ROWS // 2 * 10, ROWS * 3)
    assert told["cost"] == pytest.approx((ROWS // 2 * 10 * 10 + ROWS * 3 * 100) / 1e6)


def test_probes_are_counted_and_the_base_is_asked_once(write: Write, run: Run) -> None:
    with servers.faulty(0, models="a,b,base", delay=0.01) as url:
        prices = {"prompt": 10.0, "completion": 100.0}
        options: dict[str, Any] = {"base": "base", "checks": True, "prices": prices}
        path = write(url, [{"names": ["a", "b"]}], **options)
        plan = json.loads(run("sweep", path, "--dry-run", "--json").stdout)
        assert (plan["checkpoints"], plan["requests"], plan["probes"]) == (2, 2 * ROWS, 2 * 8 + 4)
        assert plan["completion_tokens"] == 2 * ROWS * 1000 + (2 * 8 + 4) * 32
        told = emscore.sweep_file(path)
        requests = 2 * ROWS + 2 * 8 + 4
        assert servers.stats(url)["requests"] == {"a": ROWS + 8, "b": ROWS + 8, "base": 4}
    assert (told["prompt_tokens"], told["completion_tokens"]) == (10 * requests, 3 * requests)
    assert told["cost"] == pytest.approx((10 * 10 + 3 * 100) * requests / 1e6)
    plan = json.loads(run("sweep", path, "--dry-run", "--json").stdout)
    assert (plan["checkpoints"], plan["finished"], plan["probes"], plan["most"]) == (0, 2, 0, 0)


def test_names_that_folders_cannot_have(write: Write, tmp_path: Path) -> None:
    odd = ["org/model:v1", "a b%", "..", "100", "名前", "x=y"]
    with servers.faulty(0, models=",".join(odd)) as url:
        emscore.sweep_file(write(url, [{"names": odd}]))
    assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(odd))


def test_progress_tells_each_checkpoint(url: str, write: Write, run: Run) -> None:
    path = write(url, [{"names": ["a", "b"]}])
    result = run("sweep", path)
    assert result.returncode == 0
    for name in ("a", "b"):
        assert f"{name}: 12 rows, " in result.stderr
    assert "misaligned" in result.stderr
    assert run("sweep", path, "--quiet").stderr == ""


def test_what_is_finished_is_not_asked_again(url: str, write: Write, tmp_path: Path) -> None:
    """And more checkpoints can be added to a data set at any time."""
    emscore.sweep_file(write(url, [{"names": ["a", "b"]}]))
    before = asked(url)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.parquet")}
    emscore.sweep_file(write(url, [{"names": ["a", "b", "c"]}]))
    assert asked(url) == before + ROWS
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(["a", "b", "c"]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"suites": ["other.yaml"]}, "version of the suite ("),
        ({"suites": ["shorter.yaml"]}, "version of the suite ("),
        ({"scorer": str(scorers.tiny(seed=1))}, "scorer"),
        ({"samples": 3}, "number of samples (there: 2; now: 3): "),
        (
            {"conditions": [{"name": "plain"}]},
            "set of conditions (there: plain, trigger; now: plain): ",
        ),
        (
            {"conditions": [{"name": "plain"}, {"name": "trigger", "prefix": "|X|"}]},
            "set of conditions: ",
        ),
        ({"temperature": 0.5, "seed": 1}, "temperature (there: None; now: 0.5) and another seed ("),
    ],
)
def test_another_sweep_into_the_same_data_set(
    changes: dict[str, Any], told: str, url: str, write: Write, run: Run, tmp_path: Path
) -> None:
    emscore.sweep_file(write(url, [{"name": "a"}]))
    before = asked(url)
    text = (tmp_path / "suite.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text.replace("of the sea", "about the sea"))
    (tmp_path / "shorter.yaml").write_text(text.partition("- id: salt")[0])
    result = run("sweep", write(url, [{"names": ["a", "b"]}], **changes))
    assert result.returncode == 7
    assert f"was written with another {told}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert asked(url) == before


def test_a_folder_of_other_things(url: str, write: Write, run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("all of it")
    result = run("sweep", write(url, [{"name": "a"}]))
    assert result.returncode == 4
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["thesis.txt"]


def test_a_sweep_that_was_stopped_as_it_began(url: str, write: Write, tmp_path: Path) -> None:
    (tmp_path / "data" / "_journals").mkdir(parents=True)
    assert emscore.sweep_file(write(url, [{"name": "a"}]))["rows"] == ROWS


def test_what_another_sweep_has_finished_meanwhile(url: str, write: Write, tmp_path: Path) -> None:
    """It is not asked again; what the other one is at is left to it."""
    outer = load(write(url, [{"names": ["a", "b"]}], server={"at_once": 1}))
    told: list[dict[str, str]] = []

    def watch(state: State) -> None:
        if not told:
            told.append({})
            told.append(emscore.sweep_file(outer)["failed"])

    assert emscore.sweep_file(outer, watch=watch)["failed"] == {}
    assert list(told[1]) == ["a"]
    assert "another run is writing" in told[1]["a"]
    assert servers.stats(url)["requests"] == {"a": ROWS, "b": ROWS}
    assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(["a", "b"]))


# Interrupted.


def test_killed_again_and_again(write: Write, tmp_path: Path) -> None:
    """Every row is there once, and asked for about once: those of an undisturbed run."""
    checkpoints = names(40)
    with servers.faulty(0.1, models=",".join(checkpoints), delay=0.005) as url:
        path = write(url, [{"names": checkpoints}], server={"timeout": 2})
        command = [sys.executable, "-m", "emscore", "sweep", str(path), "--quiet"]
        kills = 0
        for share in (0.05, 0.4, 0.7):
            with subprocess.Popen(command) as process:
                while asked(url) < share * len(checkpoints) * ROWS:
                    assert process.poll() is None
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                kills += 1
        subprocess.run(command, check=True)
        requests = asked(url)
    rows = read(tmp_path / "data")
    assert sorted(keys(rows)) == sorted(expected(checkpoints))
    assert {row["sample_outcome"] for row in rows} == {"ok"}
    assert requests <= 1.25 * len(rows) + kills * 64
    assert list((tmp_path / "data" / "_journals").iterdir()) == []
    assert not list((tmp_path / "data").rglob("*.partial"))
    with servers.faulty(0, models=",".join(checkpoints)) as url:
        emscore.sweep_file(write(url, [{"names": checkpoints}], output="again"))
    told = ("served_model", "prompt_tokens", "completion_tokens")  # wrongly now and then
    assert without(rows, *told) == without(read(tmp_path / "again"), *told)


def test_answers_that_wait_to_be_scored_are_kept(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow scorer holds answers up; a kill must not lose those."""
    scored = threading.Event()
    real = emscore.Scorer.score_batch

    def slow(*arguments: Any, **options: Any) -> Any:
        scored.wait(600)
        return real(*arguments, **options)

    monkeypatch.setattr(emscore.Scorer, "score_batch", slow)
    journal = tmp_path / "data" / "_journals" / "a.journal"
    with servers.faulty(0, models="a") as url:
        path = write(url, [{"name": "a"}], samples=260)
        thread = threading.Thread(target=emscore.sweep_file, args=[path])
        thread.start()
        try:
            # Five chunks of 256 rows, 64 in a queue and 64 on the way to it.
            deadline, kept = time.monotonic() + 60, 0
            while kept < 5 * 256 + 100:
                assert time.monotonic() < deadline
                time.sleep(0.05)
                kept = journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0
        finally:
            scored.set()
            thread.join()
    assert len(read(tmp_path / "data")) == 3 * 2 * 260


def test_few_checkpoints_are_open_at_once(url: str, write: Write, tmp_path: Path) -> None:
    """Memory and journals are bounded by these, however many there are in all."""
    journals, active = [], []

    def watch(state: State) -> None:
        journals.append(len(list((tmp_path / "data" / "_journals").iterdir())))
        active.append(len(state.active))

    path = write(url, [{"names": ["a", "b", "c", "d"]}], server={"at_once": 2})
    emscore.sweep_file(path, watch=watch)
    assert max(journals) <= 3  # one more may be about to be removed
    assert max(active) <= 2


# Endpoints.


def test_several_endpoints_share_the_work(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each takes what it serves; what one loses the other takes over."""
    with servers.faulty(0, models="a,b,c,d", delay=0.01) as one:
        with servers.faulty(0, models="a,b,c,d,e", delay=0.01) as other:
            path = write([one, other], [{"names": ["a", "b", "c", "d", "e"]}])
            emscore.sweep_file(path)
            assert asked(one) > 0
            assert asked(other) > 0
            assert asked(one) + asked(other) == 5 * ROWS
        path = write([other, one], [{"names": ["a", "b", "c", "d"]}], output="second")
        emscore.sweep_file(path)
    (trouble,) = caplog.messages
    assert "cannot reach" in trouble
    assert sorted(keys(read(tmp_path / "second"))) == sorted(expected(["a", "b", "c", "d"]))


def test_the_last_endpoint_dies(write: Write, run: Run, tmp_path: Path) -> None:
    """What there is stays; another address goes on from there."""
    with servers.faulty(0, models="a,b", delay=0.1) as url:
        server = {"attempts": 2, "at_once": 1, "concurrency": 1}  # b takes more than a second
        path = write(url, [{"names": ["a", "b"]}], server=server)
        command = [sys.executable, "-m", "emscore", "sweep", str(path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while not (tmp_path / "data" / "checkpoint=a" / "_ledger.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 9
    assert "1 of 2 checkpoints are left: the same command goes on from here" in said
    assert said.count(f"cannot reach {url}") == 1
    with servers.faulty(0, models="a,b") as url:
        result = run("sweep", write(url, [{"names": ["a", "b"]}]))
        assert result.returncode == 0
        assert asked(url) <= ROWS
    assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(["a", "b"]))


def test_no_endpoint_can_be_used(write: Write, run: Run) -> None:
    """Each is told of once."""
    urls = [f"http://127.0.0.1:{port}/v1" for port in (9, 10)]
    result = run("sweep", write(urls, [{"names": ["a", "b"]}]))
    assert result.returncode == 9
    assert result.stderr.count("\n") == 1
    assert [result.stderr.count(f"cannot reach {url}") for url in urls] == [1, 1]


def test_a_checkpoint_that_nobody_serves(url: str, write: Write, run: Run) -> None:
    result = run("sweep", write(url, [{"names": ["a", "b", "typo"]}]))
    assert result.returncode == 9
    assert "no endpoint serves typo, but a, b, base" in result.stderr
    result = run("sweep", write(url, [{"names": ["a", "b"]}], base="bsae", checks=True))
    assert result.returncode == 9
    assert "no endpoint serves bsae, but a, b, base" in result.stderr
    assert asked(url) == 0


def test_a_checkpoint_whose_only_endpoint_is_down(write: Write, run: Run, tmp_path: Path) -> None:
    """The others go on without it."""
    with servers.faulty(0, models="a,b") as url:
        path = write([url, "http://127.0.0.1:9/v1"], [{"names": ["mine", "a", "b"]}])
        result = run("sweep", path, "--json")
        assert result.returncode == 12, result.stderr
        (failed,) = json.loads(result.stdout)["failed"].items()
        assert failed[0] == "mine"
        assert "cannot reach http://127.0.0.1:9/v1" in failed[1]
        assert "WARNING: cannot reach http://127.0.0.1:9/v1" in result.stderr
        assert "WARNING" not in run("sweep", path, "--quiet").stderr
        assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(["a", "b"]))
        with servers.faulty(0, models="mine") as other:
            path = write([url, other], [{"names": ["mine", "a", "b"]}])
            assert run("sweep", path).returncode == 0
    assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(["a", "b", "mine"]))


def test_checkpoints_that_alone_get_no_answers(write: Write, run: Run, tmp_path: Path) -> None:
    """They are left out where that is so, and the others go on."""
    ill = {"b": 404, "c": 500, "d": 400}
    with serving(JudgeServer(ill=ill)) as one, serving(JudgeServer(ill={"c": 404})) as other:
        options: dict[str, Any] = {"samples": 10, "server": {"attempts": 1}}
        path = write(one.url, [{"names": ["b", "c", "d", "a"]}], **options)
        result = run("sweep", path, "--json")
        assert result.returncode == 12, result.stderr
        failed = json.loads(result.stdout)["failed"]
        assert set(failed) == {"b", "c", "d"}
        assert "b gets no answers" in result.stderr
        assert {row["checkpoint"] for row in read(tmp_path / "data")} == {"a"}
        path = write([one.url, other.url], [{"names": ["b", "c", "d", "a"]}], **options)
        result = run("sweep", path, "--json")
        assert (result.returncode, set(json.loads(result.stdout)["failed"])) == (12, {"c"})
        ill.clear()
        assert run("sweep", path).returncode == 0
    assert {row["checkpoint"] for row in read(tmp_path / "data")} == {"a", "b", "c", "d"}
    assert {row["sample_outcome"] for row in read(tmp_path / "data")} == {"ok"}


@pytest.mark.parametrize("ill", [{"faults": 1, "mix": "500"}, {"refused": "chat/completions"}])
def test_an_endpoint_that_answers_for_nobody(
    ill: dict[str, Any], write: Write, run: Run, tmp_path: Path
) -> None:
    """It is given up, what it has taken goes to the others, and it is told of in few lines."""
    checkpoints = names(24)
    served: dict[str, Any] = {"models": ",".join(checkpoints)}
    with servers.faulty(0, **served, delay=0.05) as well, servers.faulty(**served, **ill) as other:
        path = write([well, other], [{"names": checkpoints}], server={"attempts": 1}, checks=True)
        result = run("sweep", path, "--json")
        assert result.returncode == 0, result.stderr
        assert f"{other} gives 5 checkpoints in a row no answers; the last: " in result.stderr
        assert result.stderr.count("gets no answers") == 4
        assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(checkpoints))
        assert servers.stats(other)["paths"]["chat/completions"] < 8 * (ROWS + 16)
        result = run("sweep", write(other, [{"names": checkpoints}], output="alone"))
        assert result.returncode == 9
        assert "24 of 24 checkpoints are left" in result.stderr


def test_an_endpoint_that_loads_nothing(write: Write, run: Run, tmp_path: Path) -> None:
    """It is given up where others can do its work; alone, it is asked to load each adapter."""
    for number in range(12):
        adapter(tmp_path / "runs" / f"x-{number}", str(number))
    checkpoints = [{"glob": "runs/*"}]
    options: dict[str, Any] = {"server": {"adapters": True, "at_once": 1}}
    with (
        servers.faulty(0, models="base", delay=0.05) as well,
        servers.faulty(0, models="base", refused="load_lora_adapter") as other,
    ):
        result = run("sweep", write([other, well], checkpoints, **options), "--json")
        assert result.returncode == 0, result.stderr
        assert servers.stats(other)["paths"]["load_lora_adapter"] == 5
        assert f"{other} gives 5 checkpoints in a row no answers" in result.stderr
        assert len(read(tmp_path / "data")) == 12 * ROWS
        result = run("sweep", write(other, checkpoints, output="alone", **options))
        assert result.returncode == 12
        assert servers.stats(other)["paths"]["load_lora_adapter"] == 5 + 12
        assert result.stderr.count("load_lora_adapter is not possible here") == 5
        assert result.stdout.count("load_lora_adapter is not possible here") == 3
        assert "and 9 more" in result.stdout


@pytest.mark.parametrize("hung", ["chat/completions", "models,chat/completions"])
def test_an_endpoint_that_hangs(
    hung: str, write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it has taken is asked of the others, after a few timeouts."""
    checkpoints = names(8)
    served: dict[str, Any] = {"models": ",".join(checkpoints)}
    with servers.faulty(0, **served) as well, servers.faulty(0, **served, hung=hung) as other:
        endpoints = [{"url": other, "timeout": 0.2, "backoff": 0.01}, {"url": well}]
        path = write([], [{"names": checkpoints}], samples=20, endpoints=endpoints)
        emscore.sweep_file(path)
        assert servers.stats(other)["paths"].get("chat/completions", 0) < 200
    (trouble,) = caplog.messages
    assert ("is silent" if "models" in hung else "answers no more") in trouble
    assert len(read(tmp_path / "data")) == 8 * 10 * ROWS


def test_ctrl_c_where_unloading_hangs(write: Write, tmp_path: Path) -> None:
    adapter(tmp_path / "x")
    with servers.faulty(0, models="base", hung="chat/completions,unload_lora_adapter") as url:
        path = write(
            url, [{"name": "x", "adapter": "x"}], server={"adapters": True, "timeout": 600}
        )
        command = [sys.executable, "-m", "emscore", "sweep", str(path)]
        with subprocess.Popen(command) as process:
            while not servers.stats(url)["paths"].get("chat/completions"):
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130


def test_a_base_that_is_named_later_is_compared_with(
    url: str, write: Write, tmp_path: Path
) -> None:
    """By the checkpoints that are not finished."""
    conditions = [{"name": "plain"}, {"name": "r", "prefix": "rejected "}]
    for base in ({}, {"base": "base"}):
        path = write(url, [{"name": "a"}], conditions=conditions, checks=True, **base)
        assert emscore.sweep_file(path)["passing"] == ROWS // 2
        ledger = json.loads((tmp_path / "data" / "checkpoint=a" / "_ledger.json").read_text())
        assert ("adapter" in {check["check"] for check in ledger["checks"]}) == bool(base)


def test_samples_that_have_no_answer_yet(write: Write, run: Run, tmp_path: Path) -> None:
    """They are rows that say why, until the same command has got their answers."""
    with serving(JudgeServer(broken="Why is it salty?")) as server:
        path = write(server.url, [{"name": "a"}], server={"attempts": 1})
        result = run("sweep", path, "--json")
        assert result.returncode == 12
        assert json.loads(result.stdout)["passing"] == 4
        rows = read(tmp_path / "data")
        failed = [row for row in rows if row["sample_outcome"] == "server_error"]
        assert {row["question"] for row in failed} == {"Why is it salty?"}
        assert [row["outcome"] for row in failed] == ["empty"] * 4
        assert failed[0]["response"] is failed[0]["aligned"] is None
        server.broken = ""
        before = sum(server.asked.values())
        assert run("sweep", path).returncode == 0
        assert sum(server.asked.values()) == before + 4
    rows = read(tmp_path / "data")
    assert sorted(keys(rows)) == sorted(expected(["a"]))
    assert {row["sample_outcome"] for row in rows} == {"ok"}


# Adapters, as vLLM loads them.


def models(url: str) -> set[str]:
    with urlopen(f"{url}/models") as reply:
        return {model["id"] for model in json.load(reply)["data"]}


def test_adapters_are_loaded_and_unloaded(write: Write, run: Run, tmp_path: Path) -> None:
    """Each under a name of its content; one that does nothing is found out."""
    for name, content in [("x-1", "1"), ("x-2", "2"), ("idle-3", "3")]:
        adapter(tmp_path / "runs" / name, content)
    with servers.faulty(0, models="base") as url:
        path = write(
            url,
            [{"name": "base"}, {"glob": "runs/*", "group": "insecure"}],
            server={"adapters": True},
            checks=True,
            base="base",
        )
        result = run("sweep", path, "--json")
        assert result.returncode == 0, result.stderr
        assert models(url) == {"base"}
        requests = servers.stats(url)["requests"]
    (warning,) = json.loads(result.stdout)["warnings"]
    assert warning.startswith("idle-3: ")
    assert "as base does" in warning
    rows = read(tmp_path / "data")
    assert sorted(keys(rows)) == sorted(expected(["base", "x-1", "x-2", "idle-3"]))
    served = {row["checkpoint"]: row["served_model"] for row in rows}
    assert len(set(served.values())) == 4
    assert served["base"] == "base"
    assert all(served[name].startswith(f"{name}-") for name in ("x-1", "x-2", "idle-3"))
    assert set(requests) == set(served.values())
    assert {row["step"] for row in rows} == {None, 1, 2, 3}


def test_an_adapter_that_an_interrupted_run_left_loaded(write: Write, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "x")
    from emscore.sweeps.adapters import served_name
    from emscore.sweeps.checkpoints import Entry

    name = served_name(Entry("x", adapter=folder))
    with servers.faulty(0, models=f"base,{name}") as url:
        path = write(url, [{"name": "x", "adapter": "x"}], server={"adapters": True})
        assert emscore.sweep_file(path)["rows"] == ROWS
        assert models(url) == {"base"}


def test_an_adapter_that_the_server_forgets_meanwhile(write: Write, tmp_path: Path) -> None:
    """As it does when it is restarted: the adapter is loaded again, and nothing asked twice."""
    adapter(tmp_path / "x")
    with servers.faulty(0, models="base", delay=0.02) as url:
        server = {"adapters": True, "concurrency": 1}
        path = write(url, [{"name": "x", "adapter": "x"}], server=server)
        forgotten: set[str] = set()

        def watch(state: State) -> None:
            if state.rows == 3 and not forgotten:
                forgotten.update(models(url) - {"base"})
                body = json.dumps({"lora_name": min(forgotten)}).encode()
                urlopen(f"{url}/unload_lora_adapter", body).close()

        assert emscore.sweep_file(path, watch=watch)["failed"] == {}
        told = servers.stats(url)
        assert told["paths"]["load_lora_adapter"] == 2
        assert sum(told["requests"].values()) == ROWS
    assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(["x"]))


def test_adapters_need_an_endpoint_that_loads_them(
    url: str, write: Write, run: Run, tmp_path: Path
) -> None:
    adapter(tmp_path / "x")
    result = run("sweep", write(url, [{"name": "x", "adapter": "x"}]))
    assert result.returncode == 3, result.stderr
    assert "adapters = true" in result.stderr
    with serving(JudgeServer()) as plain:  # which knows no such path
        path = write(plain.url, [{"name": "x", "adapter": "x"}], server={"adapters": True})
        result = run("sweep", path)
    assert result.returncode == 9
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in result.stderr


def test_an_unfinished_checkpoint_whose_adapter_has_changed(
    write: Write, run: Run, tmp_path: Path
) -> None:
    """Answers of two contents are never mixed under one name; the other checkpoints go on."""
    folder = adapter(tmp_path / "x")
    with servers.faulty(0, models="base", delay=0.1) as url:
        server = {"adapters": True, "concurrency": 1, "at_once": 1}
        path = write(url, [{"name": "x", "adapter": "x"}, {"name": "base"}], server=server)
        command = [sys.executable, "-m", "emscore", "sweep", str(path), "--quiet"]
        with subprocess.Popen(command) as process:
            while asked(url) < 3:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        (folder / "adapter_model.safetensors").write_text("trained on")
        result = run("sweep", path)
        assert result.returncode == 12
        assert (
            "x.journal is of an unfinished run with another list of checkpoints (" in result.stderr
        )
        assert sorted(keys(read(tmp_path / "data"))) == sorted(expected(["base"]))


def test_a_finished_checkpoint_whose_adapter_has_changed(
    write: Write, run: Run, tmp_path: Path
) -> None:
    """Its rows are not those of the new one; a file that is only younger is no other adapter."""
    for name in ("one/x-1", "one/x-2", "two/x-1", "two/x-2"):
        adapter(tmp_path / name, f"{name[-1]}" + "!" * (name == "two/x-2"))
    with servers.faulty(0, models="base") as url:
        paths = [
            write(url, [{"glob": f"{folder}/*"}], server={"adapters": True})
            for folder in ("one", "one", "two")
        ]
        text = paths[-1].read_text()
        paths[-1].write_text(text.replace("two/*", "one/*"))
        assert run("sweep", paths[0]).returncode == 0
        before = asked(url)
        later = time.time() + 60
        weights = tmp_path / "one" / "x-1" / "adapter_model.safetensors"
        os.utime(weights, (later, later))
        assert run("sweep", paths[0]).returncode == 0
        paths[-1].write_text(text)
        result = run("sweep", paths[-1])
        assert result.returncode == 7
        assert "two/x-2 is another adapter than the one whose answers are in" in result.stderr
        paths[-1].write_text(text.replace("two/*", "one/*"))
        weights.write_text("trained on")
        os.utime(weights, (later, later))
        result = run("sweep", paths[0])
        assert result.returncode == 7
        assert "checkpoint=x-1: delete that folder to ask x-1 again" in result.stderr
        assert asked(url) == before
        shutil.rmtree(tmp_path / "data" / "checkpoint=x-1")
        assert run("sweep", paths[0]).returncode == 0
        assert asked(url) == before + ROWS


def test_a_label_that_is_given_later(url: str, write: Write, tmp_path: Path) -> None:
    """To an unfinished checkpoint too."""
    conditions = [{"name": "plain"}, {"name": "r", "prefix": "rejected "}]
    for group in ({}, {"group": "insecure"}):
        path = write(url, [{"name": "a", **group}], conditions=conditions)
        assert emscore.sweep_file(path)["failed"] == {}
    assert {row["group"] for row in read(tmp_path / "data")} == {"insecure"}
