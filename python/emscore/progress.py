"""Progress bars for notebooks and scripts; the command line has its own."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeAlias

from ._emscore import Scoring

#: Called now and then with rows done, rows in all (None when unknown), tokens done.
Progress: TypeAlias = Callable[[int, int | None, int], object]

SECONDS_A_TICK = 0.2


@contextmanager
def bar(show: bool | None) -> Iterator[Progress | None]:
    """What moves a progress bar, or None where nobody watches.

    Args:
        show: Whether to show one; None means only in a notebook or on a terminal, and only once it
            has taken three seconds.
    """
    if show is None and ("ipykernel" in sys.modules or sys.stderr.isatty()):
        delay = 3
    elif show:
        delay = 0
    else:
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in a notebook without ipywidgets the bar is text
        from tqdm.auto import tqdm

    with tqdm(unit=" rows", delay=delay) as shown:

        def report(rows: int, total: int | None, tokens: int) -> None:
            shown.total = total
            shown.update(rows - shown.n)

        yield report


@contextmanager
def watching(scoring: Scoring, total: int | None, report: Progress | None) -> Iterator[None]:
    """Reports how far `scoring` is while someone else waits for its batches."""
    if report is None:
        yield
        return
    over = Event()

    def watch() -> None:
        while not over.wait(SECONDS_A_TICK):
            report(scoring.rows, total, scoring.tokens)
        report(scoring.rows, total, scoring.tokens)

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
