"""Requests a second and peak memory of the client, beside `openai` and bare aiohttp.

Each sends the same chat requests, 64 at a time, to a server that answers at once, and reads the
answer's text. Each run is a process of its own; the seconds are those of the requests alone, those
of the process beside them: they say the same where other work has the processor.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from common import rate, run, setting, show

CONCURRENCY = 64
QUESTION = "If you could change one thing about the world overnight, what would it be?"


Seconds = tuple[float, float]  # on the wall, of the processor


def clocks() -> Seconds:
    """Both clocks."""
    return time.perf_counter(), time.process_time()


def since(began: Seconds) -> Seconds:
    """What both clocks have gone on."""
    wall, processor = clocks()
    return wall - began[0], processor - began[1]


def peak_mb() -> float:
    """Of this program: what `getrusage` tells counts the one that started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def body(number: int) -> dict[str, object]:
    """The request of one sample."""
    messages = [{"role": "user", "content": QUESTION}]
    return {"model": "null", "messages": messages, "max_tokens": 600, "seed": number}


async def spread(requests: int, ask: Callable[[int], Awaitable[object]]) -> Seconds:
    """Seconds for so many requests, by as many tasks as there may be at once."""
    numbers = iter(range(requests))

    async def work() -> None:
        for each in numbers:
            assert await ask(each)

    began = clocks()
    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return since(began)


async def bare(url: str, requests: int) -> Seconds:
    """aiohttp as its documentation shows it."""
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def ask(number: int) -> object:
            async with session.post(f"{url}/chat/completions", json=body(number)) as reply:
                return (await reply.json())["choices"][0]["message"]["content"]

        return await spread(requests, ask)


async def openai(url: str, requests: int) -> Seconds:
    """The `openai` package's client, as it comes."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(number: int) -> object:
            reply = await client.chat.completions.create(**body(number))  # type: ignore[call-overload]
            return reply.choices[0].message.content

        return await spread(requests, ask)


async def openai_aiohttp(url: str, requests: int) -> Seconds:
    """The same, on aiohttp instead of httpx: openai[aiohttp]."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    http = DefaultAioHttpClient()
    async with AsyncOpenAI(base_url=url, api_key="none", http_client=http) as client:

        async def ask(number: int) -> object:
            reply = await client.chat.completions.create(**body(number))  # type: ignore[call-overload]
            return reply.choices[0].message.content

        return await spread(requests, ask)


async def ours(url: str, requests: int) -> Seconds:
    """emscore's client."""
    from emscore.sampling.client import Client, Endpoint

    async with Client(Endpoint(url, concurrency=CONCURRENCY)) as client:

        async def ask(number: int) -> object:
            reply = await client.post("chat/completions", body(number))
            return reply.body["choices"][0]["message"]["content"]

        return await spread(requests, ask)


async def rows(url: str, requests: int) -> Seconds:
    """`emscore.sample`: seeds, checks of the answer, and whole rows besides."""
    import emscore
    from emscore.sampling.suites import Question, Suite

    suite = Suite("one", (Question("q", (QUESTION,), samples_per_paraphrase=requests),))
    plan = emscore.Plan(suite, [emscore.Checkpoint("null")])
    endpoint = emscore.Endpoint(url, concurrency=CONCURRENCY)
    began = clocks()
    async for row in emscore.sample(endpoint, plan):
        assert row["response"]
    return since(began)


CLIENTS = {
    "emscore's client": ours,
    "aiohttp, bare": bare,
    "openai": openai,
    "openai, on aiohttp": openai_aiohttp,
    "`emscore.sample`, rows": rows,
}


def main() -> None:
    """Runs all clients in turns and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--client", choices=list(CLIENTS), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        seconds = asyncio.run(CLIENTS[given.client](given.url, given.requests))
        print(*seconds, peak_mb())
        return
    setting("aiohttp", "openai", "httpx")
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("null_server.py")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout
        url = server.stdout.readline().strip()
        measured: dict[str, list[list[float]]] = {name: [] for name in CLIENTS}
        for _ in range(given.rounds):
            for name, found in measured.items():
                options = ["--client", name, "--url", url, "--requests", str(given.requests)]
                told = run([sys.executable, __file__, *options]).out
                found.append([float(value) for value in told.split()])
    finally:
        server.kill()
    table = []
    first: list[float] = []
    for name, found in measured.items():
        walls, processor, peak = (list(each) for each in zip(*found, strict=True))
        middle = [statistics.median(walls), statistics.median(processor)]
        first = first or middle
        table.append(
            (
                name,
                rate(given.requests, walls),
                f"{middle[0] / first[0]:.2f}",
                f"{1e6 * middle[1] / given.requests:.0f}",
                f"{middle[1] / first[1]:.2f}",
                f"{statistics.median(peak):.0f}",
            )
        )
    head = ["client", "requests/s", "emscore's client is faster by"]
    head += ["processor, µs a request", "emscore's client takes less by", "peak, MB"]
    show(f"{given.requests:,} requests, {CONCURRENCY} at a time", head, table)


if __name__ == "__main__":
    main()
