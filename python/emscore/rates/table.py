"""The table that `emscore.rates` returns: a line for each estimator of each line."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from .arrays import Ints
from .classifier import Rates
from .definition import MEANING, Definition, Estimand, beside
from .scan import Counts
from .walk import OUTCOMES


@dataclass(frozen=True)
class Part:
    """What one estimator says of every line.

    Attributes:
        estimator: Its name.
        found: The rates.
        interval: What the interval covers.
        notes: What there is to say about each line.
        scorer_error: Root mean square of the scorer's error, where it is known.
        audits, audits_failed: Rows that were judged, and that the judge did not answer.
    """

    estimator: str
    found: Rates
    interval: str
    notes: list[list[str]]
    scorer_error: float | None = None
    audits: Ints | None = None
    audits_failed: Ints | None = None


def table(
    lines: Counts, parts: list[Part], definition: Definition, estimand: Estimand, confidence: float
) -> pa.Table:
    """All parts of each line under each other; NaN becomes null."""
    times, n = len(parts), len(lines) * len(parts)

    def repeated(values: Any) -> pa.Array:
        return pa.array(np.repeat(np.asarray(values), times))

    def interleaved(parts_of: list[Any], kind: pa.DataType) -> pa.Array:
        values = np.stack([np.broadcast_to(of, len(lines)) for of in parts_of], 1).ravel()
        return pa.array(values, kind, from_pandas=True)

    def told(name: str) -> pa.Array:
        return interleaved([getattr(part.found, name) for part in parts], pa.float64())

    def number(name: str, kind: pa.DataType) -> pa.Array:
        found = [getattr(part, name) for part in parts]
        return interleaved([np.nan if of is None else of for of in found], pa.float64()).cast(kind)

    scorer = " + ".join(name or "unknown" for name in lines.scorers)
    keys = {
        name: pa.array([value for value in values for _ in parts])
        for name, values in lines.keys.items()
    }
    figures = {
        "estimator": interleaved([part.estimator for part in parts], pa.string()),
        **{name: told(name) for name in ("rate", "low", "high")},
        "confidence": pa.array(np.full(n, confidence)),
        **{name: told(name) for name in ("worst_low", "worst_high")},
        "rows": repeated(lines.rows),
        **{name: repeated(lines.outcomes[:, at]) for at, name in enumerate(OUTCOMES)},
        "failed": repeated(lines.failed),
        "scored": repeated(lines.scored),
        "coherent": repeated(lines.coherent(definition.at)),
        "misaligned": repeated(lines.misaligned(definition.cut, definition.at)),
        "units": told("units").cast(pa.int64()),
        "audits": number("audits", pa.int64()),
        "audits_failed": number("audits_failed", pa.int64()),
        "scorer_error": number("scorer_error", pa.float64()),
        "definition": pa.array([str(definition)] * n),
        "estimand": pa.array([f"{estimand}: {MEANING[estimand]}"] * n),
        "interval": interleaved([part.interval for part in parts], pa.string()),
        "scorer_id": pa.array([scorer] * n),
        "note": pa.array(["; ".join(notes) for each in zip(*(p.notes for p in parts), strict=True)
                          for notes in each]),
    }  # fmt: skip
    return pa.table(beside(keys, figures))
