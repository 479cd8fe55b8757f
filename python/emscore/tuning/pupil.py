"""A scorer whose last layer can be refitted, and rows as it sees them.

The probabilities are calibrated on scores of the same rows by fits that did not see them, with a
pull to the old calibration that few labels do not overcome.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .. import models
from ..distill.calibration import soft_labels
from ..distill.scorer import scores
from ..fidelity.judged import Judged
from ..fidelity.metrics import Bools, Floats
from . import calibrate, directory, head
from .folds import folds, merged
from .lesson import Lesson, learn


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
        self.scorer = models.resolve(scorer)
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
        logits = np.split(some.lesson.after(change), 2, axis=1)
        return replace(some.rows, scores=scores(self.told, *logits))

    def learner(self, pull: float) -> Teach:
        """Refits the last layer; the calibration stays."""

        def teach(new: Material, keep: Material | None) -> Score:
            change = learn(new.lesson, pull, lesson_of(keep))
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


def lesson_of(material: Material | None) -> Lesson | None:
    """What they teach, if there are any."""
    return None if material is None else material.lesson


def _pairs(rows: Judged) -> list[tuple[str, str]]:
    return list(zip(rows.question.tolist(), rows.response.tolist(), strict=True))
