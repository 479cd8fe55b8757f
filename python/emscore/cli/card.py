"""The fidelity card for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..fidelity.judged import in_words
from .table import described, indented, table

if TYPE_CHECKING:
    from ..fidelity.drift import Drift

NAMES = {
    "aligned_pearson": "aligned: Pearson",
    "aligned_spearman": "aligned: Spearman",
    "aligned_mae": "aligned: mean error",
    "coherent_pearson": "coherent: Pearson",
    "coherent_spearman": "coherent: Spearman",
    "coherent_mae": "coherent: mean error",
    "auroc": "AUROC, misaligned",
    "auprc": "AUPRC, misaligned",
    "auroc_incoherent": "AUROC, incoherent",
    "kappa": "verdict: kappa",
    "f1": "verdict: F1",
    "agreement": "verdict: agreement",
    "ece": "calibration error",
    "ece_middle": "  p from .2 to .8",
    "judge": "rate: the judge's",
    "thresholded_off": "  thresholded, off",
    "calibrated_off": "  calibrated, off",
}
POINTS = {"aligned_mae", "coherent_mae"}  # of 100; rates are shown in percent
RATES = {"judge", "thresholded_off", "calibrated_off"}
ACROSS = 2  # slices side by side
LINES = 15  # checkpoints, questions or groups in a table


def render(card: dict[str, Any]) -> str:
    """The card as text."""
    parts = [heading(card), *slices(card)]
    for role, lines in card.get("rates", {}).items():
        parts.append(rates(role, lines))
    parts += [error(card)] if card["coherent_error"] else []
    parts += [cuts(card["cuts"]), calibration(card["calibration"]), bands(card["bands"])]
    parts += [examples(card["examples"])] if card["examples"] else []
    parts += [meaning(card)] + ([drift(card["drift"])] if "drift" in card else [])
    return "\n\n".join(parts)


def heading(card: dict[str, Any]) -> str:
    """What was measured on what."""
    scorer, rows = card["scorer"], card["rows"]
    left = in_words(rows["left_out"])
    told = {
        "scorer": f"{scorer['scorer']} {scorer['scorer_id']}",
        "imitates": scorer["judge"],
        "rows": f"{rows['measured']:,}" + (f"; left out: {left}" if left else ""),
        "judge in": ", ".join(card["judge_columns"]),
    }
    return described(told, 10)


def slices(card: dict[str, Any]) -> list[str]:
    """Agreement on all rows beside the judge's with itself, then on each slice."""
    found = dict(card["slices"])
    again = {"judge asked again": card["self_agreement"]} if "self_agreement" in card else {}
    first = {"all": found.pop("all"), **again}
    names = list(found)
    groups = [first] + [
        {name: found[name] for name in names[k : k + ACROSS]}
        for k in range(0, len(names), ACROSS)
        if len(names) > 1
    ]
    return [_slices(group) for group in groups]


def _slices(group: dict[str, Any]) -> str:
    drawn = [f"{p['resampled']['units']:,} {p['resampled']['unit']}s" for p in group.values()]
    rows = [["rows", *(f"{part['rows']:,}" for part in group.values())], ["drawn", *drawn]]
    rows += [
        [label, *(interval(part.get(name), name) for part in group.values())]
        for name, label in NAMES.items()
    ]
    columns = range(1, len(group) + 1)
    return table(["agreement", *group], rows, right=columns, shrink=columns)


def rates(role: str, lines: Sequence[dict[str, Any]]) -> str:
    """The judge's rate and the scorer's two by checkpoint, question, group or length."""
    head = [role, "rows", "judge", "thresholded off", "calibrated off"]
    rows = [
        [line["name"], f"{line['rows']:,}", percent(line["judge"][0])]
        + [interval(line[f"{kind}_off"], "judge") for kind in ("thresholded", "calibrated")]
        for line in lines[:LINES]
        if "judge" in line
    ]
    found = table(head, rows, right=range(1, 5), shrink=[0])
    hidden = len(lines) - LINES
    return found + (f"\n... and {hidden:,} more, which --json lists" if hidden > 0 else "")


def error(card: dict[str, Any]) -> str:
    """How far the rates of checkpoints are off, and their mean of coherent."""
    rows = [
        [kind, interval(e["mean"], "judge"), percent(e["worst"]), interval(e["bias"], "judge")]
        for kind, e in card["rate_error"].items()
    ]
    e = card["coherent_error"]
    mean, bias = (interval(e[name], "coherent_mae") for name in ("mean", "bias"))
    rows.append(["coherent", mean, f"{e['worst']:.1f}", bias])
    errors = card["rate_error"] | {"coherent": e}
    worst = "; ".join(f"{kind}: {e['worst_at']}" for kind, e in errors.items())
    head = ["error over checkpoints", "mean", "worst", "bias"]
    return table(head, rows, right=(1, 2, 3)) + "\n" + indented("  worst  ", worst)


def cuts(lines: Sequence[dict[str, float]]) -> str:
    """The rate as a function of the cut."""
    lines = lines[::2]
    return table(
        ["aligned below", *(f"{line['cut']:.0f}" for line in lines)],
        [
            [f"rate, {name}", *(f"{100 * line[who]:.1f}" for line in lines)]
            for name, who in (("judge %", "judge"), ("scorer %", "scorer"))
        ],
        right=range(1, len(lines) + 1),
    )


def calibration(lines: Sequence[dict[str, float]]) -> str:
    """What p_misaligned says, and how often the judge does."""
    rows = [
        [
            f"{line['low']:.1f}-{line['high']:.1f}",
            f"{line['rows']:,.0f}",
            percent(line["predicted"]),
            percent(line["misaligned"] / line["rows"]),
        ]
        for line in lines
    ]
    return table(["p_misaligned", "rows", "mean p", "aligned < cut"], rows, right=(1, 2, 3))


def bands(lines: Sequence[dict[str, float]]) -> str:
    """Agreement by the judge's aligned."""
    rows = [
        [
            f"{line['low']:.0f}-{line['high']:.0f}",
            f"{line['rows']:,.0f}",
            f"{line['mae']:.1f}",
            f"{line['bias']:+.1f}",
            percent(line["agreement"]),
        ]
        for line in lines
    ]
    head = ["judge's aligned", "rows", "mean error", "bias", "same verdict"]
    return table(head, rows, right=range(1, 5))


def examples(lines: Sequence[dict[str, Any]]) -> str:
    """What the scorer gets most wrong."""
    return "most wrong\n" + "\n".join(
        indented(f"  judge {line['judge']:3.0f}  scorer {line['scorer']:3.0f}  ", line["question"])
        + "\n"
        + indented(" " * 24, line["response"])
        for line in lines
    )


def meaning(card: dict[str, Any]) -> str:
    """What the words mean, and how the intervals were made."""
    low, sound = card["definition"]["misaligned_below"], card["definition"]["coherent_above"]
    drawn = card["bootstrap"]
    told = {
        "misaligned": f"aligned < {low:g}; a verdict and a rate also ask for coherent > {sound:g}",
        "rate": f"share with aligned < {low:g} among the rows with coherent > {sound:g}",
        "calibrated": "sum of p_misaligned x p_coherent over the sum of p_coherent",
        "off": "the scorer's rate minus the judge's, in percentage points",
        "coherent": "over checkpoints, the scorer's mean minus the judge's, in points; where one "
        "stands apart, another version of the judge may have scored it",
        "[ , ]": f"{drawn['confidence']:.0%} bootstrap intervals, {drawn['replicates']:,} "
        "resamples of what is drawn; in the tables by checkpoint, question, group and length each "
        "line draws checkpoints where it has 8, else questions where it has 8, else rows, or what "
        "--resample says; the error over checkpoints draws these, where there are 8; no interval "
        "where all resamples agree",
    }
    return described(told)


def drift(found: Drift) -> str:
    """What the test of today's judge found."""
    how = "judged then and now" if found["paired"] else "against the scorer's card, by probability"
    told = {
        "judge": found["why"],
        "tested on": f"{found['rows']:,} rows, {how}",
        "p-values": f"shift {found['shift']:.2g}, noise {found['noise']:.2g}; alarm below 0.005",
    }
    return described(told)


def interval(value: Sequence[float] | None, name: str) -> str:
    """An estimate and its interval; "-" where it is undefined."""
    if value is None or value[0] != value[0]:
        return "-"
    if name in RATES:
        estimate, low, high = (100 * v for v in value)
        return f"{estimate:.1f} [{low:.1f}, {high:.1f}]" if low == low else f"{estimate:.1f}"
    estimate, low, high = value
    digits = 1 if name in POINTS else 3
    ends = f" [{low:.{digits}f}, {high:.{digits}f}]" if low == low else ""
    shown = f"{estimate:.{digits}f}{ends}"
    return shown if name in POINTS else shown.replace("0.", ".")


def percent(value: float) -> str:
    """A share in percent; "-" where it is undefined."""
    return f"{100 * value:.1f}%" if value == value else "-"
