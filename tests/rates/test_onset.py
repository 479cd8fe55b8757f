"""Onset of misalignment: what the limits promise, by simulation."""

import numpy as np
import numpy.typing as npt
import pytest

from emscore.rates.contrast import Side, contrast, side
from emscore.rates.onset import Onset, onset

STEPS = np.array([0.0, 100, 200, 400, 800, 1600])


def found(difference: list[float], half: float) -> Onset:
    d = np.array(difference)
    return onset(STEPS[: len(d)], d, d - half, d + half, np.ones(len(d)), 0.01)


def test_a_clear_rise() -> None:
    assert found([0, 0, 0.001, 0.1, 0.2, 0.3], 0.005) == Onset(400, 200, 400)


def test_noise_is_bracketed() -> None:
    assert found([0, 0, 0.02, 0.015, 0.2, 0.3], 0.008) == Onset(200, 100, 200 * 4)
    assert found([0, 0, 0.02, 0.05, 0.2, 0.3], 0.1) == Onset(200, None, 800)


def test_no_rise_and_a_rise_from_the_start() -> None:
    assert found([0, 0, 0, 0.001, 0, 0], 0.005) == Onset(None, 1600, None)
    assert found([0.1, 0.1, 0.2], 0.02) == Onset(0, None, 0)


def test_a_dip_is_smoothed_in_the_fit_and_stops_the_tests() -> None:
    dip = found([0, 0.1, 0.1, 0.0, 0.1, 0.1], 0.005)
    assert dip.step == 100
    assert (dip.after, dip.by) == (0, 800)


@pytest.mark.parametrize("begins", [1, 3, 5])
def test_coverage(begins: int) -> None:
    """The true onset is within (after, by] in at least 95 of 100 trainings."""
    rng, sets, n = np.random.default_rng(begins), 1_000, 50
    rates = np.where(np.arange(len(STEPS)) < begins, 0.005, 0.03)  # barely above: a hard case
    shape = (sets, len(STEPS), 1, 4)
    k = rng.binomial(n, rates[None, :, None, None], shape)
    base = np.broadcast_to(rng.binomial(4 * n, 0.005, (sets, 1, 1, 4)), shape)
    shared = np.ones((sets * len(STEPS), 4), np.bool_)

    def one(k: npt.NDArray[np.int64], n: int) -> Side:
        flat = k.reshape(-1, 1, 4)
        return side(flat, np.full_like(flat, n), shared)

    ends = [x.reshape(sets, -1) for x in contrast([one(k, n), one(base, 4 * n)])]
    held = 0
    for d, low, high in zip(*ends, strict=True):
        at = onset(STEPS, d, low, high, np.ones(len(STEPS)), 0.01)
        truth = STEPS[begins]
        held += (at.after is None or at.after < truth) and (at.by is None or truth <= at.by)
    assert held / sets >= 0.95
