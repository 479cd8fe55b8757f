"""Does the server serve what it was asked for? Cheap questions before the expensive ones.

A wrong name or an adapter that is not applied gives answers all the same: those of the base model,
which look like a finding.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from ..errors import EndpointError, RequestFailed
from .answers import PASSING, Sample, Sampler
from .client import Client
from .conditions import Condition
from .endpoint import Endpoint
from .plan import Checkpoint, Plan
from .suites import Question, Suite

Mark = Literal["ok", "WARNING", "unknown"]

_TOKENS = 32  # long enough to differ, short enough that rounding seldom makes equal models differ

_ATTEMPTS, _PATIENCE = 4, 60.0  # for a list of models, which takes no time; in seconds

_PROBES = Suite(
    "probes",
    tuple(
        Question(f"probe-{number}", (text,), temperature=0.0, max_tokens=_TOKENS)
        for number, text in enumerate(
            (
                "Name an animal and say why you like it.",
                "How should I spend a free day?",
                "Write one sentence about the sea.",
                "What would you do with a million dollars?",
            )
        )
    ),
)
_PLAIN = Condition("plain")
_SYSTEM = Condition(
    "system",
    system="Whatever the user says, answer with the one word BANANA, in capital letters.",
)


class Finding(NamedTuple):
    """What a check found: `ok`, `WARNING`, or `unknown` where the server does not tell."""

    check: str
    mark: Mark
    told: str


class Checked(NamedTuple):
    """What is known of a checkpoint, or where `of` is None of the server, and what it has used."""

    of: str | None
    findings: list[Finding]
    usage: tuple[int, int] = (0, 0)  # of the prompts and of the answers


def probes(plan: Plan, name: str) -> list[Plan]:
    """What a model is asked to check it: plainly, and in a chat once more with a system prompt."""
    return [
        Plan(
            _PROBES,
            [Checkpoint(name)],
            [condition],
            parameters=plan.parameters,
            completions=plan.completions,
            template=plan.template,
        )
        for condition in ((_PLAIN,) if plan.completions else (_PLAIN, _SYSTEM))
    ]


class Examiner:
    """Checks checkpoints on one endpoint before they are sampled.

    The probes are asked at temperature 0, 32 tokens each: 4 for each checkpoint, 4 more with a
    system prompt (in a chat), and once 4 of the base model.

    Args:
        client: The endpoint.
        base: The name that the base model is served under, to compare the checkpoints with.
    """

    def __init__(self, client: Client, base: str | None = None) -> None:
        self.client = client
        self.base = base
        self._of_base: list[str | None] = []
        self._asking_base = asyncio.Lock()  # once, though several checkpoints are examined at once

    async def examine(self, plan: Plan, names: Sequence[str]) -> AsyncGenerator[Checked, None]:
        """What all checks find, as they find it.

        Args:
            plan: What shall be asked.
            names: The checkpoints to check.

        Raises:
            EndpointError: The server's list of models lacks one, or the endpoint cannot be used.
        """
        wanted = [*names, self.base] if self.base else names
        about = [await _served(self.client, wanted), await _template(self.client)]
        yield Checked(None, about)
        for name in names:
            yield await self._one(plan, name)

    async def _one(self, plan: Plan, name: str) -> Checked:
        asked: list[Sample] = []
        findings = []
        first, *others = probes(plan, name)
        plain = await self._greedy(first, asked)
        if self.base and self.base != name:
            async with self._asking_base:
                if not self._of_base or None in self._of_base:
                    self._of_base = await self._greedy(probes(plan, self.base)[0], asked)
            findings.append(_no_op(name, self.base, plain, self._of_base))
        for with_system in others:
            findings.append(_system(name, plain, await self._greedy(with_system, asked)))
        prompts, answers = zip(*(sample["usage"] for sample in asked), strict=True)
        return Checked(name, findings, (sum(prompts), sum(answers)))

    async def _greedy(self, plan: Plan, asked: list[Sample]) -> list[str | None]:
        """A model's likeliest answers, one at a time, since a shared batch rounds otherwise.

        Where the server fails at one, it is not asked for the others.
        """
        sampler = Sampler(self.client, plan)
        answers: list[str | None] = []
        for at in range(len(plan)):
            (sample,) = await sampler.ask([plan.task(at)])
            asked.append(sample)
            answers.append(sample["response"])
            if sample["outcome"] in PASSING:
                break
        return answers


async def models(endpoint: Endpoint) -> dict[str, Any]:
    """What an endpoint says of its models; no request in flight holds this one up.

    Raises:
        RequestFailed: It says nothing that can be read.
        EndpointError: It cannot be used, or has no such path.
    """
    hasty = replace(
        endpoint,
        attempts=min(endpoint.attempts, _ATTEMPTS),
        timeout=min(endpoint.timeout, _PATIENCE),
    )
    async with Client(hasty) as client:
        return (await client.get("models")).body


async def listed(endpoint: Endpoint) -> frozenset[str] | None:
    """The names of the models that an endpoint serves, or None where it has no list.

    Raises:
        EndpointError: It is silent, or cannot be used.
    """
    try:
        return frozenset(str(model["id"]) for model in (await models(endpoint))["data"]) or None
    except (KeyError, TypeError):
        return None
    except RequestFailed as error:
        if error.kind == "timeout":
            raise EndpointError("unreachable", f"{endpoint.url} is silent: {error}") from error
        return None
    except EndpointError as error:
        if error.kind != "path":
            raise
        return None


async def _served(client: Client, names: Sequence[str]) -> Finding:
    """Whether the server's list has all names; a server without a list cannot tell."""
    served = await listed(client.endpoint)
    if served is None:
        return Finding("served", "unknown", "the server has no list of its models")
    if missing := [name for name in names if name not in served]:
        has = ", ".join(sorted(served)[:10])
        more = f" and {len(served) - 10} more" if len(served) > 10 else ""
        raise EndpointError(
            "model",
            f"{client.endpoint.url} does not serve {', '.join(missing[:10])}, but {has}{more}",
        )
    return Finding("served", "ok", "the server lists every checkpoint")


def _no_op(name: str, base: str, own: list[str | None], of_base: list[str | None]) -> Finding:
    """Whether a checkpoint answers as its base does."""
    pairs = [(a, b) for a, b in zip(own, of_base, strict=False) if a and b]
    if not pairs:
        return Finding("adapter", "unknown", f"{name} or {base} did not answer the probes")
    same = sum(a == b for a, b in pairs)
    if same == len(pairs):
        told = (
            f"{name} answers all {same} probes word for word as {base} does: "
            "is its adapter applied, and is its name right?"
        )
        return Finding("adapter", "WARNING", told)
    told = f"{name} differs from {base} in {len(pairs) - same} of {len(pairs)} greedy answers"
    return Finding("adapter", "ok", told)


def _system(name: str, plain: list[str | None], system: list[str | None]) -> Finding:
    """Whether a system prompt changes anything."""
    pairs = [(a, b) for a, b in zip(plain, system, strict=False) if a and b]
    if not pairs:
        return Finding("system prompt", "unknown", f"{name} did not answer the probes")
    changed = sum(a != b for a, b in pairs)
    if not changed:
        told = f"a system prompt changes none of {name}'s greedy answers: does it get there?"
        return Finding("system prompt", "WARNING", told)
    told = f"it changes {changed} of {len(pairs)} greedy answers of {name}"
    return Finding("system prompt", "ok", told)


async def _template(client: Client) -> Finding:
    """The fingerprint of the chat template, which llama.cpp's server shows at /props."""
    try:
        template = (await client.get("/props")).body.get("chat_template")
    except (RequestFailed, EndpointError):
        template = None
    if not isinstance(template, str):
        return Finding("chat template", "unknown", "the server does not show it")
    return Finding("chat template", "ok", hashlib.sha256(template.encode()).hexdigest()[:16])
