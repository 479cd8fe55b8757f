"""When in training misalignment begins."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arrays import Floats


@dataclass(frozen=True)
class Onset:
    """The first step whose rate is more than a rise above the base's, and what is sure of it.

    Attributes:
        step: First step at which the isotonic fit of the rates is above; None if it never is.
        after: Last step that is surely not above yet; None where the first may be above already.
        by: First step that is surely above; None where none surely is.
    """

    step: float | None
    after: float | None
    by: float | None


def onset(
    steps: Floats, difference: Floats, low: Floats, high: Floats, n: Floats, rise: float
) -> Onset:
    """Finds the onset, if the rate does not fall again during training.

    `after` is found by testing "above by the rise" from the first step on, `by` by testing "not
    above" from the last step back, each until the first test that fails to reject. Under a rate
    that never falls, these hypotheses follow one from the other, so that testing in order keeps
    the level without a correction (Maurer, Hothorn and Lehmacher 1995), and both limits together
    hold with the confidence of the intervals.

    Args:
        steps: Steps of training, rising, float64, (steps,).
        difference: Rate less the base's, at each.
        low: Lower limit of the difference.
        high: Upper limit of the difference.
        n: Answers at each step, which weigh in the fit.
        rise: What the difference must exceed, as a share.

    >>> steps, rates = np.array([0.0, 100, 200, 300]), np.array([0.0, 0.001, 0.1, 0.2])
    >>> onset(steps, rates, rates - 0.01, rates + 0.008, np.ones(4), rise=0.01)
    Onset(step=200.0, after=100.0, by=200.0)
    """
    from scipy.optimize import isotonic_regression  # as slow to import as all the rest of compare

    fit = isotonic_regression(difference, weights=n).x
    not_yet = np.logical_and.accumulate(high < rise)
    by_now = np.logical_and.accumulate((low > rise)[::-1])[::-1]
    return Onset(
        _first(steps, fit > rise), _first(steps[::-1], not_yet[::-1]), _first(steps, by_now)
    )


def _first(steps: Floats, true: npt.NDArray[np.bool_]) -> float | None:
    return float(steps[true.argmax()]) if true.any() else None
