"""The examples in the docstrings of rates run, and print what they say."""

import doctest
from types import ModuleType

import pytest

from emscore.rates import (
    allocation,
    bins,
    definition,
    exact,
    intervals,
    measure,
    multiplicity,
    onset,
    requests,
    rows,
)

MODULES = [
    allocation, bins, definition, exact, intervals, measure, multiplicity, onset, requests, rows,
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_docstrings(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert result.failed == 0
