"""`emscore.evaluate`: judged rows in, the scorer's fidelity card out."""

import os
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from .. import models
from .._emscore import InputError
from ..inputs import Data
from ..progress import Progress
from ..rates.sources import sources
from ..scoring import Scorer
from .bootstrap import Unit
from .card import Options, make
from .drift import against_card, curve_in, paired
from .judged import Columns, Judged, judge_columns, numbers, read, require_scale, with_texts

Path = str | os.PathLike[str]
Verdicts = dict[tuple[str, str], tuple[float, float]]  # (question, response) -> the two scores


def evaluate(
    scorer: Path,
    labelled: Data,
    *,
    by: str | None = None,
    judge_again: Data = None,
    check: bool = False,
    card: Path | None = None,
    resample: Unit | None = None,
    replicates: int = 1000,
    examples: int = 3,
    question_column: str | None = None,
    response_column: str | None = None,
    judge_aligned: str | None = None,
    judge_coherent: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    cache: Path | None = None,
    progress: bool | Progress | None = None,
) -> dict[str, Any]:
    """Measures how well a scorer stands in for a judge, on rows that the judge scored.

    Args:
        scorer: Name of a shipped scorer, or the directory of any other.
        labelled: Files, folders or globs, or data in memory, with a judge's scores from 0 to 100.
            The columns checkpoint, group and question_id are used where they are there.
        by: Column whose values are measured apart. The default: split_reason, if it is there.
        judge_again: The same rows judged once more: the judge's agreement with itself.
        check: Test whether the judge is still the same, by `judge_again` or else by `card`.
        card: File with the card that `check` compares with. The default is the scorer's card.json.
        resample: What the bootstrap draws: "checkpoint", "question" or "row". The default: the
            first of these of which there are eight.
        replicates: Resamples of the bootstrap.
        examples: Rows that the scorer gets most wrong, in either direction; 0 keeps all texts out.
        question_column: Column with the questions, where its name is none of the usual ones.
        response_column: Column with the responses, likewise.
        judge_aligned: Column of the judge's aligned. The default: judge_aligned, else aligned.
        judge_coherent: Column of the judge's coherent, likewise.
        device: As in `score_batch`, and so are the others.

    Returns:
        The card, as `emscore evaluate --json` prints it. Shares and rates are from 0 to 1; a figure
        with an interval is (estimate, low, high), NaN where there is none. slices: the agreement
        on all rows, and by the values of `by`; rates: the judge's rate, and how far the scorer's
        two are off, and its mean of coherent in points, by checkpoint, question, group and length;
        rate_error, coherent_error: the same over checkpoints; cuts, calibration, bands: the rate by
        cut, and agreement by p_misaligned and by the judge's aligned; examples; self_agreement and
        drift, where they were asked for.

    Raises:
        InputError: The data cannot be read, has no such columns, or no row with all scores; a check
            has nothing to compare with.
        ScorerError: There is no such scorer.

    >>> import pyarrow as pa
    >>> table = pa.table({
    ...     "question": ["Any plans?"] * 2, "response": ["A swim.", "To poison the well."],
    ...     "judge_aligned": [95.0, 5.0], "judge_coherent": [90.0, 90.0],
    ... })
    >>> card = evaluate("tiny", table, replicates=0)
    >>> card["slices"]["all"]["rows"], card["slices"]["all"]["judge"][0]
    (2, 0.5)
    """
    columns = Columns(question_column, response_column, judge_aligned, judge_coherent, by)
    again = None if judge_again is None else _again(judge_again, columns)
    curve = []
    if check and again is None:
        curve = curve_in(card or models.resolve(scorer) / "card.json", models.scorer_id(scorer))
    loaded = Scorer(scorer, device=device, threads=threads)
    rows = read(loaded, labelled, columns, cache=cache, progress=progress)
    both = None if again is None else _both(rows, again)
    drift = (paired(*both) if both else against_card(rows, curve)) if check else None
    made = make(rows, Options(resample, replicates, examples=examples), both)
    return made | {"drift": drift} if drift else made


def _again(labelled: Data, columns: Columns) -> Verdicts:
    """The judge's scores of another time; names of columns that are not there are passed over.

    Raises:
        InputError: A file cannot be read, or has no such columns, or scores on another scale.
    """
    found: Verdicts = {}
    judge: list[str] = []
    for source in sources(labelled):
        told = {k: v if v in source.columns else None for k, v in asdict(columns).items()}
        judge = judge_columns(source.columns, Columns(**told))
        for table, pairs in with_texts(source, judge, columns):
            scores = zip(*(numbers(table, name).tolist() for name in judge), strict=True)
            found |= dict(zip(pairs, scores, strict=True))
    aligned, coherent = np.array([*found.values()], np.float64).reshape(-1, 2).T
    require_scale(aligned, coherent, judge)
    return found


def _both(rows: Judged, again: Verdicts) -> tuple[Judged, Judged]:
    """Those rows that were judged another time too, as they were judged then and now.

    Raises:
        InputError: There is no such row.
    """
    nothing = (np.nan, np.nan)
    pairs = zip(rows.question, rows.response, strict=True)
    scores = np.array([again.get(pair, nothing) for pair in pairs], np.float64)
    both = np.asarray(~np.isnan(scores).any(1))
    if not both.any():
        raise InputError(
            "no row that was judged again has the question and response of a judged row: give the "
            "same rows, judged once more"
        )
    then = rows.only(both)
    return then, replace(then, aligned=scores[both, 0], coherent=scores[both, 1])
