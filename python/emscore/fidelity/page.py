"""The fidelity card as one HTML page with plots; needs `emscore[report]`."""

from __future__ import annotations

from html import escape
from typing import Any

from .. import plot  # says what to install where it is missing
from ..words import shortened

LINES = 15  # checkpoints in a plot
WIDE = 36  # characters of a name that a plot has room for
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; font-size: 13px; } svg { max-width: 100%; height: auto; }
"""
# A phone shows it at its own width, and no text that became markup would load or run anything.
HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
"""


def page(card: dict[str, Any], figures: str) -> str:
    """The card as a page that needs nothing else.

    Args:
        card: The card.
        figures: The same as text, to stand below the plots.
    """
    scorer = card["scorer"]
    title = f"{escape(scorer['scorer'])} {scorer['scorer_id']}"
    parts = [f"<h1>{title}</h1>"]
    for heading, chart in charts(card).items():
        parts.append(f"<h2>{heading}</h2>\n{svg(chart)}")
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8">\n{HEAD}<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n{''.join(parts)}\n<h2>Figures</h2>\n"
        f"<pre>{escape(figures)}</pre>\n</html>\n"
    )


def svg(chart: Any) -> str:
    """A chart as text that a page can hold."""
    import vl_convert

    spec = chart.properties(width=560).to_dict() | {"config": plot.theme("light")}
    return str(vl_convert.vegalite_to_svg(spec))


def charts(card: dict[str, Any]) -> dict[str, Any]:
    """The plots of a card, by heading."""
    import altair as alt

    found: dict[str, Any] = {}
    shown = card["rates"].get("checkpoint", [])[:LINES]
    names = shortened((line["name"] for line in shown), WIDE)
    lines = [
        {"name": names[line["name"]], "by": kind, "n": line["rows"],
         **dict(zip(("rate", "low", "high"), line[f"{kind}_off"], strict=True))}
        for line in shown
        for kind in ("thresholded", "calibrated")
        if "judge" in line and line["thresholded_off"][0] == line["thresholded_off"][0]
    ]  # fmt: skip
    if lines:
        title = "the scorer's rate minus the judge's"
        found["Error of the rate by checkpoint"] = plot.dots(
            lines, y="name", series="by", title=title
        )
    rows = [
        {"cut": line["cut"], "rate": line[who], "by": who, "denominator": "coherent", "at": False}
        for line in card["cuts"]
        for who in ("judge", "scorer")
    ]
    low = card["definition"]["misaligned_below"]
    found["The rate as a function of the cut"] = plot.lens(rows, series="by", cut=low)
    curve = [
        {"p": line["predicted"], "share": line["misaligned"] / line["rows"], "rows": line["rows"]}
        for line in card["calibration"]
    ]
    base = alt.Chart(alt.InlineData(values=curve))
    diagonal = alt.Chart(alt.InlineData(values=[{"p": 0, "share": 0}, {"p": 1, "share": 1}]))
    x = alt.X("p:Q", title="p_misaligned")
    y = alt.Y("share:Q", title=f"the judge's aligned < {low:g}")
    found["Calibration"] = alt.layer(
        diagonal.mark_line(strokeDash=[4, 4]).encode(x=x, y=y),
        base.mark_point(filled=True).encode(x=x, y=y, size=alt.Size("rows:Q", legend=None)),
    )
    return found
