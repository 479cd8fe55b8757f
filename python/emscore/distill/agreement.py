"""The error of a scorer's rates, from its fidelity card into its manifest, where rates find it.

    emscore evaluate SCORER LABELLED... --examples 0 --json > CARD
    python -m emscore.distill.agreement SCORER CARD

LABELLED must hold checkpoints that the scorer was not trained on. The scorer's id changes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from .. import models
from ..files import write_json

KINDS = ("thresholded", "calibrated")


def add(scorer: Path, card: Path) -> None:
    """Writes `agreement.rate_error` (see `emscore.rates.scorer_error`) into the manifest.

    No score changes, but the scorer's id does: the card, which is about these scores, takes it on.
    """
    told = json.loads(card.read_text(encoding="utf-8"))
    lines = [line for line in told["rates"]["checkpoint"] if "pooled" not in line]
    found: dict[str, object] = {"checkpoints": len(lines)}
    for kind in KINDS:
        off = np.abs([line[f"{kind}_off"][0] for line in lines])
        figures = {"mean": off.mean(), "worst": off.max(), "sd": np.sqrt((off**2).mean())}
        found[kind] = {name: round(float(value), 4) for name, value in figures.items()}
    about = models.manifest(scorer) | {"agreement": {"rate_error": found}}
    write_json(scorer / "manifest.json", about)
    told["scorer"]["scorer_id"] = models.scorer_id(scorer)
    write_json(card, told)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="emscore.distill.agreement")
    parser.add_argument("scorer", type=Path)
    parser.add_argument("card", type=Path)
    chosen = parser.parse_args()
    add(chosen.scorer, chosen.card)
