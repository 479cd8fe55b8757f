"""A new scorer directory beside an old one: some files changed, the rest copied, a new id."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from .. import models
from .._emscore import ScorerError
from ..fidelity.judged import Judged
from ..files import new_folder, write_json

CARD, FIGURES = "README.md", "card.json"


def manifest(scorer: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a scorer.

    Raises:
        ScorerError: It cannot be read, or is that of a scorer without bins and calibration.
    """
    told = models.manifest(scorer)
    if "calibration" not in told or "edges" not in told:
        raise ScorerError(
            f"{told.get('name', scorer)} has no bins and calibration of its own (it is a cascade "
            "of other scorers): calibrate or adapt those"
        )
    return told


def write(
    out: str | os.PathLike[str],
    scorer: str | os.PathLike[str],
    told: dict[str, Any],
    section: str,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Writes a scorer directory that is like `scorer` but for what is given.

    Args:
        out: The folder to make.
        scorer: The scorer that it is made from.
        told: Its manifest; hashes of changed files are filled in, and what was measured of the
            scorer that it is made from is left out.
        section: What its card says before the card of `scorer`, Markdown.
        files: New contents by role, as in the manifest's `files`.

    Raises:
        OutputError: `out` exists or cannot be written.
    """
    old = models.resolve(scorer)
    told.pop("agreement", None)
    changed = {told["files"][role]["path"]: content for role, content in (files or {}).items()}
    with new_folder(out) as folder:
        for about in told["files"].values():
            path = folder / about["path"]
            if about["path"] in changed:
                path.write_bytes(changed[about["path"]])
            else:
                shutil.copyfile(old / about["path"], path)
            about["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        before = old / CARD
        rest = before.read_text(encoding="utf-8") if before.is_file() else "(It has no card.)\n"
        (folder / CARD).write_text(f"# {told['name']}\n\n{section}\n\n{rest}", encoding="utf-8")
        write_json(folder / "manifest.json", told)


def origin(
    scorer: str | os.PathLike[str], by: str, rows: int, agreement: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """What a manifest says of the scorer that it was made from."""
    scorer_id = models.scorer_id(scorer)
    return {"by": by, "scorer_id": scorer_id, "rows": rows, "agreement": agreement}


class Tuned(TypedDict):
    """What is told of a new scorer."""

    scorer_id: str
    rows: int  # different texts that taught it
    repeats: int  # rows whose texts came before
    left_out: dict[str, int]  # other rows, by reason
    agreement: dict[str, dict[str, float]]  # with the judge, "before" and after


def tuned(
    out: str | os.PathLike[str], rows: Judged, every: Judged, agreement: dict[str, dict[str, float]]
) -> Tuned:
    """What is told of the scorer in `out`, which `rows` taught, of `every` row that was given."""
    return {
        "scorer_id": models.scorer_id(out),
        "rows": len(rows),
        "repeats": len(every) - len(rows),
        "left_out": rows.left_out,
        "agreement": agreement,
    }


def folder_name(out: str | os.PathLike[str]) -> str:
    """The name of a scorer when none is given: that of its folder."""
    return Path(out).absolute().name
