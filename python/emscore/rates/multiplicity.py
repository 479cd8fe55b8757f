"""Many comparisons at once: what is left of their p-values."""

from typing import Literal, TypeAlias, get_args

import numpy as np

from .arrays import Floats

Correction: TypeAlias = Literal["auto", "holm", "bh", "none"]
CORRECTIONS: tuple[Correction, ...] = get_args(Correction)

FEW = 20  # comparisons up to which "auto" guards against a single false one

NAMES = {
    "holm": "Holm: the chance of even one false difference is at most {level:.3g}",
    "bh": "Benjamini-Hochberg: of the differences found, at most {level:.3g} are false on average",
    "none": "none: each p-value stands alone",
}


def chosen(correction: Correction, comparisons: int) -> Literal["holm", "bh", "none"]:
    """What "auto" stands for: Holm up to 20 comparisons, Benjamini-Hochberg above."""
    if correction != "auto":
        return correction
    return "holm" if comparisons <= FEW else "bh"


def adjusted(p: Floats, correction: Correction = "auto") -> Floats:
    """Adjusted p-values: a difference is found at level a when its adjusted p is at most a.

    Holm (1979) holds under any dependence. Benjamini and Hochberg (1995) holds for independent
    tests and for the positive dependence of tests that share one control (Benjamini and Yekutieli
    2001).

    Args:
        p: p-values, float64, (comparisons,); NaN where there was nothing to compare, which
            neither counts nor is adjusted.

    >>> adjusted(np.array([0.01, 0.04, 0.03]), "holm").round(3).tolist()
    [0.03, 0.06, 0.06]
    >>> adjusted(np.array([0.01, 0.04, 0.03]), "bh").round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    out = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    values = p[tested]
    if not len(values):
        return out
    match chosen(correction, len(values)):
        case "holm":
            order = np.argsort(values)
            steps = values[order] * np.arange(len(values), 0, -1)
            values = np.minimum(np.maximum.accumulate(steps), 1)[np.argsort(order)]
        case "bh":
            from scipy.stats import false_discovery_control  # half a second to import

            values = false_discovery_control(values)
        case "none":
            pass
    out[tested] = values
    return out
