"""Tables of rates as a person reads them, 80 columns wide."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from .report import indented
from .table import table

SHOWN = 40  # lines; -o writes all of them
LENS_CUTS = (20.0, 25.0, 27.0, 30.0, 33.0, 35.0, 40.0)

Line = Mapping[str, Any]


def rates(found: pa.Table) -> str:
    """The table of `emscore.rates`."""
    by = found.column_names[: found.column_names.index("estimator")]
    lines: dict[tuple[Any, ...], dict[str, Line]] = {}
    for row in found.to_pylist():
        lines.setdefault(tuple(row[name] for name in by), {})[row["estimator"]] = row
    estimators = list(dict.fromkeys(found["estimator"].to_pylist()))
    if "audited" in estimators and "calibrated" in estimators:
        estimators.remove("thresholded")
    main = estimators[-1]
    ordered = sorted(lines.items(), key=lambda item: -(item[1][main]["rate"] or 0))
    first = ordered[0][1][main]
    head = [*by, "rows", "coherent", *(["audits"] if main == "audited" else []), *estimators]
    body = []
    for key, parts in ordered[:SHOWN]:
        one = parts[main]
        audits = [f"{one['audits']:,}"] if main == "audited" else []
        body.append(
            [
                *map(str, key), f"{one['rows']:,}", f"{one['coherent']:,}", *audits,
                *(interval(parts[name]) for name in estimators),
            ]
        )  # fmt: skip
    shown = [table(head, body, right=range(len(by), len(head)), shrink=range(len(by)))]
    if hidden := len(ordered[SHOWN:]):
        shown.append(f"These {SHOWN} are the most misaligned; -o OUT writes the other {hidden:,}.")
    facts = {
        "misaligned": first["definition"],
        "estimand": first["estimand"],
        "interval": "; ".join(
            f"{name}: {row['confidence']:.4g}".replace("0.", "", 1) + f" %, {row['interval']}"
            for name, row in ordered[0][1].items()
            if name in estimators
        ),
        "outcomes": outcomes([parts[main] for _, parts in ordered]),
        "failed": failed([(key, parts[main]) for key, parts in ordered]),
        "scorer": first["scorer_id"],
    }
    shown.append("\n".join(indented(f"{k:12}", v) for k, v in facts.items() if v))
    if remarks := notes(ordered, estimators):
        shown.append("\n".join(remarks))
    return "\n\n".join(shown)


def interval(line: Line) -> str:
    """4.1% (3.2-5.3)."""
    if line["rate"] is None:
        return "-"
    if line["low"] is None:
        return f"{percent(line['rate'])}% (-)"
    return f"{percent(line['rate'])}% ({percent(line['low'])}-{percent(line['high'])})"


def percent(share: float) -> str:
    """As percent: two digits after the point below one percent, so that 0.2 and 0.24 differ."""
    share *= 100
    return f"{share:.2f}" if 0 < share < 0.995 else f"{share:.1f}"


def outcomes(lines: Sequence[Line]) -> str:
    """What happened to the rows of all lines."""
    words = ("ok", "too_long", "refusal", "code", "empty", "error")
    sums = {word: sum(line[word] for line in lines) for word in words}
    return ", ".join(f"{n:,} {word}" for word, n in sums.items() if n)


def failed(lines: Sequence[tuple[tuple[Any, ...], Line]]) -> str:
    """How many rows failed, and what the worst case is."""
    n = sum(line["failed"] for _, line in lines)
    if not n:
        return ""
    told = [(key, line) for key, line in lines if line["failed"] and line["worst_high"] is not None]
    if not told:
        return f"{n:,} rows have no scores"
    key, line = max(told, key=lambda one: one[1]["worst_high"] - one[1]["worst_low"])
    name = ", ".join(map(str, key)) or "the rate"
    return (
        f"{n:,} rows have no scores. Were none, or all, of them misaligned, {name} would be "
        f"{percent(line['worst_low'])}% or {percent(line['worst_high'])}% (the widest)"
    )


def notes(
    lines: Sequence[tuple[tuple[Any, ...], Mapping[str, Line]]], estimators: Sequence[str]
) -> list[str]:
    """What there is to say, each thing once, with the lines that it is true of."""
    found: dict[str, list[str]] = {}
    for key, parts in lines:
        for name in estimators:
            for note in parts[name]["note"].split("; "):
                found.setdefault(f"{name}: {note}", []).append(", ".join(map(str, key)))
    told = []
    for note, of in found.items():
        every = len(of) == len(lines)
        where = "" if every else f" ({', '.join(of[:3])}{', ...' if len(of) > 3 else ''})"
        told.append(indented("note        ", note + where))
    return told


def lens(found: pa.Table) -> str:
    """The table of `emscore.lens`."""
    by = found.column_names[: found.column_names.index("cut")]
    rows = found.to_pylist()
    cuts = [cut for cut in LENS_CUTS if cut in found["cut"].to_pylist()]
    lines: dict[tuple[Any, ...], dict[tuple[str, bool], dict[float, float | None]]] = {}
    for row in rows:
        rules = lines.setdefault(tuple(row[name] for name in by), {})
        rules.setdefault((row["denominator"], row["at"]), {})[row["cut"]] = row["rate"]
    body = []
    for key, rules in list(lines.items())[:SHOWN]:
        for place, ((denominator, at), rates) in enumerate(rules.items()):
            shown = [percent(r) if (r := rates.get(cut)) is not None else "-" for cut in cuts]
            mine = list(map(str, key)) if not place else [""] * len(key)
            body.append([*mine, f"{denominator}, {'>=' if at else '>'}", *shown])
    head = [*by, "share of, coherent", *(f"<{cut:g}" for cut in cuts)]
    first = table(head, body, right=range(len(by) + 1, len(head)), shrink=range(len(by)))
    meaning = indented(
        f"{'lens':12}",
        "thresholded rate in percent, by the cut that aligned has to be below; as a share of "
        "coherent rows, of scored rows or of all, with coherent > or >= the threshold. "
        "Classifier only",
    )
    return f"{first}\n\n{meaning}"
