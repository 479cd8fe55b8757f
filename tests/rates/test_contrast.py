"""Differences of sides, on arrays: against statsmodels, and by simulation."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from emscore.rates.contrast import Side, contrast, inverted, side

Ints = npt.NDArray[np.int64]


def one(k: list[list[int]], n: list[list[int]]) -> Side:
    """A side of one line: checkpoints x questions, all shared."""
    return side(np.array([k]), np.array([n]), np.ones((1, len(n[0])), np.bool_))


counted = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counted, counted, st.sampled_from([0.8, 0.95, 0.99]))
def test_one_question_is_newcombe(a: tuple[int, int], b: tuple[int, int], level: float) -> None:
    _, low, high = contrast([one([[a[0]]], [[a[1]]]), one([[b[0]]], [[b[1]]])], level)
    oracle = confint_proportions_2indep(*a, *b, method="newcomb", compare="diff", alpha=1 - level)
    np.testing.assert_allclose((low[0], high[0]), oracle, atol=1e-9)


@given(st.lists(st.tuples(counted, counted), min_size=1, max_size=6))
def test_sides_that_swap_change_the_sign(pairs: list[tuple[tuple[int, int], ...]]) -> None:
    sides = [one([[p[at][0] for p in pairs]], [[p[at][1] for p in pairs]]) for at in (0, 1)]
    difference, low, high = contrast(sides)
    other, other_low, other_high = contrast(sides[::-1])
    np.testing.assert_allclose((difference, low, high), (-other, -other_high, -other_low))
    assert -1 <= low[0] <= difference[0] <= high[0] <= 1
    np.testing.assert_allclose(inverted(sides), inverted(sides[::-1]))


def test_equal_questions_without_events_are_as_good_as_one() -> None:
    eight = one([[0] * 8], [[25] * 8])
    pooled = one([[0]], [[200]])
    np.testing.assert_allclose(eight.limits(0.95), pooled.limits(0.95))


def test_the_p_value_is_where_the_interval_begins_to_hold_zero() -> None:
    sides = [one([[9, 4]], [[40, 60]]), one([[2, 1]], [[40, 60]])]
    p = inverted(sides)[0]
    assert contrast(sides, 1 - p * 1.001, exact=True)[1][0] > 0
    assert contrast(sides, 1 - p * 0.999, exact=True)[1][0] < 0


def test_p_values_of_differences_of_differences_are_valid_in_the_tails() -> None:
    """Four sides alike, one of them small: its every count, by its chance."""
    rng, few, times = np.random.default_rng(0), np.arange(9), 150
    sides, shared = [], np.ones((len(few) * times, 1), np.bool_)
    for n in (50, 2000, 5000, 5000):
        k = np.repeat(few, times) if n == 50 else rng.binomial(n, 0.01, len(shared))
        sides.append(side(k[:, None, None], np.full((len(shared), 1, 1), n), shared))
    p = inverted(sides).reshape(len(few), times)
    chance = stats.binom.pmf(few, 50, 0.01)
    for level in (0.05, 0.01, 0.001, 0.0001):
        assert chance @ (p <= level).mean(1) <= 1.2 * level


def test_several_checkpoints_are_the_units() -> None:
    alike = one([[5], [5], [5]], [[100], [100], [100]])
    apart = one([[0], [0], [15]], [[100], [100], [100]])
    assert (alike.rate[0], apart.rate[0]) == pytest.approx((0.05, 0.05))
    # Checkpoints that agree are no more certain than their answers; ones that differ are less.
    pooled = one([[15]], [[300]]).limits(0.95)
    np.testing.assert_allclose(alike.limits(0.95), pooled, rtol=0.01)
    assert apart.limits(0.95)[1] > 2 * alike.limits(0.95)[1]


def test_a_checkpoint_that_missed_a_question_is_not_lost() -> None:
    side_of_two = one([[1, 0], [2, 4]], [[10, 0], [10, 10]])
    assert side_of_two.rate[0] == pytest.approx((0.1 + (0.2 + 0.4) / 2) / 2)
    assert side_of_two.units[0] == 2


def test_only_shared_questions_count() -> None:
    shared = np.array([[True, False]])
    two = side(np.array([[[1, 90]]]), np.array([[[10, 90]]]), shared)
    assert two.rate[0] == pytest.approx(0.1)
    assert two.n[0] == 10
    nothing = side(np.array([[[1, 90]]]), np.array([[[10, 90]]]), ~shared & shared)
    assert np.isnan(nothing.rate[0])
    assert np.isnan(contrast([nothing, two])[1][0])
    assert np.isnan(inverted([nothing, two])[0])


@pytest.mark.parametrize(
    ("rates", "answers", "questions"),
    [
        ((0.002, 0.002), (20, 20), 8),
        ((0.05, 0.002), (20, 100), 8),
        ((0.2, 0.05), (20, 100), 8),
        ((0.01, 0.0), (10, 500), 50),
        ((0.5, 0.4), (25, 25), 8),
        ((0.3, 0.2), (1, 2), 200),
    ],
)
def test_coverage(rates: tuple[float, float], answers: tuple[int, int], questions: int) -> None:
    rng = np.random.default_rng(1)
    pull = rng.dirichlet(np.ones(questions)) * questions  # questions differ a lot
    lines, shared, sides, truth = 2_000, np.ones((2_000, questions), np.bool_), [], []
    for rate, n in zip(rates, answers, strict=True):
        p = np.minimum(rate * pull, 1)
        k = rng.binomial(n, p, (lines, questions))[:, None]
        sides.append(side(k, np.full_like(k, n), shared))
        truth.append(p.mean())
    _, low, high = contrast(sides)
    covered = (low <= truth[0] - truth[1]) & (truth[0] - truth[1] <= high)
    assert covered.mean() >= 0.94


def test_differences_of_differences_cover() -> None:
    rng, shared = np.random.default_rng(2), np.ones((2_000, 4), np.bool_)
    truth = np.array([0.3, 0.02, 0.03, 0.01])
    sides = []
    for rate in truth:
        k = rng.binomial(30, rate, (2_000, 1, 4))
        sides.append(side(k, np.full_like(k, 30), shared))
    difference, low, high = contrast(sides)
    effect = truth @ [1, -1, -1, 1]
    assert difference.mean() == pytest.approx(effect, abs=0.003)
    assert ((low <= effect) & (effect <= high)).mean() >= 0.94
