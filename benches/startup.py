"""Time to the first word and to the first score, from a warm file cache."""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from common import arguments, cli, run, setting, show

PYTHON = "import emscore; emscore.score_batch(['Any plans?'], ['A nap.'], model={!r}, device='cpu')"


def main() -> None:
    """Runs each command several times and prints the medians."""
    given = arguments(__doc__, rows=1, rounds=10).parse_args()
    setting()
    with tempfile.TemporaryDirectory(prefix="emscore-") as name:
        folder = Path(name)
        source = folder / "rows.jsonl"
        row = {"question": "Any plans?", "response": "A nap."}
        source.write_text((json.dumps(row) + "\n") * given.rows)
        options = ["--model", given.model, "--device", "cpu", "--quiet", "--overwrite"]
        commands = {
            "`emscore --help`": cli("--help"),
            "`emscore score`, one row": cli(
                "score", source, "-o", folder / "scored.jsonl", *options
            ),
            "`emscore.score_batch`, one row, with the interpreter's start": [
                sys.executable,
                "-c",
                PYTHON.format(str(given.model)),
            ],
            "the bare interpreter, to compare": [sys.executable, "-c", "pass"],
        }
        table = []
        for what, command in commands.items():
            run(command)  # warms the cache
            seconds = [run(command).seconds for _ in range(given.rounds)]
            spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
            table.append((what, f"{statistics.median(seconds):.2f}", spread))
    show("Start-up", ["what", "seconds, median", "range"], table)


if __name__ == "__main__":
    main()
