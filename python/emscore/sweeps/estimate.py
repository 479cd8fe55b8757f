"""What a sweep will ask for, and what it may cost."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..sampling.checks import probes
from ..sampling.plan import Plan
from .dataset import DataSet
from .spec import Sweep


@dataclass(frozen=True)
class Estimate:
    """Of the checkpoints of a sweep that are not finished, each as if nothing of it were there.

    Attributes:
        checkpoints: How many.
        finished: How many others are, and cost nothing more.
        conditions: Of each checkpoint.
        wordings: Of the questions, all paraphrases counted.
        requests: To be sent, were none sent twice, without the probes.
        probes: Requests that check what is served.
        rows: That come of them.
        prompt_tokens: About so many, at four letters a token; of the probes too.
        completion_tokens: At most, when every answer is as long as it may be; of the probes too.
        most: US dollars for these, or None where prices are not known.
        each_hundred: US dollars for these prompts with answers of 100 tokens, likewise.
    """

    checkpoints: int
    finished: int
    conditions: int
    wordings: int
    requests: int
    probes: int
    rows: int
    prompt_tokens: int
    completion_tokens: int
    most: float | None
    each_hundred: float | None


def estimate(spec: Sweep) -> Estimate:
    """Counts the requests of one checkpoint; all others have as many."""
    data = DataSet(spec.output)
    count = sum(not data.finished(entry) for entry in spec.checkpoints)
    plan = spec.plan(spec.checkpoints[0], spec.checkpoints[0].name)
    asked = _count(plan) * count
    checked = np.zeros(3, np.int64)
    if spec.checks and count:
        own = probes(plan, plan.checkpoints[0].name)
        checked = sum((_count(each) for each in own), checked) * count
        if spec.base:  # asked once at each endpoint
            checked += _count(own[0]) * len(spec.servers)
    rows = len(plan) * count
    _, prompt, completion = (asked + checked).tolist()
    return Estimate(
        checkpoints=count,
        finished=len(spec.checkpoints) - count,
        conditions=len(spec.conditions),
        wordings=sum(len(question.paraphrases) for question in spec.suite.questions),
        requests=int(asked[0]),
        probes=int(checked[0]),
        rows=rows,
        prompt_tokens=prompt,
        completion_tokens=completion,
        most=spec.cost(prompt, completion),
        each_hundred=spec.cost(prompt, 100 * rows + int(checked[2])),
    )


def _count(plan: Plan) -> npt.NDArray[np.int64]:
    """Requests, and tokens of their prompts and at most of their answers."""
    counts = np.zeros(3, np.int64)
    for tasks in plan.requests(lambda at: True):
        counts += 1, *plan.tokens(plan.body(tasks[0], len(tasks)))
    return counts
