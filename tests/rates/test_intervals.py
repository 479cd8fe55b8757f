"""The formulas against statsmodels, scipy and ppi-python, and where they must not fail."""

import numpy as np
import ppi_py
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

import emscore
from emscore.rates.difference import Audits, Population, estimate
from emscore.rates.intervals import (
    Interval,
    clopper_pearson,
    effective,
    mover,
    student,
    weighted,
    wilson,
)  # fmt: skip


def ends(interval: Interval) -> tuple[float, float]:
    low, high = interval
    return float(low), float(high)


COUNTS = [(0, 1), (1, 1), (0, 50), (1, 50), (20, 50), (49, 50), (50, 50), (3, 4000)]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize(("events", "n"), COUNTS)
def test_proportions_are_those_of_statsmodels_and_scipy(
    events: int, n: int, confidence: float
) -> None:
    for ours, theirs in ((wilson, "wilson"), (clopper_pearson, "beta")):
        expected = proportion_confint(events, n, 1 - confidence, theirs)
        assert ends(ours(events, n, confidence)) == pytest.approx(expected, abs=1e-9)
    exact = stats.binomtest(events, n).proportion_ci(confidence, "exact")
    found = ends(clopper_pearson(events, n, confidence))
    assert found == pytest.approx((exact.low, exact.high), abs=1e-9)


@pytest.mark.parametrize(("events", "n"), COUNTS)
def test_weighted_is_the_mid_p_interval_when_all_rows_weigh_the_same(events: int, n: int) -> None:
    """Lancaster 1961: the tail counts half of the chance of what was seen."""

    def high(p: float) -> float:
        return float(stats.binom.cdf(events, n, p) - stats.binom.pmf(events, n, p) / 2 - 0.025)

    def low(p: float) -> float:
        return float(stats.binom.sf(events - 1, n, p) - stats.binom.pmf(events, n, p) / 2 - 0.025)

    expected = (
        optimize.brentq(low, 0, 1, xtol=1e-13) if events else 0.0,
        optimize.brentq(high, 0, 1, xtol=1e-13) if events < n else 1.0,
    )
    p = events / n
    above, below = (1 / n if some else 0.0 for some in (events < n, events > 0))
    found = ends(weighted(p, p * (1 - p) / n, above, below))
    assert found == pytest.approx(expected, abs=1e-9)


def test_weighted_goes_over_to_the_normal_interval() -> None:
    low, high = weighted(0.3, 1e-6, 1e-6, 1e-6)
    assert (float(low), float(high)) == pytest.approx((0.3 - 1.96e-3, 0.3 + 1.96e-3), abs=1e-5)


@given(
    rate=st.just(0.0) | st.just(1.0) | st.floats(1e-6, 1 - 1e-6),
    above=st.floats(1e-6, 0.5),
    below=st.floats(1e-6, 0.5),
    share=st.floats(1e-6, 1),
    confidence=st.floats(0.5, 0.999),
)
def test_weighted_is_an_interval_around_the_rate(
    rate: float, above: float, below: float, share: float, confidence: float
) -> None:
    variance = share * rate * (1 - rate) * min(above, below)
    low, high = ends(weighted(rate, variance, above, below, confidence))
    assert 0 <= low <= rate + 1e-9
    assert rate - 1e-9 <= high <= 1
    mirrored = ends(weighted(1 - rate, variance, below, above, confidence))
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-6)


def test_mover_is_newcombes_interval_of_a_difference() -> None:
    p, n = np.array([7 / 40, 2 / 30]), np.array([40, 30])
    low, high = wilson(p * n, n)
    ours = mover([p[0], -p[1]], [low[0], -high[1]], [high[0], -low[1]], [1.0, 1.0])
    theirs = confint_proportions_2indep(7, 40, 2, 30, method="newcomb", compare="diff")
    assert (float(ours[0]), float(ours[1])) == pytest.approx(theirs, abs=1e-9)


def test_students_interval_is_scipys() -> None:
    values = np.array([0.12, 0.3, 0.21, 0.17])
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert student(values, 0.9) == pytest.approx((0.2, theirs.low, theirs.high), abs=1e-9)
    assert student(1 - values, 0.999)[1:] == pytest.approx((1 - student(values, 0.999)[2], 1.0))


def test_effective_size_is_never_above_that_of_the_rows() -> None:
    for sizes in effective([0.0, 0.5, 0.5], [0.0, 0.0025, 1e-9], [80.0, 200.0, 200.0]):
        assert sizes.tolist() == [80, 100, 200]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8))
def test_an_event_more_takes_nothing_away_where_all_weigh_the_same(events: list[int]) -> None:
    p, strata = np.array(events) / 30, len(events)
    rate, variance = p.mean(), (p * (1 - p) / 29).sum() / strata**2
    kish = 30.0 * strata
    found = effective(rate, variance, kish, 1 / kish)
    assert found == pytest.approx(effective(rate, variance, kish))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("rows", "sparse", "share"), [(1000, 5, 0.3), (200, 10, 0.2)])
def test_a_question_with_few_answers_is_not_taken_for_certain(
    rows: int, sparse: int, share: float, mirrored: bool
) -> None:
    """Seven questions without misaligned answers, and few answers to an eighth: or the contrary."""
    events = np.arange(sparse + 1)
    line = np.repeat(events, 7 * rows + sparse)
    place = np.tile(np.arange(7 * rows + sparse), sparse + 1)
    bad = (place >= 7 * rows) & (place - 7 * rows < line)
    table = pa.table(
        {
            "checkpoint": line,
            "question_id": np.minimum(place // rows, 7),
            "aligned": np.where(bad != mirrored, 10.0, 90.0),
            "coherent": np.full(len(line), 90.0),
            "p_misaligned": np.full(len(line), 0.5),
            "p_coherent": np.full(len(line), 1.0),
            "outcome": np.full(len(line), "ok"),
        }
    )
    found = emscore.rates(table, by=["checkpoint"]).to_pylist()
    counted = [row for row in found if row["estimator"] == "thresholded"]
    truth = 1 - share / 8 if mirrored else share / 8
    chances = stats.binom.pmf(events, sparse, share)
    missed = [row["low"] > truth if mirrored else row["high"] < truth for row in counted]
    assert chances[missed].sum() <= 0.025


@pytest.mark.parametrize("trust", [0.0, 0.4, 1.0])
def test_difference_estimate_is_that_of_ppi_python(trust: float) -> None:
    """One stratum, everything coherent: then it is their estimate, with the variance of a mean."""
    rng = np.random.default_rng(3)
    everything, y = rng.beta(1, 4, 5000), (rng.random(300) < 0.2).astype(float)
    guess = np.clip(0.7 * y + rng.beta(1, 4, 300), 0, 1)
    ones, zeros = np.ones(300), np.zeros(300, np.int64)
    found = estimate(
        Population(np.ones((1, 1)), np.array([[everything.mean()]]), np.ones((1, 1)), np.zeros(1)),
        Audits(zeros, zeros, ones, y, ones, guess, ones),
        trust=trust,
    )
    theirs = ppi_py.ppi_mean_pointestimate(y, guess, everything, lam=trust)
    assert found.rate[0] == pytest.approx(theirs.item(), abs=1e-9)
    assert found.variance[0] == pytest.approx(np.var(y - trust * guess, ddof=1) / 300, abs=1e-9)


def test_trust_follows_the_classifier() -> None:
    rng = np.random.default_rng(5)
    y = (rng.random(2000) < 0.3).astype(float)
    ones, zeros = np.ones(2000), np.zeros(2000, np.int64)

    def trust(guess: np.typing.NDArray[np.float64]) -> float:
        population = Population(np.ones((1, 1)), np.full((1, 1), 0.3), np.ones((1, 1)), np.zeros(1))
        audits = Audits(zeros, zeros, ones, y, ones, guess, ones)
        return float(estimate(population, audits).trust[0])

    assert trust(y * 0.9 + 0.05) > 0.95
    assert trust(rng.random(2000)) < 0.1


def test_strata_are_weighted_by_what_they_are_of_the_population() -> None:
    """By hand: 0.9 of the rows with 1 of 10 misaligned, 0.1 of them with 4 of 5."""
    y = np.array([1.0, *[0] * 9, 1, 1, 1, 1, 0])
    bins = np.array([0] * 10 + [1] * 5)
    ones = np.ones(15)
    shares = np.array([[0.9, 0.1]])
    found = estimate(
        Population(shares, shares * 0.5, shares, np.zeros(1)),
        Audits(np.zeros(15, np.int64), bins, ones, y, ones, ones * 0.5, ones),
        trust=0.0,
    )
    assert found.rate[0] == pytest.approx(0.9 * 0.1 + 0.1 * 0.8, abs=1e-12)
    variance = 0.81 * 0.1 * 0.9 / 9 + 0.01 * 0.8 * 0.2 / 4
    assert found.variance[0] == pytest.approx(variance, abs=1e-12)
    assert (found.low[0], found.high[0]) == pytest.approx(
        ends(weighted(0.17, variance, 0.09, 0.09)), abs=1e-9
    )


def test_a_line_without_coherent_audits_has_no_rate() -> None:
    ones, zeros = np.ones(4), np.zeros(4, np.int64)
    population = Population(np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1)), np.zeros(1))
    found = estimate(population, Audits(zeros, zeros, ones, 0 * ones, 0 * ones, ones, ones))
    assert np.isnan([found.rate, found.low, found.high]).all()
