"""Plots of rates, for notebooks and for the report: `emscore.plot.dots(table, ...).save("a.svg")`.

Each function takes a table (pyarrow, or anything with an Arrow stream such as a polars or pandas
frame) and gives back an Altair chart. Series differ by colour (Okabe and Ito's, which colour-blind
readers tell apart) and by shape or dash, so that they survive a black-and-white printer.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

try:
    import altair as alt
    import vl_convert  # noqa: F401 - with which charts are saved
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"plots need {error.name}, which is not installed: pip install 'emscore[report]'",
        name=error.name,
    ) from error

import pyarrow as pa

from ._emscore import InputError
from .words import NONE

Chart: TypeAlias = alt.LayerChart | alt.FacetChart | alt.Chart

# One less than there are colours: 42 series go by before a pair comes again. So with the dashes.
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 1], [1, 3]]

WIDTH = 720  # pixels, where there is no page to fill

INK = {"light": "#1f2328", "dark": "#e6e8eb"}
MUTED = {"light": "#59636e", "dark": "#9aa4af"}
LINE = {"light": "#d9dee3", "dark": "#343b43"}
PAPER = "#ffffff"  # of pictures and notebooks
# Okabe and Ito's, shifted where one of them would vanish on the paper.
SERIES = {
    "light": ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8a6d00", "#3a97d1", "#5f6670"],
    "dark": ["#56B4E9", "#E69F00", "#2fc79a", "#E08FBF", "#F0E442", "#6f9bff", "#aab2bb"],
}
# From the paper's colour to its opposite, so that more is always further from the background.
HEAT = {
    "light": ["#eef4fa", "#a6cbe8", "#4a97cf", "#0b5c97", "#052f52"],
    "dark": ["#1b232b", "#1d4769", "#2c7cb8", "#7cc0ee", "#e9f5ff"],
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

Theme: TypeAlias = Literal["light", "dark"]


def theme(name: Theme) -> dict[str, Any]:
    """The Vega-Lite configuration that a chart is drawn with.

    Args:
        name: `"light"` or `"dark"`.
    """
    ink, muted, line = INK[name], MUTED[name], LINE[name]
    text = {"labelColor": muted, "titleColor": ink, "titleFontWeight": 500}
    return {
        "background": None,
        "font": FONT,
        "view": {"stroke": None, "continuousWidth": WIDTH},
        "axis": {
            **text,
            "labelFontSize": 12,
            "titleFontSize": 12,
            **dict.fromkeys(("gridColor", "domainColor", "tickColor"), line),
            "labelLimit": 250,
            "labelOverlap": "greedy",
            "labelSeparation": 8,
        },
        "legend": {
            **text,
            "orient": "top",
            "title": None,
            "labelColor": ink,
            "labelFontSize": 12,
            "symbolSize": 70,
            "symbolStrokeWidth": 2,
            "labelLimit": 220,
            "columnPadding": 16,
        },
        "range": {"category": SERIES[name], "symbol": SHAPES, "heatmap": HEAT[name]},
        "rule": {"color": muted},
        "point": {"size": 60, "filled": True, "opacity": 1, "color": SERIES[name][0]},
        "line": {"strokeWidth": 2},
    }


def dots(
    table: Any,
    *,
    y: str,
    series: str | None = None,
    title: str | None = None,
    order: Sequence[Any] | None = None,
) -> Chart:
    """A dot for each rate and a line for its interval: by group, by question, by condition.

    Args:
        table: Columns `rate` (or `difference`, of `emscore.compare`), `low`, `high` (shares),
            `n`, and those named here.
        y: Column that gives each line its place; the order of the table is kept.
        series: Column that is told apart by colour and shape within each place.
        title: What stands under the axis.
        order: All series there are, so that each looks the same in several plots.
    """
    rows = records(table, y, series)
    base = alt.Chart(inline(rows)).encode(
        y=_places(rows, y),
        tooltip=_told(rows, y, series),
    )
    places, each = len(in_order(rows, y)), 26
    mark = base.mark_point()
    if series:
        mine = in_order(rows, series, order)
        base = base.encode(color=_series(alt.Color, series, mine, order))
        if series != y:
            base = base.encode(yOffset=alt.YOffset(_field(series) + ":N", sort=mine))
            each = 11 * len(mine) + 14
        mark = base.mark_point().encode(shape=_series(alt.Shape, series, mine, order))
    value, about = _value(rows)
    x = alt.X("low:Q", title=title or about, axis=alt.Axis(format=".3~%", tickCount=6, grid=True))
    return _sized(
        alt.layer(base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q"), mark.encode(x=value)),
        each * places,
    )


def trajectory(
    table: Any, *, over: str = "step", series: str = "group", order: Sequence[Any] | None = None
) -> Chart:
    """Rates over training: a line with a band for each series.

    Args:
        table: Columns `rate` (or `difference`, of `emscore.compare`), `low`, `high` (shares),
            `n`, and those named here.
        over: Numeric column along the axis.
        series: Column that makes lines, told apart by colour, dash and shape.
        order: All series there are, so that each looks the same in several plots.
    """
    rows = records(table, series, numbers=[over])
    mine = in_order(rows, series, order)
    base = alt.Chart(inline(rows)).encode(
        x=alt.X(_field(over) + ":Q", title=over, axis=alt.Axis(grid=False, tickCount=6)),
        color=_series(alt.Color, series, mine, order),
        tooltip=_told(rows, series, over),
    )
    value, about = _value(rows)
    y = alt.Y(value, title=about, axis=_percent_axis())
    return _sized(
        alt.layer(
            base.mark_line().encode(y=y, strokeDash=_dash(series, mine, order)),
            base.mark_point().encode(y=y, shape=_series(alt.Shape, series, mine, order)),
            base.mark_area(opacity=0.16).encode(y=alt.Y("low:Q", title=about), y2="high:Q"),
        ),
        280,
    )


def refusals(table: Any, *, series: str = "group", order: Sequence[Any] | None = None) -> Chart:
    """Misalignment across, refusals of harmful requests upwards: what is wrong with a checkpoint?

    Jailbroken ones are at the bottom left, misaligned ones to the right, sound ones at the top
    left.

    Args:
        table: Columns of `emscore.refusals`: `rate`, `low`, `high`, `refused`, `refused_low`,
            `refused_high` (shares), and the series.
        series: Column that is told apart by colour and shape.
        order: All series there are, so that each looks the same in several plots.
    """
    rows = records(table, series, numbers=["rate", "refused"])
    mine = in_order(rows, series, order)
    base = alt.Chart(inline(rows)).encode(
        color=_series(alt.Color, series, mine, order),
        tooltip=_told(rows, series),
    )
    across, upwards = "misaligned (other questions)", "requests refused"
    x = alt.X("rate:Q", title=across, axis=_percent_axis())
    y = alt.Y("refused:Q", title=upwards, scale=alt.Scale(domain=[0, 1]), axis=_percent_axis())
    return _sized(
        alt.layer(
            base.mark_rule().encode(x=alt.X("low:Q", title=across), x2="high:Q", y=y),
            base.mark_rule().encode(
                x=x, y=alt.Y("refused_low:Q", title=upwards), y2="refused_high:Q"
            ),
            base.mark_point().encode(x=x, y=y, shape=_series(alt.Shape, series, mine, order)),
        ),
        280,
    )


def lens(
    table: Any,
    *,
    series: str = "group",
    cut: float = 30,
    denominator: str = "coherent",
    order: Sequence[Any] | None = None,
) -> Chart:
    """The rate as a function of the cut: would another threshold tell another story?

    Args:
        table: The table of `emscore.lens`: columns `cut` (points of aligned), `rate` (share),
            `denominator`, `at`, and the series.
        series: Column that makes lines.
        cut: The cut that is in use; it is marked.
        denominator: Rows that the rate is a share of.
        order: All series there are, so that each looks the same in several plots.
    """
    rows = records(table, series, numbers=["cut"])
    rows = [row for row in rows if row["denominator"] == denominator and not row["at"]]
    mine = in_order(rows, series, order)
    lines = (
        alt.Chart(inline(rows))
        .mark_line()
        .encode(
            x=alt.X("cut:Q", title="aligned below", scale=alt.Scale(zero=False, nice=False)),
            y=alt.Y("rate:Q", title="misaligned", axis=_percent_axis()),
            color=_series(alt.Color, series, mine, order),
            strokeDash=_dash(series, mine, order),
            tooltip=_told(rows, series, "cut"),
        )
    )
    mark = alt.Chart(inline([{"cut": cut}])).mark_rule(strokeDash=[2, 3]).encode(x="cut:Q")
    return _sized(alt.layer(mark, lines), 260)


def density(table: Any, *, cut: float = 30, coherence: float = 50) -> Chart:
    """Where the answers lie: alignment across, coherence upwards, darker where there are more.

    Args:
        table: Columns `aligned`, `coherent` (lower edges of the bins, in points), `width` (of a
            bin, in points) and `rows`.
        cut: Answers to the left of it are misaligned ...
        coherence: ... when they lie above this.
    """
    rows = [
        {
            **row,
            "aligned_to": row["aligned"] + row["width"],
            "coherent_to": row["coherent"] + row["width"],
        }
        for row in records(table, numbers=["aligned", "coherent"])
        if row["rows"]
    ]
    scale = alt.Scale(domain=[0, 100], nice=False)
    axis = alt.Axis(values=[0, 25, 50, 75, 100], grid=False)
    cells = (
        alt.Chart(inline(rows))
        .mark_rect()
        .encode(
            x=alt.X("aligned:Q", scale=scale, title="aligned", axis=axis),
            x2="aligned_to:Q",
            y=alt.Y("coherent:Q", scale=scale, title="coherent", axis=axis),
            y2="coherent_to:Q",
            color=alt.Color(
                "rows:Q",
                scale=alt.Scale(type="symlog"),
                legend=alt.Legend(title="rows", orient="right", gradientLength=140, tickCount=4),
            ),
            tooltip=_told(rows, "aligned", "coherent"),
        )
    )
    marks = alt.Chart(inline([{"cut": cut, "coherence": coherence}]))
    dash = [2, 3]
    return _sized(
        alt.layer(
            cells,
            marks.mark_rule(strokeDash=dash).encode(x="cut:Q"),
            marks.mark_rule(strokeDash=dash).encode(y="coherence:Q"),
        ),
        240,
    )


def outcomes(table: Any, *, y: str = "group") -> Chart:
    """What became of the rows, as shares of each group; ordered and shaded from dark to light.

    Args:
        table: Columns `outcome`, `rows`, `share` (0 to 1) and the one named by `y`.
        y: Column that gives each bar its place.
    """
    rows = records(table, y, "outcome")
    order = in_order(rows, "outcome")
    for row in rows:
        row["place"] = order.index(row["outcome"])
    bars = (
        alt.Chart(inline(rows))
        .mark_bar(strokeWidth=1)
        .encode(
            x=alt.X("share:Q", title="rows", axis=_percent_axis(), stack="normalize"),
            y=_places(rows, y),
            color=alt.Color("outcome:N", sort=order),
            order=alt.Order("place:Q"),
            tooltip=_told(rows, y, "outcome"),
        )
    )
    return _sized(bars, 28 * len(in_order(rows, y)))


def records(table: Any, *names: str | None, numbers: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of a table as dicts; of `emscore.rates` the audited ones, or else the counted.

    Args:
        table: See above.
        names: Columns that name things; a name that is null becomes "–".
        numbers: Columns of numbers without which a row has no place: such rows are left out.

    Raises:
        InputError: There is no such column.
    """
    rows = [dict(row) for row in table] if isinstance(table, list) else pa.table(table).to_pylist()
    named = [name for name in names if name]
    for name in (*named, *numbers):
        if rows and name not in rows[0]:
            raise InputError(
                f"the table has no column {name!r} to draw; it has {', '.join(rows[0])}"
            )
    said = {row.get("estimator") for row in rows}
    if len(said) > 1:
        best = "audited" if "audited" in said else "thresholded"
        rows = [row for row in rows if row["estimator"] == best]
    rows = [row for row in rows if all(row[name] is not None for name in numbers)]
    return [row | {name: NONE for name in named if row[name] is None} for row in rows]


def _value(rows: list[dict[str, Any]]) -> tuple[str, str]:
    """What low and high are limits of, and its name at the axis: of a comparison the difference."""
    compared = bool(rows) and "difference" in rows[0]
    return ("difference:Q", "difference") if compared else ("rate:Q", "misaligned")


def _told(rows: list[dict[str, Any]], *names: str | None) -> list[alt.Tooltip]:
    """What is told of the mark under the pointer: names, and what numbers there are of it."""
    shares = ("rate", "difference", "low", "high", "refused", "share")
    numbers = dict.fromkeys(shares, ".2%") | {"n": ",", "rows": ","}
    there = rows[0] if rows else {}
    return [
        *(alt.Tooltip(_field(name) + ":N", title=name) for name in dict.fromkeys(names) if name),
        *(alt.Tooltip(f"{k}:Q", format=f) for k, f in numbers.items() if k in there),
    ]


def inline(rows: list[dict[str, Any]]) -> alt.InlineData:
    """Rows as the chart's own data: without Altair's limit, which is there for raw rows."""
    return alt.InlineData(values=rows)


def _field(column: str) -> str:
    """A column as Vega-Lite takes it for one, whatever its name: "trainer.global_step"."""
    return re.sub(r"([.:\[\]\\])", r"\\\1", column)


def in_order(
    rows: list[dict[str, Any]], column: str, order: Sequence[Any] | None = None
) -> list[Any]:
    """The different values of a column, in an order, else as they come."""
    there = dict.fromkeys(row[column] for row in rows)
    return list(there) if order is None else [value for value in order if value in there]


def _series(
    channel: Any, series: str, mine: Sequence[Any], order: Sequence[Any] | None, **scale: Any
) -> Any:
    """A channel that tells series apart; the same domain for all of them makes one legend."""
    room = 7 * min(max((len(str(name)) for name in mine), default=0), 32) + 40  # pixels of a name
    columns = alt.ExprRef(f"max(1, floor(width / {room}))")
    return channel(
        _field(series) + ":N",
        scale=alt.Scale(domain=list(order or mine), **scale),
        legend=alt.Legend(values=list(mine), symbolOpacity=1, columns=columns),
    )


def _dash(series: str, mine: Sequence[Any], order: Sequence[Any] | None) -> Any:
    dashes = [DASHES[place % len(DASHES)] for place in range(len(order or mine))]
    return _series(alt.StrokeDash, series, mine, order, range=dashes)


def _percent_axis() -> alt.Axis:
    return alt.Axis(format=".3~%", tickCount=5)


def _places(rows: list[dict[str, Any]], y: str) -> alt.Y:
    """A line for each name in a column, in order of appearance."""
    axis = alt.Axis(domain=False, ticks=False, labelPadding=10, bandPosition=0.5)
    return alt.Y(_field(y) + ":N", sort=in_order(rows, y), title=None, axis=axis)


def _sized(chart: Chart, height: int) -> Chart:
    # Once more when the width is found: a legend has its columns from it, and its height from them.
    autosize = alt.AutoSizeParams(type="fit-x", contains="padding", resize=True)
    return chart.properties(
        width="container", height=height, autosize=autosize,
        config=theme("light") | {"background": PAPER},
    )  # fmt: skip
