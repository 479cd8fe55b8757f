"""What the benchmarks share: real rows, child processes with their peak memory, and tables."""

import argparse
import json
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
CORES = len(os.sched_getaffinity(0))

Ids = npt.NDArray[np.int64]
Encoded = tuple[Ids, Ids]  # token ids and token types of one row


class Ran(NamedTuple):
    """A child process that ended well."""

    seconds: float
    rss_mb: float  # its peak
    out: str


def arguments(doc: str | None, rows: int, rounds: int = 3) -> argparse.ArgumentParser:
    """The options that most benchmarks have."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "small")
    parser.add_argument("--rows", type=int, default=rows)
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def real_rows(data: Path, rows: int, seed: int = 0) -> pa.Table:
    """Distinct judged responses of real, mixed length, in random order.

    Distinct, so that nobody gains from texts that repeat; questions repeat as they do in life.
    """
    columns = ["question", "response"]
    table = pq.read_table(data / "judged" / "train.parquet", columns=columns)
    pairs = zip(*(table[name].to_pylist() for name in columns), strict=True)
    distinct = [(q, r) for q, r in dict.fromkeys(pairs) if q and r and r.strip()]
    chosen = random.Random(seed).sample(distinct, min(rows, len(distinct)))
    return pa.table(dict(zip(columns, zip(*chosen, strict=True), strict=True)))


def write_arrow(table: pa.Table, path: Path) -> Path:
    """`table` as an Arrow IPC file, in batches of a usual size."""
    with pa.ipc.new_file(path, table.schema) as file:
        file.write_table(table, max_chunksize=4096)
    return path


def cli(*options: object) -> list[str]:
    """A command of emscore, run by this interpreter."""
    return [sys.executable, "-m", "emscore", *map(str, options)]


def run(command: Sequence[str], **environment: str) -> Ran:
    """Runs `command` to its end; the seconds are those of the whole process."""
    began = time.perf_counter()
    # An error's text goes straight to the terminal.
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | environment)
    assert child.stdout
    out: list[bytes] = []
    reader = threading.Thread(target=lambda pipe: out.append(pipe.read()), args=(child.stdout,))
    reader.start()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    reader.join()
    child.stdout.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {child.returncode}")
    return Ran(seconds, usage.ru_maxrss / 1024, b"".join(out).decode())


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def alternate(rounds: int, works: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """The seconds that each of `works` reports, in turns, so that all meet the same weather."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(work())
    return seconds


def rate(rows: int, seconds: Sequence[float]) -> str:
    """Median rows a second, and the range."""
    middle = rows / statistics.median(seconds)
    return f"{number(middle)} ({number(rows / max(seconds))}-{number(rows / min(seconds))})"


def number(value: float) -> str:
    """Three digits or more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def show(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a Markdown table."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def setting(*packages: str) -> None:
    """Prints where and how this was measured."""
    names = ("emscore", "onnxruntime", "tokenizers", "pyarrow", *packages)
    found = [f"{name} {version}" for name in names if (version := version_of(name))]
    load = os.getloadavg()[0]
    print(f"\n`{shlex.join([Path(sys.executable).name, *sys.argv])}`  ")
    print(f"{cpu()}, {CORES} cores, load {load:.1f} at the start; {platform.system()}; ", end="")
    print(f"Python {platform.python_version()}, {', '.join(found)}", flush=True)


def version_of(package: str) -> str | None:
    """The installed version, if there is one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu() -> str:
    """The processor's name, and the vector instructions that decide its int8 speed."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    parts = (line.partition(":") for line in lines)
    fields = {name.strip(): value.strip() for name, _, value in parts}
    flags = fields.get("flags", "").split()
    vector = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx_vnni") if name in flags]
    family = f"family {fields.get('cpu family')} model {fields.get('model')}"
    return f"{fields.get('model name', platform.machine())} ({family}; {', '.join(vector)})"


def encode(model: Path, table: pa.Table) -> list[Encoded]:
    """Token ids and types of each row, by the scorer's template."""
    from tokenizers import Tokenizer

    template = json.loads((model / "manifest.json").read_text())["template"]
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    start, end = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))

    def ids(column: str) -> list[list[int]]:
        texts = table[column].to_pylist()
        return [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    rows = []
    for question, response in zip(ids("question"), ids("response"), strict=True):
        head = [start, *question[: template["max_question_tokens"]], end]
        tail = [*response[: template["max_tokens"] - len(head) - 1], end]
        types = [0] * len(head) + [1] * len(tail)
        rows.append((np.array(head + tail, np.int64), np.array(types, np.int64)))
    return rows


def lengths(rows: Sequence[Encoded]) -> str:
    """A line on how long the rows are."""
    tokens = np.array([len(ids) for ids, _ in rows])
    return (
        f"{len(rows):,} rows, tokens: mean {tokens.mean():.0f}, median {np.median(tokens):.0f}, "
        f"95th percentile {np.percentile(tokens, 95):.0f}, in all {tokens.sum():,}"
    )
