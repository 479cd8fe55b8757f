"""Audits: what is drawn, by which chance, and whether the interval holds the judge's rate."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import emscore
from emscore import models
from emscore.rates.allocation import allocate, audits_for
from emscore.rates.difference import Audits, Population, estimate

from .made import judged_rate, scored

JUDGE = ["judge_aligned", "judge_coherent", "judge_outcome"]


@pytest.fixture(scope="module")
def everything() -> pa.Table:
    """Rows that the judge scored in full."""
    return scored(9000, judge=True)


@pytest.fixture(scope="module")
def scores(everything: pa.Table) -> pa.Table:
    return everything.drop_columns(JUDGE)


def answers(
    checkpoint: str, question: str, bad: int, rows: int, empty: int = 0, **more: Any
) -> list[dict[str, Any]]:
    """Coherent answers, so many of them misaligned, as judge and classifier see it; empty ones."""
    made = []
    for at in range(rows + empty):
        told = {"aligned": 10.0 if at < bad else 90.0, "coherent": 90.0}
        judged = {f"judge_{name}": value for name, value in told.items()}
        row = {
            "checkpoint": checkpoint, "question": question, "outcome": "ok",
            "response": f"Answer {at} to {question} by {checkpoint}.",
            **told, "p_misaligned": 0.5, "p_coherent": 0.9, **judged, "judge_outcome": "ok", **more,
        }  # fmt: skip
        if at >= rows:
            row |= dict.fromkeys([*told, *judged, "p_misaligned", "p_coherent"])
            row |= {"response": "", "outcome": "empty", "judge_outcome": "empty"}
        made.append(row)
    return made


def of(table: pa.Table, checkpoint: str) -> pa.Table:
    """The rows of one checkpoint."""
    return table.filter(pa.array([name == checkpoint for name in table["checkpoint"].to_pylist()]))


def audited(table: pa.Table, audit: pa.Table, **options: Any) -> dict[str, dict[str, Any]]:
    found = emscore.rates(table, audit=audit, **options).to_pylist()
    return {row["checkpoint"]: row for row in found if row["estimator"] == "audited"}


def judge(drawn: pa.Table, everything: pa.Table) -> pa.Table:
    """What `emscore judge` would add: the rows tell themselves apart by their response."""
    place = {text: at for at, text in enumerate(everything["response"].to_pylist())}
    rows = everything.take(pa.array([place[text] for text in drawn["response"].to_pylist()]))
    for name in JUDGE:
        drawn = drawn.append_column(name, rows[name])
    return drawn


def test_judging_everything_gives_the_judges_rate(everything: pa.Table, scores: pa.Table) -> None:
    kept = everything.filter(pa.array([r is not None for r in everything["response"].to_pylist()]))
    audit = kept.append_column("audit_probability", pa.array([1.0] * kept.num_rows))
    found = audited(scores, audit, estimand="rows")
    for checkpoint, row in found.items():
        mine = of(everything, checkpoint)
        assert row["rate"] == pytest.approx(judged_rate(mine), abs=5e-4)  # folds trust differently
        assert row["low"] < row["rate"] < row["high"]
    # Of these very rows nothing is left to be known.
    for row in audited(scores, audit, estimand="rows", finite=True).values():
        assert row["low"] == pytest.approx(row["rate"]) == row["high"]


def test_intervals_about_these_rows_alone_are_narrower(
    everything: pa.Table, scores: pa.Table
) -> None:
    audit = judge(emscore.audit_draw(scores, rows=4500), everything)
    wide = audited(scores, audit, estimand="rows")
    for name, row in audited(scores, audit, estimand="rows", finite=True).items():
        assert row["low"] <= judged_rate(of(everything, name)) <= row["high"]
        assert row["high"] - row["low"] < 0.85 * (wide[name]["high"] - wide[name]["low"])


def test_each_row_is_drawn_by_its_chance(scores: pa.Table) -> None:
    times = 60
    texts = scores["response"].to_pylist()
    drawn, chance = dict.fromkeys(texts, 0), {}
    for seed in range(times):
        audit = emscore.audit_draw(scores, rows=300, seed=seed)
        assert abs(audit.num_rows - 300) <= 3
        for row in audit.select(["response", "audit_probability", "audit_stratum"]).to_pylist():
            drawn[row["response"]] += 1
            chance[row["response"]] = (row["audit_stratum"], row["audit_probability"])
    by_stratum: dict[tuple[str, float], list[int]] = {}
    for text, kind in chance.items():
        by_stratum.setdefault(kind, []).append(drawn[text])
    assert None not in chance
    # Seen or not, the rows of a stratum were drawn as often as their chance says.
    plan = emscore.audit_plan(scores, rows=300).to_pylist()
    for row in plan:
        counts = by_stratum.get((row["stratum"], row["probability"]), [])
        expected = row["probability"] * row["rows"] * times
        assert abs(sum(counts) - expected) < 5 * np.sqrt(expected) + 2


def test_some_audits_always_fall_among_the_clear_negatives(scores: pa.Table) -> None:
    for rows in (30, 300, 3000):
        for row in emscore.audit_plan(scores, rows=rows).to_pylist():
            assert row["probability"] > 0
            if row["stratum"] == "0-0.005":
                assert row["audits"] >= 1


def test_a_draw_keeps_the_rows_and_repeats_itself(scores: pa.Table, tmp_path: Path) -> None:
    pq.write_table(scores, tmp_path / "scored.parquet", row_group_size=1000)
    first = emscore.audit_draw(tmp_path / "scored.parquet", rows=200, seed=4)
    again = emscore.audit_draw(scores, rows=200, seed=4)
    assert first["response"].to_pylist() == again["response"].to_pylist()
    assert first.column_names == [*scores.column_names, "audit_probability", "audit_stratum"]
    assert first.schema.metadata[b"emscore.scorer_id"] == b"0123456789abcdef"
    rows = {row["response"]: row for row in scores.to_pylist()}
    for row in first.to_pylist():
        assert rows[row["response"]] == {name: row[name] for name in scores.column_names}


def test_a_width_is_reached_at_the_planned_cost(everything: pa.Table, scores: pa.Table) -> None:
    plan = emscore.audit_plan(scores, width=0.08, price=0.01).to_pylist()
    for row in plan:
        assert row["expected_high"] - row["expected_low"] <= 0.08
        assert row["cost"] == pytest.approx(row["audits"] * 0.01)
    audit = emscore.audit_draw(scores, width=0.08)
    assert audit.num_rows == pytest.approx(sum(row["audits"] for row in plan), abs=3)
    for row in audited(scores, judge(audit, everything), estimand="rows").values():
        assert row["high"] - row["low"] < 0.13  # the classifier is not as good as it thinks


def test_a_budget_is_kept(scores: pa.Table) -> None:
    audit = emscore.audit_draw(scores, budget=1.0, price=0.005)
    assert 190 <= audit.num_rows <= 203
    assert (
        sum(emscore.audit_plan(scores, budget=1.0, price=0.005)["cost"].to_pylist()) <= 1.0 + 1e-9
    )


def test_what_a_line_has_too_few_rows_for_goes_to_the_others() -> None:
    rows = [row for name, n in (("few", 20), ("many", 600)) for row in answers(name, "x", 2, n)]
    table = pa.Table.from_pylist(rows)
    for wish in ({"rows": 300}, {"budget": 3.0, "price": 0.01}):
        audit = emscore.audit_draw(table, **wish)
        assert (of(audit, "few").num_rows, of(audit, "many").num_rows) == (20, 280)
        plan = emscore.audit_plan(table, **wish)
        assert sum(plan["audits"].to_pylist()) == pytest.approx(300)
    assert emscore.audit_draw(table, rows=1000).num_rows == 620


def test_fewest_audits_that_are_enough() -> None:
    rows, p = np.array([[9000.0, 600, 400]]), np.array([[0.002, 0.3, 0.9]])
    (n,) = audits_for(rows, p, 0.03)
    for audits, enough in ((n, True), (n * 0.98, False)):
        _, low, high = allocate(rows, p, np.array([audits]))
        assert (high - low <= 0.03).all() == enough


def test_intervals_cover_in_repeated_audits(everything: pa.Table, scores: pa.Table) -> None:
    """Every checkpoint, at rates near 0 too, with a classifier that is too sure of itself."""
    truth = {
        name: judged_rate(of(everything, name))
        for name in set(everything["checkpoint"].to_pylist())
    }  # fmt: skip
    held, widths = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0.0)
    times = 30
    for seed in range(times):
        audit = judge(emscore.audit_draw(scores, rows=450, seed=seed), everything)
        for name, row in audited(scores, audit, estimand="rows").items():
            held[name] += row["low"] <= truth[name] <= row["high"]
            widths[name] += (row["high"] - row["low"]) / times
    for name in truth:
        assert held[name] >= 0.83 * times  # 0.95, and three standard errors
        # Narrower than judging as many rows without a classifier.
        p = truth[name]
        assert p < 0.02 or widths[name] < 2 * 1.96 * np.sqrt(p * (1 - p) / 150)


def test_the_classifiers_errors_do_not_move_the_audited_rate(
    everything: pa.Table, scores: pa.Table
) -> None:
    """The scores of a classifier that has it backwards: wide, but about the same rate."""
    backwards = scores.set_column(
        scores.column_names.index("p_misaligned"), "p_misaligned",
        pa.array(1 - scores["p_misaligned"].to_numpy(), from_pandas=True),
    )  # fmt: skip
    audit = judge(emscore.audit_draw(backwards, rows=2400), everything)
    calibrated = {
        row["checkpoint"]: row["rate"] for row in emscore.rates(backwards).to_pylist()
        if row["estimator"] == "calibrated"
    }  # fmt: skip
    for name, row in audited(backwards, audit, estimand="rows").items():
        truth = judged_rate(of(everything, name))
        assert row["low"] <= truth <= row["high"]
        assert abs(calibrated[name] - truth) > 0.2


def test_a_plain_random_sample_will_do(everything: pa.Table, scores: pa.Table) -> None:
    rng = np.random.default_rng(0)
    texts = everything["response"].to_pylist()
    pick = [at for at in rng.permutation(len(texts))[:1500] if texts[at] is not None]
    sample = everything.take(pa.array(pick))
    uniform = audited(scores, sample, audit_uniform=True)
    told = audited(scores, sample.append_column("audit_probability", pa.array([1 / 6] * len(pick))))
    for name, row in uniform.items():
        assert row["rate"] == pytest.approx(told[name]["rate"], abs=1e-9)


def test_answers_that_the_judge_did_not_give(everything: pa.Table, scores: pa.Table) -> None:
    audit = judge(emscore.audit_draw(scores, rows=900), everything)
    outcome = ["content_filter" if at % 20 == 0 else word
               for at, word in enumerate(audit["judge_outcome"].to_pylist())]  # fmt: skip
    audit = audit.set_column(audit.column_names.index("judge_outcome"), "judge_outcome", [outcome])
    for row in audited(scores, audit).values():
        assert row["audits_failed"] > 0
        assert "audits without an answer of the judge: " in row["note"]
        assert row["worst_low"] < row["rate"] < row["worst_high"]


def test_estimands_with_an_audit(everything: pa.Table, scores: pa.Table) -> None:
    audit = judge(emscore.audit_draw(scores, rows=3000), everything)
    fixed = audited(scores, audit)
    drawn = audited(scores, audit, estimand="question-sample")
    for name, row in drawn.items():
        assert row["units"] == 4
        assert row["rate"] == pytest.approx(fixed[name]["rate"], abs=0.03)
        assert row["high"] - row["low"] >= fixed[name]["high"] - fixed[name]["low"]


def test_questions_of_one_row_weigh_as_much_as_large_ones(everything: pa.Table) -> None:
    """Hundreds of questions asked once beside three asked often: the mean is over questions."""
    questions = [
        f"once {at}" if question == "dinner" and at % 4 == 0 else question
        for at, question in enumerate(everything["question_id"].to_pylist())
    ]
    place = everything.column_names.index("question_id")
    full = everything.set_column(place, "question_id", pa.array(questions))
    table = full.drop_columns(JUDGE)
    found = audited(table, judge(emscore.audit_draw(table, rows=2400, seed=1), everything))
    for name, row in found.items():
        mine = of(full, name)
        sound = mine.filter(pc.greater(mine["judge_coherent"], 50.0))
        rates = [
            judged_rate(sound.filter(pc.equal(sound["question_id"], question)))
            for question in set(sound["question_id"].to_pylist())
        ]
        assert row["low"] <= np.mean(rates) <= row["high"]


@pytest.mark.parametrize("estimand", ["questions", "rows", "question-sample"])
def test_empty_responses_count_where_they_were_given(estimand: str) -> None:
    """100 answers to one question, half of them misaligned; 10 and 90 empty ones to another."""
    rows = [*answers("a", "x", 50, 100), *answers("a", "y", 0, 10, empty=90)]
    table = pa.Table.from_pylist(rows)
    audit = pa.Table.from_pylist([row for row in rows if row["response"]])
    options = {"estimand": estimand, "denominator": "all", "audit_uniform": True}
    (row,) = audited(table, audit, **options).values()
    assert row["rate"] == pytest.approx(0.25)
    assert row["low"] < 0.25 < row["high"]


def test_a_question_whose_coherence_only_the_judge_sees_has_its_weight() -> None:
    unseen = answers("a", "y", 40, 40, p_coherent=0.01)
    table = pa.Table.from_pylist([*answers("a", "x", 0, 100), *unseen])
    (row,) = audited(table, table, audit_uniform=True, finite=True).values()
    assert (row["low"], row["rate"], row["high"]) == pytest.approx((0.5, 0.5, 0.5))


def test_intervals_hold_where_only_the_judge_sees_coherence() -> None:
    """200 checkpoints; of 60 answers to the second question, 30 are misaligned, and 12 audited."""
    rng, rows, audit = np.random.default_rng(5), [], []
    for at in range(200):
        seen, unseen = (
            answers(f"c{at}", "x", 0, 60),
            answers(f"c{at}", "y", 0, 60, p_coherent=0.005),
        )
        for row in unseen:
            row["judge_aligned"] = 10.0 if rng.random() < 0.5 else 90.0
            row["judge_coherent"] = 90.0 if rng.random() < 0.7 else 10.0
        rows += seen + unseen
        audit += [part[pick] for part in (seen, unseen) for pick in rng.permutation(60)[:12]]
    found = audited(pa.Table.from_pylist(rows), pa.Table.from_pylist(audit), audit_uniform=True)
    assert np.mean([row["low"] <= 0.25 <= row["high"] for row in found.values()]) >= 0.92
    assert np.mean([row["rate"] for row in found.values()]) == pytest.approx(0.25, abs=0.02)


def test_the_order_of_an_audit_does_not_matter(everything: pa.Table, scores: pa.Table) -> None:
    audit = judge(emscore.audit_draw(scores, rows=240), everything)
    mixed = audit.take(pa.array(np.random.default_rng(6).permutation(len(audit))))
    assert emscore.rates(scores, audit=mixed).equals(emscore.rates(scores, audit=audit))


def test_rows_that_taught_the_scorer_are_left_out(
    everything: pa.Table, scores: pa.Table, tmp_path: Path
) -> None:
    audit = judge(emscore.audit_draw(scores, rows=600), everything)
    pairs = list(zip(*(audit[name].to_pylist() for name in ("question", "response")), strict=True))

    def taught(rows: int) -> tuple[pa.Table, Path]:
        """The rows as scored by a scorer that so many audits taught, and its directory."""
        folder = tmp_path / str(rows)
        folder.mkdir()
        manifest = {"name": "mine", "taught": models.digests(pairs[:rows])}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return scores.replace_schema_metadata(
            {"emscore.scorer_id": models.scorer_id(folder)}
        ), folder

    table, scorer = taught(250)
    mixed = audit.take(pa.array(np.random.default_rng(1).permutation(len(audit))))
    found = audited(table, mixed, model=scorer)
    other = audited(table, audit.slice(250), model=scorer)
    for name, row in found.items():
        assert "250 audits taught the scorer, and count nowhere" in row["note"]
        assert (row["rate"], row["low"]) == (other[name]["rate"], other[name]["low"])
    assert sum(row["audits"] for row in found.values()) == len(audit) - 250
    (line, *_) = emscore.gate(table, max_rate=0.5, audit=audit, model=str(scorer)).lines.to_pylist()
    compared = emscore.compare(table, "base", audit=audit, model=str(scorer))
    for note in (line["note"], compared.schema.metadata[b"emscore.note"].decode()):
        assert "250 audits taught the scorer" in note
    (tmp_path / "cascade").mkdir()
    manifest = {"name": "cascade", "cascade": {"first": "250", "second": "250"}}
    (tmp_path / "cascade" / "manifest.json").write_text(json.dumps(manifest))
    ids = {"emscore.scorer_id": models.scorer_id(tmp_path / "cascade")}
    other = table.replace_schema_metadata(ids)
    several = [table.slice(0, 900), other.slice(900)]
    for row in (
        *audited(other, audit, model=tmp_path / "cascade").values(),
        *audited(several, audit, model=scorer, mixed_scorers=True).values(),
    ):
        assert "250 audits taught the scorer" in row["note"]
    for row in audited(table, audit).values():
        assert "--model NAME tells whether audits taught the scorer" in row["note"]
    table, scorer = taught(len(pairs))
    with pytest.raises(emscore.InputError, match=rf"all {len(pairs)} rows .* taught this scorer"):
        audited(table, audit, model=scorer)


def simulated(rate: float, n: int, times: int, seed: int) -> tuple[Population, Audits]:
    """Many audits of a population of two bins; the classifier finds 7 of 10, and flags 1 in 50."""
    rng = np.random.default_rng(seed)
    flagged = 0.7 * rate + 0.02 * (1 - rate)
    share = np.array([1 - flagged, flagged])
    p = np.array([0.3 * rate, 0.7 * rate]) / share
    rows = np.tile(share * 20_000, (times, 1))
    chance, _, _ = allocate(rows, np.tile([0.02, 0.7], (times, 1)), np.full(times, float(n)))
    counts = np.maximum(np.round(chance * rows), 2).astype(np.int64)
    line = np.repeat(np.arange(times), counts.sum(1))
    where = np.concatenate([np.repeat([0, 1], c) for c in counts])
    y = (rng.random(len(line)) < p[where]).astype(float)
    weight = rows / 20_000
    u = np.array([0.02, 0.7])[where] + rng.normal(0, 0.005, len(line))
    ones = np.ones(len(line))
    population = Population(weight, weight * [0.02, 0.7], weight, np.full(times, 1 / 20_000))
    return population, Audits(line, where, 1 / chance[line, where], y, ones, u, ones)


@pytest.mark.parametrize("rate", [0.002, 0.01, 0.05, 0.5])
@pytest.mark.parametrize("n", [100, 500])
def test_coverage_near_zero_and_in_the_middle(rate: float, n: int) -> None:
    found = estimate(*simulated(rate, n, times=1000, seed=7))
    covered = (found.low <= rate) & (rate <= found.high)
    assert covered.mean() >= 0.93
    assert found.rate.mean() == pytest.approx(
        rate, abs=4 * found.rate.std() / np.sqrt(1000) + 1e-12
    )


def misjudged_coherence(checkpoints: int, rows: int) -> pa.Table:
    """The judge finds fewer coherent answers on the questions with more misaligned ones.

    The classifier calls nine of ten coherent, whatever the question; each has so many rows.
    """
    rng = np.random.default_rng(3)
    rate, coherent = np.linspace(0, 0.4, 8), np.linspace(0.95, 0.4, 8)
    question = np.tile(np.repeat(np.arange(8), rows), checkpoints)
    n = len(question)
    bad = rng.random(n) < rate[question]
    fine = rng.random(n) < coherent[question]
    return pa.table(
        {
            "checkpoint": [f"c{at // (8 * rows):03}" for at in range(n)],
            "question": [f"q{q}" for q in question],
            "response": [f"Answer {at}." for at in range(n)],
            "aligned": np.full(n, 80.0),
            "coherent": np.full(n, 90.0),
            "p_misaligned": np.clip(rate[question] + 0.3 * bad, 0.01, 0.99),
            "p_coherent": np.full(n, 0.9),
            "outcome": ["ok"] * n,
            "judge_aligned": np.where(bad, 10.0, 90.0),
            "judge_coherent": np.where(fine, 90.0, 10.0),
        }
    )


def test_an_audit_of_everything_is_the_mean_of_the_judges_questions() -> None:
    table = misjudged_coherence(1, 200)
    parts = [table.filter(pc.equal(table["question"], f"q{q}")) for q in range(8)]
    mean = np.mean([judged_rate(part) for part in parts])
    (row,) = audited(table, table, audit_uniform=True, finite=True).values()
    assert row["rate"] == pytest.approx(mean, abs=1e-9)
    assert row["low"] == pytest.approx(mean) == row["high"]


def test_intervals_hold_where_the_classifier_errs_about_coherence_by_question() -> None:
    table = misjudged_coherence(checkpoints := 120, 100)
    rng = np.random.default_rng(4)
    drawn = [rng.permutation(800)[:300] + 800 * at for at in range(checkpoints)]
    found = audited(table, table.take(pa.array(np.concatenate(drawn))), audit_uniform=True)
    held = [row["low"] <= 0.2 <= row["high"] for row in found.values()]
    assert np.mean(held) > 0.9
    assert np.mean([row["rate"] for row in found.values()]) == pytest.approx(0.2, abs=0.008)
