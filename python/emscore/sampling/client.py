"""Requests to one endpoint: paced, bounded, and asked again where that may help."""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import aiohttp
from yarl import URL

from ..errors import EndpointError, RequestFailed
from .endpoint import Endpoint
from .limits import Pace, Sign, Window
from .verdicts import MOST_PATIENCE, explained, of_status, retry_after, transient

log = logging.getLogger(__name__)

#: Raises ValueError where a reply is not what was asked for; the request is then sent again.
Check = Callable[[dict[str, Any]], object]

#: Called each time that a request leaves: the connection stands, and nothing is sent yet.
Leaving = Callable[[], object]

_BUSY_STATUS = (429, 503)
_PROBLEM_BYTES = 16 << 10  # as much of an error's text is read
_SHOWN_BYTES = 60  # of what is no JSON
_SHOWN_LETTERS = 400  # of an error
_LONG = 10.0  # seconds: a longer Retry-After is told of
_SILENCE = 8  # timeouts one after the other: by then a window of 64 is down to one request


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the server.

    Attributes:
        body: The JSON object in it.
        latency: Seconds from the sending of the last attempt to the end of its answer.
    """

    body: dict[str, Any]
    latency: float


class Client:
    """An async context manager that sends requests to one endpoint.

    All requests share one session, whose connections stay open. Any number of tasks may call it:
    they wait here for their turn, in order, while `requests_per_minute`, `tokens_per_minute`, a
    Retry-After or the server's load (see `Window`) hold them up.
    """

    def __init__(self, endpoint: Endpoint | str) -> None:
        self.endpoint = endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self.window = Window(endpoint.concurrency)
        self.sent = 0
        """Attempts so far, of all requests."""
        per_minute = endpoint.requests_per_minute, endpoint.tokens_per_minute
        self._requests, self._tokens = (Pace(limit) if limit else None for limit in per_minute)
        self._base = URL(endpoint.url + "/")
        self._urls: dict[str, URL] = {}
        self._paused_until = 0.0
        self._met = False  # a server that never answered, or has fallen silent, is not waited for
        self._timeouts = 0  # since the last answer; of those in flight together one counts
        self._timed_out = float("-inf")
        self._random = random.Random()
        self._key = endpoint.api_key()
        self._headers = endpoint.secret_headers()
        secrets = [self._key or "", *self._headers.values()]
        self._secrets = [secret.encode() for secret in secrets if len(secret) >= 8]

    async def __aenter__(self) -> "Client":
        headers = {"Content-Type": "application/json", **self._headers}
        if self._key and "authorization" not in {name.lower() for name in headers}:
            headers["Authorization"] = f"Bearer {self._key}"
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_leaves)
        self._session = aiohttp.ClientSession(
            trace_configs=[trace],
            connector=aiohttp.TCPConnector(limit=self.endpoint.concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=self.endpoint.timeout, sock_connect=self.endpoint.connect_timeout
            ),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        check: Check | None = None,
        tokens: int = 0,
        leaving: Leaving | None = None,
    ) -> Reply:
        """Sends a JSON object and returns the JSON object that comes back.

        Args:
            path: Relative to the endpoint's URL, such as `chat/completions`; with a leading slash,
                relative to the server.
            body: What to send.
            check: Called with each reply; where it raises ValueError, the reply is malformed and
                the request is sent again.
            tokens: How many prompt and completion tokens this may use at most, for
                `tokens_per_minute`. The reply's own count takes its place.
            leaving: Called before each attempt that reaches the server.

        Raises:
            RequestFailed: This request has no answer, while others may have one.
            EndpointError: No request can have an answer.
        """
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return await self._persist("POST", path, data, check, tokens, leaving)

    async def get(self, path: str) -> Reply:
        """Returns the JSON object at a path; arguments and errors are those of `post`."""
        return await self._persist("GET", path, None, None, 0)

    async def command(self, path: str, body: dict[str, Any]) -> str:
        """Posts a JSON object where the answer is plain text; errors are those of `post`."""
        return (await self._once("POST", path, json.dumps(body).encode())).decode(errors="replace")

    async def _persist(
        self,
        method: str,
        path: str,
        data: bytes | None,
        check: Check | None,
        tokens: int,
        leaving: Leaving | None = None,
    ) -> Reply:
        """Sends a request until it has an answer or there is no point in going on."""
        attempt = 0
        while True:
            attempt += 1
            await self.window.enter()
            sent, sign = monotonic(), Sign.NONE
            try:
                await self._turn(tokens)
                sent = monotonic()
                content = await self._once(method, path, data, leaving)
                latency = monotonic() - sent
                body = self._parsed(content, check)
                # What takes half of the time allowed is on the way to taking all of it.
                sign = Sign.BUSY if latency > self.endpoint.timeout / 2 else Sign.GOOD
                self._settle(tokens, body.get("usage"))
                return Reply(body, latency)
            except (RequestFailed, EndpointError) as error:
                self._settle(tokens, {"total_tokens": 0})
                if isinstance(error, RequestFailed):
                    error.attempts = attempt
                    overloaded = error.kind == "timeout" or error.status in _BUSY_STATUS
                else:
                    overloaded = error.kind == "rate_limited"
                sign = Sign.BUSY if overloaded else Sign.NONE
                hopeless = error.kind == "unreachable" and not self._met
                if attempt >= self.endpoint.attempts or hopeless or not transient(error):
                    raise
            finally:
                self.window.leave(sent, sign)
            # Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter
            most = min(self.endpoint.backoff * 2 ** (attempt - 1), 60.0)
            await asyncio.sleep(self._random.uniform(0, most))

    async def _turn(self, tokens: int) -> None:
        """Waits until the limits and the server's Retry-After let one more request leave."""
        if self._requests and (seconds := self._requests.wait(1)) > 0:
            await asyncio.sleep(seconds)
        if self._tokens and (seconds := self._tokens.wait(tokens)) > 0:
            await asyncio.sleep(seconds)
        while (seconds := self._paused_until - monotonic()) > 0:
            await asyncio.sleep(seconds)

    def _settle(self, tokens: int, usage: object) -> None:
        """Puts the tokens really used in the place of the estimate."""
        used = token_count(usage, "total_tokens")
        if self._tokens and used is not None:
            self._tokens.correct(used - tokens)

    async def _once(
        self, method: str, path: str, data: bytes | None, leaving: Leaving | None = None
    ) -> bytes:
        """The content of a successful answer; anything else is an error."""
        if (url := self._urls.get(path)) is None:
            url = self._urls[path] = self._base.join(URL(path))
        self.sent += 1
        sent, server = monotonic(), self.endpoint.url
        try:
            # Redirects are not followed: they would carry the key elsewhere.
            async with self._session.request(
                method, url, data=data, allow_redirects=False, trace_request_ctx=leaving
            ) as response:
                self._met = True
                refused = response.status >= 300
                if refused:
                    content = await response.content.read(_PROBLEM_BYTES)
                else:
                    content = await _bounded(response, self.endpoint.max_reply_bytes)
                self._timeouts = 0
                if refused:
                    self._refuse(response, content)
                return content
        except aiohttp.ClientConnectorError as error:
            raise EndpointError(
                "unreachable", f"cannot reach {server} ({error.strerror or error}): is it running?"
            ) from error
        except asyncio.TimeoutError as error:  # in Python 3.10 this is not yet TimeoutError
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise EndpointError(
                    "unreachable",
                    f"{server} takes no connection within {self.endpoint.connect_timeout:g} s",
                ) from error
            raise self._late(sent) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            told = " ".join(str(error).split()) or type(error).__name__
            raise RequestFailed(
                "disconnected", self._clean(f"the connection to {server} broke: {told}")
            ) from error

    def _late(self, sent: float) -> EndpointError | RequestFailed:
        """What it means that a request that left at that time has no answer in time."""
        if sent > self._timed_out:
            self._timed_out = monotonic()
            self._timeouts += 1
        told = f"no answer within {self.endpoint.timeout:g} s"
        # More than the attempts of one request, which may be the only one that is never answered.
        if self._timeouts <= max(_SILENCE, self.endpoint.attempts):
            return RequestFailed("timeout", told)
        self._met = False
        return EndpointError(
            "unreachable",
            f"{self.endpoint.url} answers no more ({told}, {self._timeouts} times in a row): "
            "is it stuck, or is the timeout too short?",
        )

    def _refuse(self, response: aiohttp.ClientResponse, problem: bytes) -> None:
        """Raises what an answer without success stands for, and heeds its Retry-After."""
        problem = self._redacted(problem)
        error = of_status(response.status, problem, self.endpoint, response.headers.get("Location"))
        pause = retry_after(response.headers)
        if pause is not None and transient(error):
            if pause > MOST_PATIENCE:
                raise EndpointError(
                    "quota", f"{self.endpoint.url} asks to wait for {pause / 3600:.1f} h"
                )
            self._pause(pause, f"{response.status} {explained(problem)[1]}")
        raise error

    def _pause(self, seconds: float, why: str) -> None:
        """Holds all requests up; a long pause is told of, once."""
        now = monotonic()
        if now + seconds > max(self._paused_until, now) + _LONG:
            until = datetime.now() + timedelta(seconds=seconds)
            url, told = self.endpoint.url, f"{seconds:,.0f} s, until {until:%H:%M:%S}"
            log.warning("%s asks to wait for %s (%s)", url, told, why.rstrip())
        self._paused_until = max(self._paused_until, now + seconds)

    def _parsed(self, content: bytes, check: Check | None) -> dict[str, Any]:
        """The JSON object in an answer."""
        try:
            body = json.loads(content)
            if not isinstance(body, dict):
                raise ValueError(f"not an object but {type(body).__name__}")
            if body.get("error") and not body.get("choices"):
                raise ValueError(f"the server says: {explained(content)[1]}")
            if check is not None:
                check(body)
        except (ValueError, RecursionError) as error:  # which may hold the whole answer
            told = str(error)
            if isinstance(error, json.JSONDecodeError):
                told += f", in {explained(self._redacted(content)[:_SHOWN_BYTES])[1]!r}"
            told = f"the answer of {self.endpoint.url} is not as it should be: {told}"
            raise RequestFailed("malformed", self._clean(told)) from None
        return body

    def _clean(self, told: str) -> str:
        """An error's text without secrets, and of a length that can be read."""
        told = self._redacted(told.encode(errors="replace")).decode(errors="replace")
        return told[:_SHOWN_LETTERS]

    def _redacted(self, content: bytes) -> bytes:
        for secret in self._secrets:
            content = content.replace(secret, b"***")
        return content


def token_count(usage: object, name: str) -> int | None:
    """A count in a reply's `usage`; None where there is none, or none that can be."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < 2**31 else None


async def _leaves(_: object, context: Any, __: object) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx()


async def _bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The content of an answer, whose size the server decides and we bound."""
    length = response.content_length or 0
    parts: list[bytes] = []
    size = 0
    while length <= most:
        part = await response.content.readany()
        if not part:
            return parts[0] if len(parts) == 1 else b"".join(parts)
        parts.append(part)
        size += len(part)
        length = max(length, size)
    response.close()
    raise RequestFailed("too_large", f"the answer is larger than {most:,} bytes", response.status)
