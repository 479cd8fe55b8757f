"""The exact test, against scipy, R's manual and a count of all tables."""

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from emscore.rates.exact import FLOOR, exact_test

counted = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
few = st.integers(1, 5).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def exact(table: list[tuple[tuple[int, int], tuple[int, int]]]) -> float:
    k1, n1, k0, n0 = (
        np.array(column) for column in zip(*((*a, *b) for a, b in table), strict=True)
    )
    return exact_test(k1, n1, k0, n0)


@given(counted, counted)
def test_one_question_is_fisher(a: tuple[int, int], b: tuple[int, int]) -> None:
    table = [[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]]
    assert exact([(a, b)]) == pytest.approx(fisher_exact(table).pvalue, rel=1e-9)


@given(st.lists(st.tuples(few, few), min_size=2, max_size=4))
@settings(max_examples=50)
def test_more_questions_are_all_tables_counted(
    table: list[tuple[tuple[int, int], tuple[int, int]]],
) -> None:
    ways: dict[int, int] = {}
    spans = [range(max(0, a + b - m), min(a + b, n) + 1) for (a, n), (b, m) in table]
    for xs in itertools.product(*spans):
        count = 1
        for x, ((a, n), (b, m)) in zip(xs, table, strict=True):
            count *= comb(n, x) * comb(m, a + b - x)
        ways[sum(xs)] = ways.get(sum(xs), 0) + count
    seen = ways[sum(a for (a, _), _ in table)]
    p = sum(w for w in ways.values() if w <= seen) / sum(ways.values())
    assert exact(table) == pytest.approx(p, rel=1e-9)


def test_rabbits() -> None:
    """The penicillin data of R's manual: mantelhaen.test(Rabbits, exact = TRUE) says 0.03994."""
    cured, died, cured_late, died_late = np.array(
        [[0, 0, 6, 5], [3, 0, 3, 6], [6, 2, 0, 4], [5, 6, 1, 0], [2, 5, 0, 0]]
    ).T
    p = exact_test(cured, cured + cured_late, died, died + died_late)
    assert p == pytest.approx(0.03994, abs=5e-6)


def test_one_answer_of_a_hundred_is_no_finding() -> None:
    """A normal approximation says 0.002 here."""
    assert exact([((1, 100), (0, 1_000))]) == pytest.approx(1 / 11)


def test_what_cannot_be_by_chance_has_the_smallest_p() -> None:
    assert exact([((4_000, 4_000), (0, 4_000))] * 3) == FLOOR
    assert exact([((0, 10), (0, 10))]) == 1
