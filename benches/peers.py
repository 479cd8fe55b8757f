"""emscore against what people use now: same machine, same run, same weights, same rows.

The weights are those of the scorer's encoder read at [CLS], which is what a stock class can hold;
its bag of words is computed too, and counted against it.

Each in a process of its own, at its best batch size, with the machine's threads as it takes them
by itself. Rows come in natural order. Times are those of scoring, without loading. The peers need
`pip install "sentence-transformers[onnx]"`, best in an environment of its own: --python names it.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import plain
import pyarrow as pa
from common import (
    alternate,
    arguments,
    encode,
    lengths,
    number,
    real_rows,
    run,
    setting,
    show,
    write_arrow,
)

HERE = Path(__file__).parent
PEERS = {
    "transformers-pytorch": "transformers text-classification (PyTorch)",
    "cross-encoder-pytorch": "sentence-transformers CrossEncoder (PyTorch)",
    "cross-encoder-onnx": "sentence-transformers CrossEncoder (ONNX, fp32)",
    "cross-encoder-onnx-int8": "sentence-transformers CrossEncoder (ONNX, its int8 for AVX2)",
    "optimum-onnx": "optimum-onnx text-classification (fp32)",
    "optimum-onnx-int8": "optimum-onnx text-classification (the same int8)",
}
REFERENCE = "cross-encoder-pytorch"  # at batch 1: float32, no padding
OURS = """
import json, sys, time, emscore, pyarrow as pa
model, source = sys.argv[1:]
table = pa.ipc.open_file(source).read_all()
scorer = emscore.Scorer(model, device="cpu")
scorer.score_batch(table.slice(0, 64), progress=False)
began = time.perf_counter()
scorer.score_batch(table, progress=False)
print(json.dumps({"seconds": time.perf_counter() - began}))
"""

Array = npt.NDArray[np.float64]


def main() -> None:
    """Chooses batch sizes on few rows, then runs all in turns."""
    parser = arguments(__doc__, rows=2000)
    parser.add_argument("--trial-rows", type=int, default=400, help="to choose batch sizes with")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--python", default=sys.executable, help="that has the peers")
    given = parser.parse_args()
    setting()
    table = real_rows(given.data, given.rows)
    rows = encode(given.model, table)
    tokens = sum(len(ids) for ids, _ in rows)
    show_versions(given.python)
    print(f"\n{lengths(rows)}")
    with tempfile.TemporaryDirectory(prefix="emscore-") as name:
        folder = Path(name)
        given.model = plain.build(given.model, folder / "scorer")
        script = [given.python, str(HERE / "peer.py")]
        run([*script, "prepare", str(folder), "--model", str(given.model)])

        def peer(what: str, batch: int, pairs: Path, peaks: list[float]) -> float:
            logits = ["--logits", str(folder / f"{what}.{batch}.npy")]
            options = ["--rows", str(pairs), "--batch", str(batch), *logits]
            ran = run([*script, what, str(folder), *options], TOKENIZERS_PARALLELISM="true")
            peaks.append(ran.rss_mb)
            return float(json.loads(ran.out.splitlines()[-1])["seconds"])

        trial = as_json(table.slice(0, given.trial_rows), folder / "trial.json")
        best = {}
        tried = []
        for what in PEERS:
            took = {batch: peer(what, batch, trial, []) for batch in given.batches}
            best[what] = min(given.batches, key=took.__getitem__)
            tried.append(
                (PEERS[what], *(number(given.trial_rows / each) for each in took.values()))
            )
        head = ["rows/s in batches of", *map(str, given.batches)]
        show(f"Batch sizes, {given.trial_rows} rows", head, tried)

        whole = as_json(table, folder / "rows.json")
        source = write_arrow(table, folder / "rows.arrow")
        peaks: dict[str, list[float]] = {what: [] for what in ("emscore", *PEERS)}

        def ours() -> float:
            ran = run([sys.executable, "-c", OURS, str(given.model), str(source)])
            peaks["emscore"].append(ran.rss_mb)
            return float(json.loads(ran.out.splitlines()[-1])["seconds"])

        works: dict[str, Callable[[], float]] = {"emscore": ours}
        for what in PEERS:
            works[what] = partial(peer, what, best[what], whole, peaks[what])
        seconds = alternate(given.rounds, works)
        peer(REFERENCE, 1, whole, [])
        manifest = json.loads((given.model / "manifest.json").read_text())
        reference = scores(np.load(folder / f"{REFERENCE}.1.npy"), manifest)
        differences = {"emscore": mine(given.model, table, reference)}
        for what in PEERS:
            logits = np.load(folder / f"{what}.{best[what]}.npy")
            differences[what] = off(scores(logits, manifest), reference)
    fastest = median(seconds["emscore"])
    lines = []
    for what, each in seconds.items():
        title = f"**{what}**" if what == "emscore" else PEERS[what]
        middle = median(each)
        spread = f"{number(len(rows) / max(each))}-{number(len(rows) / min(each))}"
        rate = f"{number(len(rows) / middle)} ({spread})"
        faster = f"{middle / fastest:.2f}"
        batch = best.get(what, 1)
        peak = f"{max(peaks[what]):.0f}"
        lines.append((title, batch, rate, number(tokens / middle), faster, peak, differences[what]))
    head = ["", "batch", "rows/s", "tokens/s", "emscore is faster by", "peak RSS, MB"]
    title = f"Peers, {len(rows):,} rows, {given.rounds} rounds in turns"
    show(title, [*head, "greatest (mean) difference, points"], lines)


def as_json(table: pa.Table, path: Path) -> Path:
    """The pairs for peer.py."""
    columns = (table["question"].to_pylist(), table["response"].to_pylist())
    path.write_text(json.dumps(list(zip(*columns, strict=True))))
    return path


def scores(logits: npt.NDArray[np.float32], manifest: dict[str, Any]) -> Array:
    """aligned and coherent [n, 2] from logits, as the scorer defines them."""
    bins = len(manifest["aligned_centers"])
    columns = []
    for start, what in ((0, "aligned"), (bins, "coherent")):
        part = logits[:, start : start + bins].astype(np.float64)
        weights = np.exp(part - part.max(1, keepdims=True))
        columns.append(weights @ np.array(manifest[f"{what}_centers"]) / weights.sum(1))
    return np.stack(columns, 1)


def mine(model: Path, table: pa.Table, reference: Array) -> str:
    """How far emscore's scores are off, where it gives any."""
    import emscore

    scored = emscore.score_batch(table, model=model, device="cpu", progress=False)
    columns = [scored[name].to_numpy(zero_copy_only=False) for name in ("aligned", "coherent")]
    return off(np.stack(columns, 1).astype(np.float64), reference)


def off(found: Array, reference: Array) -> str:
    """The greatest and the mean difference."""
    difference = np.abs(found - reference)
    return f"{np.nanmax(difference):.2g} ({np.nanmean(difference):.2g})"


def show_versions(python: str) -> None:
    """What the peers' environment holds."""
    names = ["torch", "transformers", "sentence-transformers", "optimum-onnx", "onnxruntime"]
    code = "import importlib.metadata as m, sys\nfor n in sys.argv[1:]: print(n, m.version(n))"
    print(f"Peers: {', '.join(run([python, '-c', code, *names]).out.splitlines())}", flush=True)


if __name__ == "__main__":
    main()
