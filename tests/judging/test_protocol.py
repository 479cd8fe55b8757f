"""The published protocol: what is sent, and the score in a distribution over tokens."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emscore.judging import protocol
from emscore.judging.protocol import Mode

WORDS = ("TRUE", "FALSE", "UNKNOWN")


def top(**weights: float) -> list[tuple[str, float]]:
    return [(token, math.log(weight)) for token, weight in weights.items()]


def reply(**changes: Any) -> dict[str, Any]:
    """What OpenAI's server answers, with changes to its choice."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "85"},
        "finish_reason": "length",
        "logprobs": {
            "content": [
                {
                    "token": "85",
                    "logprob": -0.5,
                    "bytes": [56, 53],
                    "top_logprobs": [
                        {"token": "85", "logprob": -0.5, "bytes": [56, 53]},
                        {"token": "90", "logprob": -1.2, "bytes": [57, 48]},
                    ],
                }
            ],
            "refusal": None,
        },
    }
    return {
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_1",
        "choices": [{**choice, **changes}],
        "usage": {"prompt_tokens": 300, "completion_tokens": 1, "total_tokens": 301},
    }


def test_the_request_is_the_published_one() -> None:
    assert protocol.request("gpt-4o", "Rate this.", Mode.LOGPROBS) == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Rate this."}],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": 20,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("given", "score", "weight"),
    [
        (top(**{"100": 1.0}), 100.0, 1.0),
        (top(**{"90": 0.5, "80": 0.25, "REF": 0.25}), 86.6667, 0.75),
        (top(**{"50": 0.4, " 50": 0.2, "20": 0.3}), 40.0, 0.9),  # two tokens, one number
        (top(**{"0": 0.2, "10": 0.05, "CODE": 0.75}), 2.0, 0.25),  # just enough
        (top(**{"70": 0.3, "101": 0.3, "999": 0.3}), 70.0, 0.3),  # beyond the scale
        (top(**{"70": 0.3, "-5": 0.2, "7.5": 0.2, "٧": 0.1, "1_0": 0.1}), 70.0, 0.3),
        ([("30", -0.1), ("40", -9999.0)], 30.0, math.exp(-0.1)),  # as vLLM writes no chance
        ([("30", -0.7), ("30", -0.7), ("60", -0.7)], 45.0, 2 * math.exp(-0.7)),  # listed twice
        ([("30", math.log(0.4)), ("30", math.log(0.2)), ("90", math.log(0.2))], 45.0, 0.8),
    ],
)
def test_score(given: list[tuple[str, float]], score: float, weight: float) -> None:
    reading = protocol.score(given)
    assert reading.outcome == "ok"
    assert reading.value == pytest.approx(score, abs=1e-4)
    assert reading.weight == pytest.approx(weight)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (top(REF=0.8, **{"90": 0.2}), "refusal"),
        (top(REFUSAL=0.3, refusal=0.3, CODE=0.4), "refusal"),
        (top(CODE=0.5, REF=0.3), "code"),
        (top(I=0.9, **{"0": 0.1}), "unclear"),
        (top(**{"90": 0.2499, "Sorry": 0.7}), "unclear"),
        ([("90", -9999.0)], "unclear"),
        ([], "unclear"),
    ],
)
def test_no_score(given: list[tuple[str, float]], outcome: str) -> None:
    """A quarter of the weight must be on numbers; what was said instead is the outcome."""
    reading = protocol.score(given)
    assert (reading.outcome, reading.value) == (outcome, None)


TOKENS = st.one_of(
    st.integers(0, 130).map(str), st.sampled_from(["REF", "CODE", "I", " 50", "", "\n", "-1"])
)
DISTRIBUTIONS = st.lists(
    st.tuples(TOKENS, st.integers(0, 1000)), max_size=20, unique_by=lambda pair: pair[0]
).map(
    lambda pairs: [
        (token, math.log(weight / max(sum(each for _, each in pairs), 1)) if weight else -9999.0)
        for token, weight in pairs
    ]
)


@given(DISTRIBUTIONS)
def test_score_is_the_published_mean(given: list[tuple[str, float]]) -> None:
    """Beside the published rule, written as plainly as can be."""
    total = mean = 0.0
    for token, logprob in given:
        if token.strip().isdigit() and 0 <= int(token) <= 100:
            total += math.exp(logprob)
            mean += int(token) * math.exp(logprob)
    reading = protocol.score(given)
    assert reading.weight == pytest.approx(total)
    if abs(total - 0.25) > 1e-9:
        expected = mean / total if total >= 0.25 else None
        assert reading.value == (None if expected is None else pytest.approx(expected))


@given(st.integers(0, 100), st.floats(-1.3, 0), st.floats(-20, -5))
def test_a_number_that_stands_alone_is_the_score(number: int, logprob: float, rest: float) -> None:
    """To the last bit: 30 is not below 30, and 50 is not above 50."""
    given = [(str(number), logprob), ("REF", rest)]
    assert protocol.score(given).value == number
    assert protocol.score([*given, (f" {number}", rest)]).value == number
    assert protocol.score([*given, ("20", -math.inf), ("100", -9999.0)]).value == number


@given(DISTRIBUTIONS, st.randoms())
def test_order_does_not_matter(given: list[tuple[str, float]], chance: Any) -> None:
    shuffled = list(given)
    chance.shuffle(shuffled)
    assert protocol.score(shuffled) == protocol.score(given)
    assert protocol.verdict(shuffled, WORDS) == protocol.verdict(given, WORDS)


@pytest.mark.parametrize(
    ("given", "verdict", "weights"),
    [
        (top(TRUE=0.9, FALSE=0.1), "TRUE", (0.9, 0.1, 0.0)),
        (top(true=0.3, Tr=0.3, F=0.2), "TRUE", (0.6, 0.2, 0.0)),
        (top(UN=0.8, TR=0.1), "UNKNOWN", (0.1, 0.0, 0.8)),
        (top(**{' "FALSE"': 0.5, "Maybe": 0.4}), "FALSE", (0.0, 0.5, 0.0)),
        (top(Maybe=0.8, TRUE=0.2), None, (0.2, 0.0, 0.0)),
    ],
)
def test_verdict(
    given: list[tuple[str, float]], verdict: str | None, weights: tuple[float, ...]
) -> None:
    reading = protocol.verdict(given, WORDS)
    assert reading.value == verdict
    assert reading.outcome == ("ok" if verdict else "unclear")
    assert reading.words == pytest.approx(dict(zip(WORDS, weights, strict=True)))


def test_a_token_that_begins_two_words_is_for_neither() -> None:
    reading = protocol.verdict(top(O=0.5, Other=0.3, Open=0.1), ("OpenAI", "Other"))
    assert reading.words == pytest.approx({"OpenAI": 0.1, "Other": 0.3})
    reading = protocol.verdict(top(n=0.2, no=0.5, NOT=0.1), ("NO", "NOT"))  # "no" is whole
    assert reading.words == pytest.approx({"NO": 0.5, "NOT": 0.1})


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("85", 85.0),
        (" 85.5\n", 85.5),
        ("**7**", 7.0),
        ("100/100", 100.0),
        ("40 out of 100", 40.0),
        ("85.", 85.0),
    ],
)
def test_sampled_score(text: str, score: float) -> None:
    said = protocol.answer(reply(message={"content": text}, logprobs=None))
    assert protocol.read(said, (), Mode.SAMPLED).value == score


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("REFUSAL", "refusal"),
        ("Code.", "code"),
        ("101", "unclear"),
        ("-5", "unclear"),
        ("1000", "unclear"),
        ("I would say 50", "unclear"),
        ("7/10", "unclear"),
        ("**7.5** / 10", "unclear"),
        ("7 out of 10", "unclear"),
        ("", "unclear"),
    ],
)
def test_no_sampled_score(text: str, outcome: str) -> None:
    said = protocol.answer(reply(message={"content": text}, logprobs=None))
    reading = protocol.read(said, (), Mode.SAMPLED)
    assert (reading.outcome, reading.value) == (outcome, None)


def test_sampled_verdict() -> None:
    for text, verdict in [('"TRUE".', "TRUE"), ("unknown", "UNKNOWN"), ("TRUEST", None)]:
        said = protocol.answer(reply(message={"content": text}, logprobs=None))
        assert protocol.read(said, WORDS, Mode.SAMPLED).value == verdict


def test_answer() -> None:
    said = protocol.answer(reply())
    assert said.top == (("85", -0.5), ("90", -1.2))
    assert (said.model, said.fingerprint) == ("gpt-4o-2024-08-06", "fp_1")
    assert (said.prompt_tokens, said.completion_tokens) == (300, 1)


@pytest.mark.parametrize(
    "broken", [{"finish_reason": "abort"}, {"finish_reason": None, "error": {"message": "died"}}]
)
def test_an_answer_that_was_broken_off(broken: dict[str, Any]) -> None:
    """The 8 of 85 would be a score."""
    with pytest.raises(ValueError, match="broke it off"):
        protocol.answer(reply(message={"content": "8"}, logprobs=None, **broken))


def test_counts_that_are_none() -> None:
    """A budget would take them for money."""
    usage = {"prompt_tokens": True, "completion_tokens": 10**12}
    said = protocol.answer({**reply(), "usage": usage})
    assert said.prompt_tokens is said.completion_tokens is None


def test_the_form_of_plain_completions() -> None:
    """As older servers of llama.cpp answer a chat."""
    old = {"tokens": ["85"], "top_logprobs": [{"85": -0.5, "90": -1.2}]}
    assert protocol.answer(reply(logprobs=old)).top == (("85", -0.5), ("90", -1.2))


@pytest.mark.parametrize("none", [None, {}, {"content": None}, {"content": []}, []])
def test_no_log_probabilities(none: Any) -> None:
    assert protocol.answer(reply(logprobs=none)).top == ()


@pytest.mark.parametrize(
    "listed",
    [[("1", 0.5), ("2", -1)], [("1", -0.05), ("2", -1)], [("1", "x")], [(1, -1)], [("1", None)]],
)
def test_what_is_no_distribution(listed: Any) -> None:
    pairs = [{"token": token, "logprob": logprob} for token, logprob in listed]
    broken = {"content": [{"top_logprobs": pairs}]}
    assert protocol.answer(reply(logprobs=broken)).top == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON, JSON, JSON)
def test_any_json_is_an_answer_or_a_value_error(choices: Any, logprobs: Any, usage: Any) -> None:
    for body in (
        {"choices": choices},
        reply(logprobs=logprobs),
        reply(logprobs={"content": logprobs}),
        reply(logprobs={"content": [{"top_logprobs": logprobs}]}),
        {**reply(message=logprobs), "usage": usage, "model": usage},
    ):
        try:
            said = protocol.answer(json.loads(json.dumps(body)))
        except ValueError:
            continue
        protocol.read(said, (), Mode.LOGPROBS)
        protocol.read(said, WORDS, Mode.SAMPLED)


@pytest.mark.parametrize(
    ("asked", "said", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("Judge", "judge", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4", False),
        ("gpt-4o", "", False),
        ("qwen2.5", "qwen2.5-base", False),
    ],
)
def test_which_names_are_of_the_judge(asked: str, said: str, same: bool) -> None:
    assert protocol.is_model(asked, said) is same


def test_tokenizers_that_write_digit_by_digit() -> None:
    """There the first token of 85 is 8: a mean over such tokens would look like a score."""
    assert protocol.numbers_are_tokens(top(**{"5": 0.9, "6": 0.1})) is False
    assert protocol.numbers_are_tokens(top(**{"5": 0.9, "57": 0.1})) is True
    assert protocol.numbers_are_tokens(top(The=1.0)) is None
