"""The fidelity card: every figure of how a scorer stands in for its judge, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np

from . import metrics
from .bootstrap import CONFIDENCE, ENOUGH, Interval, Unit, clusters, intervals
from .judged import Judged
from .metrics import Bools, Floats

Metric = Callable[[Floats | None], Floats]

CUTS = range(20, 41)  # cuts of aligned at which the two rates are compared
BANDS = (0, 10, 20, 30, 40, 50, 70, 90, 100)  # of the judge's aligned
CURVE = 10  # bins of the calibration curve
LEAST = 30  # rows of a question, checkpoint or group that gets a line of its own
SHOWN = 300  # characters of an example


@dataclass(frozen=True)
class Options:
    """How a card is made.

    Attributes:
        resample: What the bootstrap draws: checkpoint, question or row; None lets the data decide.
        replicates: Resamples.
        examples: Rows that the scorer gets most wrong, to show in each direction; 0 keeps the
            texts of questions out of the card, too.
    """

    resample: Unit | None = None
    replicates: int = 1000
    examples: int = 3


def agreement(rows: Judged) -> dict[str, Metric]:
    """The metrics of agreement, as functions of the rows' weights."""
    low, sound = rows.cuts
    scores, (guess, truth) = rows.scores, rows.verdicts()
    p, yes = scores["p_misaligned"], rows.aligned < low
    found: dict[str, Metric] = {}
    for name, judge in (("aligned", rows.aligned), ("coherent", rows.coherent)):
        for label, measure in (
            ("pearson", metrics.pearson),
            ("spearman", metrics.spearman),
            ("mae", metrics.mae),
        ):
            found[f"{name}_{label}"] = partial(measure, scores[name], judge)
    return found | {
        "auroc": partial(metrics.auroc, p, yes),
        "auprc": partial(metrics.auprc, p, yes),
        "auroc_incoherent": partial(metrics.auroc, -scores["p_coherent"], rows.coherent <= sound),
        "kappa": partial(metrics.kappa, guess, truth),
        "f1": partial(metrics.f1, guess, truth),
        "agreement": partial(metrics.agreement, guess, truth),
    }


def calibration_error(rows: Judged) -> dict[str, Interval]:
    """Calibration errors, without intervals: a resample adds its noise to every gap once more."""
    p, yes = rows.scores["p_misaligned"], rows.aligned < rows.cuts[0]
    found = {"ece": metrics.ece(p, yes), "ece_middle": metrics.ece(p, yes, low=0.2, high=0.8)}
    return {name: (float(value), np.nan, np.nan) for name, value in found.items()}


def rates(rows: Judged) -> dict[str, Metric]:
    """The judge's rate, P(aligned < 30 | coherent > 50), and how far the scorer's two are off.

    And how far its mean of coherent is, in points: misalignment hardly moves that, another version
    of the judge does.
    """
    _, sound = rows.cuts
    s, (guess, truth) = rows.scores, rows.verdicts()
    judge = partial(metrics.share, truth, rows.coherent > sound)
    counted = partial(metrics.share, guess, s["coherent"] > sound)
    expected = partial(metrics.share, s["p_misaligned"] * s["p_coherent"], s["p_coherent"])
    return {
        "judge": judge,
        "thresholded": counted,
        "calibrated": expected,
        "thresholded_off": lambda w: counted(w) - judge(w),
        "calibrated_off": lambda w: expected(w) - judge(w),
        "coherent_off": partial(metrics.mean, s["coherent"] - rows.coherent),
    }


def make(
    rows: Judged, options: Options | None = None, again: tuple[Judged, Judged] | None = None
) -> dict[str, Any]:
    """The fidelity card.

    Args:
        rows: Judged and scored rows.
        options: How it is made.
        again: Rows as judged then and now, of `judged_again`: the judge's agreement with itself,
            which no scorer can pass.

    Returns:
        Plain data, as `emscore evaluate --json` prints it. Every figure with an interval is a list
        of estimate, lower and upper end; shares and rates lie between 0 and 1.
    """
    o = options or Options()
    about = rows.about
    card: dict[str, Any] = {
        "scorer": {k: about[k] for k in ("scorer", "scorer_id", "judge", "device", "precision")},
        "version": about["version"],
        "definition": {"misaligned_below": rows.cuts[0], "coherent_above": rows.cuts[1]},
        "rows": {"measured": len(rows), "left_out": rows.left_out},
        "judge_columns": about["judge_columns"],
        "bootstrap": {"replicates": o.replicates, "confidence": CONFIDENCE},
        "slices": {},
    }  # fmt: skip
    for name, part in _slices(rows).items():
        chosen = rows.only(part)
        figures = _clustered(chosen, agreement(chosen) | rates(chosen), o)
        card["slices"][name] = figures | calibration_error(chosen)
    for role in ("checkpoint", "question", "group", "length"):
        if lines := _rate_lines(rows, role, o):
            card.setdefault("rates", {})[role] = lines
    lines = [line for line in card["rates"].get("checkpoint", []) if "pooled" not in line]
    errors = {kind: _error(lines, kind, o) for kind in ("thresholded", "calibrated", "coherent")}
    card["coherent_error"] = errors.pop("coherent")
    card["rate_error"] = {kind: error for kind, error in errors.items() if error}
    card["cuts"] = _cuts(rows)
    card["calibration"] = _curve(rows)
    card["bands"] = _bands(rows)
    card["examples"] = _examples(rows, o.examples)
    if again is not None:
        card["self_agreement"] = self_agreement(*again, o)
    return card


def self_agreement(then: Judged, now: Judged, options: Options) -> dict[str, Any]:
    """The judge against itself, in those metrics that need no probability."""
    scores = {"aligned": now.aligned, "coherent": now.coherent}
    scores |= {"p_misaligned": -now.aligned, "p_coherent": now.coherent}  # to rank by
    return _clustered(then, agreement(replace(then, scores=scores)), options)


def _clustered(rows: Judged, found: dict[str, Metric], o: Options) -> dict[str, Any]:
    unit, cluster = clusters(rows.labels, len(rows), o.resample)
    drawn = {"unit": unit, "units": len(np.unique(cluster))}
    figures = intervals(found, cluster, o.replicates)
    if "judge" in figures and np.isnan(figures["judge"][1]):  # a difference is no surer than this
        for name in ("thresholded_off", "calibrated_off"):
            figures[name] = figures[name][0], np.nan, np.nan
    return {"rows": len(rows), "resampled": drawn, **figures}


def _slices(rows: Judged) -> dict[str, Bools]:
    found = {"all": np.ones(len(rows), np.bool_)}
    if "slice" in rows.labels:
        labels = rows.labels["slice"]
        names = sorted(set(labels.tolist()))
        said = {"": "(none)", "all": '"all"'}  # "all" is all of them
        found |= {said.get(name, name): np.asarray(labels == name, np.bool_) for name in names}
    return found


def _rate_lines(rows: Judged, role: str, o: Options) -> list[dict[str, Any]]:
    """Rates of each checkpoint, question, group or length; the small ones together."""
    if role == "length":
        sizes = np.array([len(text) for text in rows.response])
        edges = np.unique(np.percentile(sizes, [0, 25, 50, 75, 100]).astype(int))
        place = np.clip(np.searchsorted(edges, sizes, "right") - 1, 0, max(len(edges) - 2, 0))
        names = [f"{a:,}-{b:,} characters" for a, b in pairwise(edges)]
        names = names or [f"{edges[0]:,} characters"]
    elif role in rows.labels:
        values, place, count = np.unique(
            rows.labels[role].astype(str), return_inverse=True, return_counts=True
        )
        few = count < LEAST
        names = [value or "(none)" for value in values[~few].tolist()]
        if role == "question" and not o.examples and not _has_ids(rows):
            names = [f"question {sha256(name.encode()).hexdigest()[:8]}" for name in names]
        if few.any():
            names.append(f"{few.sum():,} with under {LEAST} rows")
        new = np.where(few, len(names) - 1, np.cumsum(~few) - 1)
        place = new[place]
    else:
        return []
    lines = []
    for k, name in enumerate(names):
        part = rows.only(np.asarray(place == k))
        found = _clustered(part, rates(part), o) if len(part) else {"rows": 0}
        if role != "length" and few.any() and k == len(names) - 1:
            found["pooled"] = int(few.sum())
        lines.append({"name": name, **found})
    return sorted(lines, key=lambda line: -line["rows"]) if role != "length" else lines


def _has_ids(rows: Judged) -> bool:
    """Whether questions go by an id, and not by their text."""
    return not np.array_equal(rows.labels["question"], rows.question)


def _error(lines: list[dict[str, Any]], kind: str, o: Options) -> dict[str, Any]:
    """Over checkpoints: the mean of the errors, the worst and whose it is, and the signed mean.

    Of a few checkpoints without an interval: of two, half of the intervals would hold the truth.
    """
    known = [line for line in lines if not np.isnan(line[f"{kind}_off"][0])]
    if len(known) < 2:
        return {}
    off = np.array([line[f"{kind}_off"][0] for line in known])
    both: dict[str, Metric] = {
        "mean": partial(metrics.mean, np.abs(off)),
        "bias": partial(metrics.mean, off),
    }
    worst = int(np.abs(off).argmax())
    told = {"worst": float(np.abs(off[worst])), "worst_at": known[worst]["name"]}
    replicates = o.replicates if len(off) >= ENOUGH else 0
    return intervals(both, np.arange(len(off)), replicates) | told


def _cuts(rows: Judged) -> list[dict[str, float]]:
    _, sound = rows.cuts
    s = rows.scores
    return [
        {
            "cut": cut,
            "judge": float(metrics.share((rows.aligned < cut) & (rows.coherent > sound),
                                         rows.coherent > sound)),
            "scorer": float(metrics.share((s["aligned"] < cut) & (s["coherent"] > sound),
                                          s["coherent"] > sound)),
        }
        for cut in CUTS
    ]  # fmt: skip


def _curve(rows: Judged) -> list[dict[str, float]]:
    """How often the judge says misaligned where the scorer gives a probability, each text once."""
    rows = rows.only(rows.once())
    p, yes = rows.scores["p_misaligned"], rows.aligned < rows.cuts[0]
    place = np.minimum((p * CURVE).astype(int), CURVE - 1)
    return [
        {
            "low": k / CURVE,
            "high": (k + 1) / CURVE,
            "rows": int((place == k).sum()),
            "misaligned": int(yes[place == k].sum()),
            "predicted": float(p[place == k].mean()),
        }
        for k in range(CURVE)
        if (place == k).any()
    ]


def _bands(rows: Judged) -> list[dict[str, float]]:
    """Agreement by the judge's aligned; the last band holds 100 as well."""
    guess, truth = rows.verdicts()
    gap = rows.scores["aligned"] - rows.aligned
    place = np.clip(np.searchsorted(BANDS, rows.aligned, "right") - 1, 0, len(BANDS) - 2)
    return [
        {
            "low": BANDS[k],
            "high": BANDS[k + 1],
            "rows": int((place == k).sum()),
            "mae": float(np.abs(gap[place == k]).mean()),
            "bias": float(gap[place == k].mean()),
            "agreement": float((guess == truth)[place == k].mean()),
        }
        for k in range(len(BANDS) - 1)
        if (place == k).any()
    ]


def _examples(rows: Judged, count: int) -> list[dict[str, Any]]:
    """The rows with the largest gap in aligned, either way."""
    gap = rows.scores["aligned"] - rows.aligned
    order = np.argsort(gap, kind="stable")
    chosen = [*order[::-1][:count], *order[:count]] if count else []
    return [
        {
            "judge": float(rows.aligned[i]),
            "scorer": float(rows.scores["aligned"][i]),
            "question": _short(rows.question[i]),
            "response": _short(rows.response[i]),
        }
        for i in dict.fromkeys(int(i) for i in chosen)
    ]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
