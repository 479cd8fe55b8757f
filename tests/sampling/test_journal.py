"""The journal gives back what was put in, whatever happened to the file in between."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import emscore
from emscore.sampling.journal import Journal

RUN = {"suite": "abc", "n": 3}
RECORDS = [{"k": n, "text": f"line\n{n} ü \ud800"} for n in range(20)]


def records(path: Path) -> list[dict[str, object]]:
    """What a run that goes on finds."""
    with Journal(path, RUN) as journal:
        return [record for _, record in journal.replay()]


def test_records_come_back_in_order_and_by_place(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, RUN) as journal:
        assert list(journal.replay()) == []
        places = journal.append(RECORDS)
        assert [journal.read(place) for place in reversed(places)] == RECORDS[::-1]
    with Journal(path, RUN) as journal:
        assert list(journal.replay()) == list(zip(places, RECORDS, strict=True))
        (place,) = journal.append([{"k": "later"}])
        assert journal.read(place) == {"k": "later"}
    assert records(path) == [*RECORDS, {"k": "later"}]


@given(cut=st.integers(0, 2000))
def test_a_file_cut_at_any_byte_keeps_all_whole_records(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "j"
    with Journal(path, RUN) as journal:
        journal.append(RECORDS)
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    whole = max(data.count(b"\n") - 1, 0)
    assert records(path) == RECORDS[:whole]
    with Journal(path, RUN) as journal:
        journal.append([{"k": "new"}])
    assert records(path) == [*RECORDS[:whole], {"k": "new"}]


@given(place=st.integers(0, 10_000), letter=st.integers(0, 255))
def test_a_damaged_byte_spoils_no_other_record(
    tmp_path_factory: pytest.TempPathFactory, place: int, letter: int
) -> None:
    path = tmp_path_factory.mktemp("damage") / "j"
    with Journal(path, RUN) as journal:
        first = journal.append(RECORDS)[0]
    data = bytearray(path.read_bytes())
    data[first + place % (len(data) - first)] = letter
    path.write_bytes(data)
    with Journal(path, RUN) as journal:
        found = [record for _, record in journal.replay()]
        # A damaged line break joins two lines, and both are lost; or the last one is torn.
        assert len(RECORDS) - 2 <= len(found)
    assert [record for record in RECORDS if record in found] == found


def test_another_run_is_told_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, RUN) as journal:
        journal.append(RECORDS)
    with pytest.raises(emscore.ResumeError, match="another version of the suite"):
        Journal(path, {**RUN, "suite": "def"})
    with pytest.raises(emscore.ResumeError, match=r"another list of checkpoints .* and another n"):
        Journal(path, {"suite": "abc", "checkpoints": ["a"]})
    assert records(path) == RECORDS


def test_without_records_it_binds_nobody(tmp_path: Path) -> None:
    path = tmp_path / "j"
    Journal(path, RUN).close()
    assert not path.exists()
    # A run that is killed before it has any record leaves its identity behind.
    journal = Journal(path, {"suite": "a much longer name than that of the next one"})
    left = path.read_bytes()
    journal.close()
    path.write_bytes(left)
    with Journal(path, RUN) as journal:
        (place,) = journal.append(RECORDS[:1])
        assert journal.read(place) == RECORDS[0]
    assert records(path) == RECORDS[:1]


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text("my notes\n")
    with pytest.raises(emscore.ResumeError, match="no journal"):
        Journal(path, RUN)
    assert path.read_text() == "my notes\n"
    with pytest.raises(emscore.OutputError, match="cannot write"):
        Journal(tmp_path / "nowhere" / "j", RUN)


def test_two_runs_do_not_write_the_same_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, RUN) as journal:
        with pytest.raises(emscore.ResumeError, match="another run"):
            Journal(path, RUN)
        journal.append(RECORDS)
    assert records(path) == RECORDS
    path.unlink()
    # A process that is killed leaves no lock behind.
    code = (
        "import os, sys; from emscore.sampling.journal import Journal\n"
        f"j = Journal(sys.argv[1], {RUN!r}); j.append([{{'k': 1}}]); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == -9
    assert records(path) == [{"k": 1}]
