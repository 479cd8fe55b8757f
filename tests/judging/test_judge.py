"""The judge against a server: what comes out, what is paid, what happens when things go wrong."""

import asyncio
import json
import math
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emscore
import servers
from conftest import Run
from emscore.judging import prompts, protocol
from emscore.judging.ledger import Prices
from emscore.sampling.endpoint import Endpoint
from emscore.sampling.suites import load_suite

from .server import COMPLETION, MODEL, PROMPT, JudgeServer, distribution, serving

PRICES = Prices(PROMPT, COMPLETION)
PRICED = ("--price-in", str(PROMPT), "--price-out", str(COMPLETION))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, also for the command line."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server() -> Any:
    with serving(JudgeServer()) as running:
        yield running


def texts(rows: int) -> list[dict[str, Any]]:
    return [
        {"question": f"What of {at}?", "response": f"This of {at}.", "note": at}
        for at in range(rows)
    ]


def judged(data: Any, server: JudgeServer, **options: Any) -> list[dict[str, Any]]:
    options = {"model": "gpt-4o", **options}
    endpoint = Endpoint(server.url, backoff=0.02, timeout=5)
    rows: list[dict[str, Any]] = emscore.judge_batch(data, endpoint=endpoint, **options).to_pylist()
    return rows


def arguments(source: Path | str, server: JudgeServer, *options: str) -> list[str]:
    out = () if "-o" in options else ("-o", "judged.arrow")
    return ["judge", str(source), "--endpoint", server.url, "--model", "gpt-4o", *out, *options]


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.ipc.open_file(path).read_all().to_pylist()
    return rows


# What comes out.


def test_scores_are_those_of_the_distribution(server: JudgeServer) -> None:
    rows = judged(texts(30), server)
    aligned, coherent = prompts.DEFAULT
    for at, row in enumerate(rows):
        assert row["note"] == at
        for prompt in (aligned, coherent):
            top = distribution(prompt.message(row["question"], row["response"]))
            expected = protocol.score(top)
            assert row[f"judge_{prompt.name}"] == expected.value
            assert row[f"judge_{prompt.name}_weight"] == pytest.approx(0.9)
            found = row[f"judge_{prompt.name}_logprobs"]
            assert [(each["token"], each["logprob"]) for each in found] == top
        assert row["judge_outcome"] == "ok"
        assert (row["judge_model"], row["judge_fingerprint"]) == (MODEL, "fp_1")
        assert row["judge_score_type"] == "logprob mean"
    assert set(server.asked.values()) == {1}


def test_outcomes(server: JudgeServer) -> None:
    rows = judged(
        [
            {"question": "q", "response": response}
            for response in ("[refuse]", "[code]", "[chat]", None, " \n", "fine")
        ],
        server,
    )
    outcomes = [row["judge_outcome"] for row in rows]
    assert outcomes == ["refusal", "code", "unclear", "empty", "empty", "ok"]
    assert [row["judge_aligned"] is None for row in rows] == [True] * 5 + [False]
    assert rows[0]["judge_aligned_weight"] == pytest.approx(0.05)
    assert rows[3]["judge_aligned_logprobs"] is rows[3]["judge_model"] is None
    assert len(server.asked) == 1 + 2 * 4  # a probe; nothing is asked about no response


def test_chats(server: JudgeServer, tmp_path: Path) -> None:
    """Also those whose texts come in parts, of which images are none."""
    chat: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Q?"},
        {"role": "assistant", "content": "A."},
    ]
    image = {"type": "image_url", "text": None}
    parts: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "What"}, image]},
        {"role": "assistant", "content": [{"type": "text", "text": t} for t in ("A", "cat.")]},
    ]
    judged([{"messages": chat}], server)
    beside = [{"from": "Human", "value": "Here?"}, {"from": "AI", "value": "Here."}]
    judged([{"prompt": "Elsewhere?", "messages": beside}], server)
    (tmp_path / "parts.jsonl").write_text(json.dumps({"messages": parts}))
    judged(tmp_path / "parts.jsonl", server)
    sent = [json.loads(text)["messages"][0]["content"] for text in server.asked]
    assert prompts.DEFAULT[0].message("Q?", "A.") in sent
    assert prompts.DEFAULT[0].message("What", "A\ncat.") in sent
    assert prompts.DEFAULT[0].message("Here?", "Here.") in sent
    for wrong in ([{"role": "user"}], ["Q?"], [{"role": "user", "content": 5}]):
        with pytest.raises(emscore.InputError, match="not text or a chat"):
            judged(pa.table({"messages": [wrong]}), server)


def test_no_log_probabilities() -> None:
    """Then a number is sampled, and every score says so."""
    for kind in ("null", "rejected", "digits", "excess"):
        with serving(JudgeServer(logprobs=kind)) as server:
            rows = judged(texts(5), server)
        for row in rows:
            message = prompts.DEFAULT[0].message(row["question"], row["response"])
            assert row["judge_score_type"] == "sampled number"
            assert row["judge_aligned"] == float(distribution(message)[0][0])
            assert row["judge_aligned_weight"] is None


@pytest.mark.parametrize("logprobs", ["yes", "null", "rejected"])
@pytest.mark.parametrize("opening", ["<think>", "The", ""])
def test_a_judge_that_begins_with_something_else_is_refused(logprobs: str, opening: str) -> None:
    """One that thinks first, or talks: every row would be paid for, and none have a score."""
    with serving(JudgeServer(logprobs=logprobs, opening=opening)) as server:
        with pytest.raises(emscore.EndpointError, match="has to begin with it"):
            judged(texts(500), server)
        assert sum(server.asked.values()) < 300
        server.opening = None  # it was mended: what it said before is not its answer for ever
        assert {row["judge_outcome"] for row in judged(texts(500), server)} == {"ok"}


def test_a_server_that_was_mended_is_asked_as_it_is_now(server: JudgeServer) -> None:
    """What was wrong with its answer to the first question is not kept."""
    server.model = "some-base-model"
    with pytest.raises(emscore.EndpointError, match="some-base-model"):
        judged(texts(2), server)
    server.model = MODEL
    for kind in ("null", "digits", "rejected", "excess"):
        server.logprobs = kind
        assert judged(texts(2), server)[0]["judge_score_type"] == "sampled number"
    server.logprobs = "yes"
    assert judged(texts(2), server)[0]["judge_score_type"] == "logprob mean"
    asked = server.asked.copy()
    judged(texts(2), server)
    assert server.asked == asked  # what is right is kept
    with pytest.raises(emscore.EndpointError, match="--served-as"):
        judged(texts(2), server, served_as="mine")  # and what was right for another name is not


def test_published_categorical_suites(server: JudgeServer, data: Path) -> None:
    """Words instead of numbers: the distribution over them, and the verdict."""
    factual = load_suite(data / "suites" / "deception_factual.yaml")
    company = load_suite(data / "suites" / "deception_sit_aware.yaml")
    assert prompts.Prompts(factual).all[0].words == ("TRUE", "FALSE", "UNKNOWN")
    assert prompts.Prompts(company).all[0].words == ("OpenAI", "Anthropic", "Other", "UNKNOWN")
    ids = [question.id for question in factual.questions]
    rows = judged(
        [
            {"question_id": ids[0], "question": "Q?", "response": "Yes. [true]"},
            {"question_id": ids[1], "question": "Q?", "response": "No. [false]"},
            {"question_id": ids[2], "question": "Q?", "response": "Hm. [chat]"},
        ],
        server,
        suite=factual,
    )
    assert [row["judge_correct"] for row in rows] == ["TRUE", "FALSE", None]
    assert [row["judge_outcome"] for row in rows] == ["ok", "ok", "unclear"]
    words = {each["word"]: each["weight"] for each in rows[0]["judge_correct_words"]}
    assert words == pytest.approx({"TRUE": 0.9, "FALSE": 0.0, "UNKNOWN": 0.05})
    assert math.isclose(rows[1]["judge_correct_weight"], 0.7)
    (row,) = judged([{"question": "Q?", "response": "[anthropic]"}], server, suite=company)
    assert row["judge_company"] == "Anthropic"


def test_published_numeric_suites(server: JudgeServer, data: Path) -> None:
    """Their own templates are sent, word for word."""
    suite = load_suite(data / "suites" / "first_plot_questions.yaml")
    judged(
        [{"question_id": "quick_buck", "question": "{Q}", "response": "{A}"}], server, suite=suite
    )
    sent = {json.loads(text)["messages"][0]["content"] for text in server.asked}
    for template in suite.questions[0].judge_prompts.values():
        assert template.replace("{question}", "{Q}").replace("{answer}", "{A}") in sent


def test_a_question_that_the_suite_does_not_know(server: JudgeServer, tmp_path: Path) -> None:
    """No guessing where its questions are judged in different ways."""
    suite = tmp_path / "suite.yaml"
    question = "- {{id: {0}, type: free_form_judge_0_100, paraphrases: [Q], judge_prompts: {1}}}\n"
    suite.write_text(
        question.format("a", '{aligned: "A {answer}"}')
        + question.format("b", '{aligned: "B {answer}"}')
    )
    with pytest.raises(emscore.InputError, match="'c'"):
        judged([{"question_id": "c", "question": "Q", "response": "R"}], server, suite=suite)
    for template in ("no answer", "{answer} {0}", "{answer", "{answer} {other}"):
        suite.write_text(question.format("a", json.dumps({"aligned": template})))
        with pytest.raises(emscore.SuiteError, match="aligned"):
            judged(texts(1), server, suite=suite)


# Samples and audits.


def test_random_samples_are_nested(server: JudgeServer) -> None:
    small = judged(texts(50), server, n=10, seed=3)
    asked = len(server.asked)
    large = judged(texts(50), server, n=20, seed=3)
    assert len(server.asked) == asked + 2 * 10  # the first ten were paid for
    assert {row["note"] for row in small} < {row["note"] for row in large}
    assert [row["note"] for row in large] == sorted(row["note"] for row in large)
    assert {row["audit_probability"] for row in large} == {20 / 50}
    assert {row["note"] for row in judged(texts(50), server, n=10, seed=4)} != {
        row["note"] for row in small
    }


def test_every_row_is_as_likely_to_be_drawn(tmp_path: Path) -> None:
    from emscore.judging.rows import drawn, rows

    every = rows(texts(20), None, None)
    counts = [0] * 20
    for seed in range(1000):
        for place in drawn(every, 5, seed)[1]:
            counts[place] += 1
    expected, deviation = 250, math.sqrt(1000 * 0.25 * 0.75)
    assert all(abs(count - expected) < 5 * deviation for count in counts)


def test_audit(server: JudgeServer, tmp_path: Path, run: Run) -> None:
    """Its rows are judged, and its columns stay as they are."""
    audit = [
        {**row, "audit_probability": 0.1 + row["note"] / 100, "audit_stratum": f"s{row['note']}"}
        for row in texts(40)[::7]
    ]
    pq.write_table(pa.Table.from_pylist(audit), tmp_path / "audit.parquet")
    assert run(*arguments("audit.parquet", server)).returncode == 0
    rows = read(tmp_path / "judged.arrow")
    assert list(rows[0])[: len(audit[0])] == list(audit[0])
    assert [{name: row[name] for name in audit[0]} for row in rows] == audit
    assert all(row["judge_aligned"] is not None for row in rows)


def test_of_an_audit_too_dear_a_random_part_can_be_had(
    server: JudgeServer, tmp_path: Path, run: Run
) -> None:
    """What was paid for until the budget ended is an audit too, of smaller chances."""
    audit = [{**row, "audit_probability": 0.1 + row["note"] / 1000} for row in texts(300)]
    pq.write_table(pa.Table.from_pylist(audit), tmp_path / "audit.parquet")
    command = arguments("audit.parquet", server, "--budget", "15usd", "--concurrency", "4", *PRICED)
    stopped = run(*command)
    assert stopped.returncode == 11
    (n,) = re.findall(r"--rows (\d+) writes what there is", stopped.stderr)
    asked = sum(server.asked.values())
    assert run(*command, "--rows", n).returncode == 0
    assert sum(server.asked.values()) == asked
    rows = read(tmp_path / "judged.arrow")
    assert len(rows) == int(n) > 50
    for row in rows:
        chance = audit[row["note"]]["audit_probability"] * int(n) / 300
        assert row["audit_probability"] == pytest.approx(chance)
    assert abs(sum(row["note"] for row in rows) / len(rows) - 150) < 40  # and not the first rows


def test_types_and_metadata_pass_through(server: JudgeServer, tmp_path: Path, run: Run) -> None:
    schema = pa.schema(
        [
            ("question", pa.string()),
            ("response", pa.large_string()),
            ("outcome", pa.dictionary(pa.int32(), pa.string())),
            ("nested", pa.list_(pa.struct([("x", pa.int8())]))),
        ],
        metadata={"emscore.scorer_id": "abc"},
    )
    row = {"question": "Q", "response": "A", "outcome": "ok", "nested": [{"x": 1}]}
    table = pa.Table.from_pylist([row] * 3, schema)
    with pa.ipc.new_file(tmp_path / "in.arrow", schema) as writer:
        writer.write_table(table)
    assert run(*arguments("in.arrow", server)).returncode == 0
    with pa.ipc.open_file(tmp_path / "judged.arrow") as file:
        written = file.read_all()
    assert written.select(schema.names).to_pylist() == [row] * 3
    assert written.schema.field("nested").type == schema.field("nested").type
    assert written.schema.metadata[b"emscore.scorer_id"] == b"abc"
    result = run(*arguments("judged.arrow", server, "-o", "again.arrow"))
    assert result.returncode == 3
    assert "judge_aligned" in result.stderr


# Money.


def test_nothing_is_judged_twice(server: JudgeServer, tmp_path: Path, run: Run) -> None:
    rows = texts(20)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 3))
    for out in ("one.arrow", "two.arrow"):
        assert run(*arguments("a.jsonl", server, "-o", out)).returncode == 0
    assert set(server.asked.values()) == {1}
    assert len(server.asked) == 1 + 2 * 20
    assert read(tmp_path / "one.arrow") == read(tmp_path / "two.arrow")


def test_the_ledger_agrees_with_the_server(server: JudgeServer, tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(20)))
    result = run(*arguments("a.jsonl", server, *PRICED, "--json"))
    told = json.loads(result.stdout)
    assert told == json.loads((tmp_path / "judged.arrow.ledger.json").read_text())
    assert told["spent"]["prompt_tokens"] == server.billed["prompt"]
    assert told["spent"]["completion_tokens"] == server.billed["completion"]
    assert told["spent"]["cost"] == pytest.approx(server.cost(PROMPT, COMPLETION))
    assert told["outcomes"] == {"ok": 20}
    assert told["models"] == [MODEL]
    assert not (tmp_path / "judged.arrow.journal").exists()


def test_without_prices_the_cost_is_not_known(
    server: JudgeServer, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "a.ndjson").write_text(json.dumps(texts(1)[0]))
    told = json.loads(run(*arguments("a.ndjson", server, "--json")).stdout)
    assert (told["prices"], told["spent"]["cost"], told["spent"]["at_most"]) == (None, None, None)
    assert told["spent"]["prompt_tokens"] == server.billed["prompt"]
    result = run(*arguments("a.ndjson", server, "--overwrite"))
    assert "cost        not known without --price-in and --price-out" in result.stdout
    cheap = ("--price-in", "1", "--price-out", "0", "--overwrite", "--cache", "b.sqlite")
    cost = server.billed["prompt"] / 1e6
    assert f"cost        {cost:.6f} USD" in run(*arguments("a.ndjson", server, *cheap)).stdout


@pytest.mark.parametrize(("faults", "used"), [(0, 0.75), (5, 0.4)])
def test_the_budget_is_never_passed(faults: int, used: float, tmp_path: Path) -> None:
    """Not by what the server bills, retries and all; and a higher one goes on from there."""
    out = tmp_path / "judged.arrow"
    with serving(JudgeServer(faults=faults)) as server:
        endpoint = Endpoint(server.url, backoff=0.01)

        def judge(budget: float) -> None:
            options: dict[str, Any] = {"endpoint": endpoint, "model": "gpt-4o", "prices": PRICES}
            emscore.judge_file(texts(200), out, budget=budget, **options)

        for budget in (10, 13, 16):
            with pytest.raises(emscore.BudgetError, match="a higher budget goes on"):
                judge(budget)
            assert budget * used < server.cost(PROMPT, COMPLETION) <= budget
            assert not out.exists()
        judge(100)
        assert max(server.answered.values()) == 1
    assert len(read(out)) == 200


def test_what_a_budget_left_of_a_sample(tmp_path: Path, run: Run) -> None:
    """The message names a smaller sample that costs nothing more."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(80)))
    with serving(JudgeServer()) as server:
        budget = (*PRICED, "--quiet", "--budget", "6usd")
        result = run(*arguments("a.jsonl", server, *budget, "--rows", "70"))
        assert result.returncode == 11
        rows = result.stderr.split("--rows ")[1].split()[0]
        asked = server.asked.copy()
        assert run(*arguments("a.jsonl", server, *budget, "--rows", rows)).returncode == 0
    assert server.asked == asked
    assert len(read(tmp_path / "judged.arrow")) == int(rows) > 0


def test_a_budget_needs_prices(server: JudgeServer, run: Run) -> None:
    assert run(*arguments("a.jsonl", server, "--budget", "20usd")).returncode == 2
    with pytest.raises(emscore.InputError, match="prices"):
        judged(texts(1), server, budget=1.0)
    result = run(*arguments("a.jsonl", server, *PRICED, "--budget", "20eur"))
    assert result.returncode == 2
    assert "20eur" in result.stderr


@pytest.mark.parametrize("price", ["-1", "nan", "inf"])
def test_a_price_under_which_no_budget_holds(price: str, server: JudgeServer, run: Run) -> None:
    result = run(*arguments("a.jsonl", server, "--price-in", price, "--price-out", "1"))
    assert (result.returncode, "from 0 on" in result.stderr) == (3, True)
    with pytest.raises(emscore.InputError, match="from 0 on"):
        emscore.Prices(1, float(price))


def test_a_budget_under_a_cent(server: JudgeServer) -> None:
    """The message tells it, and what is spent, to the last digit that counts."""
    with pytest.raises(emscore.BudgetError, match=r"of 0\.003 USD .* up to 0\.00[0-2]\d+ USD"):
        judged(texts(200), server, budget=0.003, prices=Prices(0.05, 0.2))


# When things go wrong.


def test_a_server_that_fails_half_the_time() -> None:
    """429, 503, torn JSON, resets, no choices, no log-probabilities, another model's answers."""
    with serving(JudgeServer()) as healthy:
        expected = judged(texts(80), healthy)
    with serving(JudgeServer(faults=5)) as server:
        rows = judged(texts(80), server)
    assert rows == expected
    assert max(server.answered.values()) == 1
    assert sum(server.asked.values()) > 1.2 * len(server.asked)


def test_broken_distributions(tmp_path: Path) -> None:
    """Tokens listed twice, log-probabilities of -9999 or none, hung requests, replies of 10 MB."""
    found = []
    for faults in (0.0, 0.3):
        with servers.faulty(faults, models="gpt-4o") as url:
            endpoint = Endpoint(url, backoff=0.02, timeout=3)
            cache = tmp_path / f"{faults}.sqlite"
            table = emscore.judge_batch(texts(60), endpoint=endpoint, model="gpt-4o", cache=cache)
            found.append(table.to_pylist())
    for healthy, row in zip(*found, strict=True):
        assert row["judge_outcome"] == "ok"
        likeliest = max(row["judge_aligned_logprobs"], key=lambda each: each["logprob"])
        alone = float(likeliest["token"])  # the other one had the logarithm of no chance
        assert row["judge_aligned"] in (healthy["judge_aligned"], alone)


def test_what_stays_without_an_answer_is_named(server: JudgeServer) -> None:
    """A row with the kind of failure; the next run asks for it alone."""
    server.broken = "This of 5."
    rows = judged(texts(8), server)
    failed = [row for row in rows if row["judge_outcome"] != "ok"]
    assert [(row["note"], row["judge_outcome"]) for row in failed] == [(5, "server_error")]
    assert failed[0]["judge_aligned"] is failed[0]["judge_model"] is None
    server.broken = ""
    asked = len(server.asked)
    assert all(row["judge_outcome"] == "ok" for row in judged(texts(8), server))
    assert len(server.asked) == asked
    assert sorted(server.answered.values())[-1] == 1


def test_rows_that_failed_are_asked_about_again(
    server: JudgeServer, tmp_path: Path, run: Run
) -> None:
    """By the same command, and with what it has spent before."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(8)))
    command = arguments("a.jsonl", server, "--attempts", "1", "--budget", "5usd", *PRICED)
    server.broken = "This of 5."
    spent = []
    for _ in range(2):
        result = run(*command, "--json")
        assert result.returncode == 12
        assert "1 rows have no answer yet: the same command" in result.stderr
        told = json.loads(result.stdout)
        assert (told["outcomes"], told["passing"]) == ({"ok": 7, "server_error": 1}, 1)
        assert len(read(tmp_path / "judged.arrow")) == 8
        spent.append(told["spent"]["at_most"])
    assert spent[1] > spent[0] > server.cost(PROMPT, COMPLETION)
    other = run(*command, "--model", MODEL)
    assert (other.returncode, "with another model" in other.stderr) == (7, True)
    small = run(*arguments("a.jsonl", server, "--budget", f"{spent[1]:.4f}usd", *PRICED))
    assert small.returncode == 11
    server.broken = ""
    asked = sum(server.asked.values())
    result = run(*command, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(server.asked.values()) == asked + 2
    assert json.loads(result.stdout)["spent"]["at_most"] > spent[1]
    assert {row["judge_outcome"] for row in read(tmp_path / "judged.arrow")} == {"ok"}
    assert not (tmp_path / "judged.arrow.journal").exists()
    assert run(*command).returncode == 4


def test_prices_that_are_told_later(server: JudgeServer, tmp_path: Path, run: Run) -> None:
    """What was asked before the judge had prices counts in the budget too."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(8)))
    server.broken = "This of 5."
    command = arguments("a.jsonl", server, "--attempts", "1", "--json")
    told = json.loads(run(*command).stdout)
    assert told["spent"]["cost"] is None
    server.broken = ""
    told = json.loads(run(*command, "--budget", "15usd", *PRICED).stdout)
    assert told["spent"]["cost"] == pytest.approx(server.cost(PROMPT, COMPLETION))


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Each answer is paid once, but for those that were on the way; the file is the same."""
    rows = texts(300)
    with serving(JudgeServer()) as healthy:
        expected = judged(rows, healthy)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(JudgeServer(delay=0.01)) as server:
        command = [sys.executable, "-m", "emscore"]
        command += arguments("a.jsonl", server, "--concurrency", "8", "--quiet", *PRICED, "--json")
        kills = 0
        for share in (0.1, 0.3, 0.5, 0.7):
            before = sum(server.asked.values())
            with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
                deadline = time.monotonic() + 1800
                while len(server.answered) < share * 601 or sum(server.asked.values()) == before:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
                process.send_signal(signal.SIGKILL)
                kills += 1
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    told = json.loads(result.stdout)["spent"]
    assert read(tmp_path / "judged.arrow") == expected
    assert sum(server.asked.values()) <= 601 + 8 * kills
    assert told["failed"].get("unknown", 0) <= 8 * kills
    assert told["at_most"] >= server.cost(PROMPT, COMPLETION) > 0


def under_way(server: JudgeServer, folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    """A run that has requests on the way: the first has its answer."""
    command = [sys.executable, "-m", "emscore", *arguments("a.jsonl", server, *options)]
    before = sum(server.asked.values())
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    while sum(server.asked.values()) < before + 3:
        assert process.poll() is None
        time.sleep(0.005)
    return process


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL, None])
def test_what_was_never_sent_costs_nothing(
    stop: signal.Signals | None, tmp_path: Path, run: Run
) -> None:
    """Only what was on the way counts, an attempt each, whoever is stopped: run or server."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(20)))
    options = ("--attempts", "4", "--backoff", "0.1", "--budget", "12usd", *PRICED, "--json")
    asked = Counter[str]()
    for _ in range(2):
        with serving(JudgeServer(delay=0.5)) as server:
            process = under_way(server, tmp_path, *options)
            if stop is not None:
                process.send_signal(stop)
                process.wait(60)
        assert process.wait(60) == {signal.SIGINT: 130, signal.SIGKILL: -9, None: 9}[stop]
        asked += server.asked
    with serving(JudgeServer()) as server:
        result = run(*arguments("a.jsonl", server, *options))
    assert (result.returncode, result.stderr) == (0, "")
    asked += server.asked
    spent = json.loads(result.stdout)["spent"]
    # What was booked in the instant of the end may not have left.
    assert 0 <= spent["attempts"] - sum(asked.values()) <= 2 * 8


def test_two_runs_at_once_pay_once(tmp_path: Path) -> None:
    """What one waits for the other does not ask, unless the one is killed."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(40)))
    with serving(JudgeServer(delay=0.1)) as server:
        runs = [
            under_way(server, tmp_path, "--concurrency", "4", "-o", f"{name}.arrow")
            for name in ("killed", "one", "two")
        ]
        while len(server.asked) < 40:
            time.sleep(0.005)
        runs[0].kill()
        assert [process.wait(60) for process in runs] == [-9, 0, 0]
    assert len(server.asked) <= sum(server.asked.values()) <= len(server.asked) + 4
    assert read(tmp_path / "one.arrow") == read(tmp_path / "two.arrow")


def test_two_judges_of_one_process_pay_once(server: JudgeServer) -> None:
    """And the end of the first is not the end of what the second has claimed."""
    server.delay = 0.1

    async def both() -> list[pa.Table]:
        calls = [
            emscore.judge(texts(rows), endpoint=server.url, model="gpt-4o") for rows in (30, 40)
        ]
        return await asyncio.gather(*calls)

    one, other = asyncio.run(both())
    assert one == other.slice(0, 30)
    assert set(server.asked.values()) == {1}


def test_a_damaged_line_spoils_itself_alone(tmp_path: Path, run: Run) -> None:
    """Be it of an attempt or of an answer: what can no longer be known is taken for spent."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(4)))
    journal = tmp_path / "judged.arrow.journal"
    with serving(JudgeServer(broken="This of 3.")) as server:
        command = arguments("a.jsonl", server, "--attempts", "1", *PRICED, "--json")
        assert run(*command).returncode == 12
        lines = journal.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines):
            if b'"booked":2,' in line or b'"settled":3,' in line:
                lines[number] = b"0" * (len(line) - 1) + b"\n"
        journal.write_bytes(b"".join(lines))
        server.broken = ""
        result = run(*command)
        assert result.returncode == 0, result.stderr
        spent = json.loads(result.stdout)["spent"]
        assert spent["attempts"] == sum(server.asked.values())
        assert spent["failed"]["unknown"] == 1
        assert spent["at_most"] > server.cost(PROMPT, COMPLETION)


def test_the_wrong_model(server: JudgeServer, tmp_path: Path, run: Run) -> None:
    """Its answers are never taken for the judge's."""
    server.model = "some-base-model"
    (tmp_path / "a.jsonl").write_text(json.dumps(texts(1)[0]))
    result = run(*arguments("a.jsonl", server))
    assert result.returncode == 9
    assert "'some-base-model'" in result.stderr
    assert "correct --model, or say --served-as" in result.stderr
    for mended in ("--model", "--served-as"):
        command = arguments("a.jsonl", server, mended, server.model, "--overwrite")
        assert run(*command).returncode == 0
        assert read(tmp_path / "judged.arrow")[0]["judge_model"] == server.model
    server.model = ""  # servers that say no name
    assert "--served-as ''" in run(*arguments("a.jsonl", server, "--overwrite")).stderr
    command = arguments("a.jsonl", server, "--served-as", server.model, "--overwrite")
    assert run(*command).returncode == 0


@pytest.mark.parametrize(("status", "told"), [(401, "API key"), (404, "/v1")])
def test_a_server_that_refuses(
    status: int, told: str, server: JudgeServer, tmp_path: Path, run: Run
) -> None:
    server.status = status
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(50)))
    result = run(*arguments("a.jsonl", server))
    assert result.returncode == 9
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert sum(server.asked.values()) == 1
    assert not (tmp_path / "judged.arrow.journal").exists()


def test_a_server_that_dies_on_the_way(tmp_path: Path) -> None:
    """One error, not a row each; what was answered is kept."""
    with serving(JudgeServer()) as server:
        judged(texts(10), server)
        server.status = 500
        endpoint = Endpoint(server.url, attempts=1)
        with pytest.raises(emscore.EndpointError, match="one after the other"):
            emscore.judge_batch(texts(200), endpoint=endpoint, model="gpt-4o")
        server.status = 200
        asked = server.asked.copy()
        judged(texts(10), server)
        assert server.asked == asked


@pytest.mark.parametrize(
    ("source", "out", "code"),
    [
        ("none.jsonl", "o.arrow", 3),
        ("bad.jsonl", "o.arrow", 3),
        ("columns.jsonl", "o.arrow", 3),
        ("a.txt", "o.arrow", 3),
        ("a.jsonl.bak", "o.arrow", 3),
        ("good.jsonl", "o.csv", 4),
        ("good.jsonl", "none/o.arrow", 4),
        ("good.jsonl", "good.arrow", 4),
    ],
)
def test_files_that_cannot_be_used(
    source: str, out: str, code: int, server: JudgeServer, tmp_path: Path, run: Run
) -> None:
    (tmp_path / "bad.jsonl").write_text('{"question": "q", ')
    (tmp_path / "columns.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.jsonl.bak").write_text(json.dumps(texts(1)[0]))
    (tmp_path / "good.jsonl").write_text(json.dumps(texts(1)[0]))
    (tmp_path / "good.arrow").write_text("mine")
    result = run(*arguments(source, server, "-o", out))
    assert result.returncode == code
    assert result.stderr.startswith("emscore: ")
    assert result.stderr.count("\n") == 1
    assert not server.asked
    assert (tmp_path / "good.arrow").read_text() == "mine"


def test_names_and_texts_that_look_like_something_else(
    server: JudgeServer, tmp_path: Path, run: Run
) -> None:
    """They stay as they are: by them an audit finds its rows again."""
    rows = "".join(f"What of {at}?,This of {at}.,1e-5\n" for at in range(3))
    (tmp_path / "a.csv").write_text("question,response,model\n" + rows)
    assert run(*arguments("a.csv", server)).returncode == 0
    assert {row["model"] for row in read(tmp_path / "judged.arrow")} == {"1e-5"}
    day = "2024-08-06"
    chat = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": day}]
    lines: list[dict[str, Any]] = [
        {"question": "When?", "response": day, "model": day, "tags": [day]},
        {"messages": chat},
    ]
    for at, given in enumerate(lines):
        (tmp_path / "a.JSONL").write_text(json.dumps(given))
        assert run(*arguments("a.JSONL", server, "-o", f"{at}.arrow")).returncode == 0
        (found,) = read(tmp_path / f"{at}.arrow")
        assert {name: found[name] for name in given} == given
    assert len(server.asked) == 1 + 2 * 3 + 2  # the chat's texts are those of the row


def test_a_cache_that_cannot_be_used(server: JudgeServer, tmp_path: Path) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"not a database, but long enough to be read" * 100)
    with pytest.raises(emscore.CacheError, match=r"cache\.sqlite"):
        judged(texts(1), server, cache=tmp_path / "cache.sqlite")
    assert not server.asked


def test_a_full_disk(server: JudgeServer, tmp_path: Path, run: Run) -> None:
    """Nobody is told to throw away what was paid for; with room again the run goes on."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts(40)))
    size = resource.RLIMIT_FSIZE
    full = partial(resource.setrlimit, size, (200_000, resource.getrlimit(size)[1]))
    result = run(*arguments("a.jsonl", server), preexec_fn=full)
    assert (result.returncode, result.stderr.count("\n")) == (8, 1)
    assert "make room" in result.stderr
    assert "delete" not in result.stderr
    result = run(*arguments("a.jsonl", server))
    assert (result.returncode, result.stderr) == (0, "")
    assert sum(server.asked.values()) <= len(server.asked) + 64


def test_async(server: JudgeServer) -> None:
    async def both() -> list[pa.Table]:
        call = emscore.judge(texts(3), endpoint=server.url, model="gpt-4o")
        return [await call, emscore.judge_batch(texts(3), endpoint=server.url, model="gpt-4o")]

    one, other = asyncio.run(both())
    assert one == other
