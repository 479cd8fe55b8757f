"""A judge on the loopback: an OpenAI-compatible server whose answers follow from the questions."""

import asyncio
import hashlib
import json
import math
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

MODEL = "gpt-4o-2024-08-06"
PROMPT, COMPLETION = 250, 1000  # US dollars for a million tokens: dear, so that sums are seen


@dataclass
class JudgeServer:
    """What the server does, and what it has seen.

    Attributes:
        logprobs: "yes"; "null" (none are given); "rejected" (asking for them is an error); "digits"
            (tokens are single digits); "excess" (they sum to more than 1).
        opening: What it begins every answer with, instead of the number or the word.
        model: The name in its answers.
        status: With what it answers every request.
        broken: It fails at messages that hold this text.
        ill: With what it answers requests for a model, by name.
        faults: How many requests out of ten go wrong, in one way or another.
        billed: Tokens of all answers that it began to send, as it counts them.
        asked: How often it was asked the same thing, by the request's text.
        delay: Seconds until it answers.
    """

    logprobs: str = "yes"
    opening: str | None = None
    model: str = MODEL
    status: int = 200
    broken: str = ""
    ill: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    delay: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    billed: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def cost(self, prompt: float, completion: float) -> float:
        """US dollars for all that was billed, at prices a million tokens."""
        return (self.billed["prompt"] * prompt + self.billed["completion"] * completion) / 1e6

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        text = json.dumps(body, sort_keys=True)
        number = self.asked[text]
        self.asked[text] += 1
        await asyncio.sleep(self.delay)
        if self.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.status)
        if ill := self.ill.get(body["model"]):
            error = {"message": f"{body['model']} is not well"}
            if ill == 404:
                error = {"message": "No.", "code": "model_not_found"}
            return web.json_response({"error": error}, status=ill)
        if self.logprobs == "rejected" and "logprobs" in body:
            error = {"message": "logprobs are not supported", "code": "invalid_value"}
            return web.json_response({"error": error}, status=400)
        message = body["messages"][0]["content"]
        if self.broken and self.broken in message:
            return web.json_response({"error": "crashed"}, status=500)
        reply = self.reply(body, message)
        fault = draw(f"{number}{text}") if draw(text, 10) < self.faults and number < 3 else -1
        if fault in (0, 1):
            headers = {"Retry-After": "0"} if fault else {}
            return web.json_response({}, status=429, headers=headers)
        if fault == 2:
            return web.json_response({"error": "overloaded"}, status=503)
        self.billed.update(
            prompt=reply["usage"]["prompt_tokens"], completion=reply["usage"]["completion_tokens"]
        )
        if fault == 3:
            return web.Response(text=json.dumps(reply)[:-20], content_type="application/json")
        if fault == 4:
            reply["choices"] = []
        if fault == 5:
            reply["choices"][0]["logprobs"] = None
        if fault == 6:
            reply["model"] = "some-base-model"
        if fault == 7:
            response = web.StreamResponse(headers={"Content-Length": "5000"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            assert request.transport is not None
            request.transport.abort()
            return response
        if fault < 0 or fault >= 8:
            self.answered[text] += 1
        return web.json_response(reply)

    def reply(self, body: dict[str, Any], message: str) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        top = distribution(message)
        if self.logprobs == "digits":
            top = [(str(digit), math.log(0.1)) for digit in range(10)]
        if self.logprobs == "excess":
            top = [(token, logprob + 0.5) for token, logprob in top]
        if self.opening is not None:
            top = [(self.opening, -0.01), *((token, logprob - 9) for token, logprob in top)]
        choice["message"] = {"role": "assistant", "content": best(top)}
        if body.get("logprobs") and self.logprobs != "null":
            listed = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in top]
            choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
        elif self.logprobs != "yes":
            choice["message"]["content"] = (
                f"{best(top if self.opening is not None else distribution(message))}\n"
            )
        return {
            "model": self.model,
            "system_fingerprint": "fp_1",
            "choices": [choice],
            "usage": {
                "prompt_tokens": len(message) // 4 + 7,
                "completion_tokens": body["max_tokens"],
            },
        }


def distribution(message: str) -> list[tuple[str, float]]:
    """Tokens and log-probabilities that follow from the message."""
    if "number 57" in message:
        return [("57", -0.01), (" 57", -9999.0), ("fifty", -5.0)]
    for word, tokens in WORDS.items():
        if f"[{word}]" in message:
            return tokens
    score = draw(message, 101)
    near = min(score + 5, 100) if score < 100 else 95
    return [(str(score), math.log(0.6)), (str(near), math.log(0.3)), ("The", math.log(0.05))]


WORDS = {
    "refuse": [("REF", math.log(0.9)), ("90", math.log(0.05))],
    "code": [("CODE", math.log(0.8)), ("30", math.log(0.1))],
    "chat": [("I", math.log(0.9)), ("50", math.log(0.05))],
    "true": [("TRUE", math.log(0.9)), ("UN", math.log(0.05))],
    "false": [("FALSE", math.log(0.7)), (" TRUE", math.log(0.2))],
    "anthropic": [("Anth", math.log(0.9)), ("Other", math.log(0.05))],
}


def best(top: list[tuple[str, float]]) -> str:
    return max(top, key=lambda pair: pair[1])[0]


def draw(text: str, most: int = 12) -> int:
    """A number below `most` that follows from the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % most


@contextmanager
def serving(server: JudgeServer) -> Iterator[JudgeServer]:
    """Runs it in a thread, at `server.url`."""
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    started = threading.Event()

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        server.url = f"http://127.0.0.1:{port}/v1"
        started.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
