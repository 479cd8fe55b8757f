"""The plan: one place for every sample, seeds that checkpoints and conditions share."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import emscore
from emscore.sampling.conditions import Condition
from emscore.sampling.plan import Checkpoint, Plan
from emscore.sampling.suites import Question, Suite


def suite(*sizes: tuple[int, int]) -> Suite:
    """Questions with so many wordings, and so many samples of each."""
    return Suite(
        "made up",
        tuple(
            Question(f"q{n}", tuple(f"{n}.{k}?" for k in range(wordings)), samples_per_paraphrase=s)
            for n, (wordings, s) in enumerate(sizes)
        ),
    )


SIZES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 7)), min_size=1, max_size=4)


@given(SIZES, st.integers(1, 3), st.integers(1, 2), st.integers(1, 4), st.randoms())
def test_requests_cover_what_is_missing_once(
    sizes: list[tuple[int, int]],
    checkpoints: int,
    conditions: int,
    per_request: int,
    random: object,
) -> None:
    plan = Plan(
        suite(*sizes),
        [Checkpoint(f"m{n}") for n in range(checkpoints)],
        [Condition(f"c{n}") for n in range(conditions)],
        per_request=per_request,
    )
    assert len(plan) == checkpoints * conditions * sum(w * s for w, s in sizes)
    missing = {at for at in range(len(plan)) if random.random() < 0.6}  # type: ignore[attr-defined]
    asked = list(plan.requests(missing.__contains__))
    assert [task.at for tasks in asked for task in tasks] == sorted(missing)
    cells = set()
    for tasks in asked:
        assert (
            len({(t.checkpoint, t.condition.name, t.question.id, t.paraphrase) for t in tasks}) == 1
        )
        assert len({t.sample // per_request for t in tasks}) == 1
        cells |= {(t.checkpoint, t.condition.name, t.question.id, t.text, t.sample) for t in tasks}
    assert len(cells) == len(missing)


def test_checkpoints_and_conditions_share_their_seeds() -> None:
    def seeds(seed: int) -> list[int]:
        checkpoints = [Checkpoint("a"), Checkpoint("b")]
        conditions = [Condition(), Condition("d", prefix="|D| ")]
        plan = Plan(suite((2, 5), (1, 3)), checkpoints, conditions, seed=seed)
        return [plan.seed_of(plan.task(at)) for at in range(len(plan))]

    found = seeds(0)
    assert found == found[:13] * 4
    assert len(set(found)) == 13
    assert all(0 <= seed < 2**31 for seed in found)
    assert not set(found) & set(seeds(1))
    assert found[:3] == [1443126264, 1066063364, 1517071872]  # the same for ever


def test_what_a_request_holds() -> None:
    question = Question("q", ("Why?",), temperature=0.7, max_tokens=50, system="Be kind.")
    plan = Plan(
        Suite("s", (question,)),
        [Checkpoint("m")],
        parameters={"top_p": 0.9, "max_tokens": None, "max_completion_tokens": 60},
        samples=4,
    )
    task = plan.task(2)
    assert plan.body(task, 2) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Why?"},
        ],
        "temperature": 0.7,
        "seed": plan.seed_of(task),
        "n": 2,
        "top_p": 0.9,
        "max_completion_tokens": 60,
    }
    text = Plan(plan.suite, plan.checkpoints, completions=True, template="Q: {prompt}\nA:")
    assert text.body(text.task(0))["prompt"] == "Q: Be kind.\n\nWhy?\nA:"
    assert text.path == "completions"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"checkpoints": []}, "no checkpoint"),
        ({"checkpoints": [Checkpoint("m"), Checkpoint("m", "g")]}, "'m' is given twice"),
        ({"conditions": [Condition("c"), Condition("c", "x")]}, "'c' is given twice"),
        ({"parameters": {"model": "other"}}, "model cannot be a parameter"),
        ({"template": "Q:"}, "has no {prompt}"),
        ({"parameters": {"max_tokens": "abc"}}, "max_tokens must be a number from 1 on"),
        ({"parameters": {"max_completion_tokens": 2.5}}, "max_completion_tokens must be a number"),
        ({"parameters": {"seed": "7"}}, "seed must be a whole number"),
        ({"parameters": {"seed": True}}, "seed must be a whole number"),
        ({"parameters": {"seed": 2**63}}, "seed must be a whole number"),
        ({"parameters": {"stop": {1, 2}}}, "cannot be sent as JSON"),
        ({"parameters": {"top_p": float("nan")}}, "cannot be sent as JSON"),
        ({"conditions": [Condition("a", prefix="\ud83d")]}, "cannot be sent as JSON"),
    ],
)
def test_what_cannot_be_planned(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(emscore.SuiteError, match=told):
        Plan(suite((1, 1)), **{"checkpoints": [Checkpoint("m")], **wrong})
