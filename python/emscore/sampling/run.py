"""How far a run is, and what came: which samples of its plan have arrived."""

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .answers import PASSING, Sample
from .checks import Finding
from .client import token_count
from .journal import Journal
from .plan import Plan
from .rows import Row, row


class Run:
    """Which samples of a plan a journal holds, and where: 9 bytes a sample."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.journal = journal
        self.places = array("q", [-1]) * len(plan)
        self.settled = bytearray(len(plan))
        self.left = len(plan)
        self.tokens = 0
        self.findings: list[Finding] | None = None
        self._base: str | None = None
        for place, record in journal.replay():
            if "checks" in record:
                self.findings = [Finding(**finding) for finding in record["checks"]]
                self._base = record.get("base")
            else:
                self._place(record, place)
        self.resumed = len(plan) - self.left
        self.tokens = 0  # of this run alone

    def note(self, findings: list[Finding], base: str | None) -> None:
        """Keeps what the checks found, with that base model, so that they are made once."""
        self.findings, self._base = findings, base
        checks = [finding._asdict() for finding in findings]
        self.journal.append([{"checks": checks, "base": base}])

    def needs_checks(self, base: str | None) -> bool:
        """Whether something is left to ask, and checks that no earlier run has made."""
        made = self.findings is not None and base in (None, self._base)
        return self.left > 0 and not made

    def take(self, samples: list[Sample]) -> None:
        """Keeps samples that have arrived together."""
        records: list[dict[str, Any]] = [{**each} for each in samples]
        for record, place in zip(records, self.journal.append(records), strict=True):
            self._place(record, place)

    def samples(self) -> Iterator[Sample]:
        """All samples, in the order of the plan."""
        for place in self.places:
            if place >= 0:
                yield Sample(**_cleaned(self.journal.read(place)))  # type: ignore[typeddict-item]

    def _place(self, record: dict[str, Any], place: int) -> None:
        at = record["at"]
        settled = record["outcome"] not in PASSING
        self.left -= settled - self.settled[at]
        self.places[at] = place
        self.settled[at] = settled
        self.tokens += sum(_cleaned(record)["usage"])


class Tally:
    """Counts the rows on their way to the file."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.other_model: Counter[str] = Counter()
        self.capped = self.duplicates = self.prompt_tokens = self.completion_tokens = 0

    def over(self, plan: Plan, samples: Iterator[Sample]) -> Iterator[Row]:
        """The rows, counted as they pass."""
        cell: object = None
        seen: set[int] = set()
        for each in samples:
            found = row(plan, each)
            self.outcomes[each["outcome"]] += 1
            self.capped += each["finish_reason"] == "length"
            prompt, completion = each["usage"]
            self.prompt_tokens += prompt
            self.completion_tokens += completion
            if each["served_model"] not in (None, found["checkpoint"]):
                self.other_model[str(each["served_model"])] += 1
            where = found["checkpoint"], found["condition"], found["question_id"]
            if where != cell:
                cell, seen = where, set()
            if each["response"] is not None:
                answer = hash(each["response"])
                self.duplicates += answer in seen
                seen.add(answer)
            yield found


def _cleaned(record: dict[str, Any]) -> dict[str, Any]:
    """A sample of any version's journal: with a `usage`, without counts that no row can hold."""
    own = {name: token_count(record, name) for name in ("prompt_tokens", "completion_tokens")}
    usage = dict(enumerate(record.get("usage", own.values())))
    return {**record, **own, "usage": tuple(token_count(usage, at) or 0 for at in (0, 1))}
