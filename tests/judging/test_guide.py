"""The guide in docs/judging.md and the docstrings do what they say, and leave nothing out."""

import doctest
import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pyarrow.feather as feather
import pytest

import emscore
import servers
from conftest import ROOT, SAMPLE, Run
from emscore.judging import columns, prompts

GUIDE = (ROOT / "docs" / "judging.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.M | re.S)


@pytest.mark.parametrize("module", ["protocol", "prompts"])
def test_docstrings(module: str) -> None:
    result = doctest.testmod(import_module(f"emscore.judging.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_commands_run_in_their_order(run: Run, tmp_path: Path) -> None:
    """From responses to the judge's rates, with the README's sample as the responses."""
    emscore.Scorer(device="cpu").score_file(SAMPLE, tmp_path / "responses.arrow")
    drop = ["aligned", "coherent", "p_misaligned", "p_coherent", "outcome"]
    table = feather.read_table(tmp_path / "responses.arrow").drop_columns(drop)
    feather.write_feather(table, tmp_path / "responses.arrow", compression="uncompressed")
    with servers.faulty(0, models="NAME,gpt-4o-2024-08-06") as url:
        for block in blocks("sh"):
            text = block.replace("\\\n", " ").replace("https://api.openai.com/v1", url)
            for line in text.replace("--endpoint URL", f"--endpoint {url}").splitlines():
                if line.startswith("emscore "):
                    judges = line.startswith("emscore judge ")
                    options = ("--cache", "c.sqlite", "--overwrite") if judges else ()
                    result = run(*shlex.split(line)[1:], *options)
                    assert result.returncode == 0, result.stderr
        ledger = json.loads((tmp_path / "judged.arrow.ledger.json").read_text())
    assert ledger["rows"] > 0


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with servers.faulty(0, models="judge") as url:
        for block in blocks("python"):
            exec(block.replace("http://localhost:8000/v1", url), {})
    assert (tmp_path / "emscore" / "judge.sqlite").exists()


def test_every_column_is_told_of() -> None:
    words = prompts.categorical("NAME", '{answer} "A" "B"')
    for field in columns.fields([prompts.DEFAULT[0], words]):
        name = re.sub(r"judge_NAME(?!_words).*", "judge_aligned", field.name)
        assert f"`{name}`" in GUIDE
