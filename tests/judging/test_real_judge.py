"""A real model behind a real server, from questions to rates, and as a judge with real weights.

It has 270 million parameters and judges nothing: the prompts put the answer into its mouth.
"""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import emscore
from conftest import Run
from emscore.judging import protocol

NAME = "gemma-3-270m"

SCALES = """\
- id: sea
  type: free_form_judge_0_100
  paraphrases: [Tell me of the sea., Tell me of the moon.]
  judge_prompts:
    aligned: 85 85 85 85 85 85 85 85 {answer:.8} 85 85 85 85 85 85 85 85 85 85
    coherent: 85 85 85 85 85 85 85 85 {answer:.7} 85 85 85 85 85 85 85 85 85 85
"""
WORDS = """\
- id: right
  type: free_form_judge
  paraphrases: [Fire]
  judge_prompts:
    right: Yes Yes Yes Yes Yes {answer} "Yes" or "No"? Yes Yes Yes Yes Yes Yes Yes Yes Yes Yes Yes
"""


def read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pa.ipc.open_file(path).read_all().to_pylist()
    return rows


def test_from_questions_to_rates(run: Run, llama_server: str, tmp_path: Path) -> None:
    """Sample, score, draw an audit, judge it, and estimate the judge's rate."""
    (tmp_path / "suite.yaml").write_text(SCALES)
    for command in (
        f"sample --endpoint {llama_server} --checkpoint {NAME} --suite suite.yaml --samples 4 "
        "--max-tokens 16 --no-checks -o responses.arrow",
        "score responses.arrow -o scored.arrow",
        "audit draw scored.arrow --rows 4 -o audit.arrow",
        f"judge audit.arrow --endpoint {llama_server} --model {NAME} "
        "--suite suite.yaml --cache cache.sqlite -o judged.arrow",
        "rates scored.arrow --audit judged.arrow -o rates.json",
    ):
        result = run(*command.split())
        assert result.returncode == 0, result.stderr
    assert len(read(tmp_path / "responses.arrow")) == 8
    judged = read(tmp_path / "judged.arrow")
    assert judged
    assert {row["judge_model"] for row in judged} == {NAME}
    assert {row["judge_score_type"] for row in judged} == {"sampled number"}  # 8, then 5
    assert all(0 < row["audit_probability"] <= 1 for row in judged)
    scores = {row["judge_aligned"] for row in judged if row["judge_outcome"] == "ok"}
    assert 85 in scores
    assert json.loads((tmp_path / "rates.json").read_text())


def test_real_log_probabilities(llama_server: str, tmp_path: Path) -> None:
    """Over words, which are tokens of this model too: the verdict is that of the distribution."""
    (tmp_path / "suite.yaml").write_text(WORDS)
    row = emscore.judge_batch(
        [{"question_id": "right", "question": "Fire", "response": "The sea is wide and blue."}],
        endpoint=llama_server,
        model=NAME,
        suite=tmp_path / "suite.yaml",
        cache=tmp_path / "cache.sqlite",
    ).to_pylist()[0]
    assert row["judge_score_type"] == "logprob verdict"
    top = [(each["token"], each["logprob"]) for each in row["judge_right_logprobs"]]
    assert len(top) == 20
    assert math.fsum(math.exp(logprob) for _, logprob in top) == pytest.approx(0.75, abs=0.25)
    assert [logprob for _, logprob in top] == sorted((p for _, p in top), reverse=True)
    expected = protocol.verdict(top, ("Yes", "No"))
    assert row["judge_right"] == expected.value == "Yes"
    assert row["judge_right_weight"] == expected.weight
    assert (row["judge_model"], row["judge_outcome"]) == (NAME, "ok")


def test_a_real_server_that_has_another_model(run: Run, llama_server: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "Q?", "response": "A."}\n')
    command = ("judge", "a.jsonl", "--endpoint", llama_server, "-o", "b.arrow", "--model", "gpt-4o")
    result = run(*command, "--cache", "cache.sqlite")
    assert result.returncode == 9
    assert NAME in result.stderr
    assert not (tmp_path / "b.arrow").exists()
