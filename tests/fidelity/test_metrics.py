"""The metrics against scikit-learn and scipy, for one sample and for the weights of resamples."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as oracle

from emscore.fidelity import bootstrap, metrics

Array = NDArray[Any]


def drawn(seed: int, rows: int = 60) -> tuple[Array, Array, Array, Array]:
    """Two scores with ties, a truth with both classes, and whole weights, some of them zero."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, rows) / 12
    y = np.round(0.5 * x + 0.5 * rng.random(rows), 1)
    yes = rng.random(rows) < y
    yes[:2] = True, False
    weight = rng.integers(0, 4, rows).astype(float)
    weight[:2] = 1
    return x, y, yes, weight


def repeated(values: Array, weight: Array) -> Array:
    """Each value as often as its weight says."""
    return np.repeat(values, weight.astype(int))


Oracle = Callable[[Array, Array, Array], float]
ORACLES: dict[str, tuple[Callable[..., Any], Oracle]] = {
    "pearson": (metrics.pearson, lambda x, y, yes: stats.pearsonr(x, y).statistic),
    "spearman": (metrics.spearman, lambda x, y, yes: stats.spearmanr(x, y).statistic),
    "mae": (metrics.mae, lambda x, y, yes: oracle.mean_absolute_error(y, x)),
    "auroc": (metrics.auroc, lambda x, y, yes: oracle.roc_auc_score(yes, x)),
    "auprc": (metrics.auprc, lambda x, y, yes: oracle.average_precision_score(yes, x)),
    "kappa": (metrics.kappa, lambda x, y, yes: oracle.cohen_kappa_score(x > 0.5, yes)),
    "f1": (metrics.f1, lambda x, y, yes: oracle.f1_score(yes, x > 0.5)),
    "agreement": (metrics.agreement, lambda x, y, yes: oracle.accuracy_score(yes, x > 0.5)),
}
SCORES = {"pearson", "spearman", "mae"}
VERDICTS = {"kappa", "f1", "agreement"}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_the_oracles(name: str, seed: int) -> None:
    metric, truth = ORACLES[name]
    x, y, yes, weight = drawn(seed)
    first = x > 0.5 if name in VERDICTS else x
    second = y if name in SCORES else yes
    assert float(metric(first, second)) == pytest.approx(truth(x, y, yes), abs=1e-9)
    many = metric(first, second, np.stack([np.ones(60), weight]))
    expected = truth(*(repeated(v, weight) for v in (x, y, yes)))
    assert many[1] == pytest.approx(expected, abs=1e-9)
    assert many[0] == pytest.approx(truth(x, y, yes), abs=1e-9)


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), bins=st.integers(1, 12))
def test_calibration_error_is_the_gap_of_the_bins(seed: int, bins: int) -> None:
    p, _, yes, weight = drawn(seed)
    p, yes = repeated(p, weight), repeated(yes, weight)
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = [
        (place == k).mean() * abs(p[place == k].mean() - yes[place == k].mean())
        for k in set(place.tolist())
    ]
    assert float(metrics.ece(p, yes, bins=bins)) == pytest.approx(sum(gaps), abs=1e-9)


def test_what_is_undefined_is_nan() -> None:
    x, none = np.array([1.0, 2.0, 3.0]), np.zeros(3, bool)
    assert np.isnan(metrics.auroc(x, none))
    assert np.isnan(metrics.pearson(x, np.ones(3)))
    assert np.isnan(metrics.share(none, none))
    assert np.isnan(metrics.kappa(none, none))


def test_resamples_draw_whole_clusters() -> None:
    cluster = np.repeat(np.arange(10), 7)
    weights = np.concatenate(list(bootstrap.weights(cluster, 200, seed=1)))
    assert weights.shape == (200, 70)
    assert (weights.sum(1) == 70).all()
    assert (weights.reshape(200, 10, 7) == weights.reshape(200, 10, 7)[:, :, :1]).all()


@pytest.mark.parametrize("units", [8, 40])
def test_intervals_cover_what_they_should(units: int) -> None:
    rng = np.random.default_rng(5)
    covered = 0
    cluster = np.repeat(np.arange(units), 5)
    for seed in range(200):
        level = rng.normal(0, 1, units)
        values = np.repeat(level, 5) + rng.normal(0, 0.5, 5 * units)
        mean = {"mean": partial(metrics.mean, values)}
        found = bootstrap.intervals(mean, cluster, 300, seed=seed)["mean"]
        covered += found[1] <= 0 <= found[2]
    assert covered > 184  # 190 of 200 on the average; rows as units would cover about 120


def test_resamples_that_all_agree_give_no_interval() -> None:
    none = {"share": partial(metrics.mean, np.zeros(30))}
    estimate, *ends = bootstrap.intervals(none, np.arange(30), 100)["share"]
    assert estimate == 0
    assert np.isnan(ends).all()


def test_units_are_checkpoints_where_there_are_enough() -> None:
    labels = {"checkpoint": ["a", "b"] * 10, "question": [str(k % 10) for k in range(20)]}
    assert bootstrap.clusters(labels, 20, None)[0] == "question"
    assert bootstrap.clusters(labels, 20, "checkpoint")[0] == "checkpoint"
    assert bootstrap.clusters({}, 20, None)[0] == "row"
    assert bootstrap.clusters({"checkpoint": ["a"] * 20}, 20, "checkpoint")[0] == "row"
