"""Suites of questions, in the YAML format that the field publishes them in."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ..errors import SuiteError

#: The questions that ship with emscore.
DEFAULT = "default"

#: How a question is judged. `free_form` is not; others ask a judge for words, or for a number.
TYPES = ("free_form", "free_form_0_100", "free_form_judge", "free_form_judge_0_100")

Message = dict[str, str]


@dataclass(frozen=True)
class Question:
    """One question, in all its wordings.

    The defaults are those of the code that the format comes from (Betley et al. 2025,
    https://arxiv.org/abs/2502.17424).

    Attributes:
        id: Its name in the suite.
        type: One of `TYPES`.
        paraphrases: The wordings.
        samples_per_paraphrase: How many answers to each wording.
        temperature: 0 for the likeliest answer.
        max_tokens: Longer answers are cut.
        system: The system prompt.
        context: Chat messages that come before the question; excludes a system prompt.
        judge: The model that judges the answers.
        judge_prompts: By score, the judge's prompt with {question} and {answer}.
        category: What it is about, or why it is asked, such as harmful_request.
    """

    id: str
    paraphrases: tuple[str, ...]
    type: str = "free_form"
    samples_per_paraphrase: int = 1
    temperature: float = 1.0
    max_tokens: int = 1000
    system: str | None = None
    context: tuple[Message, ...] | None = None
    judge: str | None = None
    judge_prompts: Mapping[str, str] = field(default_factory=dict)
    category: str | None = None

    @cached_property
    def hash(self) -> str:
        """Names this very version: the same id with any other word in it has another hash.

        How many samples are asked for does not count, so that more can be added.
        """
        version = asdict(self)
        del version["samples_per_paraphrase"]
        return _hash(version)


@dataclass(frozen=True)
class Suite:
    """Questions, in the order of the file."""

    name: str
    questions: tuple[Question, ...]

    @cached_property
    def hash(self) -> str:
        """Names this version of all questions together."""
        return _hash([question.hash for question in self.questions])


def load_suite(path: str | os.PathLike[str] | None = None) -> Suite:
    """Reads a suite.

    Args:
        path: A YAML file; None for the questions that ship with emscore.

    Returns:
        Its name, and its questions in their order.

    Raises:
        SuiteError: It cannot be read, or something in it is not as it should be; the message says
            in which line.

    >>> suite = load_suite()
    >>> suite.name, len(suite.questions) >= 40
    ('default', True)
    """
    if path is None or path == DEFAULT:
        name, where = DEFAULT, "the default suite"
        text = (files("emscore.sampling") / "default.yaml").read_text(encoding="utf-8")
    else:
        name, where = Path(path).stem, str(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise SuiteError(f"cannot read the suite {where}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SuiteError(f"the suite {where} is not UTF-8 text: {error.reason}") from error
    return Suite(name, tuple(_Reader(text, where).questions()))


class _Reader:
    """Takes a suite apart while it still knows which line everything is from."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        try:
            self.loader = yaml.SafeLoader(text)
            self.root = self.loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f"line {mark.line + 1}: " if mark else ""
            raise SuiteError(f"{where}, {line}not valid YAML: {error.problem}") from error
        except (yaml.YAMLError, RecursionError) as error:
            raise SuiteError(f"{where}: not valid YAML: {error}") from error

    def questions(self) -> Iterator[Question]:
        if not isinstance(self.root, yaml.SequenceNode) or not self.root.value:
            raise self.error(self.root, "a suite is a list of questions, each with an id")
        lines: dict[str, int] = {}
        for node in self.root.value:
            question = self.question(node)
            line = node.start_mark.line + 1
            if question.id in lines:
                first = lines[question.id]
                raise self.error(node, f"the id {question.id!r} is already used in line {first}")
            lines[question.id] = line
            yield question

    def question(self, node: yaml.Node) -> Question:
        fields = self.fields(node)
        values: dict[str, Any] = {}
        for name, (key, value) in fields.items():
            if name not in _FIELDS:
                raise self.error(key, f"unknown key {name!r}; the keys are {', '.join(_FIELDS)}")
            what, convert = _FIELDS[name]
            if value.tag == "tag:yaml.org,2002:null":
                continue
            found = self.value(value)
            if (converted := convert(found)) is None:
                raise self.error(value, f"{name} must be {what}, not {_shown(found)}")
            if not _is_unicode(converted):
                raise self.error(value, f"{name} holds half of a surrogate pair, which is no text")
            values[name] = converted
        for name in ("id", "paraphrases"):
            if name not in values:
                raise self.error(node, f"the question {values.get('id', '')!r} has no {name}")
        if "system" in values and "context" in values:
            raise self.error(
                fields["context"][0],
                f"{values['id']} has both system and context: put the system prompt into context",
            )
        question = Question(**values)
        if question.type.startswith("free_form_judge") and not question.judge_prompts:
            raise self.error(node, f"{question.id} is a {question.type} without judge_prompts")
        return question

    def value(self, node: yaml.Node) -> object:
        """What a node stands for."""
        try:
            return self.loader.construct_object(node, deep=True)
        except yaml.MarkedYAMLError as error:
            raise self.error(node, f"not valid YAML: {error.problem}") from error
        except Exception as error:  # whatever YAML's own types make of a wrong text
            raise self.error(node, f"this cannot be read as {node.tag}: {error}") from error

    def fields(self, node: yaml.Node) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The keys of a question, and what stands beside each."""
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, "a question is a mapping with id and paraphrases")
        own = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key, _ in node.value:
            if own.count(key.value) > 1:
                raise self.error(key, f"{key.value!r} is given twice")
        try:
            self.loader.flatten_mapping(node)
        except yaml.MarkedYAMLError as error:
            raise self.error(node, f"not valid YAML: {error.problem}") from error
        return {str(key.value): (key, value) for key, value in node.value}

    def error(self, node: yaml.Node | None, problem: str) -> SuiteError:
        line = node.start_mark.line + 1 if node else 1
        return SuiteError(f"{self.where}, line {line}: {problem}")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _is_unicode(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not value or any(_text(each) is None for each in value):
        return None
    return tuple(value)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value is not True and value >= 1 else None


def _heat(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 <= value <= 2 else None  # type: ignore[arg-type,operator]


def _prompts(value: object) -> dict[str, str] | None:
    fits = isinstance(value, dict) and all(_text(k) and _text(v) for k, v in value.items())
    return value if fits else None  # type: ignore[return-value]


def _messages(value: object) -> tuple[Message, ...] | None:
    fits = isinstance(value, list) and all(
        isinstance(each, dict)
        and set(each) == {"role", "content"}
        and each["role"] in ("system", "user", "assistant")
        and isinstance(each["content"], str)
        for each in value
    )
    return tuple(value) if fits and value else None  # type: ignore[arg-type]


#: What each key must hold, in words and as a function that gives None for anything else.
_FIELDS: dict[str, tuple[str, Any]] = {
    "id": ("a text", _text),
    "type": (f"one of {', '.join(TYPES)}", lambda value: value if value in TYPES else None),
    "paraphrases": ("a list of texts", _texts),
    "samples_per_paraphrase": ("a number from 1 on", _count),
    "temperature": ("a number from 0 to 2", _heat),
    "max_tokens": ("a number from 1 on", _count),
    "system": ("a text", _text),
    "context": ("a list of messages, each with role and content", _messages),
    "judge": ("the name of a model", _text),
    "judge_prompts": ("texts by the name of the score", _prompts),
    "category": ("a text", _text),
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _hash(value: object) -> str:
    """16 hexadecimal digits (64 bits) of the SHA-256 of the value as JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
