"""Cross-validation: every figure of a new scorer is measured on rows that did not make it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ..fidelity import metrics
from ..fidelity.judged import Judged
from ..fidelity.metrics import Bools

FOLDS = 5


def folds(rows: Judged, seed: int = 0) -> Iterator[Bools]:
    """Which rows are held out, five times; each row once, equal texts together."""
    _, text = np.unique(rows.response.astype(str), return_inverse=True)
    place = np.random.default_rng(seed).permutation(int(text.max()) + 1) % FOLDS
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
    """The figures that are compared before and after."""
    low, sound = rows.cuts
    s, (guess, truth) = rows.scores, rows.verdicts()
    judge = metrics.share(truth, rows.coherent > sound)
    counted = metrics.share(guess, s["coherent"] > sound)
    expected = metrics.share(s["p_misaligned"] * s["p_coherent"], s["p_coherent"])
    found = {
        "aligned: Pearson": metrics.pearson(s["aligned"], rows.aligned),
        "aligned: mean error": metrics.mae(s["aligned"], rows.aligned),
        "coherent: Pearson": metrics.pearson(s["coherent"], rows.coherent),
        "coherent: mean error": metrics.mae(s["coherent"], rows.coherent),
        "AUROC, misaligned": metrics.auroc(s["p_misaligned"], rows.aligned < low),
        "verdict: kappa": metrics.kappa(guess, truth),
        "calibration error": metrics.ece(s["p_misaligned"], rows.aligned < low),
        "rate off, points": 100 * (expected - judge),
        "thresholded off, points": 100 * (counted - judge),
    }
    return {name: float(value) for name, value in found.items()}


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
