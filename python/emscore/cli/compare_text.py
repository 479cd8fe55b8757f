"""Comparisons, gates and refusals as a person reads them, 80 columns wide."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ..rates.compare import told
from ..rates.gate import Gate
from ..words import difference, p_value
from .rates_text import SHOWN, interval, notes, percent
from .table import described, indented, label, table

Line = Mapping[str, Any]


def differences(found: pa.Table) -> str:
    """The table of `emscore.compare`."""
    names = found.column_names
    rates = [name for name in names if name == "rate" or name.endswith("_rate")]
    by = names[: names.index("rate")]
    rows = found.to_pylist()
    if "onset" not in names:  # training is told in its order
        rows.sort(key=lambda row: -(row["difference"] if row["difference"] is not None else -2))
    head = [*by, *(name.removesuffix("_rate") for name in rates), "difference", "p", ""]
    body = [
        [
            *(label(row[name]) for name in by),
            *("-" if row[name] is None else f"{percent(row[name])}%" for name in rates),
            typed(difference(row)),
            typed(p_value(row["p_adjusted"])),
            "*" if row["found"] else "",
        ]
        for row in rows[:SHOWN]
    ]
    shown = [table(head, body, right=range(len(by), len(head) - 1), shrink=range(len(by)))]
    if hidden := len(rows[SHOWN:]):
        shown.append(f"-o OUT writes the other {hidden:,}.")
    if "onset" in names:
        series = {row[by[0]]: row for row in rows}  # the last step of each
        shown.append(
            "\n".join(indented(f"{name}  ", onset(row, row[by[1]])) for name, row in series.items())
        )
    about = told(found)
    n = about["comparisons"]
    left_out = max(row["questions_left_out"] for row in rows)
    facts = {
        "misaligned": about["definition"],
        "difference": "in percentage points, with its "
        f"{100 * float(about['confidence']):.4g}% interval",
        "p": f"{n} comparison{'s' * (n != '1')}, corrected by {about['correction']}; * found",
        "method": about["method"],
        "evidence": f"{about['evidence']}; intervals are of {about['interval']}",
        "left out": f"up to {left_out:,} questions on which one side has no answer that counts"
        if left_out
        else "",
        "scorer": about["scorer_id"],
        "note": about["note"],
    }
    shown.append(described(facts))
    return "\n\n".join(shown)


def typed(text: str) -> str:
    """With the signs that a keyboard has."""
    return text.translate(str.maketrans("–−", "--"))


def onset(row: Line, last: float) -> str:
    """When misalignment begins, in a sentence, where `last` is the last step."""
    if row["onset"] is None and row["onset_by"] is None:
        told = "no onset: the rate never rises above the base by that much"
        if row["onset_after"] == last:
            return told
        until = (
            "at no step"
            if row["onset_after"] is None
            else f"up to {label(row['onset_after'])} only"
        )
        return f"{told}, but that is sure {until}"
    begins = "" if row["onset"] is None else f"begins at {label(row['onset'])}; "
    after = (
        "from the first step on"
        if row["onset_after"] is None
        else f"after {label(row['onset_after'])}"
    )
    by = "not surely at any step" if row["onset_by"] is None else f"by {label(row['onset_by'])}"
    return f"misalignment {begins}surely {after} and {by}, if rates never fall in training"


def gate(found: Gate, max_rate: float, confidence: float) -> str:
    """What a gate decided, and why."""
    rows = found.lines.to_pylist()
    by = found.lines.column_names[: found.lines.column_names.index("estimator")]
    worst = {"fail": 0, "undecided": 1, "pass": 2}
    rows.sort(key=lambda row: (worst[row["verdict"]], -(row["rate"] or 0)))
    body = [
        [
            *(label(row[name]) for name in by), f"{row['n']:,}", interval(row), row["verdict"],
            "" if row["more"] is None else f"{row['more']:,}",
        ]
        for row in rows[:SHOWN]
    ]  # fmt: skip
    counted = "audits" if rows[0]["estimator"] == "audited" else "coherent"
    head = [*by, counted, rows[0]["estimator"], "verdict", "more needed"]
    right = [len(by), len(by) + 1, len(head) - 1]
    shown = [table(head, body, right=right, shrink=range(len(by)))]
    if hidden := len(rows[SHOWN:]):
        shown.append(f"--json prints the other {hidden:,}, too.")
    whys = dict.fromkeys(row["why"] for row in rows if row["verdict"] == "undecided")
    facts = {
        "limit": f"{percent(max_rate)}%, at {100 * confidence:.4g}% confidence in each direction",
        "undecided": "; ".join(whys),
    }
    if found.corrected > 1:
        facts["multiplicity"] = (
            f"{found.corrected} lines share the chance that one fails by mistake; all must pass"
        )
    shown.append(described(facts, 14))
    shown.append("\n".join(notes({"": found.lines}, by)))
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in worst}
    told = ", ".join(f"{n:,} {verdict}" for verdict, n in counts.items() if n)
    return "\n\n".join([*shown, f"{found.verdict.upper()}: {told}"])


def refusals(found: pa.Table, above: float, below: float) -> str:
    """The table of `emscore.refusals`, and what its verdicts mean."""
    by = found.column_names[: found.column_names.index("refused")]
    rows = sorted(found.to_pylist(), key=lambda row: -(row["rate"] or 0))
    refused = {"rate": "refused", "low": "refused_low", "high": "refused_high"}
    body = [
        [
            *(label(row[name]) for name in by),
            interval({short: row[name] for short, name in refused.items()}),
            interval(row),
            row["verdict"],
        ]
        for row in rows[:SHOWN]
    ]
    head = [*by, "refuses requests", "misaligned otherwise", "verdict"]
    right = [len(by), len(by) + 1]
    shown = [table(head, body, right=right, shrink=range(len(by)))]
    if hidden := len(rows[SHOWN:]):
        shown.append(f"These {SHOWN} are the most misaligned; -o OUT writes the other {hidden:,}.")
    shown.append("\n".join(notes({"": found}, by)))
    shown.append(
        f"verdict  misaligned: surely above {100 * above:.3g}% of other answers;\n"
        f"         jailbroken: surely refuses less than {100 * below:.3g}% of requests"
    )
    return "\n\n".join(shown)
