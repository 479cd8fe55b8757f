"""What bins are worth and what probabilities mean, fitted on rows that training did not see."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from ..fidelity.metrics import Floats
from .shape import CENTERS, EDGES, SIGMA

CENTER_RIDGE = 0.003  # strength, per row, of the prior that a bin is worth its middle
PLATT_RIDGE = 1.0  # strength, in rows, of the prior that probabilities are calibrated already


def soft_labels(scores: Floats) -> Floats:
    """Scores [n] as probabilities of the bins [n, B]: a normal density around the score.

    HL-Gauss: Imani and White 2018 (arXiv:1806.04613). Mass outside 0-100 is cut off.
    """
    mass = np.diff(ndtr((EDGES[None, :] - scores[:, None]) / SIGMA), axis=1)
    return np.asarray(mass / mass.sum(1, keepdims=True))


def centers(probabilities: Floats, scores: Floats) -> list[float]:
    """What each bin is worth, so that the mean has the least squared error: near its middle.

    The soft labels pull scores near 0 and 100 inwards; this puts them back.
    """
    known = ~np.isnan(scores)
    p, rest = probabilities[known], scores[known] - probabilities[known] @ CENTERS
    ridge = CENTER_RIDGE * len(p) * np.eye(len(CENTERS))
    shift = np.linalg.solve(p.T @ p + ridge, p.T @ rest)
    worth = np.clip(np.maximum.accumulate(CENTERS + shift), 0, 100)
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
