"""Adjusted p-values, against statsmodels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from emscore.rates.multiplicity import FEW, Correction, adjusted, chosen

p_values = st.lists(st.floats(1e-12, 1), min_size=1, max_size=50)


@given(p_values, st.sampled_from([("holm", "holm"), ("bh", "fdr_bh")]))
def test_statsmodels_agrees(p: list[float], method: tuple[Correction, str]) -> None:
    ours, theirs = method
    oracle = multipletests(p, method=theirs)[1]
    np.testing.assert_allclose(adjusted(np.array(p), ours), oracle, rtol=1e-9)


@given(p_values)
def test_nothing_becomes_smaller(p: list[float]) -> None:
    values = np.array(p)
    assert (adjusted(values, "bh") >= values * (1 - 1e-12)).all()
    assert (adjusted(values, "holm") >= adjusted(values, "bh") * (1 - 1e-12)).all()
    np.testing.assert_array_equal(adjusted(values, "none"), values)


def test_what_was_not_compared_does_not_count() -> None:
    found = adjusted(np.array([0.01, np.nan, 0.02]), "holm")
    assert found[[0, 2]].tolist() == pytest.approx([0.02, 0.02])
    assert np.isnan(found[1])
    assert len(adjusted(np.array([]), "auto")) == 0


def test_auto() -> None:
    assert chosen("auto", FEW) == "holm"
    assert chosen("auto", FEW + 1) == "bh"
    assert chosen("none", 1_000) == "none"
