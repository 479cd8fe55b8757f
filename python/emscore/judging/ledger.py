"""What a run has asked and spent, and a budget that is never passed."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any

from .._emscore import InputError
from ..errors import BudgetError
from ..sampling.journal import Journal
from .protocol import Answer

_CHAT_TOKENS = 128  # that a server's chat template may add to a message


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens.

    Raises:
        InputError: A price is no number from 0 on.
    """

    prompt: float = 0.0
    completion: float = 0.0

    def __post_init__(self) -> None:
        """Checks the prices: no budget would hold with others."""
        for price in (self.prompt, self.completion):
            if not (isinstance(price, int | float) and 0 <= price < math.inf):
                raise InputError(f"a price must be a number of US dollars from 0 on, not {price!r}")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """US dollars for so many tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6

    def most(self, body: dict[str, Any]) -> float:
        """US dollars that one attempt at a request may cost: no tokenizer makes more tokens of a
        text than it has bytes.
        """
        text = sum(len(message["content"].encode()) for message in body["messages"])
        return self.cost(text + _CHAT_TOKENS, body["max_tokens"])


@dataclass
class Spent:
    """What was asked and what it cost, over all runs for one output.

    Attributes:
        requests: Sent, whatever became of them.
        attempts: With those that were sent again.
        failed: Requests without an answer, by kind; "unknown" where a run was stopped meanwhile.
        prompt_tokens: Of all answers, as the server counted.
        completion_tokens: Likewise.
        cost: US dollars for the answers.
        at_most: US dollars, were every failed attempt billed as well: what the budget counts.
    """

    requests: int = 0
    attempts: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    at_most: float = 0.0


@dataclass
class _Open:
    """A request without an answer yet: what an attempt and what all of them may cost."""

    most: float
    aside: float
    attempts: int = 0  # that have left


class Ledger:
    """Sets money aside for a request, and books each attempt at it the moment that it leaves.

    So a run that was killed knows, when it goes on, of all that it may have spent.

    Args:
        journal: Keeps the entries; None where nothing shall outlive the process.
        prices: Of the judge.
        budget: US dollars that all runs together may cost; None for no limit.
    """

    def __init__(
        self, journal: Journal | None, prices: Prices, budget: float | None = None
    ) -> None:
        self.prices = prices
        self.budget = budget
        self.spent = Spent()
        self._journal = journal
        self._open: dict[int, _Open] = {}
        self._number = 0
        self._over = False
        self._changed = asyncio.Event()
        if journal is not None:
            self._replay(journal)

    async def book(self, body: dict[str, Any], attempts: int) -> int:
        """Waits until enough is certain to be left, sets it aside, and gives the entry a number.

        Args:
            body: The request.
            attempts: How often it is sent at most.

        Raises:
            BudgetError: It is not left, and nothing that is in flight can change that.
        """
        most = self.prices.most(body)
        while self.budget is not None:
            aside = sum(entry.aside for entry in self._open.values())
            if attempts * most <= self.budget - self.spent.at_most - aside and not self._over:
                break
            if not self._open:
                self._over = True  # who is content with less must not start what is then cancelled
                raise BudgetError(self.budget, self.spent.at_most)
            self._changed.clear()
            await self._changed.wait()
        self._number += 1
        self._open[self._number] = _Open(most, attempts * most)
        return self._number

    def leave(self, number: int) -> None:
        """Books one more attempt at a request."""
        entry = self._open[number]
        self._write({"booked": number, "most": entry.most})
        entry.attempts += 1

    def settle(self, number: int, body: dict[str, Any], answer: Answer) -> None:
        """Closes an entry, now that the request has an answer.

        Args:
            number: That `book` gave.
            body: The request.
            answer: With the server's count of its tokens. What the other attempts may have cost
                follows from it, since all have the same prompt.
        """
        prompt, completion = answer.prompt_tokens, answer.completion_tokens
        cost = again = self.prices.most(body)
        if prompt is not None and completion is not None:
            cost = self.prices.cost(prompt, completion)
            again = self.prices.cost(prompt, max(completion, body["max_tokens"]))
        attempts = self._open[number].attempts
        self._close(
            {
                "settled": number,
                "attempts": attempts,
                "prompt_tokens": prompt or 0,
                "completion_tokens": completion or 0,
                "cost": cost,
                "at_most": cost + (attempts - 1) * again,
            }
        )

    def fail(self, number: int, kind: str) -> None:
        """Closes an entry whose request has no answer; where nothing has left, nothing counts."""
        entry = self._open[number]
        at_most = entry.attempts * entry.most
        self._close(
            {"settled": number, "attempts": entry.attempts, "failed": kind, "at_most": at_most}
        )

    def _close(self, entry: dict[str, Any]) -> None:
        del self._open[entry["settled"]]
        self._changed.set()
        if entry["attempts"]:
            self._write(entry)
            self._count(entry)

    def _count(self, entry: dict[str, Any]) -> None:
        spent = self.spent
        spent.requests += 1
        spent.attempts += entry["attempts"]
        spent.prompt_tokens += entry.get("prompt_tokens", 0)
        spent.completion_tokens += entry.get("completion_tokens", 0)
        spent.cost += entry.get("cost", 0.0)
        spent.at_most += entry["at_most"]
        if "failed" in entry:
            spent.failed[entry["failed"]] = spent.failed.get(entry["failed"], 0) + 1

    def _replay(self, journal: Journal) -> None:
        """Counts the entries of earlier runs; what they had in flight is taken for spent."""
        for _, entry in journal.replay():
            if "booked" in entry:
                number, most = entry["booked"], entry["most"]
                self._open.setdefault(number, _Open(most, most)).attempts += 1
            else:
                number = entry["settled"]
                self._open.pop(number, None)  # its own line may be damaged
                if not entry["at_most"]:  # that run knew no prices
                    told = entry.get("prompt_tokens", 0), entry.get("completion_tokens", 0)
                    entry["cost"] = self.prices.cost(*told)
                    entry["at_most"] = entry["attempts"] * entry["cost"]
                self._count(entry)
            self._number = max(self._number, number)
        for number in list(self._open):
            self.fail(number, "unknown")

    def _write(self, entry: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append([entry])
