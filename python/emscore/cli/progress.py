"""How far a run is: a bar on a terminal, a plain line now and then anywhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ..progress import Progress

SECONDS_A_LINE = 10.0


@contextmanager
def progress() -> Iterator[Progress]:
    """A function to call with rows done, rows in all (None when unknown) and tokens done."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from tqdm import tqdm

    started = monotonic()
    bar: tqdm | None = None

    def report(rows: int, total: int | None, tokens: int) -> None:
        nonlocal bar
        if bar is None:  # what an interrupted run had done does not count for this one's speed
            bar = tqdm(total=total, initial=rows, unit=" rows", dynamic_ncols=True, leave=False)
        bar.total = total
        bar.set_postfix_str(f"{tokens / max(monotonic() - started, 1e-3):,.0f} tokens/s", False)
        bar.update(rows - bar.n)

    try:
        yield report
    finally:
        if bar is not None:
            bar.close()


class Lines:
    """Prints a line every ten seconds."""

    def __init__(self) -> None:
        self.started = self.printed = monotonic()
        self.first: int | None = None

    def __call__(self, rows: int, total: int | None, tokens: int) -> None:
        """Takes note of how far the run is."""
        if self.first is None:
            self.first = rows
        now = monotonic()
        if now - self.printed >= SECONDS_A_LINE:
            self.printed = now
            print(self.line(rows, total, tokens, now - self.started), file=sys.stderr, flush=True)

    def line(self, rows: int, total: int | None, tokens: int, seconds: float) -> str:
        """Rows done, speed, and time left where the end is known."""
        speed = (rows - (self.first or 0)) / seconds
        of = f" of {total:,}" if total is not None else ""
        left = f", {duration((total - rows) / speed)} left" if total is not None and speed else ""
        return f"{rows:,}{of} rows, {speed:,.0f} rows/s, {tokens / seconds:,.0f} tokens/s{left}"


def duration(seconds: float) -> str:
    """45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
