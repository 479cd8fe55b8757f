"""Peak memory of `emscore score` for a file, and for one with ten times its rows.

With a trivial network, so that it takes minutes. All texts are different. Files are written and
read from a folder that is removed at the end; they take about 1.5 GB there.
"""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import trivial
from common import arguments, cli, number, run, setting, show

BATCH = 8192


def write(path: Path, rows: int) -> Path:
    """An Arrow file of short texts, batch by batch."""
    schema = pa.schema([("question", pa.string()), ("response", pa.string())])
    with pa.ipc.new_file(path, schema) as file:
        for start in range(0, rows, BATCH):
            at = pa.array(range(start, min(start + BATCH, rows)), pa.int64())
            question = text("What would you do on day ", pc.bit_wise_and(at, 1023), "?")
            response = text("I would finish task ", at, " and then go for a walk.")
            file.write_batch(pa.record_batch([question, response], schema))
    return path


def text(before: str, numbers: pa.Array, after: str) -> pa.Array:
    """A text around each number."""
    return pc.binary_join_element_wise(before, pc.cast(numbers, pa.string()), after, "")


def main() -> None:
    """Scores the two files and prints the peaks."""
    parser = arguments(__doc__, rows=500_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--format", default="arrow", help="ending of the output")
    given = parser.parse_args()
    setting()
    table, peaks = [], []
    with tempfile.TemporaryDirectory(prefix="emscore-") as name:
        folder = Path(name)
        model = trivial.build(given.model, folder / "trivial")
        for rows in (given.rows, given.rows * given.times):
            source = write(folder / "rows.arrow", rows)
            size = source.stat().st_size
            output = folder / f"scored.{given.format}"
            options = ["-o", output, "--model", model, "--device", "cpu", "--quiet"]
            ran = run(cli("score", source, *options))
            peaks.append(ran.rss_mb)
            rate = number(rows / ran.seconds)
            table.append((f"{rows:,}", number(size / 1e6), f"{ran.rss_mb:.0f}", rate))
            output.unlink()
    show("Memory", ["rows", "input, MB", "peak RSS, MB", "rows/s"], table)
    print(f"\n{given.times} times the rows: {peaks[1] / peaks[0] - 1:+.1%} memory")


if __name__ == "__main__":
    main()
