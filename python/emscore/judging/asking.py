"""One judge at one endpoint: asked once about each text, within a budget."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import EndpointError, RequestFailed
from ..sampling.answers import HOPELESS
from ..sampling.client import Check, Client
from . import protocol
from .answers import Answers, key
from .ledger import Ledger
from .prompts import Prompt
from .protocol import Answer, Mode, Reading

_PROBE = "Answer with the number 57 and nothing else."
_DOUBTS = 2  # a server that fails now and then is not judged by its first reply


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge said to one prompt about one response, or why it said nothing.

    Attributes:
        reading: What it means; its outcome is the kind of failure where there is no answer.
        answer: The reply, or None where there is none.
        kind: What the reading is called, see `Mode`; None where there is no answer.
    """

    reading: Reading
    answer: Answer | None
    kind: str | None


class Judge:
    """Asks one model, and keeps its answers.

    Args:
        client: Open, to the endpoint.
        model: Name to ask for.
        answers: Where answers are kept.
        ledger: Where requests are booked.
        served_as: The name in the server's answers, where it is no version of `model`.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        answers: Answers,
        ledger: Ledger,
        *,
        served_as: str | None = None,
    ) -> None:
        self.model = model
        self.note = "the endpoint gives log-probabilities"
        """What the endpoint gives, and so how the judge is asked."""
        self.reused = 0
        """Judgements that needed no request."""
        self._client = client
        self._answers = answers
        self._ledger = ledger
        self._name = served_as or model
        self._gives_logprobs = self._writes_numbers_whole = True
        self._asking: dict[bytes, asyncio.Task[Answer]] = {}
        self._places = asyncio.Semaphore(client.endpoint.max_concurrency)
        self._failures = 0

    async def prepare(self) -> None:
        """Finds out with one request whether the endpoint's log-probabilities hold scores.

        Raises:
            EndpointError: The endpoint cannot be used.
            RequestFailed: It does not answer, or another model does.
            BudgetError: There is no money left.
        """
        doubts = iter(range(_DOUBTS))

        def check(reply: dict[str, Any]) -> None:
            said = protocol.answer(reply)
            if not (said.top and self._is_mine(said)) and next(doubts, None) is not None:
                raise ValueError("it is no answer of this judge with log-probabilities")

        try:
            said = await self._answer(_PROBE, Mode.LOGPROBS, check)
        except RequestFailed as error:
            if error.kind != "rejected":
                raise
            said = await self._answer(_PROBE, Mode.SAMPLED, protocol.answer)
            self._gives_logprobs, self.note = False, "the endpoint refuses log-probabilities"
        if not self._is_mine(said):
            raise EndpointError("model", self._stranger(said))
        if self._gives_logprobs and not said.top:
            self._gives_logprobs, self.note = False, "the endpoint gives no log-probabilities"
        if protocol.numbers_are_tokens(said.top) is False:
            self._writes_numbers_whole, self.note = False, "the judge writes numbers digit by digit"

    def mode(self, prompt: Prompt) -> Mode:
        """How a prompt is asked."""
        fits = self._gives_logprobs and (self._writes_numbers_whole or bool(prompt.words))
        return Mode.LOGPROBS if fits else Mode.SAMPLED

    async def ask(self, prompt: Prompt, question: str, response: str) -> Judgement:
        """What the judge says to a prompt about one response.

        Raises:
            EndpointError: The endpoint cannot be used.
            BudgetError: There is no money left.
        """
        mode = self.mode(prompt)
        check = partial(self._check, mode=mode)
        try:
            said = await self._answer(prompt.message(question, response), mode, check)
        except RequestFailed as error:
            self._hope(error)
            return Judgement(Reading(error.kind, None, None), None, None)
        self._failures = 0
        kind = mode.value[bool(prompt.words)]
        return Judgement(protocol.read(said, prompt.words, mode), said, kind)

    def _hope(self, error: RequestFailed) -> None:
        """Ends a run in which nothing succeeds any more: a row each is no way to say so."""
        self._failures += error.kind != "content_filter"
        if self._failures >= HOPELESS:
            raise EndpointError(
                "failing",
                f"{HOPELESS} requests to {self._client.endpoint.url} failed one after the other, "
                f"the last one: {error}",
            )

    async def _answer(self, message: str, mode: Mode, check: Check) -> Answer:
        """The answer that is kept, or that of a request in flight, or of a new one."""
        body = protocol.request(self.model, message, mode)
        name = key(self._client.endpoint.url, body)
        if known := self._answers.find(name):
            self.reused += 1
            return known
        if name in self._asking:
            self.reused += 1
            return await asyncio.shield(self._asking[name])
        task = self._asking[name] = asyncio.ensure_future(self._pay(name, body, check))
        try:
            return await task
        finally:
            del self._asking[name]

    async def _pay(self, name: bytes, body: dict[str, Any], check: Check) -> Answer:
        endpoint = self._client.endpoint
        async with self._places:  # so that what is booked is what is on its way
            number = await self._ledger.book(self._ledger.prices.most(body) * endpoint.attempts)
            try:
                reply = await self._client.post(
                    "chat/completions", body, check=check, tokens=protocol.tokens(body)
                )
            except RequestFailed as error:
                self._ledger.fail(number, body, error.kind, error.attempts)
                raise
            except EndpointError as error:
                self._ledger.fail(number, body, error.kind, 1)
                raise
            said = protocol.answer(reply.body)
            self._answers.keep(name, said)
            self._ledger.settle(number, body, said, reply.attempts)
            return said

    def _check(self, reply: dict[str, Any], mode: Mode) -> None:
        """Refuses replies that are not this judge's."""
        said = protocol.answer(reply)
        if not self._is_mine(said):
            raise ValueError(self._stranger(said))
        needs_top = mode is Mode.LOGPROBS and said.finish_reason != "content_filter"
        if needs_top and not said.top:
            raise ValueError("it has no log-probabilities")

    def _is_mine(self, said: Answer) -> bool:
        return protocol.is_model(self._name, said.model)

    def _stranger(self, said: Answer) -> str:
        return (
            f"asked for {self.model!r}, {self._client.endpoint.url} answers as {said.model!r}: "
            f"correct --model, or say --served-as {said.model!r} if that is its name there"
        )
