"""The data set that a sweep writes, a folder for each checkpoint.

    data/_sweep.json                         what all of it has in common
    data/_journals/NAME.journal              answers of an unfinished checkpoint
    data/checkpoint=NAME/part-0.parquet      its rows, scored; there only when they are all there
    data/checkpoint=NAME/_ledger.json        what was asked, what it cost, what the checks found

Names are percent-encoded. Readers of data sets pass over what begins with an underscore.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet

from .._emscore import OutputError, ResumeError
from ..files import whole, write_json
from ..sampling.journal import difference
from .adapters import served_name, written_after
from .checkpoints import Entry


class Ledger(TypedDict):
    """What was done for one checkpoint, over all runs."""

    checkpoint: str
    group: str | None
    step: int | None
    endpoint: str
    served_as: str
    adapter: str | None
    rows: int
    outcomes: dict[str, int]  # of sampling
    passing: int  # rows without an answer that may have one the next time
    capped: int  # answers cut at max_tokens
    duplicates: int  # answers that repeat an earlier one
    other_model: dict[str, int]  # rows by models that were not asked for
    scored: dict[str, int]  # rows by outcome of scoring
    coherent: int
    misaligned: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None  # US dollars
    checks: list[dict[str, str]]
    suite_hash: str
    scorer_id: str
    seconds: float  # of the run that finished it


class DataSet:
    """A folder that is written by checkpoints, and found again by the next run.

    Args:
        folder: Where it is or shall be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, identity: Mapping[str, Any]) -> None:
        """Begins it, or goes on with it.

        Args:
            identity: What all of it has in common.

        Raises:
            ResumeError: It was written with something else in common, which the message names.
            OutputError: It cannot be written, or is a folder of other things.
        """
        folder, about = self.folder, self.folder / "_sweep.json"
        try:
            if about.exists():
                found = json.loads(about.read_text(encoding="utf-8"))
                if other := difference(found, identity):
                    raise ResumeError(
                        f"{folder} was written with another {other}: name another output, or go on "
                        "with what it was begun with"
                    )
            else:
                folder.mkdir(parents=True, exist_ok=True)
                # What begins otherwise is left by a sweep that was stopped right here.
                if any(not path.name.startswith((".", "_")) for path in folder.iterdir()):
                    told = f"{folder} holds other things than a sweep: name a new folder"
                    raise OutputError(told)
                write_json(about, identity)
            self.journals.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
        except ValueError as error:
            raise ResumeError(f"{about} is damaged ({error}): restore it, or begin anew") from error

    @property
    def journals(self) -> Path:
        """Folder of the journals."""
        return self.folder / "_journals"

    def journal(self, entry: Entry) -> Path:
        """Where the answers of an unfinished checkpoint are."""
        return self.journals / f"{quote(entry.name, safe='')}.journal"

    def part(self, entry: Entry) -> Path:
        """Where the rows of a finished checkpoint are."""
        return self.folder / f"checkpoint={quote(entry.name, safe='')}" / "part-0.parquet"

    def finished(self, entry: Entry) -> bool:
        """Whether a checkpoint has all of its rows, and none that is to be asked for again."""
        return self.part(entry).exists() and not self.journal(entry).exists()

    def require_unchanged(self, finished: Iterable[Entry]) -> None:
        """Checks that the adapters of finished checkpoints are still those that were asked.

        Raises:
            ResumeError: One was trained anew, or is another one of the same name.
        """
        for entry in finished:
            if entry.adapter is None or (ledger := self.ledger(entry)) is None:
                continue
            part = self.part(entry)
            moved = Path(ledger["adapter"] or "").resolve() != entry.adapter.resolve()
            suspect = moved or written_after(entry.adapter, part.stat().st_mtime)
            if suspect and served_name(entry) != ledger["served_as"]:
                raise ResumeError(
                    f"{entry.adapter} is another adapter than the one whose answers are in "
                    f"{part.parent}: delete that folder to ask {entry.name} again"
                )

    def ledger(self, entry: Entry) -> Ledger | None:
        """That of a checkpoint that has rows; None for any other.

        Raises:
            ResumeError: It is damaged.
        """
        path = self.part(entry).with_name("_ledger.json")
        try:
            return cast(Ledger, json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ResumeError(f"{path} is damaged: delete its folder to ask again") from error

    def write(self, entry: Entry, table: pa.Table, ledger: Ledger) -> None:
        """Adds the rows of a checkpoint, which is finished when its journal is removed after that.

        Raises:
            OutputError: It cannot be written.
        """
        part = self.part(entry)
        try:
            part.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{part.parent} cannot be made: {error.strerror}") from error
        with whole(part) as file:
            pyarrow.parquet.write_table(table, file, compression="zstd")
        write_json(part.with_name("_ledger.json"), ledger)
