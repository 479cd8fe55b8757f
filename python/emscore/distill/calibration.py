"""What bins are worth and what probabilities mean, fitted on rows that training did not see."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, ndtr

from ..fidelity.metrics import Bools, Floats
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
    """What each bin is worth: `worth` of its probability; each bin stays near its middle.

    The soft labels pull scores near 0 and 100 inwards; this puts them back.

    Args:
        probabilities: Of the bins, (n, B).
        scores: The judge's, NaN where there is none, (n,).
        cut: Where the verdict changes.
    """
    known = ~np.isnan(scores)
    ridge = CENTER_RIDGE * known.sum()
    found = worth(probabilities[known], scores[known], cut, CENTERS, ridge)
    found = np.clip(np.maximum.accumulate(found), 0, 100)
    return [round(float(c), 3) for c in found]


def worth(read: Floats, scores: Floats, cut: float, prior: Floats, ridge: float) -> Floats:
    """What each column is worth, so that a row's sum is near the score and on its side of the cut.

    A row that may be on either side of the cut has a mean on the longer side, so that counting
    means finds too few under a low cut. Hence, besides half the squared error, the log loss of the
    verdict, as if means erred by a logistic density of scale `SIGMA`. By Newton's method.

    Args:
        read: What there is to go by, (n, d).
        scores: The judge's, (n,).
        cut: Where the verdict changes.
        prior: What the columns are worth before anything is known, (d,).
        ridge: Strength, in rows, of the pull to it.
    """
    below, found = scores < cut, prior.astype(np.float64)
    for _ in range(50):
        mean = read @ found
        guess = expit((cut - mean) / SIGMA)
        slope = mean - scores - VERDICT_SHARE / SIGMA * (guess - below)
        bend = 1 + VERDICT_SHARE / SIGMA**2 * guess * (1 - guess)
        curvature = (read * bend[:, None]).T @ read + ridge * np.eye(len(prior))
        found = found - np.linalg.solve(curvature, read.T @ slope + ridge * (found - prior))
    return found


def platt(odds: Floats, yes: Floats | Bools, weight: Floats | float = 1.0) -> dict[str, float]:
    """Slope and intercept that calibrate log-odds (Platt 1999), pulled towards 1 and 0.

    Args:
        odds: Log-odds of the rows, (n,).
        yes: 1 or 0, or how likely it is where nobody said more; NaN where it is unknown, (n,).
        weight: How much each row counts, (n,), or all of them.
    """
    known = ~np.isnan(yes)
    x, y, w = odds[known], yes[known].astype(np.float64), np.broadcast_to(weight, yes.shape)[known]

    def loss(fit: Floats) -> tuple[float, Floats]:
        z, change = fit[0] * x + fit[1], fit - (1.0, 0.0)
        gap = w * (expit(z) - y)
        total = w @ (np.logaddexp(0, z) - y * z) + PLATT_RIDGE / 2 * change @ change
        return float(total), np.array([gap @ x, gap.sum()]) + PLATT_RIDGE * change

    bounds = [(0.0, None), (None, None)]
    found = minimize(loss, (1.0, 0.0), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-12).x
    return dict(zip(("slope", "intercept"), found.round(5).tolist(), strict=True))
