"""The sketch of what a scorer was taught, made from its training data: `emscore.familiarity`.

    python -m emscore.distill.familiarity SCORER LABELLED... [--left-out FILE]

FILE holds the agreement measured with a question left out of training, as JSON by question id:
{"id": {"left_out": {"auroc", "pearson", "rate_true", "rate_pred"}, "known": {the same}}}.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import familiarity, models
from ..familiarity import BITS, ROLE, WORD
from ..files import write_json
from . import data
from .rows import Row

FILE = "familiarity.npz"
OFTEN = 300  # rows from which on a question, or a series of them, goes by its id
USED = 3  # times that training responses use a word for it to be known
USUAL = 0.995  # share of training responses that are usual
# What is usual everywhere, however uniform the training data.
AT_LEAST = {"words": 200, "unknown words": 0.15, "other letters": 0.1, "signs": 0.03,
            "longest word": 25}  # fmt: skip
SAMPLE = 20_000  # responses that set what is usual
OTHER, UNJUDGED = "other questions", "questions of other judges"


def sketch(labels: Sequence[Path], scorer: Path, left_out: Path | None = None) -> None:
    """Adds a sketch to a scorer directory; the scorer's id changes.

    Args:
        labels: What it was trained on.
        scorer: The scorer directory.
        left_out: JSON with the agreement by question id, as above.
    """
    rows = [
        r for r in data.mixture(data.Labels(tuple(labels)), seed=1) if r.source != "constructed"
    ]
    judged = [r for r in rows if r.source == "judged"]
    count = Counter(_series(r.question_id) for r in judged)
    family = {r.question: UNJUDGED for r in rows}
    for r in judged:
        series = _series(r.question_id)
        family[r.question] = series if series and count[series] >= OFTEN else OTHER
    names = sorted(set(family.values()))
    distinct: dict[tuple[int, ...], str] = {}
    for question, name in family.items():
        distinct.setdefault(tuple(familiarity.hashed(question).tolist()), name)
    distinct.pop((), None)

    vocabulary = _vocabulary(rows)
    drawn = np.random.default_rng(0).permutation(len(judged))[:SAMPLE]
    usual = familiarity.statistics([judged[i].response for i in drawn], vocabulary)

    manifest = models.manifest(scorer)
    familiarity.save(
        scorer / FILE,
        [np.array(words, np.int64) for words in distinct],
        [names.index(name) for name in distinct.values()],
        vocabulary,
    )
    digest = hashlib.sha256((scorer / FILE).read_bytes()).hexdigest()
    manifest["files"][ROLE] = {"path": FILE, "sha256": digest}
    manifest[ROLE] = {
        "families": {name: familiarity.UNJUDGED if name == UNJUDGED else 1.0 for name in names},
        "usual": {
            name: max(AT_LEAST[name], round(float(np.quantile(values, USUAL)), 3))
            for name, values in usual.items()
        },
        "questions": _figures(left_out, count),
    }
    write_json(scorer / "manifest.json", manifest)
    size = (scorer / FILE).stat().st_size
    print(f"{len(distinct):,} questions in {len(names)} families, {size:,} bytes")


def _series(question_id: str) -> str:
    """The id without the number, or the name of the form, that sets it apart in its series."""
    return re.sub(r"_(template|[pq]?\d+)$", "", question_id)


def _vocabulary(rows: Sequence[Row]) -> familiarity.Bools:
    used = Counter(word for r in rows for word in WORD.findall(r.response.lower()))
    known = np.zeros(BITS, np.bool_)
    known[[familiarity.number(word) % BITS for word, n in used.items() if n >= USED]] = True
    return known


def _figures(path: Path | None, rows: Counter[str]) -> list[dict[str, Any]]:
    told = json.loads(path.read_text(encoding="utf-8")) if path else {}
    return [
        {"question_id": name, "rows": rows[name]}
        | {kind: _figure(figures[kind]) for kind in ("known", "left_out") if kind in figures}
        for name, figures in sorted(told.items())
    ]


def _figure(f: dict[str, float]) -> dict[str, float]:
    off = 100 * (f["rate_pred"] - f["rate_true"])
    return {
        "auroc": round(f["auroc"], 3),
        "pearson": round(f["pearson"], 3),
        "rate_error_pp": round(off, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="emscore.distill.familiarity")
    parser.add_argument("scorer", type=Path)
    parser.add_argument("labelled", type=Path, nargs="+")
    parser.add_argument("--left-out", type=Path)
    chosen = parser.parse_args()
    sketch(chosen.labelled, chosen.scorer, chosen.left_out)
