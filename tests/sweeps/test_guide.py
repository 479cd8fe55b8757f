"""The guide in docs/sweeps.md does what it says, and leaves nothing out."""

import re
from dataclasses import fields
from pathlib import Path

import servers
from conftest import ROOT, Run
from emscore.sampling.conditions import Condition
from emscore.sampling.endpoint import Endpoint
from emscore.sweeps import checkpoints, spec

GUIDE = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")


def test_the_sweep_file_runs(run: Run, tmp_path: Path) -> None:
    """As it stands, but for its address and with fewer answers."""
    (text,) = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.M | re.S)
    with servers.faulty(0, models="base,insecure-100,insecure-800") as url:
        text = text.replace("http://localhost:8000/v1", url).replace("samples = 100", "samples = 1")
        (tmp_path / "sweep.toml").write_text(text)
        for command in re.findall(r"^emscore ([^#\n]*)", GUIDE, re.M):
            result = run(*command.split())
            assert result.returncode == 0, result.stderr
    (python,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S)
    names: dict[str, object] = {}
    exec(python.replace('"data"', repr(str(tmp_path / "data"))), names)
    assert names["table"].num_rows == 3 * 2 * 59  # type: ignore[attr-defined]


def test_every_key_is_told_of() -> None:
    keys = [*spec._KEYS, *checkpoints._KEYS, *(field.name for field in fields(Condition))]
    keys += [field.name for field in fields(Endpoint)]
    told = set(re.findall(r"\w+", GUIDE))
    assert [key for key in keys if key not in told] == []
