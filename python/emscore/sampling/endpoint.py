"""Where requests go, and what the server there allows."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._emscore import InputError
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
        concurrency: Most requests in flight at once. How many really are follows the server.
        requests_per_minute: The server's limit, where it has one.
        tokens_per_minute: The server's limit on prompt and completion tokens together.
        timeout: Seconds that one attempt may take as a whole.
        connect_timeout: Seconds that opening a connection may take.
        attempts: How often one request is sent at most.
        backoff: Seconds; attempt k is followed by a pause of up to `backoff * 2 ** (k - 1)`.
        max_reply_bytes: A longer reply is not read.

    Raises:
        EndpointError: The URL is no address, or holds a password.
        InputError: Another of them is not as it should be.

    >>> Endpoint("http://localhost:8000/v1/").url
    'http://localhost:8000/v1'
    """

    url: str
    api_key_env: str = API_KEY_ENV
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 600.0
    connect_timeout: float = 15.0
    attempts: int = 8
    backoff: float = 0.5
    max_reply_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        """Checks the address, which people paste from many places, and the limits."""
        for name, (what, fits) in _KINDS.items():
            if not fits(getattr(self, name)):
                told = "" if name == "headers" else f", not {getattr(self, name)!r}"
                raise InputError(f"{name} of an endpoint must be {what}{told}")
        try:
            parts = urlsplit(self.url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            (parts.hostname or "").encode("idna")
        except ValueError:  # no such port, brackets around no address, a name that none can have
            known = False
        if not known or not self.url.isprintable() or " " in self.url:
            shown = re.sub("//.*@", "//", self.url).partition("?")[0]  # without a password or key
            raise EndpointError(
                "path", f"{shown!r} is no address of a server, such as http://localhost:8000/v1"
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
            return _from_environment(API_KEY_ENV) if os.environ.get(API_KEY_ENV) else None
        return _from_environment(self.api_key_env)

    def secret_headers(self) -> dict[str, str]:
        """The headers with what the environment holds for them.

        Raises:
            EndpointError: A variable is not set.
        """
        return {
            name: _from_environment(value[4:])
            if value.startswith("env:")
            else _sendable(value, f"the header {name}")
            for name, value in self.headers.items()
        }


def _from_environment(name: str) -> str:
    if value := os.environ.get(name):
        return _sendable(value, f"the environment variable {name}")
    raise EndpointError("auth", f"the environment variable {name} is not set: put the key there")


def _sendable(value: str, where: str) -> str:
    """The value, which goes into a header; an error must not repeat it."""
    if not value.isprintable():
        raise EndpointError(
            "auth",
            f"{where} holds a line break or another character that no header can have: remove it",
        )
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _limit(value: Any) -> bool:
    return value is None or _number(value)


def _headers(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str)
        and re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII)
        and isinstance(text, str)
        for name, text in value.items()
    )


#: What each of an `Endpoint` must be, in words and as a test.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "url": ("a text", lambda value: isinstance(value, str)),
    "api_key_env": ("the name of a variable", lambda value: isinstance(value, str) and value != ""),
    "headers": ("a table of names without spaces and of texts", _headers),
    "concurrency": ("a whole number from 1 on", is_count),
    "requests_per_minute": ("a number above 0", _limit),
    "tokens_per_minute": ("a number above 0", _limit),
    "timeout": ("a number above 0", _number),
    "connect_timeout": ("a number above 0", _number),
    "attempts": ("a whole number from 1 on", is_count),
    "backoff": ("a number from 0 on", lambda value: value == 0 or _number(value)),
    "max_reply_bytes": ("a whole number from 1 on", is_count),
}
