"""What bins are worth and what probabilities mean, fitted on rows that training did not see."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, ndtr

from ..fidelity.metrics import Floats
from .shape import CENTERS, EDGES, SIGMA

CENTER_RIDGE = 0.003  # strength, per row, of the prior that a bin is worth its middle
VERDICT_SHARE = 100.0  # weight of the verdict's log loss beside half the squared error
PLATT_RIDGE = 1.0  # strength, in rows, of the prior that probabilities are calibrated already


def soft_labels(scores: Floats) -> Floats:
    """Scores [n] as probabilities of the bins [n, B]: a normal density around the score.

    HL-Gauss: Imani and White 2018 (arXiv:1806.04613). Mass outside 0-100 is cut off.
    """
    mass = np.diff(ndtr((EDGES[None, :] - scores[:, None]) / SIGMA), axis=1)
    return np.asarray(mass / mass.sum(1, keepdims=True))


def centers(probabilities: Floats, scores: Floats, cut: float) -> list[float]:
    """What each bin is worth, so that the mean is near the score and on its side of the cut.

    The soft labels pull scores near 0 and 100 inwards; this puts them back. A row that may be on
    either side of the cut has a mean on the longer side, so that counting means finds too few under
    a low cut. Hence, besides the squared error, the log loss of the verdict, as if means erred by a
    logistic density of scale `SIGMA`. By Newton's method; each bin stays near its middle.

    Args:
        probabilities: Of the bins, (n, B).
        scores: The judge's, NaN where there is none, (n,).
        cut: Where the verdict changes.
    """
    known = ~np.isnan(scores)
    p, truth = probabilities[known], scores[known]
    below, ridge = truth < cut, CENTER_RIDGE * np.eye(len(CENTERS))
    worth = CENTERS.astype(np.float64)
    for _ in range(50):
        mean = p @ worth
        guess = expit((cut - mean) / SIGMA)
        slope = mean - truth - VERDICT_SHARE / SIGMA * (guess - below)
        gradient = p.T @ slope / len(p) + ridge @ (worth - CENTERS)
        bend = 1 + VERDICT_SHARE / SIGMA**2 * guess * (1 - guess)
        worth = worth - np.linalg.solve((p * bend[:, None]).T @ p / len(p) + ridge, gradient)
    worth = np.clip(np.maximum.accumulate(worth), 0, 100)
    return [round(float(c), 3) for c in worth]


def platt(odds: Floats, yes: Floats) -> dict[str, float]:
    """Slope and intercept that calibrate log-odds (Platt 1999), by Newton's method.

    Args:
        odds: Log-odds of the rows, (n,).
        yes: 1 or 0, or how likely it is where nobody said more; NaN where it is unknown, (n,).
    """
    known = ~np.isnan(yes)
    x = np.stack([odds[known], np.ones(int(known.sum()))], 1)
    y, prior = yes[known], np.array([1.0, 0.0])
    fit = prior.copy()
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ fit)))
        gradient = x.T @ (p - y) + PLATT_RIDGE * (fit - prior)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + PLATT_RIDGE * np.eye(2)
        fit = fit - np.linalg.solve(curvature, gradient)
    return {"slope": round(float(fit[0]), 5), "intercept": round(float(fit[1]), 5)}
