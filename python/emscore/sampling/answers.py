"""Requests of a plan, sent, and what came of each."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypedDict

from ..errors import EndpointError, RequestFailed
from .client import Client, token_count
from .plan import Plan, Task, request_hash

#: What a later run asks again. The rest is final: an answer, or a refusal to give one.
PASSING = ("disconnected", "malformed", "rejected", "server_error", "timeout", "too_large")

#: So many failures without one answer in between are not the fault of single requests; those of one
#: wording, though, may all be the fault of its text.
HOPELESS = 50

_BROKEN_OFF = ("abort", "error")  # finish_reason of vLLM, SGLang and routers, of half an answer


class Sample(TypedDict):
    """What came of one sample: an answer, or the reason why there is none.

    `outcome` is ok; or empty, where the model said nothing; or the kind of a `RequestFailed`.
    Token counts are None where the server does not tell, `completion_tokens` also where one
    request asked for several answers, whose sum alone is told. `usage` is what to add up, prompt
    and completion tokens of the request: with the first of its samples, and 0 with the others.
    `latency` is in seconds.
    """

    at: int
    response: str | None
    outcome: str
    error: str | None
    finish_reason: str | None
    seed: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    usage: tuple[int, int]
    served_model: str | None
    latency: float | None
    request_hash: str


class Sampler:
    """Asks one endpoint for the samples of a plan."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self.client = client
        self.plan = plan
        self._singly = False  # the server gives one answer a request, whatever it is asked for
        self._doubted: set[int] = set()  # samples of rejected requests for several answers

    async def ask(self, tasks: Sequence[Task]) -> list[Sample]:
        """Sends one request for samples that differ in their number alone.

        Returns:
            What came of the first of them. Where the server gives fewer answers than asked, or
            rejects to be asked for several, the rest is left: each is then to be asked for alone.

        Raises:
            EndpointError: The endpoint cannot be used.
        """
        if self._singly:
            tasks = tasks[:1]
        body = self.plan.body(tasks[0], len(tasks))
        name, seed = request_hash(body), body.get("seed")
        try:
            reply = await self.client.post(
                self.plan.path, body, check=_check, tokens=sum(self.plan.tokens(body))
            )
        except RequestFailed as error:
            if error.kind == "rejected" and len(tasks) > 1:
                self._doubted.update(task.at for task in tasks)
                return []
            tries = f" ({error.attempts} attempts)" if error.attempts > 1 else ""
            return [_without(task, error.kind, f"{error}{tries}", seed, name) for task in tasks]
        choices = reply.body["choices"][: len(tasks)]
        # What is rejected for several answers and has one alone was rejected for their number.
        if len(choices) < len(tasks) or tasks[0].at in self._doubted:
            self._singly = True
        usage = reply.body.get("usage")
        prompt, completion = (
            token_count(usage, f"{each}_tokens") for each in ("prompt", "completion")
        )
        samples = [
            _sample(task, choice, reply.body, seed, name)
            for task, choice in zip(tasks, choices, strict=False)
        ]
        for sample in samples:
            sample["latency"] = reply.latency
            sample["prompt_tokens"] = prompt
            sample["completion_tokens"] = completion if len(tasks) == 1 else None
        samples[0]["usage"] = prompt or 0, completion or 0
        return samples


class _Work:
    """The requests still to be sent: those of the plan, and what servers left of them."""

    def __init__(self, requests: Iterable[list[Task]]) -> None:
        self._requests = iter(requests)
        self._left: deque[list[Task]] = deque()
        self._taken = 0
        self._changed = asyncio.Condition()

    async def take(self) -> list[Task] | None:
        """The next request; waits while one on its way may leave something."""
        async with self._changed:
            while True:
                tasks = self._left.popleft() if self._left else next(self._requests, None)
                if tasks or not self._taken:
                    self._taken += bool(tasks)
                    return tasks
                await self._changed.wait()

    async def done(self, left: Sequence[Task]) -> None:
        """A request that was taken has its answer, which leaves these samples."""
        async with self._changed:
            self._taken -= 1
            self._left += [[task] for task in left]
            self._changed.notify_all()


async def stream(
    sampler: Sampler,
    requests: Iterable[list[Task]],
    keep: Callable[[list[Sample]], object] | None = None,
) -> AsyncGenerator[list[Sample], None]:
    """Sends requests, as many at once as the endpoint takes, and gives what comes as it comes.

    Requests are taken from the iterable as they can be sent, and none while nobody takes the
    answers: memory stays bounded by the requests in flight. The samples of one request come
    together.

    Args:
        sampler: Of the endpoint.
        requests: Samples that go into one request, for each request.
        keep: Called with samples the moment they arrive, however long they then wait here.

    Raises:
        EndpointError: The endpoint cannot be used, or nothing but failures comes from it.
    """
    work = _Work(requests)
    arrived: asyncio.Queue[list[Sample] | BaseException | None] = asyncio.Queue(maxsize=64)

    async def ask() -> None:
        try:
            while tasks := await work.take():
                samples = await sampler.ask(tasks)
                if samples and keep is not None:
                    keep(samples)
                await work.done(tasks[len(samples) :])
                if samples:
                    await arrived.put(samples)
        except Exception as error:
            await arrived.put(error)
        else:
            await arrived.put(None)

    workers = [asyncio.create_task(ask()) for _ in range(sampler.client.endpoint.concurrency)]
    wordings = sum(len(question.paraphrases) for question in sampler.plan.suite.questions)
    failures, of = 0, set[str]()
    try:
        working = len(workers)
        while working:
            item = await arrived.get()
            if item is None:
                working -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
                if all(sample["outcome"] in PASSING for sample in item):
                    failures += 1
                    of.add(sampler.plan.task(item[0]["at"]).text)
                else:
                    failures, of = 0, set()
                if failures >= HOPELESS and len(of) >= min(wordings, 2):
                    raise EndpointError(
                        "failing",
                        f"{failures} requests failed one after the other, the last one with: "
                        f"{item[0]['error']}",
                    )
    finally:
        for worker in workers:
            worker.cancel()
        for worker in workers:
            with suppress(asyncio.CancelledError):
                await worker


def _check(body: dict[str, Any]) -> None:
    """Raises ValueError where a reply does not hold what every reply must hold."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ValueError("it has no choices")
    for choice in choices:
        if not isinstance(choice, dict):
            raise ValueError("a choice is not an object")
        text, message = choice.get("text"), choice.get("message")
        if isinstance(message, dict):
            text = message.get("content")
        elif message is not None or "text" not in choice:
            raise ValueError("a choice has neither message nor text")
        if not (text is None or isinstance(text, str)):
            raise ValueError("the text of a choice is not a text")
        require_whole(choice)


def require_whole(choice: dict[str, Any]) -> None:
    """Raises ValueError where the server broke a choice off."""
    if (finish := choice.get("finish_reason")) in _BROKEN_OFF:
        raise ValueError(f"the server broke it off (finish_reason: {finish})")
    if error := choice.get("error"):  # of routers, beside the text that there is
        raise ValueError(f"the server broke it off: {error}")


def _sample(
    task: Task, choice: dict[str, Any], body: dict[str, Any], seed: int | None, name: str
) -> Sample:
    """The sample in one choice of a reply."""
    message = choice.get("message") or {}
    text = message.get("content") or message.get("refusal") or choice.get("text") or None
    finish = choice.get("finish_reason")
    outcome, error = "ok", None
    if finish == "content_filter":
        outcome, error, text = "content_filter", "the server's content filter cut the answer", None
    elif text is None:
        outcome, error = "empty", f"the model said nothing (finish_reason: {finish})"
    return {
        **_without(task, outcome, error, seed, name),
        "response": _clean(text),
        "finish_reason": _clean(finish),
        "served_model": _clean(body.get("model")),
    }


def _without(task: Task, outcome: str, error: str | None, seed: int | None, name: str) -> Sample:
    """The sample that there is no answer for."""
    return Sample(
        at=task.at,
        response=None,
        outcome=outcome,
        error=_clean(error),
        finish_reason=None,
        seed=seed,
        prompt_tokens=None,
        completion_tokens=None,
        usage=(0, 0),
        served_model=None,
        latency=None,
        request_hash=name,
    )


def _clean(text: object) -> str | None:
    """A text that UTF-8 can hold: a server may send half of a surrogate pair."""
    if text is None:
        return None
    return str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
