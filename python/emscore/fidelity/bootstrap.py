"""Bootstrap intervals (Efron 1979): resamples as weights, so that a metric sees many at once.

Rows of one checkpoint, or on one question, share what the scorer gets wrong about it; resampling
whole checkpoints (or questions) keeps that, resampling rows would pretend that it averages out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from .metrics import Floats

Ints = npt.NDArray[np.int64]
Unit = Literal["checkpoint", "question", "row"]
Interval = tuple[float, float, float]  # estimate, lower and upper end

CONFIDENCE = 0.95  # nominal coverage of the intervals
ENOUGH = 8  # clusters without which a cluster bootstrap tells little
CELLS = 1 << 21  # weights held at a time


def clusters(labels: Mapping[str, npt.ArrayLike], rows: int, unit: Unit | None) -> tuple[str, Ints]:
    """What is resampled, and the cluster of each row.

    Args:
        labels: The checkpoint and question of each row, where known.
        rows: How many rows there are.
        unit: What to resample, or rows where there is only one; None takes checkpoints where
            there are 8 or more, else questions where there are 8 or more, else rows.
    """
    for name in ("checkpoint", "question"):
        if unit in (None, name) and name in labels:
            distinct, place = np.unique(np.asarray(labels[name], str), return_inverse=True)
            if len(distinct) >= (2 if unit == name else ENOUGH):
                return name, place.astype(np.int64)
    return "row", np.arange(rows)


def weights(cluster: Ints, replicates: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, [b, n], in portions until there are `replicates` of them."""
    rng = np.random.default_rng(seed)
    _, cluster = np.unique(cluster, return_inverse=True)
    size = int(cluster.max()) + 1
    portion = max(1, CELLS // len(cluster))
    for start in range(0, replicates, portion):
        drawn = rng.multinomial(size, np.full(size, 1 / size), min(portion, replicates - start))
        yield drawn[:, cluster].astype(np.float64)


def intervals(
    metrics: Mapping[str, Callable[[Floats | None], Floats]],
    cluster: Ints,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Estimate and percentile interval of each metric.

    Few clusters spread less in resamples than they do by sampling; the percentiles lie as much
    farther out (Hesterberg 2015, the expanded percentile interval). The interval is NaN where all
    resamples agree: no event in 30 rows is no certainty of none.

    Args:
        metrics: Functions of the weights [b, n] of the rows, or of None for each row once.
        cluster: What is drawn together, int64, (n,).
        replicates: Resamples; 0 gives intervals of NaN.
        seed: The same seed draws the same resamples.
    """
    drawn: dict[str, list[Floats]] = {name: [] for name in metrics}
    for portion in weights(cluster, replicates, seed):
        for name, metric in metrics.items():
            drawn[name].append(metric(portion))
    size = max(2, len(np.unique(cluster)))  # resamples of one agree
    spread = stats.t.ppf((1 - CONFIDENCE) / 2, size - 1) * np.sqrt(size / (size - 1))
    tail = 100 * stats.norm.cdf(spread)
    found = {}
    for name, metric in metrics.items():
        values = np.concatenate(drawn[name]) if drawn[name] else np.zeros(0)
        values = values[~np.isnan(values)]  # resamples with one class only
        low, high = (
            np.percentile(values, [tail, 100 - tail])
            if len(np.unique(values)) > 1
            else (np.nan, np.nan)
        )
        found[name] = (float(metric(None)), float(low), float(high))
    return found
