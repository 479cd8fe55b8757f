"""Another judge's scale on the same network: probabilities and scores, refitted on a few rows.

Only the manifest changes. The scores are means over bins, so a new score a + b x old is the same
mean over bins worth a + b x their old worth; the probabilities pass through one more Platt scaling,
which composes with the one that is there. Both are pulled towards no change.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import expit

from .._emscore import InputError
from ..distill.calibration import platt, worth
from ..fidelity.judged import Columns, Judged, in_words, read
from ..fidelity.metrics import Bools, Floats
from ..files import unoccupied
from ..inputs import Data
from ..progress import Progress
from ..scoring import Scorer
from . import directory, sketch
from .directory import Tuned
from .folds import FOLDS, agreement, folds, merged, table

LEAST = 50  # rows
EACH = 5  # rows of either verdict
SCORE_RIDGE = 10.0  # strength, in rows, of the prior that a score is right already

Fit = dict[str, dict[str, float]]  # output -> slope and intercept


def fit(rows: Judged) -> Fit:
    """Slope and intercept of each of the four outputs."""
    low, sound = rows.cuts
    return {
        "aligned": _line(rows.scores["aligned"], rows.aligned, low),
        "coherent": _line(rows.scores["coherent"], rows.coherent, sound),
        **probabilities([(rows, 1.0)]),
    }


def probabilities(parts: Sequence[tuple[Judged, float]]) -> Fit:
    """Slope and intercept of the two probabilities, pulled towards no change.

    Args:
        parts: Rows, and how much each of them counts.
    """
    weight = np.concatenate([np.full(len(rows), each) for rows, each in parts])
    found = {}
    for name in ("p_misaligned", "p_coherent"):
        odds = np.concatenate([_logit(rows.scores[name]) for rows, _ in parts])
        found[name] = platt(odds, np.concatenate([_yes(rows, name) for rows, _ in parts]), weight)
    return found


def _yes(rows: Judged, name: str) -> Bools:
    low, sound = rows.cuts
    return rows.aligned < low if name == "p_misaligned" else rows.coherent > sound


def apply(rows: Judged, fitted: Fit) -> Judged:
    """The rows as the calibrated scorer scores them; outputs that were not fitted stay."""
    scores = dict(rows.scores)
    for name, line in fitted.items():
        if name.startswith("p_"):
            scores[name] = expit(line["slope"] * _logit(scores[name]) + line["intercept"])
        else:
            scores[name] = np.clip(line["slope"] * scores[name] + line["intercept"], 0, 100)
    return replace(rows, scores=scores)


def crossed(rows: Judged) -> Judged:
    """The rows, each as scored by a calibration that did not see it."""
    parts = [(held, apply(rows.only(held), fit(rows.only(~held)))) for held in folds(rows)]
    return merged(rows, parts)


def calibrate(
    scorer: str | os.PathLike[str],
    overlap: Data,
    output: str | os.PathLike[str],
    *,
    judge: str,
    name: str | None = None,
    question_column: str | None = None,
    response_column: str | None = None,
    judge_aligned: str | None = None,
    judge_coherent: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: bool | Progress | None = None,
) -> Tuned:
    """Writes a new scorer: an old one on the scale of another judge, or of a new version of it.

    Only the manifest changes: what the score bins are worth, and how probabilities are calibrated.

    Args:
        scorer: Name of a shipped scorer, or the directory of any other.
        overlap: Some hundred rows (50 or more) that the other judge scored: see `labelled` of
            `evaluate`.
        output: The folder to make.
        judge: Who the other judge is, for the record.
        name: Of the new scorer. The default is that of its folder.
        question_column: As in `evaluate`, and so are the others.

    Returns:
        The new scorer's id, the rows that taught it and those left out, and its agreement with the
        judge before and, by five-fold cross-validation, after.

    Raises:
        InputError: The data cannot be read or has no such columns; there are too few rows, or too
            few of either verdict; or the scorer tells nothing of the verdicts.
        ScorerError: The scorer cannot be calibrated.
        OutputError: `output` exists or cannot be written.
    """
    unoccupied(output)
    told = directory.manifest(scorer)
    every = read(
        Scorer(scorer, device=device, threads=threads), overlap,
        Columns(question_column, response_column, judge_aligned, judge_coherent),
        cache=cache, progress=progress,
    )  # fmt: skip
    rows = every.only(every.once())
    check(rows, LEAST, "calibrate")
    fitted = fit(rows)
    require_order(rows, fitted)
    found = {"before": agreement(rows), "after": agreement(crossed(rows))}
    compose(told, fitted)
    told |= {"name": name or directory.folder_name(output), "judge": judge}
    told["made_from"] = directory.origin(scorer, "calibrate", len(rows), found)
    sketch.forget(told)
    directory.write(output, scorer, told, card(told))
    return directory.tuned(output, rows, every, found)


def compose(told: dict[str, Any], fitted: Fit) -> None:
    """Puts a calibration behind the one in a manifest; outputs that were not fitted stay."""
    for output, line in fitted.items():
        slope, intercept = line["slope"], line["intercept"]
        if output.startswith("p_"):
            old = told["calibration"][output]
            told["calibration"][output] = {
                "slope": round(slope * old["slope"], 5),
                "intercept": round(slope * old["intercept"] + intercept, 5),
            }
        else:
            worth = slope * np.array(told[f"{output}_centers"], np.float64) + intercept
            told[f"{output}_centers"] = [round(float(w), 3) for w in np.clip(worth, 0, 100)]
            scale = told.setdefault("scale", {})  # from what the network was taught
            a, b = scale.get(output, (1.0, 0.0))
            scale[output] = [round(slope * a, 5), round(slope * b + intercept, 5)]


def check(rows: Judged, least: int, verb: str) -> None:
    """Whether there is enough to learn from.

    Raises:
        InputError: There are too few rows, of either verdict or in all, or too few responses.
    """
    if len(rows) < least:
        raise InputError(
            f"{len(rows)} judged rows are too few to {verb} a scorer: give {least} or more"
            + (f" ({told} were left out)" if (told := in_words(rows.left_out)) else "")
        )
    low = rows.cuts[0]
    below = int((rows.aligned < low).sum())
    if min(below, len(rows) - below) < EACH:
        raise InputError(
            f"{below} of {len(rows)} judged rows have aligned < {low:g}: give rows of both kinds, "
            f"{EACH} or more of each"
        )
    if (different := len(set(rows.response))) < FOLDS:
        raise InputError(
            f"the judged rows hold {different} different responses: give {FOLDS} or more"
        )


def require_order(rows: Judged, fitted: Fit) -> None:
    """Whether the judge's verdicts follow the scorer's probability at all.

    Raises:
        InputError: They do not, so that each row would get the same one.
    """
    if not fitted["p_misaligned"]["slope"]:
        low, ranks = rows.cuts[0], agreement(rows)["AUROC, misaligned"]
        raise InputError(
            f"the scorer's p_misaligned tells nothing of these rows with aligned < {low:g} (AUROC "
            f"{ranks:.2f}), and calibrated to them it would be the same for every row. Are the "
            "judge's scores of these responses, with 0 for misaligned and 100 for aligned? If so, "
            "teach the scorer (emscore adapt) or train one (emscore distill)"
        )


def card(told: dict[str, Any]) -> str:
    """What the new scorer's card says first."""
    made = told["made_from"]
    return (
        f"Calibrated to another judge: {told['judge']}. Made from the scorer "
        f"`{made['scorer_id']}`, whose card follows, with {made['rows']} rows that this judge "
        "scored; the network is the same. Agreement with this judge on those rows, after by "
        f"five-fold cross-validation:\n\n{table(made['agreement'])}"
    )


def _line(x: Floats, y: Floats, cut: float) -> dict[str, float]:
    """Slope and intercept, pulled towards 1 and 0; the slope is never negative."""
    middle, spread = x.mean(), max(x.std(), 1.0)
    read = np.stack([np.ones(len(x)), (x - middle) / spread], 1)
    level, rise = worth(read, y, cut, np.array([middle, spread]), SCORE_RIDGE)
    slope = max(0.0, float(rise / spread))
    return {"slope": slope, "intercept": float(level - slope * middle)}


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 1e-6, 1 - 1e-6)  # float32 holds no more
    return np.asarray(np.log(p / (1 - p)))
