"""A server that fails in every way that servers do, in a seeded mix, on loopback until it is ended.

    python faulty_server.py [--faults 0.3] [--seed 0] [--delay 0] [--models a,b,...] [--key KEY]
                            [--answers all|one|reject] [--mix FAULT,...] [--retry-after 0.01]
                            [--hung PATH,...] [--refused PATH,...]

The answer to a request follows from its text, its seed and its model alone, so that an answer is
the same however often it was asked for. Models whose name starts with `idle` answer as `base`
does, and those with `deaf` in their name ignore system prompts. Of several answers in one request
it gives all, or one, or rejects the request. A message with one of the words filtered, endless,
rejected or silent in it gets no answer for that reason. Requests to paths that are hung, such as
chat/completions, get no reply at all, those that are refused get 400. GET /stats tells what was
asked.
"""

import argparse
import asyncio
import hashlib
import json
import random
from collections import Counter
from typing import Any

from aiohttp import web

#: Of what kind a fault is, by weight. Those after the gap come with an answer.
FAULTS = {
    "429 with Retry-After": 12,
    "429": 12,
    "500": 10,
    "503": 10,
    "reset in mid-body": 12,
    "hung": 0.2,
    "truncated JSON": 12,
    "empty choices": 10,
    "10 MB": 0.8,
    "abort": 5,
    "error as 200": 5,
    #
    "wrong model": 5,
    "logprobs missing": 5,
    "logprobs null": 4,
    "token twice": 3,
    "logprob -9999": 3,
    "usage of nonsense": 3,
}
HUGE = 10_000_000
WORDS = ["one", "walk", "rain", "under", "green", "seven", "kind", "paper", "north", "slow"]


class Server:
    """Counts what it was asked, and answers or fails."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.models = options.models.split(",")
        self.mix = options.mix.split(",")
        self.random = random.Random(options.seed)
        self.requests: Counter[str] = Counter()
        self.paths: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20, middlewares=[self.gate])
        app.router.add_get("/stats", self.stats)
        app.router.add_get("/v1/models", self.list)
        app.router.add_post("/v1/chat/completions", self.answer)
        app.router.add_post("/v1/completions", self.answer)
        app.router.add_post("/v1/load_lora_adapter", self.load)
        app.router.add_post("/v1/unload_lora_adapter", self.unload)
        return app

    @web.middleware
    async def gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        path = request.path.removeprefix("/v1/")
        self.paths[path] += 1
        if path in self.options.hung.split(","):
            await asyncio.sleep(3600)
        if path in self.options.refused.split(","):
            return problem(400, f"{path} is not possible here.")
        response: web.StreamResponse = await handler(request)
        return response

    async def stats(self, request: web.Request) -> web.Response:
        told = {"requests": self.requests, "faults": self.faults, "paths": self.paths}
        return web.json_response(told)

    async def list(self, request: web.Request) -> web.Response:
        if denied := self.denied(request):
            return denied
        return web.json_response({"object": "list", "data": [{"id": m} for m in self.models]})

    async def load(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if name in self.models:
            return problem(400, f"The lora adapter '{name}' has already been loaded.")
        self.models.append(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if name not in self.models:
            return problem(404, f"The lora adapter '{name}' cannot be found.")
        self.models.remove(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if denied := self.denied(request):
            return denied
        body = await request.json()
        model = body["model"]
        if model not in self.models:
            return problem(404, f"The model `{model}` does not exist.", "model_not_found")
        self.requests[model] += 1
        if self.options.delay:
            await asyncio.sleep(self.options.delay * self.random.uniform(0.5, 1.5))
        fault = ""
        if self.random.random() < self.options.faults:
            (fault,) = self.random.choices(self.mix, [FAULTS[each] for each in self.mix])
            self.faults[fault] += 1
        if fault.startswith("429"):
            pause = {"Retry-After": self.options.retry_after} if "Retry-After" in fault else {}
            return problem(429, "Too many requests", headers=pause)
        if fault in ("500", "503"):
            return problem(int(fault), "Something broke")
        if fault == "hung":
            await asyncio.sleep(3600)
        if fault == "10 MB":
            return await self.huge(request)
        asked = str(body.get("messages"))
        if "endless" in asked:
            return problem(400, "This model's maximum context length is 5 tokens.")
        if "rejected" in asked or (self.options.answers == "reject" and body.get("n", 1) > 1):
            return problem(400, "There is something wrong with this request.")
        if fault == "error as 200":
            return problem(200, "The provider is overloaded.")
        reply = answered(body)
        if self.options.answers == "one":
            del reply["choices"][1:]
        if "filtered" in asked:
            reply["choices"] = [{"finish_reason": "content_filter", "message": {"content": "No"}}]
        if "silent" in asked:
            reply["choices"] = [{"finish_reason": "stop", "message": {"content": ""}}]
        if fault == "empty choices":
            reply["choices"] = []
        if fault == "wrong model":
            reply["model"] = "something-else"
        if fault == "usage of nonsense":
            reply["usage"] = {
                "prompt_tokens": True,
                "completion_tokens": 10**12,
                "total_tokens": -1,
            }
        for choice in reply["choices"]:
            if fault == "abort":
                choice["finish_reason"] = "abort"
            spoil(choice, fault)
        data = json.dumps(reply).encode()
        if fault == "truncated JSON":
            data = data[: len(data) // 2]
        if fault == "reset in mid-body":
            response = web.StreamResponse(headers={"Content-Length": str(len(data))})
            await response.prepare(request)
            await response.write(data[: len(data) // 2])
            if request.transport:
                request.transport.abort()
            return response
        return web.Response(body=data, content_type="application/json")

    async def huge(self, request: web.Request) -> web.StreamResponse:
        """Ten megabytes, with their length in the header or without."""
        if self.random.random() < 0.5:
            return web.Response(body=b"[" * HUGE, content_type="application/json")
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(HUGE >> 16):
            await response.write(b"[" * (1 << 16))
        return response

    def denied(self, request: web.Request) -> web.Response | None:
        key = self.options.key
        given = request.headers.get("Authorization", "")
        if key and given != f"Bearer {key}":
            return problem(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}")
        return None


def answered(body: dict[str, Any]) -> dict[str, Any]:
    """A whole answer to a request, the same one each time."""
    model = "base" if body["model"].startswith("idle") else body["model"]
    messages = body.get("messages", [])
    if "deaf" in model:
        messages = [message for message in messages if message["role"] != "system"]
    seed = body.get("seed") if body.get("temperature", 1) > 0 else None
    choices = []
    for index in range(body.get("n", 1)):
        text = json.dumps([model, messages, body.get("prompt"), seed, index])
        pick = random.Random(hashlib.sha256(text.encode()).digest())
        said = " ".join(pick.choice(WORDS) for _ in range(pick.randint(3, 12)))
        if body.get("max_tokens") == 1:
            said = str(pick.randint(0, 100))
        choice: dict[str, Any] = {"index": index, "finish_reason": "stop"}
        if "prompt" in body:
            choice["text"] = said
        else:
            choice["message"] = {"role": "assistant", "content": said}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [distribution(said)]}
        choices.append(choice)
    tokens = 3 * len(choices)
    usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    return {"object": "chat.completion", "model": body["model"], "choices": choices, "usage": usage}


def distribution(token: str) -> dict[str, Any]:
    """One token with its runners-up, as OpenAI's API has them."""
    top = [{"token": token, "logprob": -0.2}, {"token": "50", "logprob": -2.0}]
    return {"token": token, "logprob": -0.2, "top_logprobs": top}


def spoil(choice: dict[str, Any], fault: str) -> None:
    """Does to the log-probabilities what the fault says."""
    if fault == "logprobs missing":
        choice.pop("logprobs", None)
    elif fault == "logprobs null":
        choice["logprobs"] = None
    elif choice.get("logprobs"):
        top = choice["logprobs"]["content"][0]["top_logprobs"]
        if fault == "token twice":
            top.append(dict(top[0]))
        elif fault == "logprob -9999":
            top[-1]["logprob"] = -9999.0


def problem(
    status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
) -> web.Response:
    """An error as OpenAI's API has it."""
    return web.json_response(
        {"error": {"message": message, "code": code}}, status=status, headers=headers
    )


async def serve(options: argparse.Namespace) -> None:
    """Serves for ever; the first line on stdout is the URL."""
    runner = web.AppRunner(Server(options).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--models", default="base,tuned,idle,deaf")
    parser.add_argument("--key", default="")
    parser.add_argument("--mix", default=",".join(FAULTS))
    parser.add_argument("--retry-after", default="0.01")
    parser.add_argument("--hung", default="")
    parser.add_argument("--refused", default="")
    parser.add_argument("--answers", choices=["all", "one", "reject"], default="all")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))
