"""What a scorer knows of an input, for the end of `emscore score`."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..summary import Summary
from .table import indented, table

if TYPE_CHECKING:
    from ..familiarity import Report

SHOWN = 8  # questions in the table


def look(model: str, summary: Summary, paths: Sequence[str]) -> "tuple[Report | None, str]":
    """Looks at the questions and responses of files that were scored.

    The scores are written by now: whatever goes wrong here is told, and spoils nothing.

    Args:
        model: The scorer.
        summary: Of the run.
        paths: Files to read: the output, or the inputs where it went elsewhere.

    Returns:
        What was found, or None and why. There is no reason to tell where nothing was to be found:
        the scorer has no sketch of what it was taught, or there are no rows.
    """
    from .. import familiarity

    try:
        sketch = familiarity.load(model)
        if sketch is None or not summary["rows"]:
            return None, ""
        if not all(path != "-" and os.path.isfile(path) for path in paths):
            return None, "only files can be read a second time"
        return familiarity.report(sketch, texts(summary, paths)), ""
    except Exception as error:  # whatever a reader raises: the run has succeeded
        return None, str(error) or type(error).__name__


def texts(summary: Summary, paths: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    """Questions and responses of the rows that were scored, which may be the first ones only."""
    import pyarrow as pa

    from .._emscore import InputError
    from ..rates.sources import sources
    from ..texts import is_chat, turns

    def text(column: pa.Array, turn: int) -> pa.Array:
        if is_chat(column.type):
            return pa.array([turns(chat)[turn] for chat in column.to_pylist()], pa.large_string())
        return column.cast(pa.large_string())

    question, response = summary["question_column"], summary["response_column"]
    left = summary["rows"]
    for source in sources(list(paths)):
        for name in (question, response):
            if name not in source.columns or not (
                source.has_text(name) or is_chat(source.kind(name))
            ):
                raise InputError(f"{name} is no column of text")
        for batch in source.batches(list(dict.fromkeys([question, response]))):
            rows = batch.slice(0, left)
            yield text(rows[question], 0), text(rows[response], 1)
            left -= rows.num_rows
            if not left:
                return


def text(found: "Report | None", why: str = "") -> str:
    """For a terminal: which questions it knows, and what to do about the others."""
    if found is None:
        return indented("questions   ", f"not looked at: {why}") if why else ""
    rows = found["rows"]
    many = "more than " if found["more_questions"] else ""
    levels = {level: sum(q["level"] == level for q in found["questions"]) for level in rows}
    head = ", ".join(f"{levels[k]:,} {k} ({rows[k]:,} rows)" for k in rows if levels[k])
    parts = [indented("questions   ", f"{many}{len(found['questions']):,}: {head}")]
    strange = [q for q in found["questions"] if q["level"] != "familiar"]
    if strange:
        lines = [
            [" ".join(q["question"].split()), f"{q['rows']:,}", q["level"], q["nearest"] or "-"]
            for q in strange[:SHOWN]
        ]
        parts.append(table(["question", "rows", "is", "nearest"], lines, right=[1], shrink=[0, 3]))
        parts.append(indented("warning     ", warning(strange)))
    if looked := found["looked_at"]:
        kinds = ", ".join(f"{n:,} {name}" for name, n in found["unlike"].items() if n)
        unlike = f"{found['unlike_rows']:,} of {looked:,} looked at are unlike the training data"
        parts.append(indented("responses   ", unlike + (f" ({kinds})" if kinds else "")))
    return "\n".join(parts)


def warning(strange: Sequence[Any]) -> str:
    """What questions that the scorer does not know mean for a rate, and the remedy."""
    from ..familiarity import remedy

    these = "this question" if len(strange) == 1 else "these questions"
    return f"the scorer was not taught {these}: {remedy(strange[0]['expected'])}"
