"""Answers every request at once with the same short chat completion: as little work as possible.

A bare protocol on asyncio, so that the server is not what is measured. The first line on stdout
is its URL.
"""

import asyncio
import json
import re

REPLY = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 0,
    "model": "null",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "logprobs": None,
            "message": {"role": "assistant", "content": "I would start with a long walk. " * 4},
        }
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 32, "total_tokens": 52},
}
BODY = json.dumps(REPLY).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY
LENGTH = re.compile(rb"content-length: *(\d+)", re.I)


class Null(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps where to write."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each whole request."""
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.data, 0, end)
            size = end + 4 + int(length[1] if length else 0)
            if len(self.data) < size:
                return
            self.data = self.data[size:]
            self.transport.write(ANSWER)


async def serve() -> None:
    """Serves until it is ended."""
    server = await asyncio.get_running_loop().create_server(Null, "127.0.0.1", 0)
    print("http://{}:{}/v1".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
