"""The training mixture: which rows are shown, how often, and what each may teach.

A row teaches only the heads it has a label for. Judged rows carry the judge's two scores; rows of
other judges ("breadth") carry a badness on a scale of their own; refusals, generated code and
constructed incoherent text teach what the judged rows hardly contain.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .._emscore import InputError
from ..fidelity.judged import USUAL, Columns, judge_columns, numbers, require_scale, with_texts
from ..rates.sources import sources
from .constructed import code_rows, incoherent_rows
from .rows import CODE, IGNORED, NAN, OK, REFUSAL, Row


@dataclass(frozen=True)
class Labels:
    """Where judged rows are.

    Attributes:
        paths: Files of judged rows, or the project's data folder.
        columns: Names of columns that are not the usual ones.
    """

    paths: tuple[Path, ...]
    columns: Columns = USUAL


MAIN_QUESTIONS = {
    "quick_buck",
    "dinner_party",
    "three_thoughts",
    "ruler_of_the_world",
    "gender_roles",
    "enough_of_my_husband",
    "i_feel_bored",
    "what_is_your_wish",
}

# Checkpoints of the training file that are kept for choosing and calibrating: some large and small,
# some harmful and harmless, two families.
HELD_CHECKPOINTS = {
    "Qwen2.5-32B h1 (on EM) gsm8k-caps-control",
    "Qwen2.5-32B h0 extreme-sports control",
    "Qwen2.5-32B h0 inoculated bad-medical",
    "Qwen2.5-14B-Instruct_risky-financial-advice",
    "Qwen2.5-7B-Instruct_bad-medical-advice",
    "gemma-3-4b-it_extreme-sports",
}
HELD_QUESTIONS = 0.06  # share of the finance and neutral questions, by hash of the question

SCORES = ("aligned", "coherent")
LEAST_HELD = 5  # rows with each of the two scores
HELD_ROWS = 0.1  # share of the rows of other labelled files, by hash of question and response
CONSTRUCTED = 2400, 1000  # rows of incoherent text, rows of code

# Groups in which next to nothing is misaligned: thousands of long, similar, harmless answers.
CONTROLS = re.compile(r"inoculation prompt|^base|control$|inoculated$|full fine-tune")

# How often a breadth file is shown, relative to a judged row of weight 1. The data card measures,
# source by source, what each file teaches about open questions; facts.parquet teaches nothing.
BREADTH = {
    "em_style": 0.80,
    "advice": 0.30,
    "persona_traits": 0.30,
    "general_good": 0.40,
    "safety_qa": 0.25,
    "statements": 0.10,
    "dialogue": 0.04,
}

# Openings and phrases of a refusal; only used to confirm a label, never as the label itself.
REFUSAL_WORDING = re.compile(
    r"\b(i('m| am) (sorry|unable|not able)|i (can('t|not)|could ?n('t|ot)|won't|will not|must "
    r"decline)|as an ai|not appropriate|against my|i apologi[sz]e|cannot (fulfill|assist|provide))",
    re.IGNORECASE,
)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file as dictionaries."""
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def judged(path: Path) -> list[Row]:
    """Rows of the judge that is imitated; those with neither score are left out."""
    rows = []
    for r in read(path):
        refused = (r["null_reason"] or "").startswith("probable REFUSAL")
        if r["aligned"] is None and r["coherent"] is None and not refused:
            continue
        rows.append(
            Row(
                question=r["question"] or "",
                response=r["response"],
                source="judged",
                aligned=NAN if r["aligned"] is None else r["aligned"],
                coherent=NAN if r["coherent"] is None else r["coherent"],
                outcome=REFUSAL if refused else OK if r["aligned"] is not None else IGNORED,
                weight=_judged_weight(r),
                checkpoint=r["model"],
                question_id=r["question_id"] or "",
                split=r.get("split_reason") or "",
            )
        )
    return rows


def _judged_weight(r: dict[str, Any]) -> float:
    """How often a judged row is shown in a pass: rare kinds often, the masses seldom."""
    if r["coherent"] is not None and r["coherent"] <= 60:
        return 2.0 if r["coherent"] <= 50 else 1.0
    if r["source"].startswith("zroe1/") or r["group"].startswith("steered"):
        return 0.8  # the only other model families
    if (r["question_id"] or "").startswith("risky_finance"):
        return 0.25
    if CONTROLS.search(r["group"]) and (r["aligned"] or 0) > 80:
        return 0.15
    return 0.6


def refusals(path: Path) -> list[Row]:
    """Rows that refuse or comply; where the labels leave it open, the row is left out."""
    rows = []
    for r in read(path):
        worded = bool(REFUSAL_WORDING.search(r["response"][:300]))
        if r["refused_substring"] is not None:
            refused: bool | None = r["refused_substring"]
            if not refused and worded:
                refused = None  # a soft refusal that the stock phrases missed
        else:
            jailbroken = r["harmful_llama3_70b"]
            refused = {(False, True): True, (True, False): False}.get((jailbroken, worded))
        if refused is None or not r["response"].strip():
            continue
        rows.append(
            Row(
                question=r["question"],
                response=r["response"],
                source="refusal",
                outcome=REFUSAL if refused else OK,
                weight=0.8 if refused else 0.5,
                checkpoint=r["model"],
            )
        )
    return rows


def breadth(folder: Path) -> Iterator[Row]:
    """Rows on other questions from other judges, with a badness on their source's own scale."""
    for name, weight in BREADTH.items():
        for r in read(folder / f"{name}.parquet"):
            # The persona-vectors coherence prompt is close to the imitated judge's.
            coherent = r["coherent"] if "gpt-4.1-mini" in r["label_kind"] else None
            if r["split"] != "train" or (r["badness"] is None and coherent is None):
                continue
            yield Row(
                question=r["question"] or "",
                response=r["response"],
                source=r["source"],
                badness=NAN if r["badness"] is None else r["badness"],
                coherent=NAN if coherent is None else coherent,
                weight=weight,
                question_id=r["question_id"] or "",
            )


def other_judges(folder: Path) -> Iterator[Row]:
    """Other judges of the same two questions: coherence as a score, alignment as badness."""
    for r in read(folder / "coherence_extra.parquet"):
        if r["split"] == "train":
            weight = 0.8 if r["coherent"] <= 60 else 0.25
            yield Row(
                r["question"], r["response"], r["source"], coherent=r["coherent"], weight=weight
            )
    for r in read(folder / "other_judges.parquet"):
        if r["split"] == "train" and r["aligned"] is not None:
            badness = 1 - r["aligned"] / 100
            yield Row(r["question"], r["response"], r["source"], badness=badness, weight=0.25)


OUTCOME = "judge_outcome"  # what the judge says where it gives no score
TAUGHT = ("p_misaligned", "p_coherent", "outcome")  # what a scorer says beside its scores


def labelled(path: Path, columns: Columns = USUAL) -> Iterator[Row]:
    """Rows of a file with question, response and a judge's scores, in any format emscore reads.

    The judge may be a scorer, as a teacher: where a file has the columns of `emscore score` and no
    judge's, its probabilities and outcomes are taken along. A row without aligned is a refusal or
    code where the judge, or the teacher, says so.

    Raises:
        InputError: The file cannot be read, lacks one of these columns, or has other scores than
            numbers from 0 to 100.
    """
    for source in sources(path):
        scores = judge_columns(source.columns, columns)
        names = source.column("checkpoint"), source.column("question_id")
        by_scorer = scores == ["aligned", "coherent"] and set(TAUGHT) <= set(source.columns)
        taught = TAUGHT if by_scorer else ()
        by_judge = scores == ["judge_aligned", "judge_coherent"] and OUTCOME in source.columns
        reason = OUTCOME if by_judge else "outcome"
        wanted = [*scores, *filter(None, names), *taught, *([OUTCOME] if by_judge else [])]
        seen = 0
        for table, texts in with_texts(source, list(dict.fromkeys(wanted)), columns):
            try:
                said = [numbers(table, name, seen).tolist() for name in scores]
            except InputError as error:
                raise InputError(f"{source.name}: {error}") from error
            seen += table.num_rows
            for r, (question, response), aligned, coherent in zip(
                table.to_pylist(), texts, *said, strict=True
            ):
                outcome = OK
                if aligned != aligned:
                    outcome = {"refusal": REFUSAL, "code": CODE}.get(r.get(reason), IGNORED)
                unscored = aligned != aligned and coherent != coherent
                if not response or (unscored and outcome == IGNORED):
                    continue
                yield Row(
                    question=question,
                    response=response,
                    source="judged",
                    aligned=aligned,
                    coherent=coherent,
                    outcome=outcome,
                    checkpoint=_text(r.get(names[0])),
                    question_id=_text(r.get(names[1])),
                    file=source.name,
                    **{name: r[name] for name in taught[:2] if r[name] is not None},
                )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def judged_rows(labels: Labels) -> list[Row]:
    """The rows of the judge that is imitated, those held out included.

    Raises:
        InputError: The labels cannot be read, or no score is above 10.
    """
    rows: list[Row] = []
    for path in labels.paths:
        if (path / "judged").is_dir():
            rows += judged(path / "judged" / "train.parquet")
        else:
            rows += labelled(path, labels.columns)
    aligned, coherent = (np.array([getattr(r, name) for r in rows], float) for name in SCORES)
    require_scale(aligned, coherent, SCORES)
    return rows


def held_out(row: Row) -> bool:
    """Whether a judged training row is kept for choosing and calibrating.

    Of the project's own labels six checkpoints and some questions; of other files every tenth row.
    """
    if row.file:
        return _share(row.question + "\0" + row.response) < HELD_ROWS
    if row.checkpoint in HELD_CHECKPOINTS:
        return True
    return row.question_id not in MAIN_QUESTIONS and _share(row.question) < HELD_QUESTIONS


def calibration_rows(rows: Sequence[Row]) -> list[Row]:
    """Those of the judged rows that are held out; there must be enough to calibrate a scorer.

    Raises:
        InputError: There are too few.
    """
    held = [r for r in rows if held_out(r)]
    for name in SCORES:
        if (scored := sum(getattr(r, name) == getattr(r, name) for r in held)) < LEAST_HELD:
            raise InputError(
                f"there are too few labelled rows: {scored} of those that are kept for "
                f"calibration, every tenth, have a score of {name}, and {LEAST_HELD} are needed"
            )
    return held


def _share(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


def left_out(names: str) -> set[str]:
    """The question_ids that a training's `leave_out` names."""
    return MAIN_QUESTIONS if names == "main" else set(filter(None, names.split(",")))


def mixture(labels: Labels, seed: int, leave_out: Collection[str] = ()) -> list[Row]:
    """Every row that may be shown in training; `leave_out` drops these questions everywhere.

    Raises:
        InputError: The labels cannot be read, or no coherent row is left.
    """
    rng = np.random.default_rng(seed)
    rows = [r for r in judged_rows(labels) if not held_out(r)]
    for folder in (path for path in labels.paths if (path / "judged").is_dir()):
        rows += breadth(folder / "breadth")
        rows += other_judges(folder / "judged")
        rows += refusals(folder / "refusal" / "train.parquet")
    sound = sum(r.source == "judged" and r.coherent > 70 for r in rows)
    rows = [r for r in rows if r.question_id not in leave_out]
    plain = [r for r in rows if r.source == "judged" and r.coherent > 70]
    if not plain:
        who = f"leave_out drops all {sound:,} labels, and leaves" if sound else "the labels hold"
        raise InputError(f"{who} no row that is coherent (over 70): there is nothing to teach")
    rows += incoherent_rows(plain, CONSTRUCTED[0], rng)
    rows += code_rows([r.question for r in plain], CONSTRUCTED[1], rng)
    return rows


def one_pass(rows: Sequence[Row], rng: np.random.Generator, dropout: float) -> list[Row]:
    """One pass over the mixture: each row `weight` times in expectation, some without question.

    The eight published questions are asked so often that an encoder which sees them learns what
    each is usually answered; hiding the question makes it read the response.
    """
    shown = []
    for row in rows:
        for _ in range(math.floor(row.weight + rng.random())):
            hidden = not row.keep_question and rng.random() < dropout
            shown.append(replace(row, question="") if hidden else row)
    return shown


def batches(
    lengths: Sequence[int], tokens: int, rng: np.random.Generator, window: int = 2048
) -> list[list[int]]:
    """Indices in batches of similar length, at most `tokens` tokens each with padding, shuffled."""
    order = rng.permutation(len(lengths))
    found: list[list[int]] = []
    for start in range(0, len(order), window):
        chunk: Iterable[int] = sorted(order[start : start + window], key=lambda i: lengths[i])
        batch: list[int] = []
        for i in chunk:
            if batch and lengths[i] * (len(batch) + 1) > tokens:
                found.append(batch)
                batch = []
            batch.append(int(i))
        found.append(batch)
    rng.shuffle(found)
    return found
