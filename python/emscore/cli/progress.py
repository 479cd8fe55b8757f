"""How far a run is: a bar on a terminal, a plain line now and then anywhere else."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import Any

SECONDS_A_LINE = 10.0


@contextmanager
def progress() -> Iterator["Lines | Bar"]:
    """A function to call with rows done, rows in all (None when unknown) and tokens done.

    Warnings that are logged meanwhile, such as that a server asks to wait, are shown above it.
    """
    shown = Bar() if sys.stderr.isatty() else Lines()
    warnings, log = _Warnings(), logging.getLogger("emscore")
    log.addHandler(warnings)
    try:
        yield shown
    finally:
        log.removeHandler(warnings)
        shown.close()


def say(text: str) -> None:
    """Prints a line on stderr, above a bar where there is one."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


class _Warnings(logging.Handler):
    """Says what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"WARNING: {record.getMessage()}")


class Bar:
    """A bar that moves, with a note behind it."""

    def __init__(self) -> None:
        self.started = monotonic()
        self.bar: Any = None

    def __call__(self, rows: int, total: int | None, tokens: int, note: str = "") -> None:
        """Moves it; the note is shown in the place of the tokens."""
        from tqdm import tqdm

        if self.bar is None:  # what an interrupted run had done does not count for this one's speed
            self.bar = tqdm(
                total=total, initial=rows, unit=" rows", dynamic_ncols=True, leave=False
            )
        speed = tokens / max(monotonic() - self.started, 1e-3)
        self.bar.total = total
        self.bar.set_postfix_str(note or f"{speed:,.0f} tokens/s", False)
        self.bar.update(rows - self.bar.n)

    def close(self) -> None:
        """Clears it away."""
        if self.bar is not None:
            self.bar.close()


class Lines:
    """Prints a line every ten seconds, also while nothing moves, until all rows are done."""

    def __init__(self) -> None:
        self.started = monotonic()
        self.first: int | None = None
        self._last: tuple[int, int | None, int, str] | None = None
        self._over = Event()
        self._printing = Thread(target=self._print, daemon=True)
        self._printing.start()

    def __call__(self, rows: int, total: int | None, tokens: int, note: str = "") -> None:
        """Takes note of how far the run is."""
        if self.first is None:
            self.first = rows
        self._last = rows, total, tokens, note

    def close(self) -> None:
        """Prints no more."""
        self._over.set()
        self._printing.join()

    def _print(self) -> None:
        while not self._over.wait(SECONDS_A_LINE):
            if self._last is not None and self._last[0] != self._last[1]:
                rows, total, tokens, note = self._last
                line = self.line(rows, total, tokens, monotonic() - self.started)
                say(f"{line}; {note}" if note else line)

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
