"""One judge at one endpoint: asked once about each text, within a budget."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from ..errors import EndpointError, RequestFailed
from ..sampling.answers import HOPELESS
from ..sampling.client import Client
from . import protocol
from .answers import Answers, key
from .ledger import Ledger
from .prompts import Prompt
from .protocol import Answer, Mode, Reading

_PROBE = "Answer with the number 57 and nothing else."
_DOUBTS = 2  # a server that fails now and then is not judged by its first reply
_PAUSE = 0.5  # seconds, while another run is asking the same

#: What is wrong with an answer, in words; empty where nothing is.
Fault = Callable[[Answer], str]


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
        self.client = client
        self.model = model
        self.note = "the endpoint gives log-probabilities"
        """What the endpoint gives, and so how the judge is asked."""
        self.reused = 0
        """Judgements that needed no request."""
        self._answers = answers
        self._ledger = ledger
        self._name = model if served_as is None else served_as
        self._gives_logprobs = self._writes_numbers_whole = True
        self._asking: dict[bytes, asyncio.Task[Answer]] = {}
        self._places = asyncio.Semaphore(client.endpoint.concurrency)
        self._failures = 0
        self._said, self._understood = 0, False
        self._kept: list[bytes] = []  # answers that are kept, until one is understood

    async def prepare(self) -> None:
        """Finds out with one request whether the endpoint's log-probabilities hold scores.

        Raises:
            EndpointError: The endpoint cannot be used.
            RequestFailed: It does not answer, or another model does.
            BudgetError: There is no money left.
        """
        doubts = iter(range(min(_DOUBTS, self.client.endpoint.attempts - 1)))
        try:
            said = await self._answer(_PROBE, Mode.LOGPROBS, self._probe_fault, doubts)
        except RequestFailed as error:
            if error.kind != "rejected":
                raise
            said = await self._answer(_PROBE, Mode.SAMPLED, self._stranger, iter(()))
            self._gives_logprobs, self.note = False, "the endpoint refuses log-probabilities"
        if stranger := self._stranger(said):
            raise EndpointError("model", stranger)
        if self._gives_logprobs and not said.top:
            self._gives_logprobs = False
            self.note = "the endpoint gives no proper log-probabilities"
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
        fault = partial(self._fault, mode=mode)
        try:
            said = await self._answer(prompt.message(question, response), mode, fault, repeat(0))
        except RequestFailed as error:
            self._hope(error)
            return Judgement(Reading(error.kind, None, None), None, None)
        self._failures = 0
        reading = protocol.read(said, prompt.words, mode)
        self._understand(reading, said)
        return Judgement(reading, said, mode.value[bool(prompt.words)])

    def _hope(self, error: RequestFailed) -> None:
        """Ends a run in which nothing succeeds any more: a row each is no way to say so."""
        self._failures += error.kind != "content_filter"
        if self._failures >= HOPELESS:
            raise EndpointError(
                "failing",
                f"{HOPELESS} requests to {self.client.endpoint.url} failed one after the other, "
                f"the last one: {error}",
            )

    def _understand(self, reading: Reading, said: Answer) -> None:
        """Ends a run that would pay for rows none of which gets a score."""
        self._understood |= reading.outcome != "unclear"
        self._said += 1
        if self._said >= HOPELESS and not self._understood:
            self._answers.forget(self._kept)  # a server that was mended must be asked anew
            raise EndpointError(
                "model",
                f"the first {HOPELESS} answers of {self.model!r} say neither a number nor a word "
                f"that was asked for, the last one {said.text[:40]!r}: a judge has to begin with "
                "it. If the model thinks first, switch that off on its server",
            )

    async def _answer(
        self, message: str, mode: Mode, fault: Fault, doubts: Iterator[int]
    ) -> Answer:
        """The answer that is kept, or that of a request in flight, or of a new one.

        Args:
            message: What is asked.
            mode: How it is asked.
            fault: What may be wrong with an answer: such a one is asked for again, while there are
                doubts left, and never kept.
            doubts: One for each time.
        """
        body = protocol.request(self.model, message, mode)
        name = key(self.client.endpoint.url, body)
        if known := self._known(name, fault):
            return known
        if name in self._asking:
            self.reused += 1
            return await asyncio.shield(self._asking[name])
        get = self._get(name, body, fault, doubts)
        task = self._asking[name] = asyncio.ensure_future(get)
        try:
            return await task
        finally:
            del self._asking[name]

    def _known(self, name: bytes, fault: Fault) -> Answer | None:
        known = self._answers.find(name)
        if known is None or fault(known):
            return None
        self.reused += 1
        self._doubt(name)
        return known

    def _doubt(self, name: bytes) -> None:
        if not self._understood:
            self._kept.append(name)

    async def _get(
        self, name: bytes, body: dict[str, Any], fault: Fault, doubts: Iterator[int]
    ) -> Answer:
        """The answer that another run has paid for meanwhile, or a new one."""
        while True:
            async with self._places:  # so that no money waits for what is not on its way
                with self._answers.claim(name) as free:
                    if known := self._known(name, fault):
                        return known
                    if free:
                        return await self._pay(name, body, fault, doubts)
            await asyncio.sleep(_PAUSE)

    async def _pay(
        self, name: bytes, body: dict[str, Any], fault: Fault, doubts: Iterator[int]
    ) -> Answer:
        def check(reply: dict[str, Any]) -> None:
            wrong = fault(protocol.answer(reply))
            if wrong and next(doubts, None) is not None:
                raise ValueError(wrong)

        number = await self._ledger.book(body, self.client.endpoint.attempts)
        try:
            reply = await self.client.post(
                "chat/completions",
                body,
                check=check,
                tokens=protocol.tokens(body),
                leaving=partial(self._ledger.leave, number),
            )
            said = protocol.answer(reply.body)
            if not fault(said) and (self._understood or self._said < HOPELESS):
                self._answers.keep(name, said)
                self._doubt(name)
        except BaseException as error:  # the run's being stopped is one
            self._ledger.fail(number, getattr(error, "kind", "unknown"))
            raise
        self._ledger.settle(number, body, said)
        return said

    def _fault(self, said: Answer, mode: Mode) -> str:
        """What makes it no answer of this judge."""
        needs_top = mode is Mode.LOGPROBS and said.finish_reason != "content_filter"
        no_top = "it has no proper log-probabilities" if needs_top and not said.top else ""
        return self._stranger(said) or no_top

    def _probe_fault(self, said: Answer) -> str:
        """What makes it no answer to build on: a server that is mended must be asked anew."""
        digits = protocol.numbers_are_tokens(said.top) is False
        no_score = "its log-probabilities hold no scores" if digits or not said.top else ""
        return self._stranger(said) or no_score

    def _stranger(self, said: Answer) -> str:
        """Who has answered, where it is not this judge."""
        if protocol.is_model(self._name, said.model):
            return ""
        return (
            f"asked for {self.model!r}, {self.client.endpoint.url} answers as {said.model!r}: "
            f"correct --model, or say --served-as {said.model!r} if that is its name there"
        )
