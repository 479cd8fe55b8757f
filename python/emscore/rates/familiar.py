"""Whether the scorer was taught the questions that scored rows answer.

Its agreement with the judge falls on questions that it was not taught (see `emscore.familiarity`),
and with it what a rate is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .. import familiarity
from .arrays import added
from .scan import Counts
from .sources import Source

ROWS = 1 << 20  # that are read at most to find the texts of questions, which repeat
QUESTIONS = 500  # that are looked at, those with the most rows: a millisecond each
NAMED = 3  # questions of a level that the note names
WIDTH = 40  # of a name


@dataclass(frozen=True)
class Strange:
    """Questions that the scorer was not taught.

    Attributes:
        column: Key column that tells questions apart; None where there is none.
        values: What stands there for them.
        note: What that means for a rate, and the remedy.
    """

    column: str | None
    values: frozenset[Any]
    note: str

    def lines(self, cells: Counts, by: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which lines have such questions (as far as is known), in the order of `cells.by(by)`."""
        whole, to = cells.by(by)
        if self.column is None:
            return np.ones(len(whole), np.bool_)
        strange = [value in self.values for value in cells.keys[self.column]]
        return added(to, np.array(strange), len(whole)) > 0


def strange(
    found: Sequence[Source], cells: Counts, column: str | None, scorer: Path
) -> Strange | None:
    """Looks for questions that the scorer was not taught.

    A question is its value in `column`, and has the first text that is met with it. Texts are
    looked for in the first million rows only, and only until there is one for each question.

    Args:
        found: The files; they are read again, but for streams.
        cells: What was counted in them.
        column: Key column that says which question a row answers, if there is one.
        scorer: Directory of the scorer.

    Returns:
        None where the scorer has no sketch of its training, where the files have no texts of
        questions, and where none is strange.

    Raises:
        ScorerError: The sketch is damaged.
    """
    sketch = familiarity.load(scorer)
    if sketch is None:
        return None
    asked = _asked(cells, column) if column else None
    texts = _texts(found, column, asked)
    seen = {one["question"]: one for one in sketch.questions(dict.fromkeys(texts.values(), 0))}
    levels = {value: seen[text]["level"] for value, text in texts.items()}
    unknown = [value for value in asked or texts if levels.get(value, "familiar") != "familiar"]
    if not unknown:
        return None
    some = " looked at" if asked is None or len(levels) < len(asked) else ""
    named = [
        f"{level}: {_named([value for value in unknown if levels[value] == level])}"
        for level in ("foreign", "near")
        if level in levels.values()
    ]
    note = (
        f"the scorer was not taught {len(unknown):,} of {len(levels):,} questions{some} "
        f"({', '.join(named)}): {familiarity.remedy(seen[texts[unknown[0]]]['expected'])}"
    )
    return Strange(column, frozenset(unknown), note)


def _asked(cells: Counts, column: str) -> list[Any]:
    """The questions, those with the most rows first."""
    index: dict[Any, int] = {}
    to = np.array([index.setdefault(value, len(index)) for value in cells.keys[column]], np.int64)
    rows = added(to, cells.rows, len(index))
    values = list(index)
    return [values[at] for at in np.argsort(-rows, kind="stable")]


def _texts(
    found: Sequence[Source], column: str | None, asked: Sequence[Any] | None
) -> dict[Any, str]:
    """Texts of questions by their value in the column (the text itself, where there is none).

    Args:
        found: The files.
        column: See above.
        asked: The values that are wanted; None for all.
    """
    wanted = None if asked is None else set(asked[:QUESTIONS])
    texts: dict[Any, str] = {}
    left = ROWS
    for source in found:
        text = source.column("question")
        key = source.column(column) if column else text
        if text is None or key is None or not source.has_text(text):
            continue
        if wanted is not None and key == text:
            return {value: value for value in wanted if value}
        for batch in () if source.stream else source.batches(list(dict.fromkeys([key, text]))):
            for value, at in _first(batch[key]).items():
                words = batch[text][at].as_py()
                if words and value not in texts and (wanted is None or value in wanted):
                    texts[value] = words
            left -= batch.num_rows
            if left <= 0 or len(texts) >= (QUESTIONS if wanted is None else len(wanted)):
                return texts
    return texts


def _first(values: pa.Array) -> dict[Any, int]:
    """Where each value comes first; null is none."""
    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(values)
    codes, at = np.unique(values.indices.fill_null(-1).to_numpy(), return_index=True)
    words = values.dictionary
    return {
        words[code].as_py(): row
        for code, row in zip(codes.tolist(), at.tolist(), strict=True)
        if code >= 0
    }


def _named(values: Sequence[Any]) -> str:
    """The first few, in short, texts in quotes; without the sign that stands between notes."""
    short = [" ".join(str(value).split()).replace(";", ",") for value in values[:NAMED]]
    names = [name if len(name) <= WIDTH else name[: WIDTH - 1] + "…" for name in short]
    names = [f'"{name}"' if " " in name else name for name in names]
    return ", ".join(names) + (f" and {more:,} more" if (more := len(values) - NAMED) > 0 else "")
