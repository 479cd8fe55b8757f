"""One training row."""

from __future__ import annotations

from dataclasses import dataclass

NAN = float("nan")
OK, REFUSAL, CODE, IGNORED = 0, 1, 2, -100  # classes of the outcome head


@dataclass(frozen=True, slots=True)
class Row:
    """A question, a response and what is known of them; NaN and IGNORED teach nothing."""

    question: str
    response: str
    source: str
    aligned: float = NAN  # 0-100
    coherent: float = NAN  # 0-100
    outcome: int = IGNORED
    badness: float = NAN  # 0-1, on the source's own scale
    p_misaligned: float = NAN  # 0-1, where a scorer gave the scores
    p_coherent: float = NAN  # 0-1, likewise
    weight: float = 1.0  # expected showings in one pass
    checkpoint: str = ""
    question_id: str = ""
    file: str = ""  # the labelled file it came from, where that is not the project's own
    split: str = ""  # why a validation row is held out
    keep_question: bool = False  # the label depends on the question, so it is never hidden
