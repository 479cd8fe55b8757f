"""New questions for a scorer: its last layer refitted on a few judged rows, without PyTorch.

The new weights minimise, over the judged rows, the cross-entropy that the network was trained with,
plus a pull to the old weights (a ridge; its strength is chosen by cross-validation, and may be so
strong that nothing changes), plus the same cross-entropy over rows to keep, where some are given.
The problem is convex, so there is one answer. How much was learnt is measured by cross-validation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from ..distill.calibration import soft_labels
from ..distill.scorer import softmax
from ..fidelity.judged import Judged
from ..fidelity.metrics import Bools, Floats
from . import directory, head
from .calibrate import check
from .folds import agreement, folds, shown

LEAST = 30  # rows
PULLS = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3)  # strengths of the ridge that are tried
COHERENT = 0.5  # weight of coherent in the loss, as in training
SIZES = (50, 100, 200, 300)  # numbers of labels at which the agreement is shown


@dataclass(frozen=True)
class Lesson:
    """Rows as the last layer sees them.

    Attributes:
        inputs: What it reads, in units in which the rows to learn differ by about 1, (n, d).
        logits: Of aligned and coherent, before, (n, 2 x bins).
        targets: Soft labels of aligned and coherent, (n, 2 x bins).
    """

    inputs: Floats
    logits: Floats
    targets: Floats

    def only(self, rows: Bools) -> Lesson:
        """Some of the rows."""
        return Lesson(self.inputs[rows], self.logits[rows], self.targets[rows])

    def after(self, change: Floats) -> Floats:
        """Logits after a change of the last layer."""
        return np.asarray(self.logits + self.inputs @ change)


def learn(lesson: Lesson, pull: float, keep: Lesson | None = None) -> Floats:
    """What is added to the last layer's weights, (d, 2 x bins).

    Minimises sum of cross-entropies + pull / 2 x sum of squared changes, by L-BFGS.

    Args:
        lesson: Rows to learn.
        pull: Strength of the pull to no change; infinite gives no change.
        keep: Rows to keep, which count as much in all as those to learn.
    """
    parts = [(lesson, 1.0)]
    if keep is not None and len(keep.inputs):
        parts.append((keep, min(1.0, len(lesson.inputs) / len(keep.inputs))))
    shape = lesson.inputs.shape[1], lesson.logits.shape[1]
    if not np.isfinite(pull):
        return np.zeros(shape)
    bins = shape[1] // 2

    def loss(flat: Floats) -> tuple[float, Floats]:
        change = flat.reshape(shape)
        total, slope = pull / 2 * float((flat**2).sum()), pull * change
        for rows, weight in parts:
            logits = rows.after(change)
            gap = np.empty_like(logits)
            for part, share in ((slice(0, bins), 1.0), (slice(bins, None), COHERENT)):
                logs = logits[:, part] - np.logaddexp.reduce(logits[:, part], 1, keepdims=True)
                target = rows.targets[:, part]
                total -= weight * share * float((target * logs).sum())
                gap[:, part] = weight * share * (np.exp(logs) - target)
            slope = slope + rows.inputs.T @ gap
        return total, slope.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B",
                     options={"maxiter": 200})  # fmt: skip
    return np.asarray(found.x).reshape(shape)


def cross_entropy(lesson: Lesson, change: Floats) -> Floats:
    """Of each row, (n,)."""
    logits = lesson.after(change)
    bins = logits.shape[1] // 2
    total = np.zeros(len(logits))
    for part, share in ((slice(0, bins), 1.0), (slice(bins, None), COHERENT)):
        logs = np.log(softmax(logits[:, part]) + 1e-30)
        total -= share * (lesson.targets[:, part] * logs).sum(1)
    return total


@dataclass(frozen=True)
class Adapted:
    """What `adapt` found, all by cross-validation.

    Attributes:
        pull: The chosen strength; infinite where nothing that was learnt held on other rows.
        agreement: Figures by number of labels: 0 is before.
        kept: Figures on the rows to keep, before and after; empty without such rows.
    """

    pull: float
    agreement: dict[int, dict[str, float]]
    kept: dict[str, dict[str, float]]


class Pupil:
    """A scorer whose last layer can be refitted.

    Attributes:
        told: Its manifest.
        lesson: The rows to learn.
    """

    def __init__(self, scorer: str | os.PathLike[str], rows: Judged) -> None:
        self.told = directory.manifest(scorer)
        self.scorer = head.folder(scorer)
        self.head = head.read(self.scorer, self.told, _pairs(rows))
        parts = np.split(self.head.inputs, np.cumsum(self.head.sizes)[:-1], axis=1)
        self.scale = np.concatenate(
            [np.full(part.shape[1], 1 / np.sqrt(part.var(0).sum() + 1e-12)) for part in parts]
        )
        self.lesson = self._lesson(rows, self.head)

    def see(self, rows: Judged) -> Lesson:
        """Other rows as the last layer sees them."""
        return self._lesson(rows, head.read(self.scorer, self.told, _pairs(rows)))

    def _lesson(self, rows: Judged, seen: head.Head) -> Lesson:
        targets = np.concatenate([soft_labels(rows.aligned), soft_labels(rows.coherent)], 1)
        return Lesson(seen.inputs * self.scale, seen.logits[:, : targets.shape[1]], targets)

    def scored(self, rows: Judged, logits: Floats) -> Judged:
        """The rows with the scores that follow from logits of aligned and coherent."""
        return replace(rows, scores=head.scores(self.told, logits))

    def models(self, change: Floats) -> dict[str, bytes]:
        """The scorer's models with a change of the last layer, by role."""
        weight = np.zeros_like(self.head.weight)
        weight[:, : change.shape[1]] = change * self.scale[:, None]
        return head.changed(self.scorer, self.told, self.head, weight)


def choose(lesson: Lesson, held: Sequence[Bools], keep: Lesson | None = None) -> float:
    """The pull whose fits hold best on rows that they did not see; infinite where none does.

    Args:
        lesson: Rows to learn.
        held: Which of them are held out, fold by fold.
        keep: Rows to keep.
    """
    losses = {}
    for pull in (np.inf, *PULLS):
        losses[pull] = sum(
            float(cross_entropy(lesson.only(out), learn(lesson.only(~out), pull, keep)).sum())
            for out in held
        )
    return min(losses, key=lambda pull: losses[pull])


def crossed(
    lesson: Lesson,
    held: Sequence[Bools],
    pull: float,
    labels: int | None = None,
    keep: Lesson | None = None,
) -> Floats:
    """Logits of each row by a fit on rows of the other folds, at most `labels` of them."""
    logits = np.empty_like(lesson.logits)
    rng = np.random.default_rng(0)
    for out in held:
        chosen = np.zeros(len(out), np.bool_)
        chosen[rng.permutation(np.flatnonzero(~out))[:labels]] = True
        change = learn(lesson.only(chosen), pull, keep)
        logits[out] = lesson.only(out).after(change)
    return logits


def adapt(
    scorer: str | os.PathLike[str],
    rows: Judged,
    out: str | os.PathLike[str],
    name: str,
    keep: Judged | None = None,
) -> Adapted:
    """Writes the scorer `out`, which was taught the questions of `rows`.

    Args:
        scorer: The scorer to adapt.
        rows: Judged rows on new questions, 50 to 300 of them.
        out: The folder to make.
        name: Of the new scorer.
        keep: Judged rows on questions that it already knows.

    Raises:
        InputError: There are too few rows, or too few of either verdict.
        ScorerError: The scorer cannot be adapted, or what was written does not score as it should.
        OutputError: `out` exists or cannot be written.
    """
    check(rows, LEAST, "adapt")
    head.require()
    pupil = Pupil(scorer, rows)
    old = pupil.see(keep) if keep is not None else None
    held = list(folds(rows))
    pull = choose(pupil.lesson, held, old)
    most = len(rows) - max(int(out.sum()) for out in held)  # that the fit of a fold can see
    found = {0: agreement(rows)}
    for labels in (*(n for n in SIZES if n < most), most):
        logits = crossed(pupil.lesson, held, pull, labels, old)
        found[labels] = agreement(pupil.scored(rows, logits))
    change = learn(pupil.lesson, pull, old)
    kept = {}
    if keep is not None and old is not None:
        kept = {
            "before": agreement(keep),
            "after": agreement(pupil.scored(keep, old.after(change))),
        }
    result = Adapted(pull, found, kept)
    files = pupil.models(change)
    told = pupil.told | {"name": name}
    told["made_from"] = directory.origin(scorer, "adapt", len(rows))
    told["made_from"]["agreement"] = {str(n): figures for n, figures in found.items()}
    directory.write(out, scorer, told, card(told, result), files)
    return result


def card(told: dict[str, Any], found: Adapted) -> str:
    """What the new scorer's card says first."""
    made = told["made_from"]
    columns = ["before" if n == 0 else f"{n} labels" for n in found.agreement]
    figures = list(found.agreement.values())
    lines = [f"| {k} | " + " | ".join(shown(f[k]) for f in figures) + " |" for k in figures[0]]
    text = [
        f"Taught new questions: the last layer of the scorer `{made['scorer_id']}`, whose card "
        f"follows, refitted to {made['rows']} judged rows. Agreement with the judge on those rows "
        "by number of labels, each row scored by a fit that did not see it (five folds):",
        "",
        "| | " + " | ".join(columns) + " |",
        "|" + " --- |" * (len(columns) + 1),
        *lines,
    ]
    if found.kept:
        before, after = found.kept["before"], found.kept["after"]
        text += ["", "Questions to keep:", "", "| | before | after |", "| --- | --- | --- |"]
        text += [f"| {k} | {shown(before[k])} | {shown(after[k])} |" for k in before]
    return "\n".join(text)


def _pairs(rows: Judged) -> list[tuple[str, str]]:
    return list(zip(rows.question.tolist(), rows.response.tolist(), strict=True))
