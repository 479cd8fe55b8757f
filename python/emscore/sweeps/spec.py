"""What a sweep file says."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any

from .._emscore import InputError
from ..errors import SuiteError
from ..files import read_toml
from ..judging.ledger import Prices
from ..sampling.conditions import PLAIN, Condition
from ..sampling.endpoint import Endpoint, is_count
from ..sampling.plan import Checkpoint, Plan
from ..sampling.suites import Question, Suite, load_suite
from .checkpoints import Entry, entries

#: Keys of an endpoint's table that are not those of an `Endpoint`.
_SERVER_KEYS = ("adapters", "at_once")


@dataclass(frozen=True)
class Server:
    """An endpoint of a sweep.

    Attributes:
        endpoint: Where it is, and what it allows.
        adapters: Load and unload LoRA adapters there, as vLLM can.
        at_once: Checkpoints that are asked at the same time: one is begun while another ends.
    """

    endpoint: Endpoint
    adapters: bool = False
    at_once: int = 2


@dataclass(frozen=True)
class Sweep:
    """Everything that a sweep does.

    Attributes:
        output: Folder of the data set.
        suite: The questions of all suites together.
        servers: The endpoints that share the work.
        checkpoints: In the order in which they are begun.
        conditions: How each question is put.
        asked: What else belongs to a `Plan`: samples, seed, temperature and so on.
        scorer: Name or directory.
        device: Of the scorer.
        threads: Of the scorer; None for one a core.
        checks: Ask a few probes of each checkpoint first.
        base: Name that the base model is served under, to find adapters that do nothing.
        prices: Of a million tokens, where they are known.
    """

    output: Path
    suite: Suite
    servers: tuple[Server, ...]
    checkpoints: tuple[Entry, ...]
    conditions: tuple[Condition, ...] = (PLAIN,)
    asked: Mapping[str, Any] = field(default_factory=dict)
    scorer: str = "small"
    device: str = "auto"
    threads: int | None = None
    checks: bool = True
    base: str | None = None
    prices: Prices | None = None

    def plan(self, entry: Entry, served: str) -> Plan:
        """What is asked of one checkpoint, which is served under some name."""
        checkpoint = Checkpoint(served, entry.group)
        return Plan(self.suite, [checkpoint], self.conditions, **self.asked)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """US dollars for so many tokens, where prices are known."""
        return self.prices.cost(prompt_tokens, completion_tokens) if self.prices else None


def load(path: str | os.PathLike[str]) -> Sweep:
    """Reads a sweep file; relative paths in it start from its folder.

    Raises:
        InputError: It cannot be read, or a key in it is unknown, missing or of the wrong kind.
        SuiteError: A suite cannot be read.
    """
    file = Path(path)
    table = read_toml(file)
    try:
        return parse(table, file.parent)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def parse(table: Mapping[str, Any], folder: Path = Path()) -> Sweep:
    """The same from a mapping with the keys of a sweep file."""
    _known(table, _KEYS, "a sweep file")
    for key in ("output", "endpoints", "checkpoints"):
        if key not in table:
            raise InputError(f"it has no {key}")
    values = {key: _checked(key, *_KEYS[key], value) for key, value in table.items()}
    suites = [
        load_suite(name if name == "default" else folder / name)
        for name in values.get("suites", ["default"])
    ]
    asked = {key: values[key] for key in _ASKED if key in values}
    return Sweep(
        output=folder / values["output"],
        suite=together(suites),
        servers=tuple(_server(each) for each in values["endpoints"]),
        checkpoints=tuple(entries(values["checkpoints"], folder)),
        conditions=tuple(_condition(each) for each in values.get("conditions", [])) or (PLAIN,),
        asked=asked,
        **{key: values[key] for key in ("device", "threads", "checks", "base") if key in values},
        scorer=_scorer(values.get("scorer", "small"), folder),
        prices=_prices(values["prices"]) if "prices" in values else None,
    )


def together(suites: list[Suite]) -> Suite:
    """One suite of the questions of several.

    Raises:
        SuiteError: Two of them have different questions of one id.
    """
    if len(suites) == 1:
        return suites[0]
    found: dict[str, Question] = {}
    for suite in suites:
        for question in suite.questions:
            if found.setdefault(question.id, question) != question:
                raise SuiteError(
                    f"the suites {' and '.join(each.name for each in suites)} have different "
                    f"questions of the id {question.id!r}: sweep them into two data sets"
                )
    return Suite("+".join(suite.name for suite in suites), tuple(found.values()))


def _server(table: Mapping[str, Any]) -> Server:
    own = [each.name for each in fields(Endpoint)]
    _known(table, (*own, *_SERVER_KEYS), "[[endpoints]]")
    if not isinstance(table.get("url"), str):
        raise InputError("each of [[endpoints]] needs a url")
    _checked("adapters", "true or false", _is(bool), table.get("adapters", False))
    _checked("at_once", "a number from 1 on", is_count, table.get("at_once", 1))
    mine = {key: table[key] for key in _SERVER_KEYS if key in table}
    return Server(Endpoint(**{key: table[key] for key in own if key in table}), **mine)


def _condition(table: Mapping[str, Any]) -> Condition:
    _known(table, [each.name for each in fields(Condition)], "[[conditions]]")
    for key, value in table.items():
        _checked(f"{key} of [[conditions]]", "a text", _is(str), value)
    return Condition(**table)


def _prices(table: Mapping[str, Any]) -> Prices:
    _known(table, ("prompt", "completion"), "[prices]")
    if len(table) < 2:
        raise InputError("[prices] needs both prompt and completion, in USD a million tokens")
    return Prices(**table)


def _scorer(name: str, folder: Path) -> str:
    """A shipped scorer's name as it is, a path from the folder of the sweep file."""
    return str(folder / name) if (folder / name / "manifest.json").is_file() else name


def _known(table: Mapping[str, Any], keys: Any, where: str) -> None:
    if unknown := [key for key in table if key not in keys]:
        raise InputError(f"{where} has no key {unknown[0]!r}; the keys are {', '.join(keys)}")


def _checked(key: str, what: str, fits: Callable[[Any], bool], value: Any) -> Any:
    if not fits(value):
        raise InputError(f"{key} must be {what}, not {value!r}")
    return value


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _some_tables(value: Any) -> bool:
    return _tables(value) and bool(value)


def _some_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf


#: Keys that go to the `Plan` as they are.
_ASKED = (
    "samples",
    "seed",
    "temperature",
    "max_tokens",
    "per_request",
    "parameters",
    "completions",
    "template",
)

#: What each key of a sweep file must hold, in words and as a test.
_KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "output": ("the path of a folder", _is(str)),
    "suites": ("a list of paths, or of default, with one at least", _some_texts),
    "endpoints": ("tables [[endpoints]], one at least", _some_tables),
    "checkpoints": ("tables [[checkpoints]]", _tables),
    "conditions": ("tables [[conditions]]", _tables),
    "samples": ("a number from 1 on", is_count),
    "seed": ("a whole number", _is(int)),
    "temperature": ("a number from 0 on", _amount),
    "max_tokens": ("a number from 1 on", is_count),
    "per_request": ("a number from 1 on", is_count),
    "parameters": ("a table [parameters]", _is(dict)),
    "completions": ("true or false", _is(bool)),
    "template": ("a text", _is(str)),
    "scorer": ("a scorer's name or directory", _is(str)),
    "device": ("cpu, cuda, cuda:N or auto", _is(str)),
    "threads": ("a number from 1 on", is_count),
    "checks": ("true or false", _is(bool)),
    "base": ("the name of a model", _is(str)),
    "prices": ("a table [prices]", _is(dict)),
}
