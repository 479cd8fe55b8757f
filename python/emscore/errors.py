"""Errors of the parts that are written in Python; the engine's are in `_emscore`."""

from typing import Literal

from ._emscore import EmscoreError

#: Why an endpoint cannot be used at all.
Trouble = Literal["auth", "failing", "model", "path", "quota", "rate_limited", "unreachable"]

#: Why one request has no answer, while others may have one.
Failure = Literal[
    "content_filter",
    "disconnected",
    "malformed",
    "rejected",
    "server_error",
    "timeout",
    "too_large",
    "too_long",
]


class EndpointError(EmscoreError):
    """The endpoint cannot be used: to go on asking it would be of no use.

    Attributes:
        kind: What is wrong with it.
    """

    def __init__(self, kind: Trouble, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class RequestFailed(EmscoreError):
    """One request has no usable answer, after all attempts that make sense.

    Attributes:
        kind: What became of it.
        status: The HTTP status of the last attempt, or None where there was no reply.
        attempts: How often it was sent.
    """

    def __init__(self, kind: Failure, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.attempts = 1


class SuiteError(EmscoreError):
    """A suite of questions cannot be read; the message names the file and the line."""


class BudgetError(EmscoreError):
    """Another request might pass the budget; what was paid for is kept.

    Attributes:
        budget: US dollars.
        spent: US dollars, of this and earlier runs of the same job.
    """

    def __init__(self, budget: float, spent: float, then: str = "") -> None:
        super().__init__(
            f"the budget of {budget:,.12g} USD does not allow another request: up to "
            f"{round(spent, 6):,.12g} USD are spent{then}"
        )
        self.budget = budget
        self.spent = spent

    def but(self, then: str) -> "BudgetError":
        """The same error, which goes on to say how to go on."""
        return BudgetError(self.budget, self.spent, f"; {then}")
