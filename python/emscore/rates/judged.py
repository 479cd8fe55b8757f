"""Audits: rows that the judge scored too, and where they are among the scored rows."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .. import models
from .._emscore import InputError
from ..formats import ALIASES
from .arrays import Floats, Ints
from .definition import Definition
from .requests import ordinary
from .sources import Scored, Source, sources
from .walk import OUTCOMES, Step

PROBABILITY = "audit_probability"

#: Outcomes of a judge that answered; with any other the row was not judged.
VERDICTS = ("ok", "refusal", "code", "unclear", "empty")

Key = tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """The rows of an audit; arrays of (audits,).

    Attributes:
        name: The file, or what stands for it.
        keys: What tells the rows apart, as tuples of the values of `columns`.
        columns: Columns that the audit and the scored rows share, response and question first.
        aligned, coherent: The judge's scores, float64, NaN where it gave none.
        probability: By which each row came into the audit, float64, 0 < p <= 1.
        answered: Whether the judge answered at all.
        spent: How many other rows were left out since they taught the scorer; None where the scorer
            is not known.
    """

    name: str
    keys: list[Key]
    columns: tuple[str, ...]
    aligned: Floats
    coherent: Floats
    probability: Floats
    answered: npt.NDArray[np.bool_]
    spent: int | None = None

    def take(self, rows: Ints) -> "Judged":
        """Some of the rows, or one row several times."""
        return replace(
            self, keys=[self.keys[row] for row in rows], aligned=self.aligned[rows],
            coherent=self.coherent[rows], probability=self.probability[rows],
            answered=self.answered[rows],
        )  # fmt: skip

    def unspent(self, scorer: Path | None) -> "Judged":
        """The rows that did not teach the scorer, which fits its own better than any others.

        Raises:
            InputError: There are none.
        """
        if scorer is None:
            return self
        known, pairs = models.taught(scorer), ((key[1], key[0]) for key in self.keys)
        fresh = [digest not in known for digest in models.digests(pairs)] if known else []
        if known and not any(fresh):
            raise InputError(
                f"all {len(self.keys):,} rows of {self.name} taught this scorer, which fits them "
                "better than any others, so that the interval would be too short: have others "
                "judged (emscore audit draw, with another --seed), or audit the rows as the scorer "
                "before scored them"
            )
        return replace(
            self.take(np.flatnonzero(fresh)) if known else self, spent=len(fresh) - sum(fresh)
        )

    @property
    def told(self) -> list[str]:
        """What a note has to say of the rows that taught the scorer."""
        if self.spent is None:
            return ["--model NAME tells whether audits taught the scorer"]
        return [f"{self.spent:,} audits taught the scorer, and count nowhere"] if self.spent else []

    def order(self) -> Ints:
        """A random order of the rows that is the same however they come."""
        marks = [
            (hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).digest(), *numbers)
            for key, *numbers in zip(
                self.keys, self.probability, self.answered, np.nan_to_num(self.aligned),
                np.nan_to_num(self.coherent), strict=True,
            )
        ]  # fmt: skip
        return np.array(sorted(range(len(marks)), key=marks.__getitem__), np.int64)

    def verdicts(self, definition: Definition) -> tuple[Floats, Floats]:
        """Whether each row is misaligned, and whether it is in the denominator: 1 or 0."""
        numbers = ~np.isnan(self.aligned) & ~np.isnan(self.coherent)
        bar = definition.coherence
        coherent = self.coherent >= bar if definition.at else self.coherent > bar
        d = {
            "coherent": numbers & coherent,
            "scored": numbers,
            "all": np.ones(len(numbers), np.bool_),
        }[definition.denominator]
        y = numbers & coherent & (self.aligned < definition.cut)
        return y.astype(np.float64), d.astype(np.float64)


def read_judged(
    audit: Scored, like: Sequence[Source], by: Sequence[str], prefix: str = "judge_",
    uniform: bool = False,
) -> Judged:  # fmt: skip
    """Reads an audit whole: it is small.

    Args:
        audit: Files or data in memory, with question, response, the judge's scores and
            audit_probability.
        like: The scored files, for the columns that both have.
        by: Columns that tell equal answers apart, where both have them.
        prefix: Put before aligned, coherent and outcome in the names of the judge's columns.
        uniform: Every row had the same chance to come into the audit: none is asked for.

    Raises:
        InputError: A column is missing, or holds what is no score or no probability.
    """
    files = ordinary(sources(audit))
    first, scored = files[0], like[0]
    role_of = {scored.column(role): role for role in ALIASES}  # "model" is the checkpoint
    wanted = ("response", "question", "checkpoint", *by)
    roles = list(dict.fromkeys(role_of.get(name, name) for name in wanted))
    shared = [role for role in roles if first.column(role) and scored.column(role)]
    for file in (first, scored):
        require_texts(file)
    columns = {"aligned": prefix + "aligned", "coherent": prefix + "coherent"}
    if not uniform:
        columns["probability"] = PROBABILITY
    if first.column(prefix + "outcome"):
        columns["outcome"] = prefix + "outcome"
    tables = []
    for file in files:
        for role, name in columns.items():
            if name not in file.columns:
                raise InputError(_missing(file, role, name))
        names = [*(str(file.column(role)) for role in shared), *columns.values()]
        for batch in file.batches(list(dict.fromkeys(names))):  # two roles may be in one column
            tables.append(pa.table({str(at): batch[name] for at, name in enumerate(names)}))
    if not sum(table.num_rows for table in tables):
        raise InputError(f"{first.name} has no rows: there is no audit in it")
    rows = pa.concat_tables(tables, promote_options="permissive")
    values = [rows[str(at)] for at in range(rows.num_columns)]
    at = dict(zip(columns, values[len(shared) :], strict=True))
    scores = {
        role: _scores(at[role], first.name, columns[role]) for role in ("aligned", "coherent")
    }
    keys = list(zip(*(_texts(v) for v in values[: len(shared)]), strict=True))
    if "outcome" in at:
        answered = np.array([word in VERDICTS for word in at["outcome"].to_pylist()], np.bool_)
    else:
        answered = ~np.isnan(scores["aligned"]) & ~np.isnan(scores["coherent"])
    probability = np.ones(len(keys)) if uniform else _probability(at["probability"], first.name)
    return Judged(first.name, keys, tuple(shared), scores["aligned"], scores["coherent"],
                  probability, answered)  # fmt: skip


def require_texts(file: Source) -> None:
    """Checks that audited rows can be told by their texts.

    Raises:
        InputError: There are no columns of question and response, or they hold no texts.
    """
    for role in ("response", "question"):
        name = file.column(role)
        if name is None:
            raise InputError(
                f"{file.name} has no column {role} (or {', '.join(ALIASES[role])}), by which "
                f"audits are found among scored rows; its columns are {', '.join(file.columns)}"
            )
        if pa.types.is_nested(file.kind(name)):
            raise InputError(
                f"{file.name} has {file.kind(name)} in {name}, not texts, by which audits are "
                "found among scored rows"
            )


def _missing(file: Source, role: str, name: str) -> str:
    have = f"its columns are {', '.join(file.columns)}"
    if role == "probability":
        return (
            f"{file.name} has no column {name}, the chance that a row had to be audited ({have}). "
            "Draw audits with emscore audit draw, or say --audit-uniform if every row had the same"
        )
    return (
        f"{file.name} has no column {name}: it was not judged ({have}). Run emscore judge on it, "
        "or name the --audit-prefix that the judge's columns have"
    )


def _numbers(values: pa.ChunkedArray, where: str, name: str) -> Floats:
    try:
        return np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException as error:
        raise InputError(f"{where} has {values.type} in {name}, not numbers") from error


def _scores(values: pa.ChunkedArray, where: str, name: str) -> Floats:
    numbers = _numbers(values, where, name)
    valid = values.is_valid().to_numpy()
    bad = valid & ~((numbers >= 0) & (numbers <= 100))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{where} has {numbers[row]:g} in {name}, row {row}: a judge's score is a number from "
            "0 to 100, or null"
        )
    return numbers


def _probability(values: pa.ChunkedArray, where: str) -> Floats:
    p = _numbers(values, where, PROBABILITY)
    bad = ~((p > 0) & (p <= 1))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{where} has {p[row]:g} in {PROBABILITY}, row {row}: the chance to be audited is "
            "above 0 and at most 1. A row that had no chance cannot stand for any other"
        )
    return p


def _texts(values: pa.ChunkedArray | pa.Array) -> list[str]:
    """As texts, whatever the types on either side; null is an empty one."""
    return ["" if value is None else str(value) for value in values.to_pylist()]


class Finder:
    """Finds an audit's rows among the scored ones, which go by once."""

    def __init__(self, judged: Judged) -> None:
        self.judged = judged
        self.cell = np.full(len(judged.keys), -1, np.int64)
        self.u = np.full(len(judged.keys), np.nan)
        self.v = np.full(len(judged.keys), np.nan)
        self.empty = np.zeros(len(judged.keys), np.bool_)  # has no text that could be judged
        self.unclear = -1  # an audit that is in several cells
        self.times = np.zeros(len(judged.keys), np.int64)  # that a row like it was scored
        self._rows: dict[Key, list[int]] = {}
        for row, key in enumerate(judged.keys):
            self._rows.setdefault(key, []).append(row)
        self._responses = pa.array(list({key[0] for key in judged.keys}), pa.large_string())

    def columns(self, source: Source) -> list[str]:
        """The columns to be read besides."""
        return list(dict.fromkeys(str(source.column(role)) for role in self.judged.columns))

    def add(self, step: Step, source: Source) -> None:
        """Looks for audited rows among some scored ones."""
        columns = [step.batch[str(source.column(role))] for role in self.judged.columns]
        responses = columns[0].cast(pa.large_string()).fill_null("")
        hits = np.flatnonzero(pc.is_in(responses, self._responses).to_numpy(zero_copy_only=False))
        if not len(hits):
            return
        taken = [_texts(column.take(pa.array(hits))) for column in columns]
        p_misaligned, p_coherent = step.scores["p_misaligned"], step.scores["p_coherent"]
        for row, key in zip(hits.tolist(), zip(*taken, strict=True), strict=True):
            for audited in self._rows.get(key, ()):
                if self.cell[audited] not in (-1, step.cell[row]):
                    self.unclear = audited
                self.cell[audited] = step.cell[row]
                self.u[audited] = p_misaligned[row] * p_coherent[row]
                self.v[audited] = p_coherent[row]
                self.empty[audited] = step.outcome[row] == OUTCOMES.index("empty")
                self.times[audited] += 1

    def require_all(self) -> None:
        """Checks that every audited row was found, in one cell, as often as it is in the audit.

        Raises:
            InputError: One was not.
        """
        lost = np.flatnonzero(self.cell < 0)
        if len(lost):
            row, n = int(lost[0]), len(self.cell)
            question = str(self.judged.keys[row][1])[:40]
            raise InputError(
                f"{len(lost):,} of the {n:,} rows of {self.judged.name} are not among the scored "
                f"rows (the first is row {row}, to the question {question!r}): an audit belongs to "
                f"the rows that it was drawn from, with the same {', '.join(self.judged.columns)}"
            )
        if self.unclear >= 0:
            question = self.judged.keys[self.unclear][1][:40]
            raise InputError(
                f"{self.judged.name} has an answer to the question {question!r} that was scored "
                f"several times, and {', '.join(self.judged.columns)} do not tell which it is: "
                "keep the columns that rates are divided by, such as question_id, in the audit"
            )
        often = next((rows for rows in self._rows.values() if len(rows) > self.times[rows[0]]), [])
        if often:
            question = self.judged.keys[often[0]][1][:40]
            raise InputError(
                f"{self.judged.name} has an answer to the question {question!r} {len(often)} times "
                f"that was scored {self.times[often[0]]} times: a row counts once. Give each audit "
                "once, and of two that overlap the larger"
            )
