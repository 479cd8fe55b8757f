"""Agreement against the number of labels, on questions that a scorer was never taught.

    python benches/adapt.py DATA SCORER QUESTION_ID... [--json FILE]

SCORER was trained without the questions named. For each of them: rows that the judge scored, of
checkpoints held out of training, are parted into an audit and a test; the scorer is taught with 0,
50, 100, 200 and 300 rows of the audit and measured on the test, and on questions that it knew, with
the calibration as it was and anew.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import emscore
from emscore.distill.data import HELD_CHECKPOINTS, MAIN_QUESTIONS
from emscore.fidelity import judged
from emscore.fidelity.judged import Judged
from emscore.tuning import head
from emscore.tuning.folds import agreement, folds
from emscore.tuning.lesson import choose
from emscore.tuning.pupil import Pupil

LABELS = (0, 50, 100, 200, 300)
TEST, KNOWN, KEEP = 400, 200, 150  # rows
SHOWN = ("AUROC, misaligned", "aligned: Pearson", "calibration error", "rate off, points")


def rows(data: Path, question: str | None, left_out: list[str]) -> pa.Table:
    """Judged rows of held-out checkpoints on one question, or on the main ones not left out."""
    known = MAIN_QUESTIONS - set(left_out)
    wanted = pa.array([question] if question else sorted(known))
    parts = []
    for name in ("train", "validation"):
        table = pq.read_table(data / "judged" / f"{name}.parquet")
        keep = pc.is_in(table["question_id"], wanted)
        keep = pc.and_(keep, pc.and_(pc.is_valid(table["aligned"]), pc.is_valid(table["coherent"])))
        if name == "train":
            held = pc.is_in(table["model"], pa.array(sorted(HELD_CHECKPOINTS)))
            keep = pc.and_(keep, held)
        columns = ["question", "response", "model", "aligned", "coherent"]
        parts.append(table.filter(keep).select(columns))
    return pa.concat_tables(parts)


def drawn(table: pa.Table, count: int) -> pa.Table:
    """So many rows at random."""
    chosen = np.random.default_rng(0).permutation(table.num_rows)[:count]
    return table.take(pa.array(chosen))


def part(table: Judged, start: int, stop: int) -> Judged:
    """Rows from one place to another."""
    at = np.arange(len(table))
    return table.only((at >= start) & (at < stop))


def curve(
    scorer: Path, audit: Judged, test: Judged, keep: Judged, known: Judged
) -> dict[str, dict]:
    """Figures on the test and on what was known, by number of labels, with and without `keep`."""
    pupil = Pupil(scorer, audit)
    unseen, old, others = (pupil.see(r) for r in (test, keep, known))
    found = {}
    for labels in LABELS:
        if labels > len(audit):
            break
        some = pupil.material.only(np.arange(len(audit)) < labels)
        for kept in (None, old) if labels else (None,):
            lesson = kept.lesson if kept else None
            pull = choose(some.lesson, list(folds(some.rows)), lesson) if labels else np.inf
            ways = {"": pupil.learner(pull)}
            if labels:
                ways = {" as it was": ways[""], " anew": pupil.calibrated_learner(pull)}
            for way, teach in ways.items():
                score = teach(some, kept)
                found[f"{labels}{' keep' if kept else ''}{way}"] = {
                    "new": agreement(score(unseen)),
                    "known": agreement(score(others)),
                    "pull": pull,
                }
    return found


@head.ready()
def main() -> None:
    """Prints a table for each question, and the mean over them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("scorer", type=Path)
    parser.add_argument("questions", nargs="+")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    scorer = emscore.Scorer(chosen.scorer, device="cpu")
    everything = {}
    others = judged.read(scorer, drawn(rows(chosen.data, None, chosen.questions), KNOWN + KEEP))
    keep, known = part(others, 0, KEEP), part(others, KEEP, KEEP + KNOWN)
    for question in chosen.questions:
        table = drawn(rows(chosen.data, question, chosen.questions), max(LABELS) + TEST)
        asked = judged.read(scorer, table)
        audit, test = part(asked, 0, max(LABELS)), part(asked, max(LABELS), len(asked))
        everything[question] = curve(chosen.scorer, audit, test, keep, known)
        show(question, everything[question])
    if chosen.json:
        chosen.json.write_text(json.dumps(everything, indent=1))


def show(question: str, found: dict[str, dict[str, Any]]) -> None:
    """A line for each number of labels."""
    print(f"\n{question:33}" + "".join(f"{name:>20}" for name in SHOWN) + "   (known)", flush=True)
    for labels, figures in found.items():
        new, known = figures["new"], figures["known"]
        cells = "".join(f"{new[k]:11.3f} ({known[k]:6.3f})" for k in SHOWN)
        print(f"  {labels:18} pull {figures['pull']:<6g} {cells}", flush=True)


if __name__ == "__main__":
    main()
