"""Sums by cell, and quotients where there may be nothing: what numpy leaves to be said."""

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def added(at: Ints, values: npt.NDArray[Any], cells: int) -> Floats:
    """Sums of the values that belong to each cell, float64, (cells,)."""
    sums: Floats = np.bincount(at, values, cells).astype(np.float64)
    return sums


def counted(at: Ints, cells: int) -> Ints:
    """How often each cell occurs, int64, (cells,)."""
    return np.bincount(at, minlength=cells).astype(np.int64)


def nth(at: Ints, cells: int) -> Ints:
    """Of how many before it each value is in the same cell, int64.

    >>> nth(np.array([0, 1, 0, 0, 1]), 2).tolist()
    [0, 0, 1, 2, 1]
    """
    many = counted(at, cells)
    order = np.argsort(at, kind="stable")
    found = np.empty_like(order)
    found[order] = np.arange(len(at)) - np.repeat(np.cumsum(many) - many, many)
    return found


def gathered(to: Ints, values: npt.NDArray[Any], cells: int) -> npt.NDArray[Any]:
    """Sums of the rows of an array that go to each cell, (cells, ...); -1 is none."""
    out = np.zeros((cells, *values.shape[1:]), values.dtype)
    kept = to >= 0
    np.add.at(out, to[kept], values[kept])
    return out


def over(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Floats:
    """a / b, and 0 where b is 0."""
    out: Floats = np.zeros(np.broadcast(a, b).shape)
    np.divide(a, b, out=out, where=np.asarray(b) != 0)
    return out


def grown(values: npt.NDArray[Any], cells: int) -> npt.NDArray[Any]:
    """The array with room for so many cells."""
    if cells <= len(values):
        return values
    room = np.zeros((max(cells, 2 * len(values)), *values.shape[1:]), values.dtype)
    room[: len(values)] = values
    return room
