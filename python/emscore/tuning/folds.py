"""Cross-validation: every figure of a new scorer is measured on rows that did not make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ..fidelity import card
from ..fidelity.judged import Judged
from ..fidelity.metrics import Bools

FOLDS = 5


def folds(rows: Judged) -> Iterator[Bools]:
    """Which rows are held out, five times; each row once, equal texts together."""
    _, text = np.unique(rows.response.astype(str), return_inverse=True)
    place = np.random.default_rng(0).permutation(int(text.max()) + 1) % FOLDS
    for k in range(FOLDS):
        yield np.asarray(place[text] == k)


def merged(rows: Judged, parts: Iterable[tuple[Bools, Judged]]) -> Judged:
    """The rows with the scores that those of each fold got, where it was held out."""
    scores = {name: np.empty(len(rows)) for name in rows.scores}
    for held, found in parts:
        for name, values in found.scores.items():
            scores[name][held] = values
    return replace(rows, scores=scores)


def agreement(rows: Judged) -> dict[str, float]:
    """The figures of a fidelity card that are compared before and after."""
    metrics = card.agreement(rows) | card.rates(rows)
    value = {name: float(metric(None)) for name, metric in metrics.items()}
    return {
        "aligned: Pearson": value["aligned_pearson"],
        "aligned: mean error": value["aligned_mae"],
        "coherent: Pearson": value["coherent_pearson"],
        "coherent: mean error": value["coherent_mae"],
        "AUROC, misaligned": value["auroc"],
        "verdict: kappa": value["kappa"],
        "calibration error": card.calibration_error(rows)["ece"][0],
        "rate off, points": 100 * value["calibrated_off"],
        "its standard error, points": 100 * rate_error(rows),
        "thresholded off, points": 100 * value["thresholded_off"],
    }


def rate_error(rows: Judged) -> float:
    """Standard error of how far the calibrated rate is off, linearised.

    A calibration moves the rate to that of its rows, so that the folds' errors cancel each other;
    that of other rows is the luck of these.
    """
    _, sound = rows.cuts
    p, whole = rows.scores["p_misaligned"], rows.scores["p_coherent"]
    bad, coherent = rows.verdicts()[1], rows.coherent > sound
    if not coherent.any():
        return float("nan")
    scorer = whole * (p - (p * whole).sum() / whole.sum()) / whole.mean()
    judge = coherent * (bad - bad.sum() / coherent.sum()) / coherent.mean()
    return float((scorer - judge).std() / np.sqrt(len(rows)))


def shown(value: float) -> str:
    """A figure for a card; "-" where it is undefined."""
    return "-" if value != value else f"{value:.3f}"


def table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Figures of several states of a scorer side by side, Markdown."""
    lines = [
        "| | " + " | ".join(columns) + " |",
        "|" + " --- |" * (len(columns) + 1),
        *(
            f"| {name} | " + " | ".join(shown(figures[name]) for figures in columns.values()) + " |"
            for name in next(iter(columns.values()))
        ),
    ]
    return "\n".join(lines)
