"""The examples in README.md, in the docstrings and in the notebook run, and print what they say."""

import doctest
import json
import re
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

import click
import pytest

import emscore.scoring
import emscore.texts
from conftest import ROOT, Run
from emscore.cli import cli

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has examples/ in it, as the README's reader has."""
    shutil.copytree(
        ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*.scored.*")
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_python(examples: Path) -> None:
    assert blocks("pycon")
    test = doctest.DocTestParser().get_doctest(
        "\n".join(blocks("pycon")), {}, "README.md", "README.md", 0
    )
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    assert runner.summarize().failed == 0


def test_readme_commands_print_what_the_readme_says(examples: Path, run: Run) -> None:
    commands = 0
    for block in blocks("console"):
        command, _, printed = block.partition("\n")
        if not command.startswith("$ emscore "):
            continue
        commands += 1
        result = run(*shlex.split(command.removeprefix("$ emscore ")))
        assert result.returncode == 0, result.stderr
        assert without_numbers(result.stdout) == without_numbers(printed)
    assert commands


def test_every_command_of_the_guides_is_understood() -> None:
    lines = []
    for guide in (ROOT / "README.md", ROOT / "DEVELOP.md", *ROOT.glob("docs/*.md")):
        text = guide.read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.M | re.S):
            lines += re.findall(r"^(?:\$ )?emscore (?!.* \.\.\.)(.*)", block, re.M)
    assert len(lines) > 50
    for line in lines:
        command: click.Command = cli
        words = shlex.split(line, comments=True)
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        with suppress(click.exceptions.Exit):  # of --help
            command.make_context(line, words)


def without_numbers(text: str) -> list[str]:
    """The lines, sorted, without what depends on the scorer and the machine: every number."""
    text = re.sub(r"\b[0-9a-f]{16}\b|[\d.,]+%?", "#", text)
    return sorted(" ".join(line.split()) for line in text.strip().splitlines())


@pytest.mark.parametrize("module", [emscore, emscore.scoring, emscore.texts])
def test_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert result.failed == 0


def test_notebook(examples: Path) -> None:
    notebook = json.loads((examples / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
