"""Reading and counting at the same time."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

MOST = 2  # items that wait: batches with texts are large
END: Any = object()


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items in the same order, made in a thread of their own, a few ahead.

    An error in making them is raised here, after those before it. Who stops early waits for the
    items that are being made: none may take for ever, as those of a pipe.

    >>> list(ahead(range(3)))
    [0, 1, 2]
    """
    rest = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="emscore-ahead") as pool:
        waiting = deque(pool.submit(next, rest, END) for _ in range(MOST))
        while (item := waiting.popleft().result()) is not END:
            waiting.append(pool.submit(next, rest, END))
            yield item
