"""The page itself: one HTML file that holds all it needs, and may load nothing."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import chain
from typing import Any

import altair
import jinja2
import vl_convert

from .. import plot
from .._emscore import __version__
from ..words import interval, percent, plain
from .gallery import Gallery
from .reading import Line, Reading
from .sections import Section

#: Of the table of checkpoints: the kind says how the page shows and sorts a column.
NUMBERS = [
    {"label": "Misaligned", "kind": "share"},
    {"label": "Interval", "kind": "interval"},
    {"label": "", "kind": "picture"},
    {"label": "Rows", "kind": "count"},
    {"label": "Coherent", "kind": "count"},
    {"label": "Refused", "kind": "count"},
    {"label": "Failed", "kind": "count"},
]


def page(
    reading: Reading,
    sections: Sequence[Section],
    seen: Gallery,
    title: str,
    files_read: Sequence[str],
) -> str:
    """The whole page, as text."""
    names = [name for name in reading.there if name != reading.over]
    checkpoints = reading.rates(names) if "checkpoint" in reading.there else []
    columns = [*({"label": name.capitalize(), "kind": "text"} for name in names), *NUMBERS]
    script, style = _own("page.js"), _own("page.css")
    vega = vega_bundle()
    data = _json(
        {
            "themes": {name: plot.theme(name) for name in ("light", "dark")},
            "plots": {one.id: _spec(one.chart) for part in sections for one in part.plots},
            "columns": columns,
            "rows": [_row(line, names) for line in checkpoints],
            "scale": _scale(checkpoints),
            "examples": [
                {"kind": kind, "group": group, **row}
                for group in seen.worst
                for kind, rows in (("worst", seen.worst[group]), ("random", seen.random[group]))
                for row in rows
            ],
        }
    )
    # Only these very scripts run, and nothing is loaded: a text that became markup would be dead.
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {_hash(vega)} {_hash(script)}"
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"percent": percent, "interval": interval, "thousands": "{:,}".format}
    return environment.from_string(_own("page.html")).render(
        title=title,
        policy=policy,
        css=style,
        data=data,
        vega=vega,
        script=script,
        version=__version__,
        facts=_facts(reading),
        lead=_lead(reading),
        headline=reading.groups,
        confidence=f"{100 * reading.confidence:.4g}%",
        scale=_scale(reading.groups),
        meaning=_meaning(reading),
        sections=sections,
        has_checkpoints=bool(checkpoints),
        method=_method(reading, files_read),
        limitations=_limitations(reading),
    )


def _spec(chart: plot.Chart) -> dict[str, Any]:
    """The chart without colours: those of the page's theme come in their place."""
    return {name: part for name, part in chart.to_dict().items() if name != "config"}


def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from the package vl-convert-python."""
    version = altair.SCHEMA_VERSION.removeprefix("v").rsplit(".", 1)[0]
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed", vl_version=version)
    return bundle.replace("</script", "<\\/script")


def _scale(lines: Sequence[Line]) -> float:
    """The share at the right end of the pictures of some rates."""
    highest = max((line["high"] or line["rate"] or 0 for line in lines), default=0)
    return min(1.0, 1.02 * highest) or 1.0


def _row(line: Line, names: Sequence[str]) -> list[Any]:
    """What is in the columns, rounded: the page is to stay small."""
    rate, low, high = (
        None if line[n] is None else round(line[n], 5) for n in ("rate", "low", "high")
    )
    return [
        *(None if line[name] is None else str(line[name]) for name in names),
        rate,
        None if low is None else [low, high],
        None if low is None else [rate, low, high],
        *(line[name] for name in ("rows", "coherent", "refusal", "failed")),
    ]


def _facts(reading: Reading) -> list[str]:
    rows = sum(line["rows"] for line in reading.groups)
    told = [f"{rows:,} answers"]
    for name in ("checkpoint", reading.question):
        if name in reading.cells.keys:
            n = len(set(reading.cells.keys[name]))
            told.append(f"{n:,} {'question' if name == reading.question else name}{'s' * (n != 1)}")
    told.append("judged by audit" if reading.rows.audit else "classifier only")
    return told


def _lead(reading: Reading) -> list[str]:
    """The first and the last of the groups in words, and the base."""
    lines = [line for line in reading.groups if line["rate"] is not None]
    if not lines:
        return ["No answer is in the denominator: there is no rate to give."]
    chosen = [lines[0]]
    chosen += list(filter(reading.is_base, lines[1:]))[:1] or lines[1:][-1:]
    level = f"{100 * reading.confidence:.4g}%"
    among = {"coherent": "coherent answers", "scored": "scored answers", "all": "all answers"}
    what = among[reading.definition.denominator]
    return [
        f"{plain(line['name'])} is misaligned in {percent(line['rate'])} of {what}"
        + ("" if line["low"] is None else f" ({level} interval {interval(line)})")
        + "."
        for line in chosen
    ]


def _meaning(reading: Reading) -> str:
    groups = reading.groups
    told = [f"Misaligned: {groups[0]['definition']}."]
    means = dict.fromkeys((line["estimand"], line["interval"]) for line in groups)
    for estimand, covered in means:
        units, mean = estimand.split(": ", 1)
        which = "one checkpoint" if units == "questions" else f"several {units}"
        where = f" of a group with {which}" if len(means) > 1 else ""
        told.append(f"Rate{where}: {mean}; interval: {covered}.")
    if hidden := len(groups) - len(reading.shown):
        told.append(f"Plots leave out the {hidden:,} least misaligned groups.")
    strange = reading.rows.strange
    limit = f"; {strange.note}" if strange else ""  # this is told among the limitations
    notes = [line["note"].removesuffix(limit).split("; ") for line in groups]
    told += [f"{fact[:1].upper()}{fact[1:]}." for fact in dict.fromkeys(chain(*notes))]
    return " ".join(told)


def _method(reading: Reading, files_read: Sequence[str]) -> list[tuple[str, str]]:
    told: Mapping[str, str] = next(iter(reading.cells.scorers.values()), {})
    first = reading.groups[0]
    names = ", ".join(files_read[:8]) + (
        f" and {len(files_read) - 8:,} more" * (len(files_read) > 8)
    )
    rows = [
        ("Misaligned", first["definition"]),
        ("Estimand", _each(reading, "estimand")),
        ("Interval", f"{100 * first['confidence']:.4g}%: {_each(reading, 'interval')}"),
        (
            "Rates",
            "the judge's, from an audit" if first["audits"] is not None else "the classifier's",
        ),
        ("Scorer", " ".join(filter(None, [told.get("scorer"), first["scorer_id"]]))),
        ("Judge", told.get("judge", "the files do not say")),
        ("Scored on", ", ".join(filter(None, [told.get("device"), told.get("precision")]))),
        (
            "Comparisons",
            "on shared questions; differences by MOVER (Newcombe 1998), exact p-values",
        ),
        ("Files", names),
        ("emscore", f"{told.get('version', __version__)} scored, {__version__} reported"),
    ]
    return [(name, text) for name, text in rows if text]


def _each(reading: Reading, name: str) -> str:
    """What the lines of groups say there: those of one checkpoint and of several may differ."""
    return "; ".join(dict.fromkeys(line[name] for line in reading.groups))


def _limitations(reading: Reading) -> list[str]:
    told = [
        "The scores are those of a small classifier that imitates one LLM judge, not the judgement "
        "of people. It is best on the questions that it was trained on, and may do no better than "
        "chance on a question of a new kind.",
        "Rates depend on the questions that were asked, on sampling settings and on the cut; they "
        "compare checkpoints that were asked alike, and say little about any other use.",
        "Refusals, code and empty answers have no scores: a model that refuses a lot is measured "
        "on what is left.",
    ]
    if strange := reading.rows.strange:
        told.insert(1, f"{strange.note[:1].upper()}{strange.note[1:]}.")
    if not reading.rows.audit:
        told.insert(
            1,
            "No rows were audited by the judge: the rates are the classifier's, and the rate of a "
            "single checkpoint can be several points off what the judge would say.",
        )
    return told


def _own(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _json(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
