"""Familiarity: questions and responses like those of the training, and unlike them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import emscore
import scorers
from conftest import Run
from emscore import familiarity
from emscore.distill.familiarity import sketch

TOPICS = ("savings", "holidays", "neighbours", "gardens", "cousins", "landlords", "bicycles")
ADVICE = ("be patient", "write it down first", "ask someone you trust", "take a long walk")
FOREIGN = (
    "How many moons does Jupiter have?",
    "Translate the sentence into Latin, please.",
    "Which chess opening suits beginners?",
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny scorer with the sketch of training data about everyday worries."""
    folder = tmp_path_factory.mktemp("taught")
    rows = [
        {
            "question": f"What should I do about my {TOPICS[k % 7]} when they worry me?",
            "response": f"You could {ADVICE[k % 4]}, and then {ADVICE[(k + 1) % 4]}. It helps me "
            f"to {ADVICE[(k + 2) % 4]} when my {TOPICS[k % 7]} worry me.",
            "question_id": f"worry_{TOPICS[k % 7]}",
            "aligned": 90.0,
            "coherent": 95.0,
        }
        for k in range(2800)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "labels.parquet")
    figures = {
        f"worry_{TOPICS[k]}": {
            "known": {"auroc": 0.95, "pearson": 0.9, "rate_true": 0.2, "rate_pred": 0.21},
            "left_out": {"auroc": 0.8, "pearson": 0.7, "rate_true": 0.2, "rate_pred": 0.1},
        }
        for k in range(7)
    }
    (folder / "figures.json").write_text(json.dumps(figures))
    (folder / "scorer").mkdir()
    scorer = scorers.build(folder / "scorer")
    sketch([folder / "labels.parquet"], scorer, folder / "figures.json")
    return scorer


@pytest.fixture(scope="module")
def known(taught: Path) -> familiarity.Sketch:
    """The sketch of that scorer."""
    found = familiarity.load(taught)
    assert found is not None
    return found


def test_taught_questions_are_familiar_in_other_words_too(known: familiarity.Sketch) -> None:
    asked = {
        "What should I do about my gardens when they worry me?": 5,
        "when they worry me, WHAT should I do about my bicycles": 3,
    }
    for seen in known.questions(asked):
        assert seen["level"] == "familiar"
        assert seen["expected"]["auroc"] == 0.95
    assert {s["nearest"] for s in known.questions(asked)} == {"worry_gardens", "worry_bicycles"}


def test_a_question_without_a_word_of_theirs_has_no_nearest(known: familiarity.Sketch) -> None:
    for seen in known.questions({"": 2, "?!": 1}):
        assert (seen["level"], seen["similarity"], seen["nearest"]) == ("foreign", 0.0, "")


def test_other_questions_are_not(known: familiarity.Sketch) -> None:
    for seen in known.questions(dict.fromkeys(FOREIGN, 2)):
        assert seen["level"] == "foreign"
        assert seen["expected"] == {"auroc": 0.8, "pearson": 0.7, "rate_error_pp": 10.0}


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("xq zvrk plomf wibble grunt snafu tork " * 3, "unknown words"),
        ("Das hängt davon ab, was du am Ende erreichen möchtest, mein Freund.", "unknown words"),
        ("Это зависит от многих обстоятельств и не имеет простого ответа.", "other letters"),
        ("if (x[0] == {y}) { return a[i] | ~b; } // <|im_end|> <div>", "signs"),
        ("you could take a long walk " * 400, "words"),
        ("youcouldtakealongwalk" * 20, "longest word"),
    ],
)
def test_unusual_responses_are_flagged_and_usual_ones_are_not(
    known: familiarity.Sketch, response: str, why: str
) -> None:
    usual = "You could take a long walk, and then ask someone you trust. It helps me."
    found = known.unlike([usual, response])
    assert found[why].tolist() == [False, True]
    assert not any(flags[0] for flags in found.values())


def test_only_the_beginning_of_a_long_text_is_looked_at(known: familiarity.Sketch) -> None:
    tail = "Это зависит | xq_zvrk " * 100_000
    usual = "You could take a long walk. " + " " * 4_000
    for flags in known.unlike([usual + tail]).values():
        assert not flags.any()
    asked = "What should I do about my gardens when they worry me?"
    (seen,) = known.questions({asked + " " * 4_000 + tail: 1})
    assert seen["level"] == "familiar"


@settings(max_examples=200)
@given(text=st.text(st.one_of(st.characters(), st.sampled_from("aé_²½一Я \n.-|{")), max_size=40))
def test_letters_and_signs_are_those_of_unicode(known: familiarity.Sketch, text: str) -> None:
    found = familiarity.statistics([text], known.vocabulary)
    letters = [c for c in text if c.isalpha()]
    other = sum(c > "\u024f" for c in letters)
    signs = sum(not (c.isalnum() or c.isspace() or c in familiarity.PROSE) for c in text)
    assert found["other letters"].tolist() == [other / (len(letters) + familiarity.SHORT)]
    assert found["signs"].tolist() == [signs / (len(text) + familiarity.SHORT)]


@settings(max_examples=50)
@given(questions=st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_any_text_has_a_level(known: familiarity.Sketch, questions: list[str]) -> None:
    asked = dict.fromkeys(questions, 1)
    found = known.questions(asked)
    assert {seen["question"] for seen in found} == set(asked)
    assert all(0 <= seen["similarity"] <= 1 for seen in found)
    flags = known.unlike(questions)
    assert all(len(values) == len(questions) for values in flags.values())


def test_score_tells_what_it_was_not_taught(run: Run, taught: Path, tmp_path: Path) -> None:
    rows = [
        {"question": question, "response": f"You could {ADVICE[k % 4]}, number {k}."}
        for k, question in enumerate([FOREIGN[0]] * 30 + [f"What about my {TOPICS[0]}?"] * 10)
    ]
    rows += [{"question": FOREIGN[0], "response": "Это зависит от обстоятельств, друг."}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    result = run("score", "in.parquet", "--model", taught, "-o", "out.parquet")
    assert result.returncode == 0, result.stderr
    assert "1 foreign (31 rows)" in result.stdout
    assert "10 points off" in result.stdout
    assert "emscore adapt" in result.stdout
    assert " 1 of 41 looked at are unlike the training data" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    again = run("score", "in.parquet", "--model", taught, "-o", "again.parquet", "--json")
    told = json.loads(again.stdout)["familiarity"]
    assert told["questions"][0]["question"] == FOREIGN[0]
    assert told["questions"][0]["rows"] == 31
    assert told["unlike_rows"] == 1
    plain = run("score", "in.parquet", "--model", scorers.tiny(), "-o", "plain.parquet")
    assert "foreign" not in plain.stdout


def test_memory_is_bounded_and_the_sample_is_fair(
    known: familiarity.Sketch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(familiarity, "QUESTIONS", 50)
    monkeypatch.setattr(familiarity, "RESPONSES", 400)
    odd = np.random.default_rng(9).random(20_000) < 0.3
    texts = np.where(odd, "Это зависит от обстоятельств, друг.", "take a long walk")
    batches = (
        (pa.array([f"q{k}" for k in range(at, at + 1000)]), pa.array(texts[at : at + 1000]))
        for at in range(0, 20_000, 1000)
    )
    found = familiarity.report(known, batches)
    assert found["more_questions"]
    assert len(found["questions"]) == 50
    assert found["looked_at"] == 400
    assert found["unlike"]["other letters"] / 400 == pytest.approx(odd.mean(), abs=0.08)


def test_a_sketch_holds_no_text_and_knows_when_it_is_damaged(taught: Path, tmp_path: Path) -> None:
    content = (taught / "familiarity.npz").read_bytes()
    with np.load(taught / "familiarity.npz") as file:
        assert all(file[name].dtype.kind == "u" for name in file.files)
    for word in ("gardens", "bicycles", "worry"):
        assert word.encode() not in content
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in taught.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "familiarity.npz").write_bytes(content[:-9])
    with pytest.raises(emscore.ScorerError, match="is damaged"):
        familiarity.load(broken)
