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

import json
from typing import Any, NamedTuple

from scipy import stats

from .. import _emscore, models
from .._emscore import EmscoreError, InputError

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
        q = (1 + confidence) / 2
        t = stats.t.ppf(q, self.checkpoints) if self.checkpoints else stats.norm.ppf(q)
        return float(t * self.sd)


def scorer_errors(scorer_id: str, model: str | None = None) -> dict[str, ScorerError]:
    """What is known of a scorer's error, by kind of rate; empty where nothing is.

    Args:
        scorer_id: The scorer that the scores are of.
        model: Its name or directory, where it is none of those that ship.

    Raises:
        InputError: `model` is another scorer.
        ScorerError: There is no such scorer.
    """
    for name in [model] if model else models.names():
        folder = models.resolve(name)
        try:
            found = json.loads(_emscore.describe(str(folder)))["id"]
        except EmscoreError:
            if model:
                raise
            continue
        if found == scorer_id:
            return _of(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        if model:
            raise InputError(
                f"{model} is the scorer {found}, and the scores are of {scorer_id or 'one unnamed'}"
            )
    return {}


def _of(manifest: dict[str, Any]) -> dict[str, ScorerError]:
    error = manifest.get("agreement", {}).get("rate_error", {})
    return {
        kind: ScorerError(float(error[kind]["sd"]), error.get("checkpoints"))
        for kind in KINDS
        if kind in error
    }
