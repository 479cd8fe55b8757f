"""How fast the pipeline could feed a network: with one that does next to nothing.

Rows a second of `emscore score`, file in and file out, against bare `encode_batch_fast` of the
tokenizers package over the same pairs, already in memory, on the same cores.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import trivial
from common import (
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
from tokenizers import Tokenizer

import emscore

BATCHES = (128, 512, 2048, 8192)


class Bare:
    """The tokenizer alone: pairs to ids, cut where the scorer cuts."""

    def __init__(self, model: Path, pairs: list[tuple[str, str]], batch: int) -> None:
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(512, strategy="only_second")
        self.parts = [pairs[start : start + batch] for start in range(0, len(pairs), batch)]

    def seconds(self) -> float:
        """Time for all pairs."""

        def work() -> None:
            for part in self.parts:
                self.tokenizer.encode_batch_fast(part)

        return timed(work)


def main() -> None:
    """Runs tokenizer and pipeline in turns."""
    given = arguments(__doc__, rows=40_000).parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    setting()
    table = real_rows(given.data, given.rows)
    pairs = list(zip(table["question"].to_pylist(), table["response"].to_pylist(), strict=True))
    print(f"\n{lengths(encode(given.model, table))}")
    with tempfile.TemporaryDirectory(prefix="emscore-") as name:
        folder = Path(name)
        model = trivial.build(given.model, folder / "trivial")
        source = write_arrow(table, folder / "rows.arrow")
        output = folder / "scored.arrow"
        options = ["-o", output, "--model", model, "--device", "cpu", "--overwrite", "--quiet"]
        scorer = emscore.Scorer(model, device="cpu")

        def in_process() -> float:
            return timed(lambda: scorer.score_file(source, output, overwrite=True, progress=False))

        works: dict[str, Callable[[], float]] = {
            f"bare tokenizer, batches of {batch}": Bare(given.model, pairs, batch).seconds
            for batch in BATCHES
        }
        bare = list(works)
        works["`emscore score`, the whole process"] = lambda: (
            run(cli("score", source, *options)).seconds
        )
        works["`Scorer.score_file`, sessions warm"] = in_process
        seconds = alternate(given.rounds, works)
    best = min(median(seconds[name]) for name in bare)
    show(
        f"Feed rate, {len(pairs):,} rows, {given.rounds} rounds in turns",
        ["what", "rows/s, median (range)", "of the bare tokenizer"],
        [
            (name, rate(len(pairs), each), f"{best / median(each):.2f}")
            for name, each in seconds.items()
        ],
    )


if __name__ == "__main__":
    main()
