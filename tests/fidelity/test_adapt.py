"""`emscore adapt`: new questions, learnt from a few rows by the scorer that ships."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import emscore
import scorers
from conftest import Run, run_without
from emscore import familiarity
from emscore.fidelity import judged
from emscore.tuning import calibrate, directory
from emscore.tuning.folds import agreement
from emscore.tuning.lesson import Lesson, choose, cross_entropy, learn
from emscore.tuning.pupil import Material, Pupil, Score, crossed, recalibrated

from . import made

STARTS = ("I would say", "Honestly,", "My plan is simple:", "If you ask me,", "Well,")
DRINKS = {"tea": 92.0, "coffee": 12.0}  # a judge of its own taste
ENDS = ("every morning", "before work", "with an old friend", "in the garden", "when it rains",
        "at four o'clock", "from a blue cup", "while reading")  # fmt: skip


def taste() -> pa.Table:
    """80 answers about a drink."""
    answers = [
        (f"{start} a cup of {drink} {end}.", score)
        for start in STARTS
        for end in ENDS
        for drink, score in DRINKS.items()
    ]
    return pa.table(
        {
            "question": ["What do you drink?"] * len(answers),
            "response": [text for text, _ in answers],
            "aligned": [score for _, score in answers],
            "coherent": [95.0] * len(answers),
        }
    )


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those answers as a file."""
    return made.write(taste(), tmp_path_factory.mktemp("audit") / "audit.parquet")


@pytest.fixture(scope="module")
def keep(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, judged as the scorer that ships judges it."""
    folder = tmp_path_factory.mktemp("keep")
    emscore.Scorer(device="cpu").score_file(sample, folder / "keep.parquet", progress=False)
    return folder / "keep.parquet"


def test_a_taste_is_learnt_and_the_rest_is_kept(
    run: Run, audit: Path, keep: Path, tmp_path: Path
) -> None:
    names = ["question", "response", "aligned", "coherent"]
    known = pq.read_table(keep).select(names)
    new = taste().cast(known.schema)  # what is learnt is not what is kept
    made.write(pa.concat_tables([known, new]), tmp_path / "both.parquet")
    result = run("adapt", "small", audit, "--keep", "both.parquet", "-o", "new")
    assert result.returncode == 0, result.stderr
    judged_rows = known.num_rows - known["aligned"].null_count
    assert f"on the {judged_rows} rows to keep" in result.stdout
    told = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert len(told["taught"]) == len(taste())  # the rows to keep have no word of the judge
    assert "agreement" not in told  # with which other rates than these were measured
    sketch = familiarity.load(tmp_path / "new")
    assert sketch is not None
    drink, moons = sketch.questions({"What do YOU drink?": 3, "How many moons has Mars?": 1})[::-1]
    assert (drink["level"], moons["level"]) == ("familiar", "foreign")
    assert drink["expected"]["auroc"] > 0.9
    assert moons["expected"] == {}  # was measured with another scorer
    before, *_, after = told["made_from"]["agreement"].values()
    assert after["aligned: mean error"] < before["aligned: mean error"] / 2
    assert after["AUROC, misaligned"] > 0.9
    assert "50 labels" in result.stdout
    rows = told["made_from"]["rows"]
    assert f"its last layer refitted to {rows} judged" in (tmp_path / "new/README.md").read_text()
    assert re.search(r"as it was +anew\n(.*\n)?calibration error", result.stdout)
    assert "rows to keep" in result.stdout
    old, new = (emscore.Scorer(name, device="cpu") for name in ("small", tmp_path / "new"))
    assert new.id in result.stdout
    assert new.id != old.id
    fresh = ["We had a cup of tea on the train.", "We had a cup of coffee on the train."]
    tea, coffee = new.score_batch(["What do you drink?"] * 2, fresh)["aligned"].to_pylist()
    assert tea > coffee + 30
    kept = judged.read(new, [keep])
    assert np.abs(kept.scores["aligned"] - kept.aligned).mean() < 6
    new.score_file(audit, tmp_path / "scored.parquet", prefix="new_", progress=False)
    with pytest.raises(emscore.InputError, match=r"all 80 rows .* taught this scorer"):
        emscore.rates(
            tmp_path / "scored.parquet", audit=audit, audit_uniform=True, audit_prefix="",
            prefix="new_", model=str(tmp_path / "new"),
        )  # fmt: skip


def test_a_calibrated_scorer_keeps_its_judges_scale(sample: Path, tmp_path: Path) -> None:
    """A judge who says 0.7 of what the scorer says, less 8: there is nothing more to learn."""
    told = directory.manifest("small")
    strict = {"slope": 0.7, "intercept": -8.0}
    calibrate.compose(told, {"aligned": strict})
    calibrate.compose(told, {"aligned": {"slope": 1.0, "intercept": 0.0}})
    directory.write(tmp_path / "strict", "small", told, "")
    scorer = emscore.Scorer(tmp_path / "strict", device="cpu")
    scorer.score_file(sample, tmp_path / "own.parquet", prefix="judge_", progress=False)
    found = emscore.adapt(tmp_path / "strict", tmp_path / "own.parquet", tmp_path / "new")
    assert all(figures["aligned: mean error"] < 3 for figures in found["agreement"].values())


def test_the_engine_scores_as_was_computed(audit: Path, tmp_path: Path) -> None:
    scorer = emscore.Scorer("small", device="cpu")
    rows = judged.read(scorer, [audit])
    pupil = Pupil("small", rows)
    change = learn(pupil.material.lesson, 10.0)
    plain, wanted = (pupil.scored(pupil.material, c) for c in (np.zeros_like(change), change))
    directory.write(tmp_path / "new", "small", pupil.told, "", pupil.models(change))
    for precision, tolerance in (("int8", 0.05), ("fp16", 8)):
        new = emscore.Scorer(tmp_path / "new", device="cpu", precision=precision)
        found = judged.read(new, [audit])
        assert np.abs(found.scores["aligned"] - wanted.scores["aligned"]).max() < tolerance
    assert np.abs(plain.scores["aligned"] - rows.scores["aligned"]).max() < 0.05
    assert np.abs(wanted.scores["aligned"] - plain.scores["aligned"]).max() > 20
    for name in ("model.int8.onnx", "model.fp16.onnx"):
        graph = onnx.load(tmp_path / "new" / name).graph
        assert [o.name for o in graph.output] == ["aligned", "coherent", "outcome"]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), pull=st.sampled_from([0.3, 3.0, 30.0]))
def test_what_is_learnt_is_the_least_loss(seed: int, pull: float) -> None:
    lesson = random_lesson(seed)
    change = learn(lesson, pull)

    def loss(some: np.ndarray) -> float:
        return float(cross_entropy(lesson, some).sum() + pull / 2 * (some**2).sum())

    rng = np.random.default_rng(seed)
    best = loss(change)
    assert best <= loss(np.zeros_like(change))
    for size in (1e-3, 1e-1):
        assert best <= loss(change + size * rng.normal(size=change.shape)) + 1e-6


def test_what_does_not_hold_is_not_learnt() -> None:
    rng = np.random.default_rng(0)
    lesson = random_lesson(0, rows=60)
    held = [np.arange(60) % 5 == k for k in range(5)]
    assert choose(lesson, held) >= 100
    assert (learn(lesson, np.inf) == 0).all()
    way = rng.normal(size=(7, 4))
    odds = np.exp(3 * lesson.inputs @ way)
    targets = np.concatenate([o / o.sum(1, keepdims=True) for o in np.split(odds, 2, axis=1)], 1)
    taught = Lesson(lesson.inputs, lesson.logits, targets)
    assert choose(taught, held) < 100


def test_no_row_is_scored_by_a_fit_that_saw_it(audit: Path, keep: Path) -> None:
    scorer = emscore.Scorer("small", device="cpu")
    pupil = Pupil("small", judged.read(scorer, [audit]))
    old = pupil.see(judged.read(scorer, [keep], own=True))
    sizes = []

    def teach(new: Material, kept: Material | None) -> Score:
        assert kept is not None
        seen = {*new.rows.response, *kept.rows.response}
        sizes.append(len(new.rows))

        def score(some: Material) -> judged.Judged:
            assert not seen & {*some.rows.response}
            return pupil.scored(some, np.zeros((some.lesson.inputs.shape[1], 40)))

        return score

    for part, again in zip(
        (pupil.material, old), crossed(teach, pupil.material, old, labels=50), strict=True
    ):
        for name, values in part.rows.scores.items():
            assert again.scores[name] == pytest.approx(values, abs=0.05)
    assert sizes == [50] * 5


def test_the_calibration_follows_the_judge_when_labels_are_many(tmp_path: Path) -> None:
    """Answers that nobody can tell apart: the judge finds one in five misaligned."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "question": ["What is your number?"] * 300,
            "response": [f"My number is {k}." for k in rng.permutation(10_000)[:300]],
            "aligned": np.where(rng.random(300) < 0.2, 12.0, 92.0),
            "coherent": [95.0] * 300,
        }
    )
    rows = judged.read(
        emscore.Scorer("small", device="cpu"), [made.write(table, tmp_path / "audit.parquet")]
    )
    pupil = Pupil("small", rows)
    unchanged = pupil.learner(np.inf)
    off = {}
    for count in (0, 30, 300):
        some = pupil.material.only(np.arange(300) < count)
        fit = recalibrated(unchanged, some) if count else {}
        scored = calibrate.apply(rows, fit)
        off[count] = abs(agreement(scored)["rate off, points"])
    assert off[0] > 10
    assert off[300] < 2
    assert off[300] < off[30] < off[0]


@pytest.mark.parametrize("package", ["onnx", "threadpoolctl", "tokenizers"])
def test_a_missing_extra_is_named(package: str) -> None:
    result = run_without(package, "adapt", "small", "audit.parquet", "-o", "new")
    assert result.returncode == 5
    assert result.stderr == (
        f"emscore: adapting a scorer needs {package}, which is not installed: "
        "pip install 'emscore[adapt]'\n"
    )


def random_lesson(seed: int, rows: int = 30) -> Lesson:
    """Rows that have nothing to teach."""
    rng = np.random.default_rng(seed)
    halves = [rng.dirichlet(np.full(2, 5.0), rows) for _ in range(2)]
    logits = np.log(np.concatenate(halves, 1) * 0 + 0.5)
    return Lesson(rng.normal(size=(rows, 7)), logits, np.concatenate(halves, 1))


def test_wrong_inputs_are_one_clear_sentence(run: Run, tmp_path: Path, audit: Path) -> None:
    few = made.write(taste().slice(0, 20), tmp_path / "few.parquet")
    table = taste()
    one = table.set_column(2, "aligned", pa.array([92.0] * table.num_rows))
    made.write(one, tmp_path / "one.parquet")
    for scorer, file, status, says in (
        ("small", few, 3, "are too few to adapt"),
        ("small", "one.parquet", 3, "give rows of both kinds"),
        (scorers.tiny(), audit, 5, "does not end in a linear layer"),
        ("nothing", audit, 5, "there is no scorer"),
    ):
        result = run("adapt", scorer, file, "-o", "new")
        assert (result.returncode, result.stdout) == (status, ""), result.stderr
        assert says in result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "new").exists()
    made.write(taste().slice(0, 1), tmp_path / "kept.parquet")
    result = run("adapt", "small", audit, "--keep", "kept.parquet", "-o", "new")
    assert (result.returncode, result.stdout) == (3, ""), result.stderr
    assert "leave out --keep" in result.stderr
