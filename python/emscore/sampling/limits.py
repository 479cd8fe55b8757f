"""How many requests are in flight, and how many leave in a minute."""

import asyncio
from collections import deque
from enum import Enum, auto
from time import monotonic


class Sign(Enum):
    """What the end of a request says of the server's load."""

    GOOD = auto()
    BUSY = auto()
    NONE = auto()


class Window:
    """How many requests may be in flight: more while they succeed, half when the server is busy.

    Additive increase, multiplicative decrease after a slow start, as in TCP (RFC 5681).
    Of the requests that were in flight together only the first halves the window.
    """

    def __init__(self, most: int, first: int = 8) -> None:
        self.most = most
        self.size = float(min(first, most))
        self.threshold = float(most)
        self.in_flight = 0
        self._halved = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Waits for a place, first come first served."""
        if self._waiting or self.in_flight >= int(self.size):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                if not place.cancelled():  # the place was given in the same instant
                    self._free()
                raise
        else:
            self.in_flight += 1

    def leave(self, sent: float, sign: Sign) -> None:
        """Gives the place back, and learns how a request went that was sent at that time."""
        if sign is Sign.GOOD:
            step = 1.0 if self.size < self.threshold else 1.0 / self.size
            self.size = min(self.size + step, float(self.most))
        elif sign is Sign.BUSY and sent > self._halved:
            self._halved = monotonic()
            self.size = self.threshold = max(self.size / 2, 1.0)
        self._free()

    def _free(self) -> None:
        self.in_flight -= 1
        while self._waiting and self.in_flight < int(self.size):
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)


class Pace:
    """At most so many units a minute, evenly spread."""

    def __init__(self, per_minute: float) -> None:
        self._seconds_each = 60.0 / per_minute
        self._due = 0.0

    def wait(self, units: float) -> float:
        """Books the units; gives back after how many seconds they may be used."""
        now = monotonic()
        start = max(self._due, now)
        self._due = start + units * self._seconds_each
        return start - now

    def correct(self, units: float) -> None:
        """Books what was used beyond the estimate, or (below 0) gives back what was not."""
        self._due += units * self._seconds_each
