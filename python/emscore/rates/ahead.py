"""Reading and counting at the same time."""

from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

MOST = 2  # items that wait: batches with texts are large
WAIT = 0.1  # seconds between looks at whether anybody still wants them


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items in the same order, made in a thread of their own, a few ahead.

    An error in making them is raised here, after those before it. Who stops early waits for the
    item that is being made: none may take for ever, as those of a pipe.

    >>> list(ahead(range(3)))
    [0, 1, 2]
    """
    made: Queue[T] = Queue(MOST)
    ended, unwanted = Event(), Event()
    failed: list[BaseException] = []

    def make() -> None:
        try:
            for item in items:
                while True:
                    if unwanted.is_set():
                        return
                    try:
                        made.put(item, timeout=WAIT)
                        break
                    except Full:
                        continue
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()

    thread = Thread(target=make, name="emscore-ahead", daemon=True)
    thread.start()
    try:
        while True:
            last = ended.is_set()  # asked before looking: what is made by then is there
            try:
                yield made.get(not last, WAIT)
            except Empty:
                if last:
                    break
        if failed:
            raise failed[0]
    finally:
        unwanted.set()
        thread.join()
