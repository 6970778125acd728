"""A service that is never the limit: `python -m benchmarks.fast_service`, a process of its own on a core of its own.

It reads a whole request by its Content-Length and gives a constant answer, at once or after a latency. It understands
no more of HTTP than the clients of these benchmarks say. `GET /seen` tells what it saw since `GET /forget`.
"""

import argparse
import asyncio
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from .machine import SERVICE_CORE, pin
from .process import ROOT, module

TOKEN_PATH = "/oauth/2.0/token"
FORM_PATH = "/rest/2.0/image-classify/v2/advanced_general"
MODEL = "itcast_fruit"
JSON_PATH = f"/rpc/2.0/ai_custom/v1/classification/{MODEL}"

_TOKEN = {"access_token": "24.bench", "expires_in": 2592000, "scope": "public brain_all_scope", "refresh_token": "25.x"}
_SEEN = (
    ("苹果", 0.912734, "植物-水果"),
    ("红富士苹果", 0.634112, "植物-水果"),
    ("果蔬", 0.417583, "植物-其它"),
    ("水果店", 0.201943, "场景-商店"),
    ("静物", 0.093218, "非自然图像-艺术画"),
)
_GENERAL = {
    "result_num": len(_SEEN),
    "result": [{"keyword": name, "score": score, "root": root} for name, score, root in _SEEN],
    "log_id": 1886421934857493212,
}
_CUSTOM = {
    "log_id": 7381942085412367021,
    "results": [{"name": name, "score": score} for name, score, _ in _SEEN],
}
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_BUFFER_BYTES = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


def _reply(content: object) -> bytes:
    body = json.dumps(content, ensure_ascii=False).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


_REPLIES = {b"rest": _reply(_GENERAL), b"rpc": _reply(_CUSTOM), b"oauth": _reply(_TOKEN)}
_NO_LENGTH = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Book:
    """What was asked since it was told to forget."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.forget()

    def forget(self) -> None:
        self._calls, self._bytes, self._first, self._last, self._cpu = 0, 0, 0.0, 0.0, time.process_time()

    def note(self, size: int) -> None:
        self._last = time.monotonic()
        if not self._calls:
            self._first = self._last
        self._calls += 1
        self._bytes += size

    def told(self) -> dict[str, float]:
        cpu = time.process_time() - self._cpu
        return {"calls": self._calls, "bytes": self._bytes, "first": self._first, "last": self._last, "cpu": cpu}


class _Connection(asyncio.BufferedProtocol):
    """One request after the other; bodies are counted and let go of."""

    _buffer = memoryview(bytearray(_BUFFER_BYTES))
    """Of all connections: what is in it is dealt with before the next one is asked for it."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._head = b""
        self._left = self._size = 0
        self._kind = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        if self._left > count:
            self._left -= count
            return
        rest = bytes(self._buffer[self._left : count])
        if self._left:
            self._left = 0
            self._answer()
        self._head += rest
        self._read_heads()

    def _read_heads(self) -> None:
        while (end := self._head.find(b"\r\n\r\n")) >= 0:
            head, body = self._head[: end + 2], self._head[end + 4 :]
            if _CHUNKED.search(head):
                self._transport.write(_NO_LENGTH)
                self._transport.close()
                return
            length = _LENGTH.search(head)
            self._size = int(length[1]) if length else 0
            self._kind = head.split(b" ", 2)[1].split(b"/", 2)[1].partition(b"?")[0]
            self._left = max(0, self._size - len(body))
            self._head = body[self._size :]
            if self._left:
                return
            self._answer()

    def _answer(self) -> None:
        if self._kind == b"seen":
            self._transport.write(_reply(self._book.told()))
        elif self._kind == b"forget":
            self._book.forget()
            self._transport.write(_reply({}))
        else:
            self._answer_call(_REPLIES[self._kind])

    def _answer_call(self, reply: bytes) -> None:
        if self._kind == b"oauth":
            self._transport.write(reply)
            return
        self._book.note(self._size)
        if self._book.latency:
            asyncio.get_running_loop().call_later(self._book.latency, self._transport.write, reply)
        else:
            self._transport.write(reply)


async def _serve(latency: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        partial(_Connection, _Book(latency)), "127.0.0.1", 0, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the service saw: calls, bytes of their bodies, the first and the last (monotonic), its own CPU seconds."""

    calls: int
    bytes: int
    first: float
    last: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is running."""

    url: str

    def forget(self) -> None:
        """Begin to count anew."""
        self._ask("forget")

    def seen(self) -> Seen:
        """What it saw since it was told to forget."""
        told = self._ask("seen")
        return Seen(int(told["calls"]), int(told["bytes"]), told["first"], told["last"], told["cpu"])

    def _ask(self, what: str) -> dict[str, float]:
        with _DIRECTLY.open(f"{self.url}/{what}") as response:
            told: dict[str, float] = json.load(response)
        return told


@contextmanager
def serving(latency: float = 0.0) -> Iterator[Service]:
    """The service, in a process of its own. `latency` in seconds."""
    process = subprocess.Popen(
        module("benchmarks.fast_service", "--latency", latency), stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        yield Service(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until a call is answered")
    latency = parser.parse_args().latency
    pin(SERVICE_CORE)
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(_serve(latency))


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made


if __name__ == "__main__":
    main()
