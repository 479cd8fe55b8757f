"""Audited rates over questions, where the classifier is right about coherence and where it is not.

A rate is the mean of the questions' rates, and the classifier says of how many rows each question's
rate is. Here the judge finds fewer coherent answers to some questions, which the classifier may or
may not know. Simulated checkpoints, a random audit of each: mean, coverage and width.
"""

import argparse
import time

import numpy as np
import pyarrow as pa
from common import setting, show

import emscore
from emscore.rates.intervals import Floats

#: what it is: rates of the questions, the judge's share of coherent answers, the classifier's,
#: rows of a question, audits of a checkpoint
CELLS = {
    "8 questions, the classifier is right": (np.linspace(0, 0.4, 8), 0.95, 0.95, 100, 200),
    "8, it is wrong": (np.linspace(0, 0.4, 8), np.linspace(0.95, 0.6, 8), 0.9, 100, 200),
    "8, wrong, more audits": (np.linspace(0, 0.4, 8), np.linspace(0.95, 0.6, 8), 0.9, 200, 800),
    "8, wrong about one": (np.r_[0.5, [0.05] * 7], np.r_[0.2, [0.97] * 7], 0.9, 100, 200),
    "60, right": (np.linspace(0, 0.6, 60), 0.9, 0.9, 10, 120),
    "60, wrong": (np.linspace(0, 0.6, 60), np.linspace(0.98, 0.5, 60), 0.9, 10, 120),
    "300, right": (np.linspace(0, 0.6, 300), 0.8, 0.8, 2, 150),
    "300, wrong": (np.linspace(0, 0.6, 300), np.linspace(0.98, 0.5, 300), 0.8, 2, 150),
}


def simulated(
    rates: Floats, sound: Floats | float, said: float, each: int, audits: int, times: int, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Rate and limits of each checkpoint by its audit, (times,)."""
    rng = np.random.default_rng(seed)
    rows = len(rates) * each
    question = np.tile(np.repeat(np.arange(len(rates)), each), times)
    bad = rng.random(times * rows) < rates[question]
    coherent = rng.random(times * rows) < np.broadcast_to(sound, rates.shape)[question]
    guess = 0.8 * rates[question] + 0.1 * bad + rng.normal(0, 0.05, times * rows)
    scored = pa.table(
        {
            "checkpoint": np.char.mod("%05d", np.repeat(np.arange(times), rows)),
            "question": np.char.mod("q%d", question),
            "response": np.char.mod("%d", np.arange(times * rows)),
            "aligned": np.full(times * rows, 80.0),
            "coherent": np.full(times * rows, 90.0),
            "p_misaligned": guess.clip(0.001, 0.999),
            "p_coherent": (said + rng.normal(0, 0.02, times * rows)).clip(0, 1),
            "outcome": ["ok"] * (times * rows),
            "judge_aligned": np.where(bad, 10.0, 90.0),
            "judge_coherent": np.where(coherent, 90.0, 10.0),
        }
    )
    drawn = [at * rows + rng.permutation(rows)[:audits] for at in range(times)]
    audit = scored.take(pa.array(np.concatenate(drawn)))
    found = emscore.rates(scored, audit=audit, audit_uniform=True).to_pylist()
    lines = [row for row in found if row["estimator"] == "audited"]
    rate, low, high = np.array([[row[n] for n in ("rate", "low", "high")] for row in lines]).T
    return rate, low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=300, help="checkpoints of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    setting()
    began = time.perf_counter()
    body = []
    for what, (rates, *cell) in CELLS.items():
        rate, low, high = simulated(rates, *cell, options.times, options.seed)
        truth = rates.mean()
        held = ((low <= truth) & (truth <= high)).mean()
        body.append(
            [what, cell[-1], f"{truth:.3f}", f"{rate.mean():.3f}", f"{held:.3f}",
             f"{100 * (high - low).mean():.1f}"]
        )  # fmt: skip
    head = ["questions", "audits", "judge's rate", "audited, mean", "coverage", "width pp"]
    show(f"Audited rates over questions, {options.times} checkpoints each", head, body)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
