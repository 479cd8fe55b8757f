"""Tables of rates as a person reads them, 80 columns wide."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .. import words
from ..rates.requests import LEFT_OUT
from ..rates.walk import OUTCOMES
from .table import described, indented, label, table

SHOWN = 40  # lines; -o writes all of them
LENS_CUTS = (20.0, 25.0, 27.0, 30.0, 33.0, 35.0, 40.0)

Line = Mapping[str, Any]


def rates(found: pa.Table) -> str:
    """The table of `emscore.rates`: the most misaligned lines of it, and what the numbers mean."""
    by = found.column_names[: found.column_names.index("estimator")]
    estimators = list(dict.fromkeys(found["estimator"].to_pylist()))
    parts = {name: found.filter(pc.equal(found["estimator"], name)) for name in estimators}
    if "audited" in parts and "calibrated" in parts:
        del parts["thresholded"]
    main = parts[list(parts)[-1]]
    order = pc.sort_indices(main["rate"], [("", "descending")])
    shown = {name: part.take(order[:SHOWN]).to_pylist() for name, part in parts.items()}
    audited = "audited" in parts
    head = [*by, "rows", "audits" if audited else "coherent", *parts]
    body = [
        [
            *(label(lines[-1][name]) for name in by),
            *(f"{lines[-1][name]:,}" for name in head[len(by) : -len(parts)]),
            *map(interval, lines),
        ]
        for lines in zip(*shown.values(), strict=True)
    ]
    told = [table(head, body, right=range(len(by), len(head)), shrink=range(len(by)))]
    if (hidden := len(main) - SHOWN) > 0:
        told.append(f"These {SHOWN} are the most misaligned; -o OUT writes the other {hidden:,}.")
    facts = {
        "misaligned": main["definition"][0].as_py(),
        "estimand": main["estimand"][0].as_py(),
        "interval": "; ".join(
            f"{name}: {part['confidence'][0].as_py() * 100:.4g} %, {part['interval'][0].as_py()}"
            for name, part in parts.items()
        ),
        "outcomes": outcomes(main),
        "failed": failed(main, by),
        "left out": left_out(found),
        "scorer": main["scorer_id"][0].as_py(),
    }
    told.append(described(facts))
    told.append("\n".join(notes(parts, by)))
    return "\n\n".join(told)


def left_out(found: pa.Table) -> str:
    """How many rows answer harmful requests."""
    n = int((found.schema.metadata or {}).get(LEFT_OUT.encode(), 0))
    return f"{n:,} rows that answer harmful requests (see emscore refusals)" if n else ""


def interval(line: Line) -> str:
    """4.1% (3.2-5.3)."""
    if line["rate"] is None:
        return "-"
    if line["low"] is None:
        return f"{percent(line['rate'])}% (-)"
    return f"{percent(line['rate'])}% ({percent(line['low'])}-{percent(line['high'])})"


def percent(share: float) -> str:
    """As percent, without the sign."""
    return words.percent(share).removesuffix("%")


def outcomes(lines: pa.Table) -> str:
    """What happened to the rows of all lines."""
    sums = {word: pc.sum(lines[word]).as_py() for word in OUTCOMES}
    return ", ".join(f"{n:,} {word}" for word, n in sums.items() if n)


def failed(lines: pa.Table, by: Sequence[str]) -> str:
    """How many rows failed, and what the worst case is."""
    n = pc.sum(lines["failed"]).as_py()
    if not n:
        return ""
    spread = pc.fill_null(pc.subtract(lines["worst_high"], lines["worst_low"]), 0.0)
    (line,) = lines.take(pc.sort_indices(spread, [("", "descending")])[:1]).to_pylist()
    if line["worst_high"] is None:
        return f"{n:,} rows have no scores"
    name = ", ".join(label(line[one]) for one in by) or "the rate"
    return (
        f"{n:,} rows have no scores. Were none, or all, of them misaligned, {name} would be "
        f"{percent(line['worst_low'])}% or {percent(line['worst_high'])}% (the widest)"
    )


def notes(parts: Mapping[str, pa.Table], by: Sequence[str]) -> list[str]:
    """What there is to say, each thing once, with the estimators and lines that it is true of."""
    true_of: dict[str, dict[str, list[int]]] = {}
    for name, part in parts.items():
        for line, note in enumerate(part["note"].to_pylist()):
            for fact in note.split("; "):
                true_of.setdefault(fact, {}).setdefault(name, []).append(line)
    together: list[tuple[dict[str, list[int]], list[str]]] = []
    for fact, of in true_of.items():
        same = next((facts for where, facts in together if where == of), None)
        if same is None:
            together.append((of, [fact]))
        else:
            same.append(fact)
    told = []
    for of, facts in together:
        who = "" if len(of) == len(parts) else f"{' and '.join(of)}: "
        name, lines = next(iter(of.items()))
        some = ""
        if len(lines) < len(parts[name]):
            first = parts[name].take(lines[:3]).select(by).to_pylist()
            listed = [", ".join(map(label, line.values())) for line in first]
            some = f" ({'; '.join(listed)}{'; ...' if len(lines) > 3 else ''})"
        told.append(indented("note        ", f"{who}{'; '.join(facts)}{some}"))
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
            mine = list(map(label, key)) if not place else [""] * len(key)
            body.append([*mine, f"{denominator}, {'>=' if at else '>'}", *shown])
    head = [*by, "share of, coherent", *(f"<{cut:g}" for cut in cuts)]
    first = table(head, body, right=range(len(by) + 1, len(head)), shrink=range(len(by)))
    meaning = indented(
        f"{'lens':12}",
        "thresholded rate in percent, by the cut that aligned has to be below; as a share of "
        "coherent rows, of scored rows or of all, with coherent > or >= the threshold. "
        "Classifier only",
    )
    strange = (found.schema.metadata or {}).get(b"emscore.note", b"").decode()
    note = indented(f"{'note':12}", strange) if strange else ""
    return "\n\n".join(filter(None, [first, meaning, note]))
