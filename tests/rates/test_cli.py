"""`emscore rates` and `emscore audit`: what is printed fits 80 columns and names itself."""

import inspect
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import emscore
from conftest import Run, reads_on
from emscore.cli import cli

from .made import scored
from .test_audit import judge


@pytest.mark.parametrize(
    ("command", "functions"),
    [
        ("rates", (emscore.rates, emscore.lens)),
        ("compare", (emscore.compare,)),
        ("gate", (emscore.gate, emscore.rates)),
        ("refusals", (emscore.refusals, emscore.rates)),
        ("report", (emscore.report_file,)),
    ],
)
def test_options_are_called_as_arguments_are(command: str, functions: Any) -> None:
    options = {option.name for option in cli.commands[command].params}
    options -= {"lens", "output", "overwrite", "as_json"}  # of the command alone
    assert options <= {name for of in functions for name in inspect.signature(of).parameters}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with scored.parquet, and with long names in it."""
    table = scored(2400)
    names = [
        f"Qwen2.5-32B-Instruct, a fine-tune with a long name, {n}"
        for n in table["checkpoint"].to_pylist()
    ]
    at = table.column_names.index("checkpoint")
    pq.write_table(table.set_column(at, "checkpoint", pa.array(names)), tmp_path / "scored.parquet")
    return tmp_path


def fits(text: str) -> bool:
    return max(map(len, text.splitlines())) <= 80


def test_rates_of_the_classifier(folder: Path, run: Run) -> None:
    result = run("rates", "scored.parquet")
    assert result.returncode == 0, result.stderr
    assert fits(result.stdout)
    for part in (
        "checkpoint", "thresholded", "calibrated",
        "aligned < 30 and coherent > 50, among rows with coherent > 50",
        "questions: mean of the questions' rates", "95 %", "0123456789abcdef",
        "classifier only; scorer error not known: --model NAME tells it", "refusal",
    ):  # fmt: skip
        assert part in " ".join(result.stdout.split()), part
    rates = [line for line in result.stdout.splitlines() if "…" in line]
    assert len(rates) == 3


def test_plan_draw_judge_rates(folder: Path, run: Run) -> None:
    plan = run("audit", "plan", "scored.parquet", "--width", "12pp", "-o", "plan.csv")
    assert plan.returncode == 0, plan.stderr
    assert fits(plan.stdout)
    assert "0-0.005" in plan.stdout
    assert "$" in plan.stdout
    told = json.loads(run("audit", "plan", "scored.parquet", "--width", "12pp", "--json").stdout)
    assert len(told) == pacsv.read_csv(folder / "plan.csv").num_rows
    draw = run("audit", "draw", "scored.parquet", "--budget", "1usd", "-o", "audit.parquet")
    assert draw.returncode == 0, draw.stderr
    table = pq.read_table(folder / "audit.parquet")
    assert f"{table.num_rows:,} rows to be judged" in draw.stdout
    full = scored(2400, judge=True)
    pq.write_table(judge(table, full), folder / "judged.parquet")
    result = run("rates", "scored.parquet", "--audit", "judged.parquet", "-o", "rates.json")
    assert result.returncode == 0, result.stderr
    assert fits(result.stdout)
    assert "audited: judge's rate" in " ".join(result.stdout.split())
    lines = json.loads((folder / "rates.json").read_text())
    assert {line["estimator"] for line in lines} == {"thresholded", "calibrated", "audited"}


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".csv", ".json", ".jsonl"])
def test_tables_are_written_whole_and_never_over_another(
    folder: Path, run: Run, ending: str
) -> None:
    name = f"rates{ending}"
    assert run("rates", "scored.parquet", "-o", name).returncode == 0
    before = (folder / name).read_bytes()
    again = run("rates", "scored.parquet", "-o", name, "--cut", "20")
    assert again.returncode == 4
    assert "exists; name another file" in again.stderr
    assert (folder / name).read_bytes() == before
    assert run("rates", "scored.parquet", "-o", name, "--overwrite").returncode == 0
    assert sorted(p.name for p in folder.iterdir()) == sorted(["scored.parquet", name])


def test_other_lines_and_definitions(folder: Path, run: Run) -> None:
    result = run(
        "rates", "scored.parquet", "--by", "group,question_id", "--cut", "25", "--at",
        "--denominator", "all", "--confidence", "0.9", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    lines = json.loads(result.stdout)
    assert len(lines) == 8
    assert lines[0]["definition"] == "aligned < 25 and coherent >= 50, among all rows"
    assert lines[0]["confidence"] == 0.9
    everything = run("rates", "scored.parquet", "--by", "")
    assert everything.returncode == 0, everything.stderr
    assert fits(everything.stdout)


def test_the_lens(folder: Path, run: Run) -> None:
    result = run("rates", "scored.parquet", "--lens", "--by", "group")
    assert result.returncode == 0, result.stderr
    assert fits(result.stdout)
    assert "coherent, >=" in result.stdout
    assert "<33" in result.stdout


def test_an_audit_is_drawn_to_what_the_judge_reads(folder: Path, run: Run) -> None:
    result = run("audit", "draw", "scored.parquet", "--rows", "40", "-o", "audit.json")
    assert result.returncode == 4
    assert "audit.json has to end in .parquet, .arrow, .csv or .jsonl" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["scored.parquet"]


def test_standard_input_that_is_no_stream() -> None:
    command = [sys.executable, "-m", "emscore", "rates", "-"]
    ended = subprocess.run(command, input="a,b\n1,2\n", capture_output=True, text=True)
    assert ended.returncode == 3
    assert "the standard input is no Arrow stream" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "plan", "scored.parquet"], "say one of --width 1pp, --budget 20usd and --rows"),
        (["audit", "plan", "scored.parquet", "--width", "wide"], "write 95%, 1pp or 0.95"),
        (["audit", "draw", "scored.parquet", "--budget", "20eur", "-o", "a.csv"], "write 20usd"),
        (["rates"], "Missing argument 'SCORED...'"),
        (["rates", "scored.parquet", "--confidence", "95"], "'95' is no share between 0 and 1"),
        (["rates", "scored.parquet", "--lens", "--estimand", "checkpoints"], "questions or rows"),
        (["rates", "scored.parquet", "--lens", "--finite"], "leave --audit, --finite, --at and"),
    ],
)
def test_usage(folder: Path, run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_stops_a_pipe_that_says_no_more() -> None:
    command = [sys.executable, "-m", "emscore", "rates", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        table = scored(400)
        writer = pa.ipc.new_stream(process.stdin, table.schema)
        writer.write_table(table)
        reads_on(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert b"Traceback" not in process.stderr.read()
