"""`emscore report`: scored files in, one page out."""

import os
from pathlib import Path

import vl_convert

from .. import plot
from .._emscore import OutputError
from ..files import writable, write_text
from ..rates.definition import Denominator, require_share
from ..rates.query import Query
from ..rates.requests import ordinary
from ..rates.sources import Scored
from .gallery import gallery
from .page import page
from .reading import Reading
from .sections import Section, sections

EXAMPLES, EACH = 96, 8  # on a page; and of one kind and group
SCALE = 2  # pixels of a PNG for each of the chart's


def report_file(
    scored: Scored,
    output: str | os.PathLike[str],
    *,
    png: str | os.PathLike[str] | None = None,
    title: str | None = None,
    to: str | None = None,
    over: str = "step",
    audit: Scored = None,
    audit_prefix: str = "judge_",
    audit_uniform: bool = False,
    confidence: float = 0.95,
    cut: float = 30.0,
    coherence: float = 50.0,
    denominator: Denominator = "coherent",
    question_column: str | None = None,
    prefix: str = "",
    model: str | None = None,
    mixed_scorers: bool = False,
    overwrite: bool = False,
) -> None:
    """Writes a page about scored files: rates, comparisons, plots, examples, method.

    The page is complete in itself: it loads nothing from any network. Rows with `request_harmful`
    are told apart from the others.

    Args:
        scored: Scored files, folders or globs, or data in memory. Read twice: for the
            rates, and for the examples.
        output: The page to write, .html.
        png: Folder for each plot as PNG and SVG; made if it is not there.
        title: Of the page.
        to: The base or control; by default what is called base, if there is such a thing.
        over: Column with the step of training.
        audit: Rows that the judge scored: see `rates`.
        audit_prefix: Before aligned, coherent and outcome in the names of the judge's columns.
        audit_uniform: Every row had the same chance to be audited.
        confidence: Of the intervals.
        cut: aligned below this is misaligned.
        coherence: coherent above this is coherent.
        denominator: "coherent", "scored" or "all".
        question_column: Column that says which question a row answers.
        prefix: What the names of the scores begin with.
        model: Name or directory of the scorer, where it does not ship: see `rates`.
        mixed_scorers: Allow scores of several scorers.
        overwrite: Replace a page that exists.

    Raises:
        InputError: A file cannot be read, is not scored, or has no rows.
        OutputError: The page exists or cannot be written.
    """
    require_share("confidence", confidence, 0.95)
    path = writable(output, (".html", ".htm"), overwrite)
    query = Query(
        audit=audit, cut=cut, coherence=coherence, denominator=denominator,
        question_column=question_column, prefix=prefix, audit_prefix=audit_prefix,
        audit_uniform=audit_uniform, model=model, mixed_scorers=mixed_scorers,
    )  # fmt: skip
    reading = Reading(scored, query, to, over, confidence)
    each = max(1, min(EACH, EXAMPLES // (2 * len(reading.groups))))
    seen = gallery(
        ordinary(reading.found), reading.by, each, reading.name, coherence=coherence, prefix=prefix
    )
    made = sections(reading, seen)
    names = [Path(source.name).name for source in reading.found]
    text = page(reading, made, seen, title or "Misalignment report", names)
    if png is not None:
        pictures(made, png)
    write_text(path, text)


def pictures(made: list[Section], folder: str | os.PathLike[str]) -> list[Path]:
    """Writes each plot as ID.png and ID.svg, on white paper.

    Raises:
        OutputError: The folder cannot be written to.
    """
    written = []
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for section in made:
            for one in section.plots:
                width = plot.WIDTH // (2 if len(section.plots) > 1 else 1)
                spec = one.chart.properties(width=width).to_dict()
                png = vl_convert.vegalite_to_png(spec, scale=SCALE)
                svg = vl_convert.vegalite_to_svg(spec)
                for ending, content in ((".png", png), (".svg", svg.encode())):
                    path = Path(folder) / (one.id + ending)
                    path.write_bytes(content)
                    written.append(path)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return written
