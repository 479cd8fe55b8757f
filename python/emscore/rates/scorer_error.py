"""How far the rates of a scorer were off where a judge is known to have scored too.

A scorer's manifest may say so, as fractions of one (0.042 is 4.2 percentage points):

    "agreement": {"rate_error": {
        "checkpoints": 11,
        "calibrated": {"mean": 0.042, "worst": 0.143, "sd": 0.055},
        "thresholded": {"mean": 0.054, "worst": 0.174, "sd": 0.071}
    }}

over checkpoints that the scorer was not trained on: the mean and the largest distance of its rate
from the judge's, and sd, the root of the mean squared one.
"""

from pathlib import Path
from typing import NamedTuple

from .. import models
from .intervals import quantile, t_quantile

KINDS = ("thresholded", "calibrated")


class ScorerError(NamedTuple):
    """Root of the mean squared error of a scorer's rates, and over how many checkpoints."""

    sd: float
    checkpoints: int | None

    def half(self, confidence: float) -> float:
        """Half the width of an interval for the error on a new checkpoint.

        The errors are taken as normal around 0; where it is known how many were measured, by
        Student's distribution with that many degrees of freedom.
        """
        n = self.checkpoints
        t = t_quantile(confidence, n) if n else quantile(confidence)
        return float(t * self.sd)


def scorer_errors(scorer: Path) -> dict[str, ScorerError]:
    """What is known of a scorer's error, by kind of rate; empty where nothing is.

    Args:
        scorer: Its directory.
    """
    error = models.manifest(scorer).get("agreement", {}).get("rate_error", {})
    return {
        kind: ScorerError(float(error[kind]["sd"]), error.get("checkpoints"))
        for kind in KINDS
        if kind in error
    }
