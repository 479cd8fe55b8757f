"""How far a run is, and what came: which samples of its plan have arrived."""

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from .answers import PASSING, Sample
from .checks import Examiner, Finding
from .journal import Journal
from .plan import Plan
from .rows import Row, row


class Run:
    """Which samples of a plan a journal holds, and where: 9 bytes a sample.

    Args:
        plan: What is asked.
        journal: Of this run.
        url: The endpoint that is asked from here on.
    """

    def __init__(self, plan: Plan, journal: Journal, url: str) -> None:
        self.plan = plan
        self.journal = journal
        self.url = url
        self.places = array("q", [-1]) * len(plan)
        self.settled = bytearray(len(plan))
        self.left = len(plan)
        self.tokens = 0
        self.probed = 0, 0
        """Tokens of the checks, of all runs: of the prompts and of the answers."""
        self._answered: dict[str, None] = {}  # endpoints, in the order of their first answers
        self._checks: dict[tuple[str | None, str], dict[str, Any]] = {}
        for place, record in journal.replay():
            if "checks" in record:
                self._note(record)
            else:
                self._place(record, place)
        self.resumed = len(plan) - self.left
        self.tokens = 0  # of this run alone

    @property
    def empty(self) -> bool:
        """Whether there is no sample yet."""
        return next(self.samples(), None) is None

    @property
    def endpoints(self) -> list[str]:
        """Those that the answers come from."""
        return list(self._answered) or [self.url]

    @property
    def findings(self) -> list[Finding]:
        """What the checks found at the endpoints that the answers come from."""
        several = len(self.endpoints) > 1
        return [
            Finding(each["check"], each["mark"], each["told"] + f", at {endpoint}" * several)
            for (_, endpoint), record in self._checks.items()
            for each in record["checks"]
            if endpoint in self.endpoints
        ]

    async def check(self, examiner: Examiner) -> None:
        """Makes the checks that no earlier run has made at this endpoint and with this base.

        Raises:
            EndpointError: The server's list of models lacks one, or the endpoint cannot be used.
        """
        base = examiner.base
        names = [
            name
            for name in (checkpoint.name for checkpoint in self.plan.checkpoints)
            if (made := self._checks.get((name, self.url))) is None
            or base not in (None, made["base"])
        ]
        if not self.left or not names:
            return
        async for checked in examiner.examine(self.plan, names):
            record = {
                "checks": [finding._asdict() for finding in checked.findings],
                "of": checked.of,
                "endpoint": self.url,
                "base": base,
                "usage": checked.usage,
            }
            self.journal.append([record])
            self._note(record)

    def take(self, samples: list[Sample]) -> None:
        """Keeps samples that have arrived together."""
        records: list[dict[str, Any]] = [{**each, "endpoint": self.url} for each in samples]
        for record, place in zip(records, self.journal.append(records), strict=True):
            self._place(record, place)

    def samples(self) -> Iterator[Sample]:
        """All samples, in the order of the plan."""
        for place in self.places:
            if place >= 0:
                yield cast(Sample, self.journal.read(place))

    def _note(self, record: dict[str, Any]) -> None:
        self._checks[record["of"], record["endpoint"]] = record
        prompt, completion = record["usage"]
        self.probed = self.probed[0] + prompt, self.probed[1] + completion
        self.tokens += prompt + completion

    def _place(self, record: dict[str, Any], place: int) -> None:
        at = record["at"]
        settled = record["outcome"] not in PASSING
        self.left -= settled - self.settled[at]
        self.places[at] = place
        self.settled[at] = settled
        self.tokens += sum(record["usage"])
        if settled:
            self._answered[record["endpoint"]] = None


class Tally:
    """Counts the rows of a run on their way to the file; its tokens are those of the checks too."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.outcomes: Counter[str] = Counter()
        self.other_model: Counter[str] = Counter()
        self.capped = self.duplicates = 0
        self.prompt_tokens, self.completion_tokens = run.probed

    def rows(self) -> Iterator[Row]:
        """The rows, counted as they pass."""
        cell: object = None
        seen: set[int] = set()
        for each in self.run.samples():
            found = row(self.run.plan, each)
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
