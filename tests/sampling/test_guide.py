"""The guide in docs/sampling.md does what it says, and leaves nothing out."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from conftest import ROOT, Run
from emscore.errors import Failure
from emscore.sampling.answers import PASSING
from emscore.sampling.rows import SCHEMA
from emscore.sampling.suites import TYPES, load_suite
from servers import faulty

GUIDE = (ROOT / "docs" / "sampling.md").read_text(encoding="utf-8")
URL = "http://localhost:8000/v1"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The server of the guide's reader."""
    with faulty(0.0, models="base,insecure-800") as url:
        yield url


def blocks(language: str) -> list[str]:
    """The code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.M | re.S)


def without_numbers(text: str) -> list[str]:
    """The words, however long the numbers between them are."""
    return re.sub(r"[\d.,]+", "#", text).split()


def test_the_command_prints_what_the_guide_says(run: Run, server: str) -> None:
    (block,) = blocks("console")
    command, _, printed = block.partition("\n")
    arguments = shlex.split(command.removeprefix("$ emscore ").replace(URL, server))
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    assert without_numbers(result.stdout) == without_numbers(printed)


def test_the_python_runs(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(block.replace(URL, server), names)
    assert (tmp_path / "rows.arrow").exists()


def test_the_suite_is_one(tmp_path: Path) -> None:
    (block,) = blocks("yaml")
    (tmp_path / "suite.yaml").write_text(block)
    (question,) = load_suite(tmp_path / "suite.yaml").questions
    assert (len(question.paraphrases), question.samples_per_paraphrase) == (2, 100)


def test_every_column_outcome_and_type_is_told() -> None:
    for name in (*SCHEMA.names, *get_args(Failure), *TYPES):
        assert f"`{name}`" in GUIDE, name
    for outcome in get_args(Failure):
        (line,) = re.findall(rf"^\| .*`{outcome}`.*$", GUIDE, re.M)
        assert line.endswith("| yes |") == (outcome in PASSING), outcome
