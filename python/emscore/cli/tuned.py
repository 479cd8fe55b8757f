"""Agreement before and after, for a terminal."""

from collections.abc import Mapping

from ..fidelity.judged import Judged
from .table import table


def comparison(found: Mapping[str, Mapping[str, float]], where: str) -> str:
    """A column for each state of the scorer, a line for each figure."""
    names = next(iter(found.values()))
    rows = [[name, *(_figure(name, figures[name]) for figures in found.values())] for name in names]
    return table([f"agreement {where}", *found], rows, right=range(1, len(found) + 1), shrink=[0])


def on_rows(once: Judged, rows: Judged) -> str:
    """On how many rows, without those whose texts came before."""
    repeats = len(rows) - len(once)
    return f"on {len(once):,} rows" + (f", {repeats:,} repeats left out" if repeats else "")


def left_out(rows: Judged) -> str:
    """A line that says which other rows are not among them; "" where all are."""
    return f"left out    {rows.told_left_out}\n" if rows.told_left_out else ""


def _figure(name: str, value: float) -> str:
    if value != value:
        return "-"
    points = "mean error" in name or "points" in name
    return f"{value:.1f}" if points else f"{value:.3f}"
