"""What a sweep will ask for, and what it may cost."""

from dataclasses import dataclass

from .spec import Sweep

_CHAT_TOKENS = 8  # that a chat template adds to a message, or so
_LETTERS = 4  # of a token, in English


@dataclass(frozen=True)
class Estimate:
    """Of all checkpoints of a sweep, as if none were finished.

    Attributes:
        checkpoints: How many.
        conditions: Of each checkpoint.
        wordings: Of the questions, all paraphrases counted.
        requests: To be sent, were none sent twice; probes are not counted.
        rows: That come of them.
        prompt_tokens: About so many, at four letters a token.
        completion_tokens: At most, when every answer is as long as it may be.
        most: US dollars for these, or None where prices are not known.
        each_hundred: US dollars for these prompts with answers of 100 tokens, likewise.
    """

    checkpoints: int
    conditions: int
    wordings: int
    requests: int
    rows: int
    prompt_tokens: int
    completion_tokens: int
    most: float | None
    each_hundred: float | None


def estimate(spec: Sweep) -> Estimate:
    """Counts the requests of one checkpoint; all others have as many."""
    plan = spec.plan(spec.checkpoints[0], spec.checkpoints[0].name)
    requests = prompt = completion = 0
    for tasks in plan.requests(lambda at: True):
        body = plan.body(tasks[0], len(tasks))
        texts = [message["content"] for message in body.get("messages", ())]
        texts += [body["prompt"]] if "prompt" in body else []
        requests += 1
        prompt += sum(len(text) // _LETTERS + _CHAT_TOKENS for text in texts)
        completion += int(body.get("max_tokens", 0)) * len(tasks)
    count = len(spec.checkpoints)
    rows = len(plan) * count
    return Estimate(
        checkpoints=count,
        conditions=len(spec.conditions),
        wordings=sum(len(question.paraphrases) for question in spec.suite.questions),
        requests=requests * count,
        rows=rows,
        prompt_tokens=prompt * count,
        completion_tokens=completion * count,
        most=spec.cost(prompt * count, completion * count),
        each_hundred=spec.cost(prompt * count, 100 * rows),
    )
