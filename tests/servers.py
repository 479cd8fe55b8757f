"""Starts the servers of the tests, each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

HERE = Path(__file__).parent


@contextmanager
def serving(script: str, *arguments: str) -> Iterator[str]:
    """Runs a server of this folder and gives its address; its first line on stdout tells it."""
    command = [sys.executable, str(HERE / script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url.startswith("http://"), f"{script} did not start"
            yield url
        finally:
            process.kill()


@contextmanager
def faulty(faults: float = 0.3, **options: object) -> Iterator[str]:
    """Runs the faulty server with the options of `faulty_server.py`; gives its base URL."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with serving("faulty_server.py", f"--faults={faults}", *arguments) as url:
        yield f"{url}/v1"


def stats(url: str) -> dict[str, Any]:
    """What a faulty server was asked, and how it failed."""
    with urlopen(url.removesuffix("/v1") + "/stats") as reply:
        told: dict[str, Any] = json.load(reply)
    return told
