"""The examples in the docstrings of rates run, and print what they say."""

import doctest
from types import ModuleType

import pytest

from emscore.rates import bins, definition, intervals, measure, scan


@pytest.mark.parametrize("module", [bins, definition, intervals, measure, scan])
def test_docstrings(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert result.failed == 0
