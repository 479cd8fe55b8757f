"""Does similarity to the training questions predict the agreement that is lost without them?

    python benches/familiarity.py DATA SCORER LEFT_OUT.json

For each question in LEFT_OUT.json (agreement with it known and left out of training, see
emscore.distill.familiarity): its similarity to the other training questions, and what was lost.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from emscore import familiarity


def main() -> None:
    """Prints a line for each question, and the rank correlations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("scorer", type=Path)
    parser.add_argument("left_out", type=Path)
    chosen = parser.parse_args()
    measured = json.loads(chosen.left_out.read_text())
    sketch = familiarity.load(chosen.scorer)
    if sketch is None:
        raise SystemExit(f"{chosen.scorer} has no sketch of its training")
    table = pq.read_table(
        chosen.data / "judged" / "train.parquet", columns=["question_id", "question"]
    )
    texts = dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    lines = []
    print(f"{'question':24}{'similarity':>11}{'AUROC known':>13}{'left out':>10}{'rate off':>10}")
    for question, figures in sorted(measured.items()):
        others = np.flatnonzero(sketch.family != sketch.families.index(question))
        asked = familiarity.vectors([familiarity.hashed(texts[question])], sketch.rarity)
        similarity = float((asked @ sketch.vectors[others].T).max())
        left = figures["left_out"]
        known = figures.get("known", {}).get("auroc", np.nan)
        off = 100 * (left["rate_pred"] - left["rate_true"])
        lines.append((similarity, known - left["auroc"], left["auroc"], abs(off)))
        print(f"{question:24}{similarity:11.2f}{known:13.3f}{left['auroc']:10.3f}{off:10.1f}")
    similarity, lost, auroc, off = np.array(lines).T
    for name, values in (("AUROC lost", lost), ("AUROC left out", auroc), ("rate error", off)):
        found = stats.spearmanr(similarity, values)
        print(f"rank correlation of similarity and {name}: {found.statistic:.2f} "
              f"(p {found.pvalue:.2f}, {len(values)} questions)")  # fmt: skip


if __name__ == "__main__":
    main()
