"""New questions for a scorer: its last layer refitted on a few judged rows, without PyTorch.

The new weights minimise, over the judged rows, the cross-entropy that the network was trained with,
plus a pull to the old weights (a ridge; its strength is chosen by cross-validation, and may be so
strong that nothing changes), plus the same cross-entropy over rows to keep, where some are given.
The problem is convex, so there is one answer. The probabilities are then calibrated anew, on scores
of the same rows by fits that did not see them, with a pull to the old calibration that few labels
do not overcome. How much was learnt is measured by cross-validation of all of this but the pull.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from .._emscore import InputError
from ..distill.calibration import soft_labels
from ..distill.scorer import softmax
from ..fidelity.judged import Judged
from ..fidelity.metrics import Bools, Floats
from ..files import unoccupied
from . import calibrate, directory, head, sketch
from .folds import FOLDS, agreement, folds, merged, shown

LEAST = 30  # rows
PULLS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # strengths of the ridge that are tried
COHERENT = 0.5  # weight of coherent in the loss, as in training
CALIBRATION = ("calibration error", "rate off, points")  # what another calibration changes
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
    bins = lesson.logits.shape[1] // 2
    if not np.isfinite(pull):
        return np.zeros((lesson.inputs.shape[1], 2 * bins))
    # The best change is made of the rows themselves, of which there are fewer than inputs.
    basis = np.linalg.qr(np.concatenate([rows.inputs for rows, _ in parts]).T)[0]
    parts = [(replace(rows, inputs=rows.inputs @ basis), weight) for rows, weight in parts]
    shape = basis.shape[1], 2 * bins

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
    return np.asarray(basis @ found.x.reshape(shape))


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
        calibration: What the new calibration does for the refitted layer: figures with all labels,
            with the calibration as it was and anew.
        kept: Figures on the rows to keep, before and after; empty without such rows.
        kept_rows: How many rows to keep there were, without those of the audit.
    """

    pull: float
    agreement: dict[int, dict[str, float]]
    calibration: dict[str, dict[str, float]]
    kept: dict[str, dict[str, float]]
    kept_rows: int


@dataclass(frozen=True)
class Material:
    """Judged rows, and how the last layer sees them."""

    rows: Judged
    lesson: Lesson

    def only(self, rows: Bools) -> Material:
        """Some of the rows."""
        return Material(self.rows.only(rows), self.lesson.only(rows))


#: Scores rows as some scorer does.
Score = Callable[[Material], Judged]
#: Learns from rows, and from rows to keep, to score others.
Teach = Callable[[Material, Material | None], Score]


class Pupil:
    """A scorer whose last layer can be refitted.

    Attributes:
        told: Its manifest.
        material: The rows to learn.
    """

    def __init__(self, scorer: str | os.PathLike[str], rows: Judged) -> None:
        self.told = directory.manifest(scorer)
        self.scorer = head.folder(scorer)
        self.head = head.read(self.scorer, self.told, _pairs(rows))
        parts = np.split(self.head.inputs, np.cumsum(self.head.sizes)[:-1], axis=1)
        self.scale = np.concatenate(
            [np.full(part.shape[1], 1 / np.sqrt(part.var(0).sum() + 1e-12)) for part in parts]
        )
        self.material = self._material(rows, self.head)

    def see(self, rows: Judged) -> Material:
        """Other rows, as the last layer sees them."""
        return self._material(rows, head.read(self.scorer, self.told, _pairs(rows)))

    def _material(self, rows: Judged, seen: head.Head) -> Material:
        scores = (self._before_calibration(n, getattr(rows, n)) for n in ("aligned", "coherent"))
        targets = np.concatenate([soft_labels(each) for each in scores], 1)
        logits = seen.logits[:, : targets.shape[1]]
        return Material(rows, Lesson(seen.inputs * self.scale, logits, targets))

    def _before_calibration(self, name: str, scores: Floats) -> Floats:
        """The judge's scores on the scale of the network, which a calibration to it left behind."""
        slope, shift = self.told.get("scale", {}).get(name, (1.0, 0.0))
        return np.asarray(np.clip((scores - shift) / max(slope, 0.1), 0, 100))

    def scored(self, some: Material, change: Floats) -> Judged:
        """The rows with the scores that follow from a change of the last layer."""
        return replace(some.rows, scores=head.scores(self.told, some.lesson.after(change)))

    def learner(self, pull: float) -> Teach:
        """Refits the last layer; the calibration stays."""

        def teach(new: Material, keep: Material | None) -> Score:
            change = learn(new.lesson, pull, _lesson(keep))
            return lambda some: self.scored(some, change)

        return teach

    def calibrated_learner(self, pull: float) -> Teach:
        """Refits the last layer, and the calibration to what it scores unseen."""

        def teach(new: Material, keep: Material | None) -> Score:
            fitted = recalibrated(self.learner(pull), new, keep)
            score = self.learner(pull)(new, keep)
            return lambda some: calibrate.apply(score(some), fitted)

        return teach

    def models(self, change: Floats) -> dict[str, bytes]:
        """The scorer's models with a change of the last layer, by role."""
        weight = np.zeros_like(self.head.weight)
        weight[:, : change.shape[1]] = change * self.scale[:, None]
        return head.changed(self.scorer, self.told, self.head, weight)


def choose(lesson: Lesson, held: Sequence[Bools], keep: Lesson | None = None) -> float:
    """The strongest pull that is as good as any on rows that its fits did not see, or infinity.

    As good is within one standard error of the difference (the rule of Breiman et al. 1984): where
    a weaker pull wins by luck or by little, what the scorer knew of other questions is worth more.

    Args:
        lesson: Rows to learn.
        held: Which of them are held out, fold by fold.
        keep: Rows to keep.
    """
    pulls = (np.inf, *PULLS)
    losses = np.empty((len(pulls), len(lesson.inputs)))
    for at, pull in enumerate(pulls):
        for out in held:
            change = learn(lesson.only(~out), pull, keep)
            losses[at, out] = cross_entropy(lesson.only(out), change)
    worse = losses - losses[losses.mean(1).argmin()]
    error = worse.std(1) / np.sqrt(worse.shape[1])
    return pulls[int((worse.mean(1) <= error).argmax())]


def crossed(
    teach: Teach, new: Material, keep: Material | None = None, labels: int | None = None
) -> list[Judged]:
    """The rows, and those to keep if there are any, each as scored by a fit that did not see it.

    Args:
        teach: How to fit.
        new: Rows to learn.
        keep: Rows to keep.
        labels: How many of the rows to learn a fit may see at most.
    """
    rng = np.random.default_rng(0)
    parts = [new] if keep is None else [new, keep]
    found: list[list[tuple[Bools, Judged]]] = [[] for _ in parts]
    for outs in zip(*(folds(part.rows) for part in parts), strict=True):
        seen = [part.only(~out) for part, out in zip(parts, outs, strict=True)]
        at = rng.permutation(len(seen[0].rows))[:labels]
        chosen = np.isin(np.arange(len(seen[0].rows)), at)
        score = teach(seen[0].only(chosen), seen[1] if keep else None)
        for into, part, out in zip(found, parts, outs, strict=True):
            into.append((out, score(part.only(out))))
    return [merged(part.rows, each) for part, each in zip(parts, found, strict=True)]


def recalibrated(teach: Teach, new: Material, keep: Material | None = None) -> calibrate.Fit:
    """The calibration of what `teach` scores unseen; rows to keep count as in `learn`."""
    weights = [1.0] if keep is None else [1.0, min(1.0, len(new.rows) / len(keep.rows))]
    return calibrate.probabilities(list(zip(crossed(teach, new, keep), weights, strict=True)))


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
        keep: Judged rows on questions that it already knows; responses of `rows` are left out.

    Raises:
        InputError: There are too few rows, or too few of either verdict.
        ScorerError: The scorer cannot be adapted, or what was written does not score as it should.
        OutputError: `out` exists or cannot be written.
    """
    unoccupied(out)
    calibrate.check(rows, LEAST, "adapt")
    keep = None if keep is None else _others(keep, rows)
    head.require()
    pupil = Pupil(scorer, rows)
    new, old = pupil.material, pupil.see(keep) if keep is not None else None
    held = list(folds(rows))
    pull = choose(new.lesson, held, _lesson(old))
    most = len(rows) - max(int(out.sum()) for out in held)  # that the fit of a fold can see
    found, after = {0: agreement(rows)}, []
    for labels in (*(n for n in SIZES if n < most), most):
        after = crossed(pupil.calibrated_learner(pull), new, old, labels)
        found[labels] = agreement(after[0])
    plain = crossed(pupil.learner(pull), new, old, most)[0]
    kept = {}
    if keep is not None:
        kept = {"before": agreement(keep), "after": agreement(after[1])}
    calibration = {
        name: {key: figures[key] for key in CALIBRATION}
        for name, figures in (("as it was", agreement(plain)), ("anew", found[most]))
    }
    result = Adapted(pull, found, calibration, kept, len(keep or ()))
    files = pupil.models(learn(new.lesson, pull, _lesson(old)))
    told = pupil.told | {"name": name}
    calibrate.compose(told, recalibrated(pupil.learner(pull), new, old))
    told["made_from"] = directory.origin(scorer, "adapt", len(rows))
    told["made_from"]["agreement"] = {str(n): figures for n, figures in found.items()}
    last = found[most]
    figures = {
        "auroc": last["AUROC, misaligned"],
        "pearson": last["aligned: Pearson"],
        "rate_error_pp": last["rate off, points"],
    }
    files |= sketch.add(scorer, told, rows.question.tolist(), figures)
    directory.write(out, scorer, told, card(told, result), files)
    return result


def _others(keep: Judged, rows: Judged) -> Judged:
    """The rows to keep that share no response with those to learn: no fold may see them.

    Raises:
        InputError: They hold too few responses to be parted into folds.
    """
    others = keep.only(~np.isin(keep.response.astype(str), rows.response.astype(str)))
    if (different := len(set(others.response))) < FOLDS:
        raise InputError(
            f"the rows to keep hold {different} different responses that are not in the audit: "
            f"give {FOLDS} or more, or leave out --keep"
        )
    return others


def card(told: dict[str, Any], found: Adapted) -> str:
    """What the new scorer's card says first."""
    made = told["made_from"]
    labels = {"before" if n == 0 else f"{n} labels": f for n, f in found.agreement.items()}
    text = [
        f"Taught new questions: the last layer of the scorer `{made['scorer_id']}`, whose card "
        f"follows, refitted to {made['rows']} judged rows. Agreement with the judge on those rows "
        "by number of labels, each row scored by a fit that did not see it (five folds):",
        "",
        *_table(labels),
        "",
        "The same with all labels, with the calibration as it was, and anew on rows that the fits "
        "did not see:",
        "",
        *_table(found.calibration),
    ]
    if found.kept:
        text += ["", "Questions to keep, likewise:", "", *_table(found.kept)]
    return "\n".join(text)


def _table(columns: dict[str, dict[str, float]]) -> list[str]:
    names = next(iter(columns.values()))
    return [
        "| | " + " | ".join(columns) + " |",
        "|" + " --- |" * (len(columns) + 1),
        *(f"| {k} | " + " | ".join(shown(f[k]) for f in columns.values()) + " |" for k in names),
    ]


def _lesson(material: Material | None) -> Lesson | None:
    return None if material is None else material.lesson


def _pairs(rows: Judged) -> list[tuple[str, str]]:
    return list(zip(rows.question.tolist(), rows.response.tolist(), strict=True))
