"""LoRA adapters that a vLLM server loads and unloads while it runs.

The server must be started with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and see the
adapters under the same paths as we do. Each is loaded under a name that follows from its content:
another adapter under a name that was used before may be answered from the first one's cached
prefixes.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path

from ..errors import EndpointError, RequestFailed
from ..sampling.client import Client
from ..sampling.verdicts import transient
from .checkpoints import Entry

_CONTENT = ("adapter_*", "new_embeddings*", "*.json")  # no optimizer states, which are large
_PART = 1 << 22  # bytes
_ATTEMPTS = 4
_PATIENCE = 10.0  # seconds that unloading may take, which Ctrl-C waits for


def served_name(entry: Entry) -> str:
    """The name that a checkpoint is asked by; that of an adapter ends in a hash of its content."""
    if entry.adapter is None:
        return entry.name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", entry.name)
    return f"{plain}-{content_hash(entry.adapter)}"


def content_hash(adapter: Path) -> str:
    """12 hexadecimal digits of the SHA-256 of the files that make an adapter what it is."""
    digest = sha256()
    for path in _content(adapter):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while part := file.read(_PART):
                digest.update(part)
    return digest.hexdigest()[:12]


def written_after(adapter: Path, moment: float) -> bool:
    """Whether a file of an adapter is younger than that."""
    return any(path.stat().st_mtime > moment for path in _content(adapter))


def _content(adapter: Path) -> list[Path]:
    paths = {path for pattern in _CONTENT for path in adapter.glob(pattern)}
    return sorted(path for path in paths if path.is_file())


@asynccontextmanager
async def loaded(client: Client, entry: Entry, name: str) -> AsyncIterator[None]:
    """The adapter of a checkpoint is loaded meanwhile, if it has one.

    Raises:
        RequestFailed: The server cannot load this adapter.
        EndpointError: It loads none at all.
    """
    if entry.adapter is None:
        yield
        return
    await _load(client, name, entry.adapter.resolve())
    try:
        yield
    finally:
        await _unload(client, name)


async def _load(client: Client, name: str, path: Path) -> None:
    try:
        await _ask_to_load(client, {"lora_name": name, "lora_path": str(path)})
    except EndpointError as error:
        if error.kind != "path":
            raise
        raise EndpointError(
            "path",
            f"{client.endpoint.url} loads no adapters: start vLLM with --enable-lora and "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
        ) from error
    except RequestFailed as error:
        # The name says the content: what an interrupted run has loaded is what we want.
        if "already been loaded" not in str(error):
            raise RequestFailed(error.kind, f"the adapter {path} is not loaded: {error}") from error


async def _unload(client: Client, name: str) -> None:
    # A server that keeps it gives no wrong answers: nothing else will have its name.
    with suppress(EndpointError, RequestFailed, asyncio.TimeoutError):
        unload = client.command("unload_lora_adapter", {"lora_name": name})
        await asyncio.wait_for(unload, _PATIENCE)


async def _ask_to_load(client: Client, body: dict[str, str]) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            await client.command("load_lora_adapter", body)
            return
        except (EndpointError, RequestFailed) as error:
            if attempt + 1 == _ATTEMPTS or not transient(error):
                raise
            await asyncio.sleep(client.endpoint.backoff * 2**attempt)
