"""The scored rows of a report, counted once, and the rates that its sections ask for."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..rates.classifier import counted, over_questions
from ..rates.compare import called
from ..rates.definition import Estimand, question_key
from ..rates.lens import CUTS
from ..rates.measure import rates_of
from ..rates.query import Lines, Query
from ..rates.rows import read_rows
from ..rates.scan import Counts
from ..rates.sources import Scored, require_files, sources
from ..words import shortened

MOST_GROUPS = 40  # nobody tells more apart: then all rows are one group
SHOWN = 12  # groups in one plot

Line = dict[str, Any]


class Reading:
    """Scored rows, and what divides them.

    Args:
        scored: Scored files or data.
        query: Which rows, and when an answer is misaligned.
        to: The base or control; None for one that is called base, if there is one.
        over: Column with the step of training.
        confidence: Of the intervals.

    Attributes:
        found: The files.
        definition: When an answer is misaligned.
        there: Those of checkpoint, group and step that have names, and condition where there are
            several.
        question: Column that says which question a row answers.
        rows: Their counts by all of these.
        cells: Those of rows that answer no harmful request.
        by: Columns that make a group of the page: group, and condition where there are several.
        unit: Column of what is compared with a base.
        to: The base, if there is one.
    """

    def __init__(
        self, scored: Scored, query: Query, to: str | None, over: str, confidence: float
    ) -> None:
        self.definition, self.over, self.confidence = query.definition, over, confidence
        self.found = sources(scored)
        require_files(self.found, "a report is written")
        self.there = [
            name
            for name in ("checkpoint", "group", "condition", over)
            if all(source.column(name) for source in self.found)
        ]
        self.question = question_key(self.found, query.question_column, []) or "question"
        self.rows = read_rows(query, self.found, [*self.there, self.question], CUTS)
        self.rows.require_some()
        self.cells = self.rows.cells
        # Of sampled files the column may be there, and empty throughout; and the usual single
        # condition tells nothing.
        values = {name: {*self.cells.keys[name]} for name in self.there}
        self.there = [
            name
            for name in self.there
            if values[name] != {None} and (name != "condition" or len(values[name]) > 1)
        ]
        self.by = self._by()
        units = [name for name in ("group", "checkpoint") if name in self.there] or ["checkpoint"]
        told = [name for name in units if to is not None and str(to) in map(str, values[name])]
        self.unit = (told or units)[0]
        there = self.cells.keys.get(self.unit, [])
        base = "base" if to is None and "base" in there else to
        self.to = None if base is None else called(base, there, self.unit)

    @cached_property
    def groups(self) -> list[Line]:
        """The rate of each group, the most misaligned first.

        Checkpoints are the units where a group has several; one alone stands for itself.
        """
        lines = self.rates(self.by)
        if "checkpoint" in self.there and "checkpoint" not in self.by:
            several = self.rates(self.by, estimand="checkpoints")
            lines = [
                (one if many["low"] is None else many) | {"checkpoints": many["units"]}
                for one, many in zip(lines, several, strict=True)
            ]
        return sorted(lines, key=lambda line: -1 if line["rate"] is None else -line["rate"])

    @cached_property
    def shown(self) -> list[Line]:
        """Those of the groups that plots show: the most misaligned, and the base."""
        return self.groups[:SHOWN] + list(filter(self.is_base, self.groups[SHOWN:]))

    @cached_property
    def short(self) -> dict[str, str]:
        """Names of the groups as plots have room for them."""
        return shortened(line["name"] for line in self.groups)

    @property
    def shown_short(self) -> list[str]:
        """These names of the groups that plots show."""
        return [self.short[line["name"]] for line in self.shown]

    def is_base(self, line: Line) -> bool:
        """Whether a group is the base, under whatever condition."""
        return self.to is not None and line.get(self.unit) == self.to

    def drawn(self, lines: Iterable[Line]) -> list[Line]:
        """Those of the groups that plots show, in the order of these, `group` being the name."""
        place = {line["name"]: at for at, line in enumerate(self.shown)}
        kept = [
            line | {"group": self.short[line["name"]]} for line in lines if line["name"] in place
        ]
        return sorted(kept, key=lambda line: place[line["name"]])

    def rates(self, by: Sequence[str], estimand: Estimand = "questions") -> list[Line]:
        """Lines of `emscore.rates`: audited where there is an audit, else thresholded."""
        lines = Lines(list(by), self.question, estimand)
        table = rates_of(self.rows, lines, self.definition, self.confidence)
        whose = "audited" if self.rows.audit else "thresholded"
        found = [row for row in table.to_pylist() if row["estimator"] == whose]
        return [line | {"name": self.name(line)} for line in found]

    def counted(self, by: Sequence[str]) -> list[Line]:
        """Rates by the classifier, with their sampling error alone, from the counts at hand."""
        cells, _ = self.cells.by(list(dict.fromkeys([*by, self.question])))
        lines, to = cells.by(by)
        found = over_questions(counted(cells, self.definition), to, len(lines), self.confidence)
        n = self.definition.base(lines)
        numbers = np.stack([found.rate, found.low, found.high, n], 1).tolist()
        out = []
        for key, (rate, low, high, n) in zip(keys(lines, by), numbers, strict=True):
            line = dict(zip(by, key, strict=True)) | {"rate": rate, "low": low, "high": high}
            if n:
                out.append(line | {"n": int(n), "name": self.name(line)})
        return out

    def name(self, line: Line) -> str:
        """What a line's group is called on the page."""
        told = [str(line[column]) for column in self.by if line.get(column) is not None]
        return " · ".join(told) or ("all" if not self.by else "–")

    def _by(self) -> list[str]:
        few = [
            name
            for name in ("group", "checkpoint")
            if name in self.there and len(set(self.cells.keys[name])) <= MOST_GROUPS
        ]
        return [*few[:1], *(["condition"] if "condition" in self.there else [])]


def keys(counts: Counts, by: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """The values of the key columns, cell by cell."""
    if not by:
        return [()] * len(counts)
    return zip(*(counts.keys[name] for name in by), strict=True)
