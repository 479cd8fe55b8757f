"""What a scorer knows of an input, for the end of `emscore score`."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..summary import Summary
from .report import indented
from .table import table

if TYPE_CHECKING:
    from ..familiarity import Report

SHOWN = 8  # questions in the table


def look(model: str, summary: Summary, paths: Sequence[str]) -> "Report | None":
    """Looks at the questions and responses of files that were scored.

    Args:
        model: The scorer.
        summary: Of the run.
        paths: Files to read: the output, or the inputs where it went elsewhere.

    Returns:
        None where the scorer has no sketch of what it was taught, or the texts cannot be read a
        second time or lie in chats.
    """
    from .. import familiarity
    from ..rates.sources import sources

    sketch = familiarity.load(model)
    if sketch is None or "-" in paths:
        return None
    names = [summary["question_column"], summary["response_column"]]
    found = sources(list(paths))
    if not all(source.has_text(name) for source in found for name in names):
        return None

    def batches() -> Iterator[tuple[Any, Any]]:
        for source in found:
            for batch in source.batches(names):
                question, response = (column.cast("large_string") for column in batch.columns)
                yield question, response

    return familiarity.report(sketch, batches())


def text(found: "Report") -> str:
    """For a terminal: which questions it knows, and what to do about the others."""
    rows = found["rows"]
    many = "more than " if found["more_questions"] else ""
    levels = {level: sum(q["level"] == level for q in found["questions"]) for level in rows}
    head = ", ".join(f"{levels[k]:,} {k} ({rows[k]:,} rows)" for k in rows if levels[k])
    parts = [indented("questions   ", f"{many}{len(found['questions']):,}: {head}")]
    strange = [q for q in found["questions"] if q["level"] != "familiar"]
    if strange:
        lines = [
            [" ".join(q["question"].split()), f"{q['rows']:,}", q["level"], q["nearest"]]
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
