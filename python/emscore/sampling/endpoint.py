"""Where requests go, and what the server there allows."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import EndpointError

#: Read when no other variable is named. It is our own, so that no other service's key is sent to a
#: server that it was not meant for.
API_KEY_ENV = "EMSCORE_API_KEY"


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server.

    Attributes:
        url: The base of its paths, which most servers end in `/v1`.
        api_key_env: The environment variable that holds the key. The key itself is in no file, no
            log and no message.
        headers: Sent with every request, and as secret as the key; the value `env:NAME` stands for
            what the environment variable NAME holds.
        max_concurrency: Most requests in flight at once. How many really are follows the server.
        requests_per_minute: The server's limit, where it has one.
        tokens_per_minute: The server's limit on prompt and completion tokens together.
        timeout: Seconds that one attempt may take as a whole.
        connect_timeout: Seconds that opening a connection may take.
        attempts: How often one request is sent at most.
        backoff: Seconds; attempt k is followed by a pause of up to `backoff * 2 ** (k - 1)`.
        max_reply_bytes: A longer reply is not read.

    >>> Endpoint("http://localhost:8000/v1/").url
    'http://localhost:8000/v1'
    """

    url: str
    api_key_env: str = API_KEY_ENV
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 600.0
    connect_timeout: float = 15.0
    attempts: int = 8
    backoff: float = 0.5
    max_reply_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        """Checks the address, which people paste from many places."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EndpointError(
                "path", f"{self.url!r} is no address of a server, such as http://localhost:8000/v1"
            )
        if parts.username or parts.password or parts.query:
            raise EndpointError(
                "path",
                f"the address of {parts.hostname} must hold no password or key: put the key into "
                f"the environment variable {self.api_key_env}",
            )
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def api_key(self) -> str | None:
        """The key, or None where none was named and none is set.

        Raises:
            EndpointError: The variable was named, and is not set.
        """
        if self.api_key_env == API_KEY_ENV:
            return os.environ.get(API_KEY_ENV) or None
        return _from_environment(self.api_key_env)

    def secret_headers(self) -> dict[str, str]:
        """The headers with what the environment holds for them.

        Raises:
            EndpointError: A variable is not set.
        """
        return {
            name: _from_environment(value[4:]) if value.startswith("env:") else value
            for name, value in self.headers.items()
        }


def _from_environment(name: str) -> str:
    if value := os.environ.get(name):
        return value
    raise EndpointError("auth", f"the environment variable {name} is not set: put the key there")
