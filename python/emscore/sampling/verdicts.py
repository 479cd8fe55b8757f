"""What a server's refusal means: is it worth asking again, or asking on at all?"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from json import loads
from time import time
from typing import Any

from ..errors import EndpointError, RequestFailed
from .endpoint import Endpoint

#: Longer than this, nobody waits for: the run stops, and can be resumed.
MOST_PATIENCE = 3600.0

# "The model `x` does not exist", "unknown model: x"; not "the model produced invalid content".
_NO_MODEL = re.compile(
    r"\bmodel\b(\W*\S+)?\W+(\w+ )?(not (be )?found|not exist|not served|is invalid|is unknown)\b"
    r"|\b(invalid|unknown|no such|not a valid) model( name| id|[:.]| ?[`'\"]|$)"
)
_FILTERED = re.compile(
    r"content[ _-](filter|policy)|content management|\bmoderation\b"
    r"|\b(input|prompt|message|request)s? (was|were|has been|have been) flagged"
)
_TOO_LONG = re.compile(
    r"context.{0,10}(length|window|size)|maximum context|too long|too many tokens"
)
_OF_THE_REQUEST = (400, 403, 413, 422)  # statuses that may be about one request's text alone


def of_status(
    status: int, content: bytes, endpoint: Endpoint, location: str | None = None
) -> EndpointError | RequestFailed:
    """The error that an HTTP status other than 2xx stands for.

    A `RequestFailed` of the kinds server_error is worth another attempt, and so is an
    `EndpointError` of the kind rate_limited: `transient` tells.
    """
    server = endpoint.url
    code, told = explained(content)
    said = f"{status}{f': {told}' if told else ''}"
    low = f"{code} {told}".lower()
    if status in _OF_THE_REQUEST and _FILTERED.search(low):
        return RequestFailed("content_filter", f"a content filter refused: {said}", status)
    if status in _OF_THE_REQUEST and (status == 413 or _TOO_LONG.search(low)):
        return RequestFailed("too_long", f"longer than the model can read: {said}", status)
    if code == "model_not_found" or (status in (400, 404, 422) and _NO_MODEL.search(low)):
        return EndpointError(
            "model", f"{server} does not serve this model ({said}): compare with its /models"
        )
    if status in (401, 403):
        return EndpointError(
            "auth",
            f"{server} refuses the API key ({said}): check the key in {endpoint.api_key_env}, and "
            "what it may use",
        )
    if status == 402 or (status == 429 and "insufficient_quota" in low):
        return EndpointError("quota", f"the account at {server} has no credit left ({said})")
    if location and 300 <= status < 400:
        there = _line(location.partition("?")[0])[:200]  # what follows may be a key
        return EndpointError(
            "path", f"{server} sends its requests on to {there} ({said}): give that address"
        )
    if status in (404, 405) or 300 <= status < 400:
        return EndpointError(
            "path",
            f"there is no such path at {server} ({said}): the URL of most endpoints ends in /v1",
        )
    if status == 429:
        return EndpointError(
            "rate_limited",
            f"{server} goes on refusing requests as too many ({said}): lower its requests or "
            "tokens a minute, or wait, and run the same command again",
        )
    if status >= 500 or status in (408, 409, 425):
        return RequestFailed("server_error", f"{server} failed: {said}", status)
    return RequestFailed("rejected", f"{server} rejects the request: {said}", status)


def transient(error: EndpointError | RequestFailed) -> bool:
    """Whether the same request may succeed a little later."""
    return error.kind in (
        "disconnected",
        "malformed",
        "rate_limited",
        "server_error",
        "timeout",
        "too_large",
        "unreachable",
    )


def explained(content: bytes) -> tuple[str, str]:
    """The code and the message in the body of an error, in any of the shapes that servers use."""
    try:
        body: Any = loads(content)
    except (ValueError, RecursionError):
        return "", _line(content.decode(errors="replace"))[:200]
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        told = next((error[key] for key in ("message", "detail") if error.get(key)), error)
        return str(error.get("code") or error.get("type") or ""), _line(str(told))[:300]
    return "", _line(str(error))[:300]


def _line(text: str) -> str:
    """A server's text as one line, without what a terminal would obey."""
    return "".join(each for each in " ".join(text.split()) if each.isprintable())


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that the server asks to wait (RFC 9110, section 10.2.3), or None.

    >>> retry_after({"Retry-After": "2"})
    2.0
    >>> retry_after({"retry-after-ms": "250"})
    0.25
    """
    found = {name.lower(): value for name, value in headers.items()}
    try:
        if milliseconds := found.get("retry-after-ms"):
            return max(float(milliseconds) / 1000, 0.0)
        if (value := found.get("retry-after")) is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        # By the server's clock, where it tells the time.
        date = found.get("date")
        now = parsedate_to_datetime(date).timestamp() if date else time()
        return max(parsedate_to_datetime(value).timestamp() - now, 0.0)
    except (ValueError, TypeError):
        return None
