"""How much of the machine the pipeline leaves to the network.

`emscore score`, file in and file out, against the fastest bare loop of ONNX Runtime sessions over
the same rows, already tokenised, on the same cores. The loops: one session on all cores, or a
single-threaded session a core; batches of several sizes, of rows sorted by length. Batches are
padded and the int8 network takes no mask, and rows of one batch are quantised together: what it
answers to them is wrong, only the time counts. So there are two measures: the fastest loop of all,
and the fastest that answers right, one row a run.
"""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from common import (
    CORES,
    Encoded,
    Ids,
    alternate,
    arguments,
    cli,
    encode,
    lengths,
    rate,
    real_rows,
    run,
    setting,
    show,
    timed,
    write_arrow,
)

import emscore

BATCHES = (1, 2, 4, 8, 32)

Feed = dict[str, Ids]


class Loop(NamedTuple):
    """A way to run a network over many rows."""

    sessions: int
    threads: int  # of each session
    batch: int

    def __str__(self) -> str:
        sessions = "1 session" if self.sessions == 1 else f"{self.sessions} sessions"
        return f"{sessions} of {self.threads} threads, batches of {self.batch}"


def feeds(rows: list[Encoded], batch: int) -> list[Feed]:
    """Arrays to run: batches of rows of like length, padded; the longest first."""
    if batch > 1:
        rows = sorted(rows, key=lambda row: -len(row[0]))
    made = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        shape = (len(part), max(len(ids) for ids, _ in part))
        ids, types, mask = (np.zeros(shape, np.int64) for _ in range(3))
        for at, (row_ids, row_types) in enumerate(part):
            ids[at, : len(row_ids)], types[at, : len(row_types)] = row_ids, row_types
            mask[at, : len(row_ids)] = 1
        made.append({"input_ids": ids, "token_type_ids": types, "attention_mask": mask})
    return made


class Bare:
    """A loop made ready: sessions warm, arrays in memory."""

    def __init__(self, model: Path, rows: list[Encoded], loop: Loop) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = loop.threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # faster here, as each length would have its own
        self.sessions = [
            ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            for _ in range(loop.sessions)
        ]
        takes = {each.name for each in self.sessions[0].get_inputs()}
        self.feeds = [
            {name: array for name, array in feed.items() if name in takes}
            for feed in feeds(rows, loop.batch)
        ]

    def seconds(self) -> float:
        """Time for all rows."""

        def work() -> None:
            left = iter(self.feeds)
            lock = threading.Lock()
            each = [
                threading.Thread(target=drain, args=(session, left, lock))
                for session in self.sessions
            ]
            for thread in each:
                thread.start()
            for thread in each:
                thread.join()

        return timed(work)


def drain(session: Any, left: Iterator[Feed], lock: threading.Lock) -> None:
    """Runs what is left, one after the other."""
    while True:
        with lock:
            feed = next(left, None)
        if feed is None:
            return
        session.run(None, feed)


def main() -> None:
    """Chooses the fastest bare loops, then runs them and emscore in turns."""
    parser = arguments(__doc__, rows=6000)
    parser.add_argument("--trial-rows", type=int, default=600, help="to choose a bare loop with")
    given = parser.parse_args()
    setting()
    table = real_rows(given.data, given.rows)
    rows = encode(given.model, table)
    print(f"\n{lengths(rows)}")
    network = given.model / "model.int8.onnx"

    layouts = {(1, CORES), (CORES, 1)}
    loops = [Loop(*layout, batch) for layout in sorted(layouts) for batch in BATCHES]
    trial = rows[: given.trial_rows]
    tried = {str(loop): Bare(network, trial, loop).seconds for loop in loops}
    trials = alternate(2, tried)
    show(
        f"Bare loops, {len(trial):,} rows",
        ["loop", "rows/s"],
        [(name, rate(len(trial), seconds)) for name, seconds in trials.items()],
    )
    order = sorted(loops, key=lambda loop: min(trials[str(loop)]))
    right = next(loop for loop in order if loop.batch == 1)
    best = dict.fromkeys([order[0], right])

    with tempfile.TemporaryDirectory(prefix="emscore-") as name:
        source = write_arrow(table, Path(name) / "rows.arrow")
        output = Path(name) / "scored.arrow"
        options = ["-o", output, "--model", given.model, "--device", "cpu", "--overwrite"]
        scorer = emscore.Scorer(given.model, device="cpu")
        scorer.score_batch(table.slice(0, 64))

        def in_process() -> float:
            return timed(lambda: scorer.score_file(source, output, overwrite=True, progress=False))

        works: dict[str, Callable[[], float]] = {
            f"bare: {loop}": Bare(network, rows, loop).seconds for loop in best
        }
        works["`emscore score`, the whole process"] = lambda: (
            run(cli("score", source, *options, "--quiet")).seconds
        )
        works["`Scorer.score_file`, sessions warm"] = in_process
        os.sync()
        seconds = alternate(given.rounds, works)
    fastest = min(float(np.median(seconds[f"bare: {loop}"])) for loop in best)
    alone = float(np.median(seconds[f"bare: {right}"]))
    show(
        f"Pipeline efficiency, {len(rows):,} rows, {given.rounds} rounds in turns",
        ["what", "rows/s, median (range)", "of the fastest bare loop", "of the fastest right one"],
        [
            (name, rate(len(rows), each), *(f"{b / np.median(each):.3f}" for b in (fastest, alone)))
            for name, each in seconds.items()
        ],
    )


if __name__ == "__main__":
    main()
