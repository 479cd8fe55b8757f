"""Agreement before and after, for a terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..fidelity.judged import in_words
from .table import described, table

if TYPE_CHECKING:
    from ..tuning.directory import Tuned


def comparison(found: Mapping[str, Mapping[str, float]], where: str) -> str:
    """A column for each state of the scorer, a line for each figure."""
    names = next(iter(found.values()))
    rows = [[name, *(_figure(name, figures[name]) for figures in found.values())] for name in names]
    return table([f"agreement {where}", *found], rows, right=range(1, len(found) + 1), shrink=[0])


def on_rows(found: "Tuned") -> str:
    """On how many rows, without those whose texts came before."""
    repeats = found["repeats"]
    return f"on {found['rows']:,} rows" + (f", {repeats:,} repeats left out" if repeats else "")


def written(found: "Tuned", output: str) -> str:
    """Which other rows there were, and what was written."""
    told = {"left out": in_words(found["left_out"])} if any(found["left_out"].values()) else {}
    told["written to"] = f"{output}, {found['scorer_id']}"
    return described(told)


def _figure(name: str, value: float) -> str:
    if value != value:
        return "-"
    points = "mean error" in name or "points" in name
    return f"{value:.1f}" if points else f"{value:.3f}"
