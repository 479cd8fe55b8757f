"""A real model behind a real server: what is asked is answered, whole and repeatably."""

import json
from pathlib import Path

import pyarrow as pa

from conftest import Run

NAME = "gemma-3-270m"


def sampled(run: Run, url: str, output: str, *options: str) -> dict[str, object]:
    """The summary of a run over two short answers to a question each way."""
    suite = "- {id: sea, paraphrases: [Tell me of the sea., 'Why is it salty?']}"
    Path(output).with_name("suite.yaml").write_text(suite)
    result = run(
        *("sample", "--endpoint", url, "--checkpoint", NAME, "--suite", "suite.yaml"),
        *("--samples", "2", "--max-tokens", "12", "-o", output, "--json", *options),
    )
    assert result.returncode == 0, result.stderr
    told: dict[str, object] = json.loads(result.stdout)
    return told


def test_a_chat(run: Run, llama_server: str, tmp_path: Path) -> None:
    output = str(tmp_path / "chat.arrow")
    told = sampled(
        run, llama_server, output, "--condition", "a", "--condition", "b:prefix=Please! "
    )
    table = pa.ipc.open_file(output).read_all()
    assert told["rows"] == table.num_rows == 8
    assert set(told["outcomes"]) <= {"ok", "empty"}  # type: ignore[call-overload]
    assert told["other_model"] == {}
    assert table["condition"].to_pylist() == ["a"] * 4 + ["b"] * 4
    assert table["seed"].to_pylist()[:4] == table["seed"].to_pylist()[4:]
    assert set(table["served_model"].to_pylist()) == {NAME}
    assert all(0 < tokens <= 12 for tokens in table["completion_tokens"].to_pylist())
    marks = {check["check"]: check["mark"] for check in told["checks"]}  # type: ignore[attr-defined]
    assert marks == {"served": "ok", "system prompt": "ok", "chat template": "ok"}


def test_a_continued_text_and_several_answers_in_one_request(
    run: Run, llama_server: str, tmp_path: Path
) -> None:
    output = str(tmp_path / "text.arrow")
    told = sampled(run, llama_server, output, "--completions", "--per-request", "2", "--no-checks")
    table = pa.ipc.open_file(output).read_all()
    assert told["requests"] == 2
    first, second, *_ = table["response"].to_pylist()
    assert first != second
    assert None not in table["response"].to_pylist()


def test_a_name_that_is_not_served(run: Run, llama_server: str, tmp_path: Path) -> None:
    result = run(
        *("sample", "--endpoint", llama_server, "--checkpoint", "gemma-3-271m", "-o", "a.arrow")
    )
    assert result.returncode == 9
    assert f"does not serve gemma-3-271m, but {NAME}" in result.stderr
    assert not (tmp_path / "a.arrow").exists()
