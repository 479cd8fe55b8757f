"""New questions for a scorer: its last layer refitted on a few judged rows, without PyTorch.

The problem is convex, so there is one answer (`lesson`). How much was learnt is measured by
cross-validation of all that is done (`pupil`) but the choice of the pull.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

import numpy as np

from .. import models
from .._emscore import InputError
from ..fidelity.judged import Columns, Judged, read
from ..files import unoccupied
from ..inputs import Data
from ..progress import Progress
from ..scoring import Scorer
from . import calibrate, directory, head, sketch
from .directory import Tuned
from .folds import FOLDS, agreement, folds, table
from .lesson import choose, learn
from .pupil import Pupil, crossed, lesson_of, recalibrated

LEAST = 30  # rows
CALIBRATION = ("calibration error", "rate off, points")  # what another calibration changes
SIZES = (50, 100, 200, 300)  # numbers of labels at which the agreement is shown
Figures = dict[str, dict[str, float]]


class Adapted(Tuned):
    """What `adapt` tells of a new scorer; all figures are by cross-validation."""

    calibration: Figures  # with all labels, with the calibration "as it was" and "anew"
    kept: Figures  # "before" and "after", on the rows to keep; empty without such rows
    kept_rows: int  # without those of the audit
    unchanged: bool  # nothing that was learnt held on other rows: the last layer stays


@head.ready()
def adapt(
    scorer: str | os.PathLike[str],
    audit: Data,
    output: str | os.PathLike[str],
    *,
    name: str | None = None,
    keep: Data = None,
    question_column: str | None = None,
    response_column: str | None = None,
    judge_aligned: str | None = None,
    judge_coherent: str | None = None,
    progress: bool | Progress | None = None,
) -> Adapted:
    """Writes a new scorer: an old one that was taught the questions of judged rows.

    Its last layer is refitted and its probabilities are calibrated anew. Needs `emscore[adapt]`.

    Args:
        scorer: Name of a shipped scorer, or the directory of any other.
        audit: 50 to 300 judged rows on new questions: see `labelled` of `evaluate`. They are spent:
            measure the new scorer, and its rates, with others.
        output: The folder to make.
        name: Of the new scorer. The default is that of its folder.
        keep: Judged rows on questions that it knows already, which hold it to what it knew. Scores
            of the scorer itself will do.
        question_column: As in `evaluate`, and so are the others.

    Returns:
        The new scorer's id, the rows that taught it and those left out, and its agreement with the
        judge by number of labels, each row scored by a fit that did not see it.

    Raises:
        InputError: The data cannot be read or has no such columns; there are too few rows, or too
            few of either verdict.
        ScorerError: The scorer cannot be adapted, or what that needs is not installed.
        OutputError: `output` exists or cannot be written.
    """
    unoccupied(output)
    directory.manifest(scorer)
    columns = Columns(question_column, response_column, judge_aligned, judge_coherent)
    loaded = Scorer(scorer, device="cpu")
    every = read(loaded, audit, columns, progress=progress)
    rows = every.only(every.once())
    calibrate.check(rows, LEAST, "adapt")
    known = None
    if keep is not None:
        known = _others(read(loaded, keep, columns, progress=progress, own=True), rows)

    pupil = Pupil(scorer, rows)
    new, old = pupil.material, pupil.see(known) if known is not None else None
    held = list(folds(rows))
    pull = choose(new.lesson, held, lesson_of(old))
    most = len(rows) - max(int(out.sum()) for out in held)  # that the fit of a fold can see
    found, after = {"before": agreement(rows)}, []
    for labels in (*(n for n in SIZES if n < most), most):
        after = crossed(pupil.calibrated_learner(pull), new, old, labels)
        found[f"{labels} labels"] = last = agreement(after[0])
    plain = agreement(crossed(pupil.learner(pull), new, old, most)[0])
    calibration = {
        kind: {key: figures[key] for key in CALIBRATION}
        for kind, figures in (("as it was", plain), ("anew", last))
    }
    kept = {}
    if known is not None:
        kept = {"before": agreement(known), "after": agreement(after[1])}

    unchanged = not np.isfinite(pull)
    files = pupil.models(learn(new.lesson, pull, lesson_of(old)))
    told = pupil.told | {"name": name or directory.folder_name(output)}
    calibrate.compose(told, recalibrated(pupil.learner(pull), new, old))
    told["made_from"] = directory.origin(scorer, "adapt", len(rows), found)
    if not unchanged:
        judged = [rows] if known is None or known.about["own"] else [rows, known]
        pairs = (zip(some.question, some.response, strict=True) for some in judged)
        told["taught"] = sorted({*told.get("taught", ()), *models.digests(chain(*pairs))})
    figures = {
        "auroc": last["AUROC, misaligned"],
        "pearson": last["aligned: Pearson"],
        "rate_error_pp": float(
            np.hypot(last["rate off, points"], last["its standard error, points"])
        ),
    }
    files |= sketch.add(scorer, told, rows.question.tolist(), figures)
    says = card(told["made_from"], calibration, kept, unchanged)
    directory.write(output, scorer, told, says, files)
    return {
        **directory.tuned(output, rows, every, found),
        "calibration": calibration,
        "kept": kept,
        "kept_rows": len(known or ()),
        "unchanged": unchanged,
    }


def _others(keep: Judged, rows: Judged) -> Judged:
    """The rows to keep, each text once, that share no response with those to learn, whose folds
    may not see them.

    Raises:
        InputError: They hold too few responses to be parted into folds.
    """
    keep = keep.only(keep.once())
    others = keep.only(~np.isin(keep.response.astype(str), rows.response.astype(str)))
    if (different := len(set(others.response))) < FOLDS:
        raise InputError(
            f"the rows to keep hold {different} different responses that are not in the audit: "
            f"give {FOLDS} or more, or leave out --keep"
        )
    return others


def card(made: dict[str, Any], calibration: Figures, kept: Figures, unchanged: bool) -> str:
    """What the new scorer's card says first."""
    done = (
        "calibrated anew on {} judged rows. Nothing else that they taught held on other rows, so "
        "the network is the same."
        if unchanged
        else "its last layer refitted to {} judged rows, and calibrated anew."
    )
    text = [
        f"Taught new questions: the scorer `{made['scorer_id']}`, whose card follows, "
        f"{done.format(made['rows'])} Agreement with the judge on those rows by number of labels, "
        "each row scored by a fit that did not see it (five folds):",
        table(made["agreement"]),
        "The same with all labels, with the calibration as it was, and anew on rows that the fits "
        "did not see:",
        table(calibration),
    ]
    if kept:
        text += ["Questions to keep, likewise:", table(kept)]
    return "\n\n".join(text)
