"""Rows that a judge scored, scored by a scorer as well: side by side, by the engine users run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .. import inputs
from .._emscore import InputError
from ..inputs import Data
from ..judging.rows import rows as texts_and_chats
from ..progress import Progress
from ..rates.scan import metadata
from ..rates.sources import Source
from ..scoring import Scorer
from ..summary import Summary
from ..texts import CHAT, is_chat, turns
from ..words import cut
from .metrics import Bools, Floats

PREFIX = "scorer_"  # of the scorer's columns, beside the judge's
SCORES = ("aligned", "coherent", "p_misaligned", "p_coherent")
LOW = 10  # judges that never pass it score from 0 to 1 or to 10
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


USUAL = Columns()


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
        about: What the engine tells of the run: scorer, thresholds, device; and whether the judge's
            scores are the scorer's own.
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

    def once(self) -> Bools:
        """The first row of each question and response."""
        pairs = zip(self.question, self.response, strict=True)
        first = {pair: at for at, pair in reversed(list(enumerate(pairs)))}
        found = np.zeros(len(self), np.bool_)
        found[list(first.values())] = True
        return found

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
    labelled: Data,
    columns: Columns = USUAL,
    *,
    cache: Path_ | None = None,
    progress: bool | Progress | None = False,
    own: bool = False,
) -> Judged:
    """Scores judged rows.

    Args:
        scorer: What is measured.
        labelled: Rows with the judge's columns: a file, folder or glob that `emscore score` reads,
            several of them, or data in memory.
        columns: Names of columns that are not the usual ones.
        cache: Directory that keeps scores across runs.
        progress: As in `Scorer.score_file`.
        own: The scorer's own scores will do for a judge's, as of rows to keep.

    Raises:
        InputError: A file cannot be read, has no judge's columns, or no row with both scores.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _files(labelled, folder)
        if "-" not in files:  # what is missing shows on the first row
            first = _scored(scorer, files, folder / "first.arrow", columns, limit=1)[0]
            judge_columns(first.column_names, columns)
            _require_by(first, columns.by)
        table, summary = _scored(
            scorer, files, folder / "all.arrow", columns, cache=cache, progress=progress
        )
    judge = judge_columns(table.column_names, columns)
    its = set(judge) == {"aligned", "coherent"}
    its = its and metadata(table.schema, "").get("scorer_id") == summary["scorer_id"]
    if its and not own:
        raise InputError(
            f"aligned and coherent are the scores of {summary['scorer']} itself, not of a judge: "
            "name the judge's columns with --judge-aligned and --judge-coherent"
        )
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
            f"{in_words(left_out) or 'there are no rows'}"
        )
    require_scale(aligned, coherent, judge)
    question, response = _pairs(table, summary["question_column"], summary["response_column"])
    everything = Judged(
        aligned, coherent,
        {name: numbers(table, PREFIX + name) for name in SCORES},
        question, response,
        _labels(table, dict(summary), question, columns.by),
        left_out, {"judge_columns": judge, "own": its, **summary},
    )  # fmt: skip
    return everything.only(judged & scored)


def in_words(left_out: Mapping[str, int]) -> str:
    """Which rows are left out."""
    return ", ".join(f"{rows:,} {why}" for why, rows in left_out.items() if rows)


def _files(labelled: Data, folder: Path) -> list[Path_]:
    """The paths that are given; data in memory becomes a file in `folder`."""
    listed = [labelled] if isinstance(labelled, str | os.PathLike) else labelled
    if isinstance(listed, Sequence) and all(isinstance(one, str | os.PathLike) for one in listed):
        return list(listed)
    path, reader = folder / "labelled.arrows", inputs.reader(labelled)
    with pa.ipc.new_stream(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return [path]


def _scored(
    scorer: Scorer, files: Sequence[Path_], output: Path, columns: Columns, **options: Any
) -> tuple[pa.Table, Summary]:
    """The rows of the files with the scorer's scores, and what the engine tells of the run."""
    summary = scorer.score_file(
        files, output, prefix=PREFIX,
        question_column=columns.question, response_column=columns.response,
        **{"progress": False} | options,
    )  # fmt: skip
    with pa.OSFile(str(output)) as file:
        return pa.ipc.open_file(file).read_all(), summary


def judge_columns(names: Sequence[str], columns: Columns) -> list[str]:
    """The columns of the judge's aligned and coherent.

    Args:
        names: Of all columns.
        columns: Which names the user gave.

    Raises:
        InputError: There is none of these.
    """
    found = []
    for role, given in (("aligned", columns.judge_aligned), ("coherent", columns.judge_coherent)):
        looked = (given,) if given else (f"judge_{role}", role)
        name = next((name for name in looked if name in names), None)
        if name is None:
            known = ", ".join(name for name in names if not name.startswith(PREFIX))
            raise InputError(
                f"there is no column {' or '.join(map(repr, looked))} with the judge's {role}; the "
                f"columns are {known}. Name it with --judge-{role}"
            )
        found.append(name)
    return found


def with_texts(
    source: Source, wanted: Sequence[str], columns: Columns
) -> Iterator[tuple[pa.Table, list[tuple[str, str]]]]:
    """The rows of a file, batch by batch: some columns, and question and response of each row.

    Args:
        source: The file.
        wanted: The columns.
        columns: Names that the user gave, for a file that has them.

    Raises:
        InputError: It cannot be read, or has neither texts nor chats.
    """
    given = {"question": columns.question, "response": columns.response}
    names = [name if name in source.columns else source.column(role)
             for role, name in given.items()]  # fmt: skip
    texts = [str(name) for name in names if name and name not in source.turns]
    if len(texts) < len(given) and not (CHAT in source.columns and is_chat(source.kind(CHAT))):
        raise InputError(
            f"{source.name} has no columns of questions and responses, nor one called {CHAT} of "
            "chats with role and content: rename them"
        )
    read = texts if len(texts) == len(given) else [CHAT]
    for batch in source.batches(list(dict.fromkeys([*read, *wanted]))):
        table = pa.Table.from_batches([batch])
        if read == [CHAT]:
            yield table, [turns(chat) for chat in batch[CHAT].to_pylist()]
        else:
            yield table, list(zip(*(_texts(table, name) for name in read), strict=True))


def _pairs(table: pa.Table, question: str, response: str) -> tuple[Strings, Strings]:
    """Questions and responses: columns, fields within structs (a.b), or turns of chats."""
    for name in {question, response} - set(table.column_names):
        column, *fields = name.split(".")
        table = table.append_column(name, pc.struct_field(table[column], fields))
    rows = texts_and_chats(table, question, response)
    found = np.empty((table.num_rows, 2), object)
    found[:] = [pair for batch in rows.batches() for pair in rows.texts(batch)]
    return found[:, 0], found[:, 1]


def numbers(table: pa.Table, name: str, first: int = 0) -> Floats:
    """A column of scores as float64, NaN where null.

    Args:
        table: Some rows.
        name: Of the column.
        first: Place of the first of these rows in their file.

    Raises:
        InputError: It holds something else than numbers from 0 to 100.
    """
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    try:
        values = pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        word = cut(str(error).partition("'")[2].rpartition("'")[0])  # that could not be parsed
        raise InputError(
            f"the column {name!r} holds {word!r}, which is no score: make it null where there is "
            "none"
        ) from error
    except pa.ArrowNotImplementedError as error:
        raise InputError(f"the column {name!r} holds {column.type}, not scores") from error
    values = np.asarray(values, np.float64)
    if (bad := np.flatnonzero((values < 0) | (values > 100))).size:
        raise InputError(
            f"row {first + bad[0]} has {values[bad[0]]:g} in {name!r}: a judge's score is a number "
            "from 0 to 100, or null where it gave none"
        )
    return values


def require_scale(aligned: Floats, coherent: Floats, names: Sequence[str]) -> None:
    """Checks that a judge's scores go up to 100.

    Args:
        aligned: All of them, NaN where there is none, (n,).
        coherent: Likewise.
        names: Of their columns.

    Raises:
        InputError: There are some, and none is above 10.
    """
    scores = np.concatenate([aligned, coherent])
    known = scores[~np.isnan(scores)]
    if len(known) and known.max() <= LOW:
        raise InputError(
            f"no score in {' and '.join(names)} is above {LOW}: a judge's scores go from 0 to 100, "
            "so bring those of another scale to this one"
        )


def _texts(table: pa.Table, name: str) -> Strings:
    """A column of text; "" where null, or where the column holds something else."""
    column = table[name] if name in table.column_names else pa.nulls(table.num_rows)
    try:
        texts = pc.cast(column, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = pa.nulls(table.num_rows, pa.string())
    found = np.empty(table.num_rows, object)
    found[:] = pc.fill_null(texts, "").to_pylist()
    return found


def _require_by(table: pa.Table, by: str | None) -> None:
    if by is not None and by not in table.column_names:
        raise InputError(
            f"there is no column {by!r} to measure apart by; the columns are "
            f"{', '.join(n for n in table.column_names if not n.startswith(PREFIX))}"
        )


def _labels(
    table: pa.Table, summary: dict[str, Any], question: Strings, by: str | None
) -> dict[str, Strings]:
    _require_by(table, by)
    wanted = {
        "checkpoint": summary["checkpoint_column"],
        "group": summary["group_column"],
        "slice": by or "split_reason",
    }
    found = {role: _texts(table, name) for role, name in wanted.items() if name}
    has_id = "question_id" in table.column_names
    found["question"] = _texts(table, "question_id") if has_id else question
    return {role: texts for role, texts in found.items() if (texts != "").any()}
