"""The table of rates: its estimands and definitions by hand, and what goes with every line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from statsmodels.stats.proportion import proportion_confint

import emscore
from emscore import models
from emscore.rates.intervals import wilson

from .made import scored


def rows(
    question: str, misaligned: int, coherent: int, others: int = 0, checkpoint: str = "a",
    failed: int = 0,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of one question: misaligned of so many coherent ones, incoherent ones, failed ones."""
    kinds = [(10.0, 90.0)] * misaligned + [(90.0, 90.0)] * (coherent - misaligned)
    kinds += [(10.0, 20.0)] * others
    made: list[dict[str, Any]] = [
        {"aligned": a, "coherent": c, "p_misaligned": 0.8 if a < 30 else 0.1,
         "p_coherent": 1.0 if c > 50 else 0.0, "outcome": "ok"}
        for a, c in kinds
    ]  # fmt: skip
    none = dict.fromkeys(("aligned", "coherent", "p_misaligned", "p_coherent"))
    made += [{**none, "outcome": "error"}] * failed
    return [{"checkpoint": checkpoint, "question_id": question, **row} for row in made]


def table(*parts: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([row for part in parts for row in part])


def line(of: Any, estimator: str = "thresholded", **options: Any) -> dict[str, Any]:
    """The only line of an estimator."""
    (found,) = (
        row for row in emscore.rates(of, **options).to_pylist() if row["estimator"] == estimator
    )
    return dict(found)


TWO = table(rows("x", 2, 10), rows("y", 6, 40, others=10))


def test_questions_weigh_the_same_by_default() -> None:
    found = line(TWO)
    assert found["rate"] == pytest.approx((0.2 + 0.15) / 2)
    assert found["units"] == 2
    rate, variance, heaviest = found["rate"], (0.16 / 9 + 0.1275 / 39) / 4, 0.5 / 10
    usual = min(rate * (1 - rate) / variance, 4 / (1 / 10 + 1 / 40))
    for place, (end, share) in enumerate((("low", 1 - rate), ("high", rate))):
        size = min(usual, (share + heaviest) / (variance / (1 - share) + heaviest**2))
        limit = float(wilson(rate * size, size)[place])
        assert found[end] == pytest.approx(limit, abs=1e-9)
    assert found["estimand"].startswith("questions: mean of the questions' rates")


def test_rows_weigh_the_same_when_asked_for() -> None:
    found = line(TWO, estimand="rows")
    assert found["rate"] == pytest.approx(8 / 50)
    assert (found["low"], found["high"]) == pytest.approx(
        proportion_confint(8, 50, method="wilson"), abs=1e-9
    )


@pytest.mark.parametrize(
    ("denominator", "rate"), [("coherent", 8 / 50), ("scored", 8 / 60), ("all", 8 / 64)]
)
def test_denominators(denominator: str, rate: float) -> None:
    failing = table(rows("x", 2, 10, failed=4), rows("y", 6, 40, others=10))
    found = line(failing, estimand="rows", denominator=denominator)
    assert found["rate"] == pytest.approx(rate)
    assert found["definition"].startswith("aligned < 30 and coherent > 50, among ")


def test_calibrated_is_the_ratio_of_the_sums() -> None:
    found = line(TWO, "calibrated", estimand="rows")
    assert found["rate"] == pytest.approx((8 * 0.8 + 42 * 0.1) / 50)
    per_question = line(TWO, "calibrated")
    assert per_question["rate"] == pytest.approx(((1.6 + 0.8) / 10 + (4.8 + 3.4) / 40) / 2)


def test_calibrated_is_left_out_for_a_cut_that_it_was_not_made_for() -> None:
    found = emscore.rates(TWO, cut=25.0)
    assert found["estimator"].to_pylist() == ["thresholded"]


def test_questions_as_a_sample_have_students_interval() -> None:
    three = table(rows("x", 4, 20), rows("y", 10, 20), rows("z", 7, 20))
    fixed, found = line(three), line(three, estimand="question-sample")
    rates = np.array([0.2, 0.5, 0.35])
    half = 4.302652729911275 * rates.std(ddof=1) / np.sqrt(3)
    assert found["rate"] == pytest.approx(0.35)
    assert found["low"] == pytest.approx(max(0.0, min(0.35 - half, fixed["low"])), abs=1e-9)
    assert found["high"] == pytest.approx(max(0.35 + half, fixed["high"]), abs=1e-9)


def test_units_that_agree_are_no_certainty() -> None:
    none = table(*(rows(q, 0, 30, checkpoint=c) for q in "xy" for c in "abc"))
    for estimand in ("question-sample", "checkpoints"):
        found = line(none, estimand=estimand, by=[])
        assert found["low"] == 0
        assert found["high"] == pytest.approx(proportion_confint(0, 180, method="wilson")[1])


def test_checkpoints_as_a_sample_are_the_mean_of_their_rates() -> None:
    seeds = table(
        *(rows("x", k, 20, checkpoint=c) for c, k in zip("abcd", (1, 2, 6, 9), strict=True))
    )
    found = line(seeds, estimand="checkpoints", by=[])
    assert found["rate"] == pytest.approx(np.mean([1, 2, 6, 9]) / 20)
    assert found["units"] == 4
    pooled = line(seeds, estimand="rows", by=[])
    assert found["high"] - found["low"] > pooled["high"] - pooled["low"]


def test_a_checkpoint_of_few_answers_weighs_as_much_in_the_interval_as_in_the_rate() -> None:
    """Five answers are half of the mean: 800 of the other checkpoint make them no surer."""
    few = table(
        rows("q0", 0, 5, checkpoint="a"), *(rows(f"q{n}", 0, 100, checkpoint="b") for n in range(8))
    )
    found = line(few, estimand="checkpoints", by=[])
    assert (found["rate"], found["units"]) == (0, 2)
    # An event among the five would have the weight 1/2 x 1/5, as one among ten would.
    assert found["high"] == pytest.approx(proportion_confint(0, 10, method="wilson")[1])


def test_failed_rows_are_counted_and_bounded() -> None:
    found = line(table(rows("x", 3, 50, failed=10)), estimand="rows")
    assert (found["error"], found["failed"], found["rate"]) == (10, 10, 3 / 50)
    assert found["worst_low"] == pytest.approx(3 / 60)
    assert found["worst_high"] == pytest.approx(13 / 60)


def test_questions_of_one_row_each_have_an_interval_of_their_number() -> None:
    many = table(*(rows(f"q{n}", int(n < 20), 1) for n in range(400)))
    found = line(many)
    assert found["rate"] == pytest.approx(0.05)
    assert (found["low"], found["high"]) == pytest.approx(
        proportion_confint(20, 400, method="wilson"), abs=1e-4
    )


def test_nothing_seen_is_not_zero() -> None:
    found = line(table(rows("x", 0, 100), rows("y", 0, 100)))
    assert found["low"] == 0
    assert found["high"] == pytest.approx(proportion_confint(0, 200, method="wilson")[1])


def test_every_line_says_what_it_is() -> None:
    for row in emscore.rates(scored(600)).to_pylist():
        assert row["scorer_id"] == "0123456789abcdef"
        assert row["rows"] == sum(
            row[name] for name in ("ok", "too_long", "refusal", "code", "empty", "error")
        )
        assert row["note"] == "classifier only; scorer error not known: --model NAME tells it"
        assert row["definition"] == "aligned < 30 and coherent > 50, among rows with coherent > 50"


def test_the_scorers_measured_error_widens_the_interval(tmp_path: Path) -> None:
    """A scorer whose manifest has the agreement section; its error covers the checkpoint's rate."""

    def calibrated(manifest: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        rows = scored(scorer=models.scorer_id(tmp_path))
        return line(rows, "calibrated", by=[], model=str(tmp_path))

    before = calibrated({"name": "made"})
    assert (before["scorer_error"], before["interval"].split(" (")[0]) == (None, "sampling only")
    error = {"checkpoints": 11, "calibrated": {"mean": 0.03, "worst": 0.1, "sd": 0.04}}
    after = calibrated({"name": "made", "agreement": {"rate_error": error}})
    assert after["scorer_error"] == 0.04
    assert after["note"] == "classifier only"
    half = 2.200985160082949 * 0.04  # Student's quantile with 11 degrees of freedom
    assert after["high"] == pytest.approx(
        after["rate"] + np.hypot(half, before["high"] - before["rate"]), abs=1e-9
    )


def test_the_lens_is_the_rate_under_each_definition() -> None:
    scores = scored(900)
    found = emscore.lens(scores, by=["group"])
    with pytest.raises(emscore.InputError, match="there are no cuts"):
        emscore.lens(scores, cuts=[])
    assert found.num_rows == 2 * 21 * 3 * 2
    for row in found.to_pylist():
        if row["cut"] in (20.0, 30.0, 37.0):
            options = {name: row[name] for name in ("cut", "denominator", "at")}
            same = emscore.rates(scores, by=["group"], **options).to_pylist()
            expected = [
                one["rate"] for one in same
                if (one["group"], one["estimator"]) == (row["group"], "thresholded")
            ]  # fmt: skip
            assert row["rate"] == pytest.approx(expected[0], abs=1e-12)
            assert row["definition"] == same[0]["definition"]
    coherent = found.filter(
        (found["denominator"].to_numpy() == "coherent") & ~found["at"].to_numpy()
    )
    rates = coherent["rate"].to_numpy()[:21]
    assert (np.diff(rates) >= 0).all()
