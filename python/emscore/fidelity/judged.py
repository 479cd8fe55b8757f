"""Rows that a judge scored, scored by a scorer as well: side by side, by the engine users run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .._emscore import InputError
from ..rates.sources import sources
from .metrics import Bools, Floats

if TYPE_CHECKING:
    from ..progress import Progress
    from ..scoring import Scorer
    from ..summary import Summary

PREFIX = "scorer_"  # of the scorer's columns, beside the judge's
SCORES = ("aligned", "coherent", "p_misaligned", "p_coherent")
Strings = npt.NDArray[np.object_]
Path_ = str | os.PathLike[str]


@dataclass(frozen=True)
class Columns:
    """Names that the user gave; None leaves the choice to the usual names.

    Attributes:
        question: Column of the question, as `emscore score` finds it.
        response: Column of the response, likewise.
        judge_aligned: Column of the judge's aligned: judge_aligned, else aligned.
        judge_coherent: Column of the judge's coherent: judge_coherent, else coherent.
        by: Column whose values are measured apart: split_reason.
    """

    question: str | None = None
    response: str | None = None
    judge_aligned: str | None = None
    judge_coherent: str | None = None
    by: str | None = None


@dataclass(frozen=True)
class Judged:
    """Rows with the judge's two scores and the scorer's four.

    Attributes:
        aligned: The judge's, 0-100, float64, (n,).
        coherent: Likewise.
        scores: The scorer's, by the names in SCORES, float64, (n,).
        question: Text of the question, "" where there is none, (n,).
        response: Text of the response, likewise.
        labels: checkpoint, group, question (its id where the file has one) and slice of each row,
            as far as the file tells them, (n,).
        left_out: Rows of the file that are not here, by reason.
        about: What the engine tells of the run: scorer, thresholds, device.
    """

    aligned: Floats
    coherent: Floats
    scores: dict[str, Floats]
    question: Strings
    response: Strings
    labels: dict[str, Strings] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.aligned)

    @property
    def cuts(self) -> tuple[float, float]:
        """Misaligned is aligned below the first and coherent above the second."""
        return float(self.about["misaligned_below"]), float(self.about["coherent_above"])

    def only(self, rows: Bools) -> Judged:
        """Some of the rows."""
        return Judged(
            self.aligned[rows], self.coherent[rows],
            {name: values[rows] for name, values in self.scores.items()},
            self.question[rows], self.response[rows],
            {name: values[rows] for name, values in self.labels.items()},
            self.left_out, self.about,
        )  # fmt: skip

    def verdicts(self) -> tuple[Bools, Bools]:
        """Misaligned and coherent: by the scorer's scores, and by the judge's."""
        low, sound = self.cuts
        scores = self.scores
        return (
            (scores["aligned"] < low) & (scores["coherent"] > sound),
            (self.aligned < low) & (self.coherent > sound),
        )


def read(
    scorer: Scorer,
    files: Sequence[Path_],
    columns: Columns | None = None,
    *,
    cache: Path_ | None = None,
    progress: bool | Progress | None = False,
) -> Judged:
    """Scores judged rows.

    Args:
        scorer: What is measured.
        files: Files, folders and globs that `emscore score` reads, with the judge's columns.
        columns: Names of columns that are not the usual ones.
        cache: Directory that keeps scores across runs.
        progress: As in `Scorer.score_file`.

    Raises:
        InputError: A file cannot be read, has no judge's columns, or no row with both scores.
    """
    columns = columns or Columns()
    if "-" not in files:  # what is missing shows on the first row
        _judge_columns(_scored(scorer, files, columns, limit=1)[0], columns)
    table, summary = _scored(scorer, files, columns, cache=cache, progress=progress)
    judge = _judge_columns(table, columns)
    aligned, coherent = (numbers(table, name) for name in judge)
    outcome = _texts(table, PREFIX + "outcome")
    judged = ~(np.isnan(aligned) | np.isnan(coherent))
    scored = np.isin(outcome.astype(str), ["ok", "too_long"])
    left_out = {"not scored by the judge": int((~judged).sum())}
    for name in sorted(set(outcome[judged & ~scored])):
        left_out[f"{name}, to the scorer"] = int((judged & (outcome == name)).sum())
    if not (judged & scored).any():
        raise InputError(
            f"no row has both the judge's scores ({' and '.join(judge)}) and the scorer's: "
            f"{', '.join(f'{n:,} {why}' for why, n in left_out.items())}"
        )
    everything = Judged(
        aligned, coherent,
        {name: numbers(table, PREFIX + name) for name in SCORES},
        _texts(table, summary["question_column"]), _texts(table, summary["response_column"]),
        _labels(table, dict(summary), columns.by),
        left_out, {"files": [str(f) for f in files], "judge_columns": judge, **summary},
    )  # fmt: skip
    return everything.only(judged & scored)


def _scored(
    scorer: Scorer, files: Sequence[Path_], columns: Columns, **options: Any
) -> tuple[pa.Table, Summary]:
    """The rows of the files with the scorer's scores, and what the engine tells of the run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scored.arrow"
        summary = scorer.score_file(
            list(files), path, prefix=PREFIX,
            question_column=columns.question, response_column=columns.response,
            **{"progress": False} | options,
        )  # fmt: skip
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all(), summary


def _judge_columns(table: pa.Table, columns: Columns) -> list[str]:
    given = {"aligned": columns.judge_aligned, "coherent": columns.judge_coherent}
    return [judge_column(table.column_names, role, name) for role, name in given.items()]


def judged_again(
    rows: Judged, files: Sequence[Path_], columns: Columns | None = None
) -> tuple[Judged, Judged]:
    """Those rows that another file of the judge's scores holds too, by question and response.

    Args:
        rows: Judged rows.
        files: Files with question, response and the judge's scores of another time.
        columns: As in `read`; names that these files lack are passed over.

    Returns:
        The rows as they were judged in `rows`, and the same rows as judged in `files`.

    Raises:
        InputError: The files have no such columns, or no row in common with `rows`.
    """
    c = columns or Columns()
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for source in sources(list(files)):
        given = {"question": c.question, "response": c.response}
        texts = [name if name in source.columns else source.column(role)
                 for role, name in given.items()]  # fmt: skip
        judge = [
            judge_column(source.columns, role, name if name in source.columns else None)
            for role, name in (("aligned", c.judge_aligned), ("coherent", c.judge_coherent))
        ]
        if None in texts:
            raise InputError(f"{source.name} has no columns of questions and responses to match by")
        for batch in source.batches([*filter(None, texts), *judge]):
            table = pa.Table.from_batches([batch])
            question, response = (_texts(table, str(name)) for name in texts)
            scores = zip(*(numbers(table, name).tolist() for name in judge), strict=True)
            found |= dict(zip(zip(question, response, strict=True), scores, strict=True))
    nothing = (np.nan, np.nan)
    pairs = zip(rows.question, rows.response, strict=True)
    again = np.array([found.get(pair, nothing) for pair in pairs], np.float64)
    both = np.asarray(~np.isnan(again).any(1))
    if not both.any():
        raise InputError(
            f"no row of {', '.join(map(str, files))} has the question and response of a judged "
            "row: it must hold the same rows, judged once more"
        )
    then = rows.only(both)
    return then, replace(then, aligned=again[both, 0], coherent=again[both, 1])


def judge_column(names: Sequence[str], role: str, given: str | None) -> str:
    """The column of the judge's `role`, aligned or coherent.

    Raises:
        InputError: There is none.
    """
    usual = (f"judge_{role}", role)
    for name in (given,) if given else usual:
        if name in names:
            return name
    looked = repr(given) if given else " or ".join(map(repr, usual))
    names = [name for name in names if not name.startswith(PREFIX)]
    raise InputError(
        f"there is no column {looked} with the judge's {role}; the columns are "
        f"{', '.join(names)}. Name it with --judge-{role}"
    )


def numbers(table: pa.Table, name: str) -> Floats:
    """A column of scores as float64, NaN where null.

    Raises:
        InputError: It holds something else than numbers from 0 to 100.
    """
    try:
        values = pc.cast(table[name], pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"the column {name!r} holds {table[name].type}, not scores") from error
    values = np.asarray(values, np.float64)
    if (bad := np.flatnonzero((values < 0) | (values > 100))).size:
        raise InputError(
            f"row {bad[0]} has {values[bad[0]]:g} in {name!r}: a judge's score is a number from 0 "
            "to 100, or null where it gave none"
        )
    return values


def _texts(table: pa.Table, name: str) -> Strings:
    """A column of text; "" where null, or where the column holds chats."""
    column = table[name] if name in table.column_names else pa.nulls(table.num_rows)
    try:
        texts = pc.cast(column, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = pa.nulls(table.num_rows, pa.string())
    found = np.empty(table.num_rows, object)
    found[:] = pc.fill_null(texts, "").to_pylist()
    return found


def _labels(table: pa.Table, summary: dict[str, Any], by: str | None) -> dict[str, Strings]:
    if by is not None and by not in table.column_names:
        raise InputError(
            f"there is no column {by!r} to measure apart by; the columns are "
            f"{', '.join(n for n in table.column_names if not n.startswith(PREFIX))}"
        )
    wanted = {
        "checkpoint": summary["checkpoint_column"],
        "group": summary["group_column"],
        "question": "question_id"
        if "question_id" in table.column_names
        else summary["question_column"],
        "slice": by or "split_reason",
    }
    found = {role: _texts(table, name) for role, name in wanted.items() if name}
    return {role: texts for role, texts in found.items() if (texts != "").any()}
