"""What several tests share: the sample, a loaded scorer, the command line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import emscore
from servers import serving

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "examples" / "responses.jsonl"
DATA = ROOT.parent / "shared" / "data"

# A busy machine is slow, not wrong. A test fails for what was changed, not for what is drawn today.
settings.register_profile(
    "emscore", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("emscore")
settings.register_profile("explore", derandomize=False)  # pytest --hypothesis-profile explore

# Where the tests run in the background Ctrl-C is ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample of the README: 60 rows with checkpoint, group, question and response."""
    return SAMPLE


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder with real judged responses, beside the checkout."""
    if not DATA.is_dir():
        missing = f"there are no judged responses in {DATA}"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return DATA


@pytest.fixture(scope="session")
def scorer() -> emscore.Scorer:
    """The default scorer on the CPU."""
    return emscore.Scorer(device="cpu")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the command line in an empty folder."""

    def run(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "emscore", *map(str, arguments)]
        result: subprocess.CompletedProcess[str] = subprocess.run(
            command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=600, **options
        )
        return result

    return run


def run_without(package: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`emscore ARGUMENTS` where a package is not installed."""
    program = f"""
import sys
sys.modules[{package!r}] = None
sys.argv = {["emscore", *arguments]!r}
from emscore.cli import main
main()
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def reads_on(process: "subprocess.Popen[bytes]") -> None:
    """Waits until it has read all that was written to its standard input, and sleeps.

    Python loses a Ctrl-C that falls into the end of an import: its modules must be there by then.
    """
    import fcntl
    import termios

    assert process.stdin is not None
    process.stdin.flush()
    state = ["ps", "-o", "stat=", "-p", str(process.pid)]
    asleep = 0
    while asleep < 20:
        assert process.poll() is None
        time.sleep(0.01)
        read = not any(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)))
        asleep = asleep + 1 if read and subprocess.check_output(state)[:1] in b"SI" else 0


@pytest.fixture(scope="session")
def llama_server() -> Iterator[str]:
    """The base URL of llama.cpp's server with the model `gemma-3-270m`."""
    with serving("llama_server.py") as url:
        yield f"{url}/v1"
