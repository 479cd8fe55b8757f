"""What rates are asked for, and what that takes from the files."""

from collections.abc import Sequence
from dataclasses import dataclass

from .._emscore import InputError
from .definition import (
    Definition,
    Denominator,
    Estimand,
    keys_in,
    lines_by,
    question_key,
)
from .sources import Scored, Source


@dataclass(frozen=True)
class Lines:
    """What divides rows into lines, and what a line is the mean of.

    Attributes:
        by: Columns that divide the rows.
        unit: Column that says which question a row answers; None where that does not matter.
        estimand: What a line is the mean of.
    """

    by: list[str]
    unit: str | None
    estimand: Estimand = "questions"

    @property
    def checkpoint(self) -> str | None:
        """Column of the checkpoints where these are the units of a line."""
        return "checkpoint" if self.estimand == "checkpoints" else None

    @property
    def keys(self) -> list[str]:
        """Columns that cells have to be divided by."""
        return keys_in(self.by, [self.checkpoint, self.unit])


@dataclass(frozen=True, kw_only=True)
class Query:
    """What `rates` is asked for, whatever the confidence."""

    by: Sequence[str] | None = None
    audit: Scored = None
    cut: float = 30.0
    coherence: float = 50.0
    at: bool = False
    denominator: Denominator = "coherent"
    estimand: Estimand = "questions"
    finite: bool = False
    question_column: str | None = None
    prefix: str = ""
    audit_prefix: str = "judge_"
    audit_uniform: bool = False
    model: str | None = None
    mixed_scorers: bool = False

    @property
    def definition(self) -> Definition:
        """Its definition of a rate."""
        return Definition(self.cut, self.coherence, self.at, self.denominator)

    def lines(self, found: Sequence[Source]) -> Lines:
        """The lines that files will have.

        Raises:
            InputError: A column is missing, or there cannot be such an estimand.
        """
        by = lines_by(self.by, found)
        unit = None if self.estimand == "rows" else question_key(found, self.question_column, by)
        if self.estimand == "question-sample" and unit is None:
            raise InputError(
                "the lines are divided by question: each has one question only, and questions "
                "cannot be taken as a sample. Leave the question out of --by"
            )
        if self.estimand == "checkpoints":
            by = [name for name in by if name != "checkpoint"]
        return Lines(by, unit, self.estimand)
