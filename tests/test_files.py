"""Files and folders that appear only when they are whole."""

from pathlib import Path

import pytest

import emscore
from emscore.files import new_folder, to_json, whole


def test_a_file_that_breaks_off_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")

    def break_off() -> None:
        with whole(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_text() == "before"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.csv", "before")]
    with whole(path) as file:
        file.write(b"after")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.csv", "after")]


def test_a_folder_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with new_folder(tmp_path / "new") as folder:
            (folder / "a").touch()
            assert not (tmp_path / "new").exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "new") as folder:
        (folder / "a").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new" / "a").read_text() == "whole"
    with pytest.raises(emscore.OutputError, match="new exists"), new_folder(tmp_path / "new"):
        pass


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "a.csv"
    named = pytest.raises(emscore.OutputError, match=r"a\.csv cannot be written: No such file")
    with named, whole(path):
        pass


def test_json_has_no_nan() -> None:
    assert to_json([{"a": float("nan")}, (1.5, "é")]) == '[{"a": null}, [1.5, "é"]]'
