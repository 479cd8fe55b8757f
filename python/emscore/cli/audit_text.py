"""The plan of an audit as a person reads it, 80 columns wide."""

from typing import Any

import pyarrow as pa

from ..rates.bins import LABELS
from .rates_text import SHOWN, percent
from .table import described, label, table


def plan(found: pa.Table, confidence: float, price: float) -> str:
    """The table of `emscore.audit_plan`, by line and by stratum."""
    by = found.column_names[: found.column_names.index("stratum")]
    rows = found.to_pylist()
    lines: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    strata: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        lines.setdefault(tuple(row[name] for name in by), []).append(row)
        strata.setdefault(row["stratum"], []).append(row)
    body = []
    for key, parts in list(lines.items())[:SHOWN]:
        low, high = parts[0]["expected_low"], parts[0]["expected_high"]
        expected = f"{percent(parts[0]['expected_rate'])}% ({percent(low)}-{percent(high)})"
        body.append([*map(label, key), *sums(parts), expected])
    if len(lines) != 1:
        body.append(["all", *[""] * (len(by) - 1), *sums(rows), ""])
    head = [*by, "rows", "audits", "cost", "expected"]
    shown = [table(head, body, right=range(len(by), len(head)), shrink=range(len(by)))]
    if len(lines) > SHOWN:
        shown.append(f"-o OUT writes the other {len(lines) - SHOWN:,} lines too.")
    order = [name for name in LABELS if name in strata]
    body = []
    for name in order:
        there, audits, cost = sums(strata[name])
        chance = sum(r["audits"] for r in strata[name]) / sum(r["rows"] for r in strata[name])
        body.append([name, there, audits, f"{percent(chance)}%", cost])
    shown.append(table(["score", "rows", "audits", "chance", "cost"], body, right=range(1, 5)))
    facts = {
        "score": "p_misaligned x p_coherent; unscored rows are refusals, code and errors",
        "expected": f"the audited rate and its {confidence * 100:g} % interval, if the classifier "
        "is right; the interval that comes of it holds whatever the classifier is worth",
        "cost": f"at ${price:g} a judged row",
    }
    shown.append(described(facts))
    return "\n\n".join(shown)


def sums(rows: list[dict[str, Any]]) -> list[str]:
    """Rows, audits and cost of some strata."""
    return [
        f"{sum(row['rows'] for row in rows):,}",
        f"{sum(row['audits'] for row in rows):,.0f}",
        f"${sum(row['cost'] for row in rows):,.2f}",
    ]
