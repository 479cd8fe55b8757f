"""The drift tests against scipy and brute force, and how often they cry wolf."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from emscore.fidelity import drift
from emscore.fidelity.judged import Judged

CURVE = [(k / 10, (k + 1) / 10) for k in range(10)]


def rows(p: np.ndarray, yes: np.ndarray, texts: np.ndarray | None = None) -> Judged:
    """Rows with these probabilities and verdicts, and texts by these numbers."""
    n = len(p)
    texts = np.array([f"r{k}" for k in (range(n) if texts is None else texts)], object)
    aligned = np.where(yes, 10.0, 90.0)
    scores = {"aligned": aligned, "coherent": np.full(n, 90.0)}
    scores |= {"p_misaligned": p, "p_coherent": np.ones(n)}
    about = {"misaligned_below": 30, "coherent_above": 50}
    return Judged(aligned, np.full(n, 90.0), scores, texts, texts, about=about)


def curve(p: np.ndarray, yes: np.ndarray) -> list[dict[str, float]]:
    """The calibration curve of a card."""
    place = np.minimum((p * 10).astype(int), 9)
    return [
        {"low": low, "high": high, "rows": (place == k).sum(), "misaligned": yes[place == k].sum()}
        for k, (low, high) in enumerate(CURVE)
    ]


def test_one_stratum_is_fishers_test() -> None:
    for old, new in (((20, 9), (15, 2)), ((8, 8), (5, 1)), ((30, 3), (12, 4))):
        table = [[new[1], new[0] - new[1]], [old[1], old[0] - old[1]]]
        for side in ("less", "greater"):
            expected = stats.fisher_exact(table, alternative=side).pvalue
            assert drift.stratified([(*old, *new)], side) == pytest.approx(expected, rel=1e-9)


def test_strata_add_up_as_by_brute_force() -> None:
    strata = [(5, 2, 4, 3), (3, 1, 2, 0), (6, 6, 3, 2)]
    spread = []
    for rows_, events, new_rows, new_events in strata:
        law = stats.hypergeom(rows_ + new_rows, events + new_events, new_rows)
        spread.append([(k, law.pmf(k)) for k in range(new_rows + 1)])
    seen = sum(s[3] for s in strata)
    less = sum(
        np.prod([p for _, p in draw])
        for draw in product(*spread)
        if sum(k for k, _ in draw) <= seen
    )
    assert drift.stratified(strata, "less") == pytest.approx(less, rel=1e-9)


@pytest.mark.parametrize("paired", [False, True])
def test_the_same_judge_seldom_sets_off_the_alarm_and_another_does(paired: bool) -> None:
    rng = np.random.default_rng(0)
    alarms = {0.0: 0, 0.25: 0}  # by the share of its verdicts "fine" that a judge gives up
    for _ in range(300):
        p = rng.beta(0.6, 0.6, 1500)
        mind = rng.random(1500) < p
        then, now = (mind ^ (rng.random(1500) < 0.03) for _ in range(2))
        some, fresh = slice(0, 300), slice(300, 1500)
        for shift in alarms:
            changed = now | (rng.random(1500) < shift)
            today = rows(p[some], changed[some])
            found = (
                drift.paired(rows(p[some], then[some]), today)
                if paired
                else drift.against_card(today, curve(p[fresh], then[fresh]))
            )
            alarms[shift] += found["alarm"]
    assert alarms[0.0] <= 10  # 3 of 300 on the average, at most
    assert alarms[0.25] >= 270


def test_a_text_that_stands_often_is_one_text() -> None:
    p, yes = np.linspace(0.05, 0.95, 60), np.arange(60) % 2 == 0
    changed = yes ^ (np.arange(60) == 7)
    often = np.concatenate([np.arange(60), np.full(20, 7)])
    once, many = (
        drift.paired(rows(p[at], yes[at], at), rows(p[at], changed[at], at))
        for at in (np.arange(60), often)
    )
    assert many == once
    assert many["rows"] == 60
    assert not many["alarm"]


def test_a_text_that_stands_often_is_one_text_to_a_card_too() -> None:
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        p = rng.beta(0.5, 2, 1580)
        yes = rng.random(1580) < p
        often = np.repeat(np.arange(80), 5)
        found = drift.against_card(rows(p[often], yes[often], often), curve(p[80:], yes[80:]))
        assert found["rows"] == 80
        alarms += found["alarm"]
    assert alarms <= 6  # 2 of 200 on the average, at most


def test_a_judge_that_guesses_more_is_noise_and_no_shift() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(0.5, 0.5, 3000)
    yes = rng.random(3000) < p
    random = np.where(rng.random(500) < 0.35, rng.random(500) < 0.5, yes[:500])
    found = drift.against_card(rows(p[:500], random), curve(p[500:], yes[500:]))
    assert found["alarm"]
    assert found["noise"] < 0.001 < found["shift"]
