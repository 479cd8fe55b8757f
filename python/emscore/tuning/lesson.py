"""What the last layer of a scorer learns from judged rows: one convex problem.

The new weights minimise, over the rows, the cross-entropy that the network was trained with, plus a
pull to the old weights (a ridge; its strength is chosen by cross-validation, and may be so strong
that nothing changes), plus the same cross-entropy over rows to keep, where some are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from ..distill.scorer import softmax
from ..fidelity.metrics import Bools, Floats

PULLS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # strengths of the ridge that are tried
COHERENT = 0.5  # weight of coherent in the loss, as in training


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
