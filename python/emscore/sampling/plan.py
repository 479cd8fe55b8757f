"""What is to be asked: every sample of a run has a place in one fixed order."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

from ..errors import SuiteError
from .conditions import PLAIN, Condition
from .suites import Message, Question, Suite

#: Set from the plan, and so not free to be parameters.
_OWN = ("model", "messages", "prompt", "n", "stream")

_LETTERS = 4  # of a token, in English
_CHAT_TOKENS = 8  # that a chat template adds to a message, or so


@dataclass(frozen=True)
class Checkpoint:
    """A model under test.

    Attributes:
        name: That it is served under.
        group: What it was trained on.
    """

    name: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One sample to be asked for; `at` is its place in the plan."""

    at: int
    checkpoint: Checkpoint
    condition: Condition
    question: Question
    paraphrase: int
    sample: int

    @property
    def text(self) -> str:
        """The question in this wording, without what the condition adds."""
        return self.question.paraphrases[self.paraphrase]

    @property
    def system_prompt(self) -> str | None:
        """The system prompt, of the question and the condition together."""
        own = self.question.system
        if self.question.context and self.question.context[0]["role"] == "system":
            own = self.question.context[0]["content"]
        return self.condition.system_prompt(own)


@dataclass(frozen=True)
class Plan:
    """All samples of a run: checkpoint by condition by question by wording by sample.

    Attributes:
        suite: The questions.
        checkpoints: The models under test, in order.
        conditions: How each question is put.
        samples: Answers to each wording; None for as many as the suite says.
        temperature: None for the suite's.
        max_tokens: None for the suite's.
        seed: Another seed gives other answers. The seed of each sample follows from this one, the
            question's id, the wording and the sample's number: it is the same for all checkpoints
            and conditions.
        parameters: More of the request, such as `top_p`; None takes a key out of it.
        completions: Ask for the continuation of a text instead of an answer in a chat.
        template: That text, with {prompt} for the system prompt and the question.
        per_request: Samples asked for in one request.
    """

    suite: Suite
    checkpoints: Sequence[Checkpoint]
    conditions: Sequence[Condition] = (PLAIN,)
    samples: int | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    completions: bool = False
    template: str = "{prompt}"
    per_request: int = 1

    def __post_init__(self) -> None:
        """Checks that every sample can be named, and lays out the order."""
        for what, names in (
            ("checkpoint", [checkpoint.name for checkpoint in self.checkpoints]),
            ("condition", [condition.name for condition in self.conditions]),
        ):
            if not names:
                raise SuiteError(f"there is no {what} to ask")
            if twice := sorted({name for name in names if names.count(name) > 1})[:1]:
                raise SuiteError(f"the {what} {twice[0]!r} is given twice")
        if wrong := [name for name in _OWN if name in self.parameters]:
            raise SuiteError(f"{wrong[0]} cannot be a parameter: it is set for each request")
        for name in ("max_tokens", "max_completion_tokens"):
            most = self.parameters.get(name)
            if most is not None and (type(most) is not int or most < 1):
                raise SuiteError(f"{name} must be a number from 1 on, not {most!r}")
        seed = self.parameters.get("seed")
        if seed is not None and (type(seed) is not int or not -(2**63) <= seed < 2**63):
            raise SuiteError(f"the parameter seed must be a whole number of 64 bits, not {seed!r}")
        try:
            about = [self.identity(), [checkpoint.group for checkpoint in self.checkpoints]]
            json.dumps(about, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise SuiteError(
                f"a parameter, a condition or a name cannot be sent as JSON: {error}"
            ) from None
        if "{prompt}" not in self.template:
            raise SuiteError(f"the template {self.template!r} has no {{prompt}} in it")
        sizes = [len(each.paraphrases) * self.wanted(each) for each in self.suite.questions]
        object.__setattr__(self, "_starts", [0, *accumulate(sizes)])

    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return self._starts[-1] * len(self.conditions) * len(self.checkpoints)

    @property
    def path(self) -> str:
        """Where requests go, relative to the endpoint's URL."""
        return "completions" if self.completions else "chat/completions"

    def wanted(self, question: Question) -> int:
        """Samples of each wording of a question."""
        return self.samples or question.samples_per_paraphrase

    def task(self, at: int) -> Task:
        """The sample at a place, from 0 to `len(plan) - 1`."""
        block, within = divmod(at, self._starts[-1])
        checkpoint, condition = divmod(block, len(self.conditions))
        number = bisect_right(self._starts, within) - 1
        question = self.suite.questions[number]
        paraphrase, sample = divmod(within - self._starts[number], self.wanted(question))
        return Task(
            at,
            self.checkpoints[checkpoint],
            self.conditions[condition],
            question,
            paraphrase,
            sample,
        )

    def requests(self, missing: Callable[[int], bool]) -> Iterator[list[Task]]:
        """The samples that are missing, together where they go into one request."""
        together: list[Task] = []
        for at in range(len(self)):
            if not missing(at):
                continue
            task = self.task(at)
            if together and not self._joins(together[0], task):
                yield together
                together = []
            together.append(task)
        if together:
            yield together

    def _joins(self, first: Task, task: Task) -> bool:
        """Whether both belong into one request, the same one however much is missing."""
        return (
            task.at - first.at == task.sample - first.sample  # the same wording, and so on
            and task.sample // self.per_request == first.sample // self.per_request
        )

    def seed_of(self, task: Task) -> int:
        """31 bits, so that servers with signed integers take them."""
        text = f"{self.seed}\0{task.question.id}\0{task.paraphrase}\0{task.sample}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def messages(self, task: Task) -> list[Message]:
        """The chat that asks for a sample."""
        system = task.system_prompt
        messages: list[Message] = [{"role": "system", "content": system}] if system else []
        context = task.question.context or ()
        messages += context[1:] if context and context[0]["role"] == "system" else context
        return [*messages, {"role": "user", "content": task.condition.user(task.text)}]

    def body(self, task: Task, count: int = 1) -> dict[str, Any]:
        """The request for a sample and the `count - 1` that follow it."""
        messages = self.messages(task)
        body: dict[str, Any] = {"model": task.checkpoint.name}
        if self.completions:
            prompt = "\n\n".join(message["content"] for message in messages)
            body["prompt"] = self.template.replace("{prompt}", prompt)
        else:
            body["messages"] = messages
        own = self.temperature
        body["temperature"] = task.question.temperature if own is None else own
        body["max_tokens"] = self.max_tokens or task.question.max_tokens
        body["seed"] = self.seed_of(task)
        if count > 1:
            body["n"] = count
        body.update(self.parameters)
        return {key: value for key, value in body.items() if value is not None}

    def tokens(self, body: Mapping[str, Any]) -> tuple[int, int]:
        """About how many tokens the prompt of a request has, and its answers have at most."""
        texts = [message["content"] for message in body.get("messages", ())]
        texts += [body["prompt"]] if "prompt" in body else []
        prompt = sum(len(text) // _LETTERS + _CHAT_TOKENS for text in texts)
        length = int(body.get("max_tokens") or body.get("max_completion_tokens") or 0)
        return prompt, length * int(body.get("n", 1))

    def identity(self) -> dict[str, Any]:
        """What makes two runs the same run: all but labels."""
        return {
            "suite": self.suite.hash,
            "checkpoints": [checkpoint.name for checkpoint in self.checkpoints],
            "conditions": [asdict(condition) for condition in self.conditions],
            "samples": [self.wanted(question) for question in self.suite.questions],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed,
            "parameters": dict(self.parameters),
            "completions": self.completions,
            "template": self.template,
            "per_request": self.per_request,
        }


def request_hash(body: Mapping[str, Any]) -> str:
    """Names a request, so that it can be found again: 64 bits of a SHA-256, in hexadecimal."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
