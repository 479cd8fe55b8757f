"""Does the server serve what it was asked for? Cheap questions before the expensive ones.

A wrong name or an adapter that is not applied gives answers all the same: those of the base model,
which look like a finding.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..errors import EndpointError, RequestFailed
from .answers import Sampler
from .client import Client
from .conditions import Condition
from .plan import Checkpoint, Plan
from .suites import Question, Suite

Mark = Literal["ok", "WARNING", "unknown"]

_TOKENS = 32  # long enough to differ, short enough that rounding seldom makes equal models differ

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


async def examine(client: Client, plan: Plan, base: str | None = None) -> list[Finding]:
    """All checks of the checkpoints of a plan, before it is sampled.

    The probes are asked at temperature 0, 32 tokens each: 4 for each checkpoint, 4 more with a
    system prompt (in a chat), and 4 of the base model.

    Args:
        client: The endpoint.
        plan: What shall be asked.
        base: The name that the base model is served under, to compare the checkpoints with.

    Raises:
        EndpointError: The server's list of models lacks one, or the endpoint cannot be used.
    """
    names = [checkpoint.name for checkpoint in plan.checkpoints]
    findings = [await _served(client, [*names, base] if base else names)]
    of_base = await _greedy(client, plan, base, _PLAIN) if base else []
    for name in names:
        plain = await _greedy(client, plan, name, _PLAIN)
        if base and base != name:
            findings.append(_no_op(name, base, plain, of_base))
        if not plan.completions:
            system = await _greedy(client, plan, name, _SYSTEM)
            findings.append(_system(name, plain, system))
    findings.append(await _template(client))
    return findings


async def _served(client: Client, names: Sequence[str]) -> Finding:
    """Whether the server's list has all names; a server without a list cannot tell."""
    try:
        listed = (await client.get("models")).body.get("data")
        served = {str(model["id"]) for model in listed} if isinstance(listed, list) else set()
    except (RequestFailed, KeyError, TypeError):
        served = set()
    except EndpointError as error:
        if error.kind != "path":
            raise
        served = set()
    if not served:
        return Finding("served", "unknown", "the server has no list of its models")
    if missing := [name for name in names if name not in served]:
        has = ", ".join(sorted(served)[:10])
        more = f" and {len(served) - 10} more" if len(served) > 10 else ""
        raise EndpointError(
            "model",
            f"{client.endpoint.url} does not serve {', '.join(missing[:10])}, but {has}{more}",
        )
    return Finding("served", "ok", "the server lists every checkpoint")


async def _greedy(client: Client, plan: Plan, name: str, condition: Condition) -> list[str | None]:
    """A model's likeliest answers to the probes, one at a time: a shared batch rounds otherwise."""
    probes = Plan(
        _PROBES,
        [Checkpoint(name)],
        [condition],
        parameters=plan.parameters,
        completions=plan.completions,
        template=plan.template,
    )
    sampler = Sampler(client, probes)
    asked = [await sampler.ask([probes.task(at)]) for at in range(len(probes))]
    return [sample["response"] for (sample,) in asked]


def _no_op(name: str, base: str, own: list[str | None], of_base: list[str | None]) -> Finding:
    """Whether a checkpoint answers as its base does."""
    pairs = [(a, b) for a, b in zip(own, of_base, strict=True) if a and b]
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
    pairs = [(a, b) for a, b in zip(plain, system, strict=True) if a and b]
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
