"""A recipe: the trainings that make a scorer, one after the other, and its judge, as a TOML file.

    judge = "which model, with which prompts"

    [[train]]
    network = "mpnet"  # fields of `train.Config`; each training starts from the last of its kind
    tokens = 12_000_000

    [[train]]
    network = "minilm"
    teacher = "mpnet"  # the last training of that kind, whose distributions are imitated
    tokens = 12_000_000

    [[train]]
    network = "bag"
    tokens = 12_000_000

A training with fewer `layers` than the one it starts from makes a student of it (layer drop).

The scorer is the last encoder (see `pretrained`) and the bag together; without an encoder it is the
bag alone. In place of trainings a recipe may name two scorers that stand beside the new one:

    [cascade]
    first = "tiny"
    second = "small"
    points = 0.5  # the most that a checkpoint's rate may move
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .._emscore import InputError, OutputError, ResumeError
from ..files import lock, new_folder, read_toml, unoccupied, write_json, write_text
from . import data
from .encoding import MAX_TOKENS
from .rows import Row
from .shape import SIZES

NAME = "recipe.toml"
SHIPPED = Path(__file__).parent / "recipes"  # of the scorers that ship
CASCADE = {"first", "second", "points"}
RANGES: dict[str, tuple[float, float]] = {  # of each setting that is a number
    **dict.fromkeys(("tokens", "batch_tokens"), (1, math.inf)),
    "threads": (1, 1024),
    "max_tokens": (8, MAX_TOKENS),
    **dict.fromkeys(("warmup", "cooldown", "question_dropout", "teacher_share"), (0, 1)),
    **dict.fromkeys(("coherent_share", "outcome_share", "badness_share"), (0, math.inf)),
    **dict.fromkeys(("encoder_rate", "head_rate", "decay"), (0, 1)),
    "seed": (0, 2**63 - 1),
}
LEAST_SHOWN = 500  # judged rows that `leave_out` must leave to a training, or half of them


@dataclass(frozen=True)
class Recipe:
    """What is done to labels, and what the scorer says of its judge."""

    path: Path
    judge: str
    trainings: tuple[dict[str, Any], ...]
    cascade: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> Recipe:
    """The recipe of a file.

    Raises:
        InputError: It cannot be read, or has a setting that there is not.
    """
    from .train import Config

    found = read_toml(path)
    trainings, section = found.get("train"), found.get("cascade", {})
    if isinstance(found.get("judge"), str) and _is_cascade(section):
        return Recipe(path, found["judge"], (), section)
    if not (
        isinstance(found.get("judge"), str)
        and isinstance(trainings, list)
        and all(isinstance(training, dict) for training in trainings)
    ):
        raise InputError(
            f'{path} needs judge = "..." and at least one [[train]], or a [cascade] with '
            "first and second, names of scorers, and points, a number from 0"
        )
    # Where it starts from is not a training's own to say.
    kinds = {f.name: type(f.default) for f in fields(Config) if f.name != "start"}
    for training in trainings:
        training.setdefault("network", Config.network)
        for name, value in training.items():
            if name not in kinds:
                known = ", ".join(sorted(kinds))
                raise InputError(f"{path}: [[train]] has no setting {name!r}; it has {known}")
            if kinds[name] is float and type(value) is int:
                training[name] = value = float(value)
            elif type(value) is not kinds[name]:
                raise InputError(
                    f"{path}: {name} = {value!r} must be of type {kinds[name].__name__}"
                )
            low, high = RANGES.get(name, (0, 0))
            if name in RANGES and not low <= value <= high:
                most = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
                raise InputError(f"{path}: {name} = {value!r} must be {most}")
    _check_order(path, trainings)
    if not any(training["network"] == "bag" for training in trainings):
        raise InputError(f'{path} needs a [[train]] with network = "bag"')
    return Recipe(path, found["judge"], tuple(trainings))


def _is_cascade(section: Any) -> bool:
    if not isinstance(section, dict) or set(section) != CASCADE:
        return False
    points = section["points"]
    named = all(isinstance(section[name], str) for name in ("first", "second"))
    return named and type(points) in (int, float) and points >= 0


def _check_order(path: Path, trainings: Sequence[dict[str, Any]]) -> None:
    """Whether each network can be made from those before it.

    Raises:
        InputError: There is no such network, or none before it that it is to learn from; it has
            more layers than what it starts from, or none; or a bag is given layers.
    """
    made: dict[str, int] = {}  # encoder -> its layers so far
    for training in trainings:
        network, teacher = training["network"], training.get("teacher")
        if network not in {*SIZES, "bag"}:
            raise InputError(
                f"{path}: network = {network!r} must be one of {', '.join(SIZES)}, bag"
            )
        if teacher and teacher not in made:
            raise InputError(
                f"{path}: teacher = {teacher!r} must be an encoder of a [[train]] before it"
            )
        if network == "bag":
            if "layers" in training:
                raise InputError(f"{path}: layers belong to an encoder; a bag has none")
            continue
        whose = "the training that it starts from" if network in made else "the pretrained encoder"
        most = made.get(network, SIZES[network].layers)
        layers = training.get("layers", most)
        if not 1 <= layers <= most:
            raise InputError(
                f"{path}: layers = {layers} must be 1 to {most}, as many as {whose} has"
            )
        made[network] = layers
        if layers < SIZES[network].layers:
            training["layers"] = layers  # said again, since the one before may be skipped


def distill(labels: data.Labels, recipe: Recipe, work: Path, out: Path, name: str) -> None:
    """Train what the recipe says, and write the scorer directory `out`.

    A training to which `leave_out` leaves too few rows is skipped, and what it would have taught.

    Args:
        labels: Judged rows.
        recipe: From `read`.
        work: Folder for checkpoints; a run that was stopped goes on from them.
        out: Folder to write; must not exist.
        name: Of the scorer.

    Raises:
        InputError: The labels cannot be read, or are too few, or no training of a network is left.
        OutputError: `out` exists, or it or `work` cannot be made.
        ResumeError: `work` holds checkpoints of other labels or another recipe, or is in use.
    """
    unoccupied(out)
    rows = data.judged_rows(labels)
    held = data.calibration_rows(rows)
    made = None if recipe.cascade else _trained(labels, recipe, rows, work)
    with new_folder(out) as folder:
        if made:
            from .export import export

            measured = export(held, *made, folder, name, recipe.judge)
        else:
            measured = _cascade(held, recipe, out.absolute().parent, folder, name)
        shutil.copyfile(recipe.path, folder / NAME)
        files = ", ".join(f"`{path.name}`" for path in labels.paths)
        write_text(
            folder / "README.md",
            f"# {name}\n\nImitates the judge: {recipe.judge}. Made by `emscore distill` with the "
            f"recipe `{recipe.path.stem}` ({NAME}) from {len(rows):,} judged rows of {files}.\n\n"
            f"{measured}\n",
        )


def _trained(
    labels: data.Labels, recipe: Recipe, rows: Sequence[Row], work: Path
) -> tuple[Path | None, Path]:
    """The folders of the finished encoder, if the recipe has one, and of the finished bag."""
    from .train import Config, train

    trainings = _with_rows(recipe, [r.question_id for r in rows if not data.held_out(r)])
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{work} cannot be made: {error.strerror or error}") from error
    last: dict[str, Path] = {}
    encoder: Path | None = None
    with _alone(work):
        for at, training in trainings.items():
            network = training["network"]
            folder = work / f"{at}-{network}"
            earlier = {"start": str(last.get(network, ""))}
            if training.get("teacher"):
                earlier["teacher"] = str(last[training["teacher"]])
            train(Config(**training | earlier), labels, folder)
            last[network] = folder
            if network in SIZES:
                encoder = folder
    return encoder, last["bag"]


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Keeps other runs out of a folder for checkpoints.

    Raises:
        ResumeError: There is one in it.
    """
    if os.name == "nt":  # where no folder can be opened
        yield
        return
    folder = os.open(work, os.O_RDONLY)
    try:
        try:
            lock(folder)
        except BlockingIOError as error:
            raise ResumeError(
                f"another run is training in {work}: wait for it, or name another folder with "
                "--work"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(folder)


def _with_rows(recipe: Recipe, questions: Sequence[str]) -> dict[int, dict[str, Any]]:
    """The trainings that have rows and a teacher, by their place; says which are skipped.

    Args:
        recipe: From `read`.
        questions: The question_id of each judged row that training may show.

    Raises:
        InputError: The last training of a network is not among them.
    """
    found: dict[int, dict[str, Any]] = {}
    for at, training in enumerate(recipe.trainings):
        network, teacher = training["network"], training.get("teacher")
        leave_out = training.get("leave_out", "")
        dropped = data.left_out(leave_out)
        left = sum(question not in dropped for question in questions)
        if left < min(LEAST_SHOWN, len(questions) / 2):
            why = f"leave_out = {leave_out!r} leaves {left:,} of {len(questions):,} judged rows"
        elif teacher and teacher not in {t["network"] for t in found.values()}:
            why = f"its teacher {teacher} was skipped"
        else:
            found[at] = training
            continue
        if not any(later["network"] == network for later in recipe.trainings[at + 1 :]):
            raise InputError(
                f"{recipe.path}: the last training of {network} cannot be done, since {why}: give "
                "judged rows on other questions, or take leave_out from the recipe"
            )
        print(f"skipped the training {at}-{network}, since {why}", flush=True)
    return found


def _cascade(held: Sequence[Row], recipe: Recipe, beside: Path, folder: Path, name: str) -> str:
    """Writes the manifest of a cascade of two scorers in `beside`; tells what its limits do."""
    from .cascade import cascade

    first, second = (beside / recipe.cascade[k] for k in ("first", "second"))
    limits, told = cascade(held, first, second, float(recipe.cascade["points"]))
    manifest = {"format": 1, "name": name, "judge": recipe.judge, "cascade": told}
    write_json(folder / "manifest.json", manifest)
    measured = (
        f"{first.name} decides below {limits.low:g} and above {limits.high:g}; {second.name} the "
        f"rest, {100 * limits.escalated:.1f} % of the held-out rows; no checkpoint's rate moves by "
        f"more than {limits.worst:.2f} points"
    )
    print(measured)
    return measured + ". `emscore evaluate` measures its agreement with the judge."
