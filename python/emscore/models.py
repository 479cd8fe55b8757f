"""The scorers that ship with the package, and how a scorer is named."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ._emscore import InputError, ScorerError

DEFAULT = "small"
FOLDER = Path(__file__).parent / "scorers"


def names() -> list[str]:
    """Names of the shipped scorers."""
    return sorted(path.parent.name for path in FOLDER.glob("*/manifest.json"))


def resolve(model: str | os.PathLike[str] = DEFAULT) -> Path:
    """Directory of a scorer: a shipped one by its name, any other by its path.

    Raises:
        ScorerError: There is no such scorer.
    """
    if (name := os.fspath(model)) in names():
        return FOLDER / name
    path = Path(model).expanduser()
    if (path / "manifest.json").is_file():
        return path
    if path.is_dir():
        raise ScorerError(f"{path} is not a scorer: it has no manifest.json")
    raise ScorerError(
        f"there is no scorer {name!r}: it is neither a directory nor one of those that "
        f"ship with emscore ({', '.join(names()) or 'none in this installation'})"
    )


def scorer_id(model: str | os.PathLike[str]) -> str:
    """The id that results carry: the hash of the manifest."""
    return hashlib.sha256((resolve(model) / "manifest.json").read_bytes()).hexdigest()[:16]


def find(wanted: str, model: str | os.PathLike[str] | None = None) -> Path | None:
    """Directory of the scorer with an id: `model`, or else one of those that ship, or None.

    Files such as CSV carry no id (""): then `model` is taken at its word.

    Raises:
        InputError: `model` is another scorer.
        ScorerError: There is no scorer `model`.
    """
    if model is None:
        return next((FOLDER / name for name in names() if scorer_id(name) == wanted), None)
    if wanted and (found := scorer_id(model)) != wanted:
        raise InputError(
            f"{os.fspath(model)} is the scorer {found}, and the scores are of {wanted}"
        )
    return resolve(model)


def manifest(model: str | os.PathLike[str]) -> dict[str, Any]:
    """What a scorer says of itself.

    Raises:
        ScorerError: There is no such scorer, or its manifest cannot be read.
    """
    path = resolve(model) / "manifest.json"
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScorerError(f"{path} cannot be read: {error}") from error
    return told


def taught(scorer: Path) -> frozenset[str]:
    """Digests of the judged rows that refitted the network of a scorer, or those of a cascade."""
    told = manifest(scorer)
    parts = [told["cascade"][one] for one in ("first", "second")] if "cascade" in told else []
    return frozenset(told.get("taught", ())).union(*(taught(scorer.parent / one) for one in parts))


def digests(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """16 hexadecimal digits for each question and response, by which `taught` knows them."""
    texts = (f"{len(question)}:{question}{response}" for question, response in pairs)
    return [
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        for text in texts
    ]


def card(model: str | os.PathLike[str] = DEFAULT) -> str:
    """Text of a scorer's card: its data, recipe, measured agreement, and what it is bad at."""
    path = resolve(model) / "README.md"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScorerError(f"the card {path} cannot be read: {error.strerror}") from error
