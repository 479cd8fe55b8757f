"""The client: what it asks again, what it stops at, how it keeps to limits, what it never tells."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

import emscore
from emscore.sampling.client import Client
from emscore.sampling.verdicts import retry_after

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Handler, **options: Any) -> AsyncIterator[Client]:
    """A client of a server that answers every request with this function."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    options = {"backoff": 0.001, "timeout": 60.0, **options}
    try:
        async with Client(emscore.Endpoint(f"http://{host}:{port}/v1", **options)) as client:
            yield client
    finally:
        await runner.cleanup()


def post(answer: Handler, **options: Any) -> tuple[Any, int]:
    """The reply or the error that a request gets, and how often it was sent."""

    async def run() -> tuple[Any, int]:
        async with serving(answer, **options) as client:
            try:
                return await client.post("chat/completions", {"a": 1}), client.sent
            except emscore.EmscoreError as error:
                return error, client.sent

    return asyncio.run(run())


def always(status: int, text: str = "", **headers: str) -> Handler:
    """A server that says the same each time."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    return answer


def first(failing: web.Response | Exception | str, times: int = 2) -> Handler:
    """A server that fails some times, and then answers."""
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked > times:
            return web.json_response({"fine": True})
        if isinstance(failing, Exception):
            raise failing
        if isinstance(failing, str):
            assert request.transport
            request.transport.abort()
            return web.Response()
        return web.Response(status=failing.status, body=failing.body, headers=failing.headers)

    return answer


@pytest.mark.parametrize(
    "failing",
    [
        web.Response(status=429),
        web.Response(status=500),
        web.Response(status=502, text="<html>Bad gateway</html>"),
        web.Response(status=503),
        web.Response(status=408),
        web.Response(text='{"choices": ['),
        web.Response(text="[1, 2]"),
        web.Response(text="[" * 100_000),
        web.Response(body=b'{"a": "\xff"}'),
        web.Response(text=""),
        "reset",
        RuntimeError(),
    ],
)
def test_what_passes_is_asked_again(failing: Any) -> None:
    reply, sent = post(first(failing))
    assert reply.body == {"fine": True}
    assert sent == 3


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (401, '{"error": {"message": "Incorrect API key"}}', "auth"),
        (403, "Forbidden", "auth"),
        (402, "", "quota"),
        (429, '{"error": {"code": "insufficient_quota", "message": "pay"}}', "quota"),
        (404, '{"error": {"message": "The model `x` does not exist.", "code": 404}}', "model"),
        (400, '{"error": {"message": "Invalid model", "code": "model_not_found"}}', "model"),
        (404, '{"detail": "Not Found"}', "path"),
        (405, "", "path"),
        (301, "", "path"),
        (400, '{"error": {"message": "max_tokens must be positive"}}', "rejected"),
        (422, '{"detail": [{"msg": "field required"}]}', "rejected"),
        (400, '{"error": {"code": "content_filter", "message": "no"}}', "content_filter"),
        (400, '{"error": {"message": "maximum context length is 4096 tokens"}}', "too_long"),
        (413, "", "too_long"),
        (
            403,
            '{"error": {"message": "Your chosen model requires moderation and your input was '
            'flagged", "code": 403, "metadata": {"reasons": ["violence"]}}}',
            "content_filter",
        ),
        (400, '{"error": {"message": "The model produced invalid content"}}', "rejected"),
        (
            400,
            '{"error": {"message": "This model does not support the parameter: unknown field '
            'top_k"}}',
            "rejected",
        ),
        (
            400,
            '{"error": {"message": "This model\'s maximum context length is 4096 tokens. However, '
            'you requested 5000 tokens in the messages, which is invalid."}}',
            "too_long",
        ),
        (403, '{"error": {"message": "no access", "code": "model_not_found"}}', "model"),
        (404, '{"error": "model \'llama3:8b\' not found, try pulling it first"}', "model"),
        (400, '{"error": {"message": "org/x is not a valid model ID", "code": 400}}', "model"),
    ],
)
def test_what_stays_is_asked_once(status: int, text: str, kind: str) -> None:
    error, sent = post(always(status, text, Location="http://127.0.0.1:9/elsewhere"))
    assert (error.kind, sent) == (kind, 1)
    fatal = kind in ("auth", "quota", "model", "path")
    assert type(error) is (emscore.EndpointError if fatal else emscore.RequestFailed)
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (308, "", "sends its requests on to https://other/v1/chat (308): give that address"),
        (200, "<html>A proxy</html>", "in '<html>A proxy</html>'"),
        (200, 'data: {"choices": []}', "in 'data: {\"choices\": []}'"),
        (400, '{"error": {"message": "\\u001b[2JNo.\\r\\nNo!"}}', "400: [2JNo. No!"),
        (500, "\x1b[31mred\r\n\r\nblue", "500: [31mred blue"),
    ],
)
def test_what_a_server_says_is_told_in_one_line(status: int, text: str, told: str) -> None:
    location = "https://other/v1/chat?key=sk-0123"
    error, _ = post(always(status, text, Location=location), attempts=1)
    assert told in str(error)
    assert str(error).isprintable()
    assert "127.0.0.1" in str(error)
    assert "sk-0123" not in str(error)


def test_nobody_is_asked_for_ever() -> None:
    error, sent = post(always(500, "on fire"), attempts=4)
    assert (error.kind, error.status, error.attempts, sent) == ("server_error", 500, 4, 4)
    assert "on fire" in str(error)
    error, sent = post(always(429), attempts=4)
    assert (type(error), error.kind, sent) == (emscore.EndpointError, "rate_limited", 4)


def test_a_server_that_hangs() -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    error, sent = post(hang, timeout=0.1, attempts=2)
    assert (error.kind, sent) == ("timeout", 2)


def test_a_server_that_has_fallen_silent_is_given_up() -> None:
    """While one request that is never answered is a failure of its own."""
    silent, asked = False, 0

    async def fall_silent(request: web.Request) -> web.Response:
        nonlocal asked
        if silent:
            asked += 1
            await asyncio.sleep(1)
        return web.json_response({})

    async def run() -> tuple[list[Any], list[Any]]:
        nonlocal silent
        async with serving(fall_silent, timeout=0.1, concurrency=16) as client:
            for _ in range(20):
                await client.post("x", {})
            silent, found = True, []
            for number in (1, 50):
                asking = (client.post("x", {}) for _ in range(number))
                found.append(await asyncio.gather(*asking, return_exceptions=True))
            return found[0], found[1]

    (alone,), many = asyncio.run(run())
    assert (type(alone), alone.kind) == (emscore.RequestFailed, "timeout")
    assert {(type(error), error.kind) for error in many} == {(emscore.EndpointError, "unreachable")}
    assert asked < 8 + 100


@pytest.mark.parametrize("told", [True, False])
def test_a_reply_without_end_is_not_read(told: bool) -> None:
    written = 0

    async def huge(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        if told:
            response.content_length = 1 << 30
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))
            written += 1 << 16

    error, sent = post(huge, attempts=1, max_reply_bytes=1 << 20)
    assert (error.kind, sent) == ("too_large", 1)
    assert written < 16 << 20  # what the sockets buffer


def test_a_check_has_the_last_word() -> None:
    asked = 0

    async def count(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"n": asked})

    def check(body: dict[str, Any]) -> None:
        if body["n"] < 3:
            raise ValueError("too few")

    async def run() -> Any:
        async with serving(count) as client:
            return await client.post("x", {}, check=check)

    assert asyncio.run(run()).body == {"n": 3}


def test_retry_after_holds_up_every_request() -> None:
    times: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        if len(times) == 1:
            return web.Response(status=503, headers={"Retry-After": "0.5"})
        return web.json_response({})

    async def run() -> None:
        async with serving(answer) as client:
            one = asyncio.create_task(client.post("x", {}))
            while not times or client.window.in_flight:  # the first reply is still to come
                await asyncio.sleep(0)
            await asyncio.gather(one, *(client.post("x", {}) for _ in range(5)))

    asyncio.run(run())
    assert len(times) == 7
    assert min(times[1:]) - times[0] >= 0.49


def test_retry_after_in_all_its_forms() -> None:
    assert retry_after({}) is None
    assert retry_after({"RETRY-AFTER": "3"}) == 3
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    later = retry_after({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"})
    assert later is not None
    assert later > 1e9
    ahead = {
        "Retry-After": "Wed, 21 Oct 2099 07:28:02 GMT",
        "Date": "Wed, 21 Oct 2099 07:28:00 GMT",
    }
    assert retry_after(ahead) == 2  # by the server's clock
    error, sent = post(always(429, **{"Retry-After": "86400"}))
    assert (error.kind, sent) == ("quota", 1)
    assert "24.0 h" in str(error)


@pytest.mark.parametrize(
    "limit", [{"requests_per_minute": 1200.0}, {"tokens_per_minute": 120_000.0}]
)
def test_limits_of_a_minute(limit: dict[str, float]) -> None:
    async def run() -> float:
        async with serving(always(200, "{}"), **limit) as client:
            started = time.monotonic()
            await asyncio.gather(*(client.post("x", {}, tokens=100) for _ in range(21)))
            return time.monotonic() - started

    assert asyncio.run(run()) >= 0.99  # 20 of them follow at 50 ms each


def test_tokens_that_were_not_used_are_given_back() -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            return web.Response(status=500)
        return web.json_response({"usage": {"total_tokens": 1}})

    async def run() -> float:
        async with serving(answer, tokens_per_minute=60.0) as client:
            started = time.monotonic()
            for _ in range(3):
                await client.post("x", {}, tokens=1000)  # a quarter of an hour each, if used
            return time.monotonic() - started

    assert asyncio.run(run()) < 300


def test_in_flight_follows_what_the_server_can_take() -> None:
    most = now = refused = 0

    async def small(request: web.Request) -> web.Response:
        nonlocal most, now, refused
        now += 1
        most = max(most, now)
        try:
            if now > 12:
                refused += 1
                return web.Response(status=429)
            await asyncio.sleep(0.002)
            return web.json_response({})
        finally:
            now -= 1

    async def run() -> int:
        async with serving(small, concurrency=100, attempts=50) as client:
            await asyncio.gather(*(client.post("x", {}) for _ in range(2000)))
            return client.sent

    sent = asyncio.run(run())
    assert 12 <= most <= 32
    assert refused < 400
    assert sent == 2000 + refused


def test_in_flight_grows_to_the_most_that_is_allowed_and_no_further() -> None:
    most = now = 0

    async def fast(request: web.Request) -> web.Response:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return web.json_response({})

    async def run() -> None:
        async with serving(fast, concurrency=40) as client:
            await asyncio.gather(*(client.post("x", {}) for _ in range(1000)))

    asyncio.run(run())
    assert most == 40


def test_who_gives_up_waiting_takes_no_place() -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.json_response({})

    async def run() -> tuple[int, int]:
        async with serving(slow, concurrency=2) as client:
            tasks = [asyncio.create_task(client.post("x", {})) for _ in range(20)]
            await asyncio.sleep(0.02)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            return client.window.in_flight, sum(isinstance(d, BaseException) for d in done)

    assert asyncio.run(run()) == (0, 10)


def test_the_key_is_sent_and_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-0123456789")
    monkeypatch.setenv("MY_HEADER", "hunter2-hunter2")
    headers: dict[str, str] = {}

    async def echo(request: web.Request) -> web.Response:
        headers.update(request.headers)
        told = f"bad key {request.headers['Authorization']}, {request.headers['X-Own']}"
        return web.Response(status=401, text=told)

    options = {"api_key_env": "MY_KEY", "headers": {"X-Own": "env:MY_HEADER"}}
    error, _ = post(echo, **options)
    assert headers["Authorization"] == "Bearer sk-0123456789"
    assert headers["X-Own"] == "hunter2-hunter2"
    assert "bad key Bearer ***, ***" in str(error)
    assert "hunter2" not in repr(emscore.Endpoint("http://h/v1", headers={"X": "hunter2"}))


def test_no_other_service_s_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-you")
    monkeypatch.delenv("EMSCORE_API_KEY", raising=False)
    sent: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        sent.append(request.headers.get("Authorization"))
        return web.json_response({})

    post(answer)
    assert sent == [None]
    with pytest.raises(emscore.EndpointError, match="MISSING_KEY is not set"):
        post(answer, api_key_env="MISSING_KEY")


def test_a_key_that_no_header_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-0123456789\r")
    given: list[dict[str, Any]] = [{"api_key_env": "MY_KEY"}, {"headers": {"X": "env:MY_KEY"}}]
    for options in given:
        with pytest.raises(emscore.EndpointError, match="MY_KEY holds a line break") as error:
            post(always(200, "{}"), **options)
        assert "sk-" not in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"concurrency": 2.5},
        {"attempts": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"requests_per_minute": -5},
        {"tokens_per_minute": 0},
        {"backoff": -1},
        {"api_key_env": 5},
        {"headers": "x"},
        {"headers": {"a": 5}},
        {"headers": {"a b": "c"}},
    ],
)
def test_limits_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(emscore.InputError, match=f"{next(iter(wrong))} of an endpoint must be"):
        emscore.Endpoint("http://h/v1", **wrong)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000/v1",
        "ftp://h/v1",
        "http://user:pass@h/v1",
        "http://user:pass@h:99999/v1",
        "https://h/v1?key=abc",
        "http://h:99999/v1",
        "http://[::1/v1",
        "http://h h/v1",
        "http://a..b/v1",
        "",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(emscore.EndpointError) as error:
        emscore.Endpoint(url)
    assert error.value.kind == "path"
    assert "pass" not in str(error.value).replace("password", "")


def test_a_server_that_is_not_there_is_asked_once() -> None:
    async def run() -> emscore.EndpointError:
        async with Client(emscore.Endpoint("http://127.0.0.1:9/v1", backoff=100.0)) as client:
            with pytest.raises(emscore.EndpointError) as error:
                await client.post("x", {})
            assert client.sent == 1
            return error.value

    error = asyncio.run(run())
    assert error.kind == "unreachable"
    assert "http://127.0.0.1:9/v1" in str(error)


def test_plain_answers_and_paths_from_the_root() -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(text="Success") if request.method == "POST" else web.json_response({})

    async def run() -> str:
        async with serving(answer) as client:
            await client.get("models")
            await client.get("/props")
            return await client.command("load_lora_adapter", {})

    assert asyncio.run(run()) == "Success"
    assert paths == ["/v1/models", "/props", "/v1/load_lora_adapter"]
