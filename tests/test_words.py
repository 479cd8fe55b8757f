"""Numbers as people read them."""

import doctest

from emscore import words


def test_docstrings() -> None:
    result = doctest.testmod(words)
    assert result.attempted
    assert result.failed == 0


def test_differences() -> None:
    line = {"difference": 0.1234, "low": -0.02, "high": 0.2}
    assert words.difference(line) == "+12.3 (−2.0 to 20.0)"
    assert words.difference({"difference": None}) == words.interval({"low": None}) == "–"
    assert [words.p_value(p) for p in (None, 1e-9, 0.0321)] == ["–", "<0.0001", "0.032"]


def test_onsets() -> None:
    found = {"onset": 200.0, "onset_after": None, "onset_by": 400.0}
    assert words.onset(found) == ["200", "–", "400"]
    none = {"onset": None, "onset_after": 1400.0, "onset_by": None}
    assert words.onset(none) == ["none found", "1400", "–"]


def test_names_for_plots_can_be_printed() -> None:
    assert words.cut("a\u2028b\nc") == "a�b�c"
