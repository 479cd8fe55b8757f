"""The stubs say what the native module really has."""

import subprocess
import sys
from pathlib import Path


def test_stubs_match_the_native_module(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.write_text("emscore\\._emscore\\.__all__\nemscore\\._emscore\\._Stream\n")
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "emscore._emscore", "--allowlist", str(allowed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
