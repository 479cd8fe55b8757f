"""What a new scorer says that it was taught: the sketch of the old one, and the new questions."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import familiarity, models

FAMILY = "questions of the audit"  # of those that a scorer was adapted to


def forget(told: dict[str, Any]) -> None:
    """Takes out of a manifest the agreement that another scorer had, or with another judge."""
    if familiarity.ROLE in told:
        told[familiarity.ROLE]["questions"] = []


def add(
    scorer: str | os.PathLike[str],
    told: dict[str, Any],
    questions: Sequence[str],
    agreement: Mapping[str, float],
) -> dict[str, bytes]:
    """Adds questions to the sketch of a scorer, if it has one.

    Args:
        scorer: The scorer with the sketch.
        told: Manifest of the new scorer, which is changed.
        questions: What it was taught.
        agreement: With the judge on these questions: auroc, pearson, rate_error_pp.

    Returns:
        The new sketch by role, as in the manifest's `files`.
    """
    role = familiarity.ROLE
    if role not in told:
        return {}
    with np.load(models.resolve(scorer) / told["files"][role]["path"]) as file:
        arrays = {name: file[name] for name in file.files}
    asked = sorted({tuple(familiarity.hashed(text).tolist()) for text in questions} - {()})
    families = told[role]["families"]
    families[FAMILY] = 1.0
    place = list(families).index(FAMILY)
    more = {
        "words": np.array([word for words in asked for word in words]),
        "ends": np.array([len(words) for words in asked]),
        "family": np.full(len(asked), place),
    }
    for name, values in more.items():
        arrays[name] = np.append(arrays[name], values.astype(arrays[name].dtype))
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    known = {name: round(value, 3) for name, value in agreement.items() if value == value}
    told[role]["questions"] = [{"question_id": FAMILY, "known": known}]
    return {role: content.getvalue()}
