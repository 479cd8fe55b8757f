"""The stubs say what the native module really has."""

import subprocess
import sys


def test_stubs_match_the_native_module() -> None:
    stubtest = [sys.executable, "-m", "mypy.stubtest", "emscore._emscore"]
    result = subprocess.run(stubtest, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
