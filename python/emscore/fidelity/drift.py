"""Does today's judge still judge as the one that a scorer imitates?

A scorer is pinned, so it can be the yardstick: on answers to which it gives the same probability,
today's judge should say "misaligned" as often as the judge did when the scorer's card was made.
Two exact tests, each of no drift:

shift    the judge says misaligned more often, or less often, than it did;
noise    the judge agrees less often with the scorer's verdict (p_misaligned above one half).

Without rows that were judged both times, both are stratified by the scorer's probability: within a
bin, the judge's verdicts then and now are exchangeable (Birch 1964; the exact form of Cochran,
Mantel and Haenszel's test). With such rows, both look at the rows whose verdict changed: each is as
likely to have changed one way as the other (McNemar 1947; exact, binomial).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from scipy import stats

from .._emscore import InputError
from .judged import Judged

ALARM = 0.01  # chance of a false alarm, over both tests


class Drift(TypedDict):
    """What the tests found."""

    rows: int
    paired: bool
    shift: float  # p-value, two-sided
    noise: float  # p-value, one-sided: less agreement than before
    alarm: bool
    why: str


def against_card(now: Judged, curve: Sequence[dict[str, float]]) -> Drift:
    """Today's judge against the calibration curve of a fidelity card, each text once.

    Args:
        now: Rows with today's verdicts and the scorer's scores.
        curve: `calibration` of the card: rows and misaligned by bin of p_misaligned.

    Raises:
        InputError: The card knows none of the rows' probabilities.
    """
    now = now.only(now.once())
    p, yes = now.scores["p_misaligned"], now.aligned < now.cuts[0]
    shift, noise = [], []
    covered = 0
    for line in curve:
        last = line["high"] >= 1
        here = (p >= line["low"]) & ((p < line["high"]) | last)
        old = int(line["rows"]), int(line["misaligned"])
        new = int(here.sum()), int(yes[here].sum())
        covered += new[0]
        shift.append((*old, *new))
        verdict = line["low"] >= 0.5
        noise.append(
            (old[0], old[1] if verdict else old[0] - old[1],
             new[0], new[1] if verdict else new[0] - new[1])
        )  # fmt: skip
    if not covered:
        raise InputError(
            "the scorer's card was made on rows with other probabilities: give rows that were "
            "judged then and now, with --judge-again"
        )
    p_shift = min(1.0, 2 * min(stratified(shift, "less"), stratified(shift, "greater")))
    return _verdict(covered, False, p_shift, stratified(noise, "less"))


def paired(then: Judged, now: Judged) -> Drift:
    """Rows judged then and now: which verdicts changed, and did they leave the scorer's?

    Each text counts once, since its verdicts do not change independently.
    """
    once = then.once()
    then, now = then.only(once), now.only(once)
    cut = then.cuts[0]
    old, new = then.aligned < cut, now.aligned < cut
    guess = then.scores["p_misaligned"] >= 0.5
    more, fewer = int((new & ~old).sum()), int((old & ~new).sum())
    changed = new != old
    away = int((changed & (new != guess)).sum())
    both = more + fewer
    if not both:
        return _verdict(len(then), True, 1.0, 1.0)
    p_shift = float(stats.binomtest(more, both, 0.5).pvalue)
    p_noise = float(stats.binomtest(away, both, 0.5, alternative="greater").pvalue)
    return _verdict(len(then), True, p_shift, p_noise)


def stratified(strata: Iterable[tuple[int, int, int, int]], alternative: str) -> float:
    """Exact one-sided p-value of the sum of the second groups' events, over strata.

    Given each stratum's margins its count is hypergeometric; the sum's distribution is their
    convolution.

    Args:
        strata: Rows and events of the first group, rows and events of the second.
        alternative: "less" or "greater" than expected, for the second group.

    >>> round(stratified([(10, 8, 10, 2)], "less"), 6)  # Fisher's exact test
    0.011507
    """
    distribution, lowest, seen = np.ones(1), 0, 0
    for rows, events, new_rows, new_events in strata:
        low, high = max(0, events + new_events - rows), min(new_rows, events + new_events)
        support = np.arange(low, high + 1)
        mass = stats.hypergeom.pmf(support, rows + new_rows, events + new_events, new_rows)
        distribution = np.convolve(distribution, mass)
        lowest, seen = lowest + low, seen + new_events
    at = seen - lowest
    tail = distribution[: at + 1] if alternative == "less" else distribution[at:]
    return float(min(1.0, tail.sum()))


def _verdict(rows: int, is_paired: bool, shift: float, noise: float) -> Drift:
    each = ALARM / 2
    found = [
        text
        for p, text in (
            (shift, "it says misaligned more or less often than it did"),
            (noise, "it agrees less with the scorer than it did"),
        )
        if p < each
    ]
    why = (
        f"today's judge is not the one this scorer imitates: {' and '.join(found)}"
        if found
        else "no sign that the judge has changed"
    )
    return {
        "rows": rows, "paired": is_paired, "shift": shift, "noise": noise,
        "alarm": bool(found), "why": why,
    }  # fmt: skip


def curve_in(card: str | os.PathLike[str], scorer_id: str) -> list[dict[str, float]]:
    """The calibration curve in a fidelity card.

    Args:
        card: File with what `emscore evaluate --json` printed.
        scorer_id: Of the scorer that the card has to be of.

    Raises:
        InputError: There is no such file, it is no card, or that of another scorer.
    """
    try:
        told = json.loads(Path(card).read_text(encoding="utf-8"))
        about = told["scorer"]["scorer_id"]
        names = ("low", "high", "rows", "misaligned")
        curve = [{name: float(line[name]) for name in names} for line in told["calibration"]]
    except OSError as error:
        raise InputError(
            f"there is no card {card} to compare with ({error.strerror}): make one with emscore "
            f"evaluate ... --json > {card}, or give rows that were judged then and now with "
            "--judge-again"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{card} is no fidelity card: make one with emscore evaluate ... --json > {card}"
        ) from error
    if about != scorer_id:
        raise InputError(
            f"{card} is the card of the scorer {about}, and this one is {scorer_id}: give its own "
            "card, which emscore evaluate --json prints"
        )
    return curve
