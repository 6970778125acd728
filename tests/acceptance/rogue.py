"""A server that speaks in raw bytes, so that it can break every rule of HTTP; and a meter for a child's memory."""

import json
import socket
import socketserver
import ssl
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from stranger import TOKEN, reply

Speak = Callable[[socket.socket], None]
"""Writes bytes to a client, as many as it takes."""

CONNECTION_LOST = (ConnectionError, TimeoutError, ssl.SSLError)


def http(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """A whole reply, after which the connection ends."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


GOOD = http(reply("好"))
"""An answer of advanced_general."""


def says(*parts: bytes) -> Speak:
    """Send these bytes."""
    return lambda sock: sock.sendall(b"".join(parts))


def floods(start: bytes, part: bytes, total: int = 1 << 30) -> Speak:
    """Send `start`, then `part` again and again, a gigabyte of it or till the client has gone."""

    def speak(sock: socket.socket) -> None:
        sock.sendall(start)
        for _ in repeat(None, total // len(part)):
            sock.sendall(part)

    return speak


def swollen(head: bytes, gzip: bool = False, blocks: int = 64) -> bytes:
    """Deflated data that unpacks to `head` and a gigabyte of one letter; it has no end, and nobody should get there."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if gzip else 15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"x" * (1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * blocks


def drips(start: bytes, over: threading.Event, seconds: float) -> Speak:
    """Send `start`, then a byte every so many seconds till the client has gone or `over` is set."""

    def speak(sock: socket.socket) -> None:
        sock.sendall(start)
        while not over.wait(seconds):
            sock.sendall(b" ")

    return speak


@dataclass
class Rogue:
    """The server: how it answers the n-th recognition call (from 0) and each token call, and what it was sent."""

    answer: Callable[[int], Speak]
    token: Speak
    url: str = ""
    heads: list[str] = field(default_factory=list)
    calls: int = 0
    sent: dict[int, int] = field(default_factory=dict)
    """By call: the bytes of its reply that the client's side took."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Counting:
    """A socket that counts what it sends."""

    def __init__(self, sock: socket.socket, sent: dict[int, int], call: int) -> None:
        self._sock, self._sent, self._call = sock, sent, call
        sent[call] = 0

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)
        self._sent[self._call] += len(data)


class _Handler(socketserver.StreamRequestHandler):
    rogue: Rogue

    def handle(self) -> None:
        with suppress(*CONNECTION_LOST):
            head = b""
            while not head.endswith(b"\r\n\r\n") and (line := self.rfile.readline()):
                head += line
            if not head:
                return
            text = head.decode()
            length = next(x for x in text.lower().split("\r\n") if x.startswith("content-length:"))
            self.rfile.read(int(length.partition(":")[2]))
            self._answer(text)

    def _answer(self, head: str) -> None:
        rogue = self.rogue
        with rogue.lock:
            rogue.heads.append(head)
            if "/oauth/" in head:
                call, speak = -1, rogue.token
            else:
                call, speak = rogue.calls, rogue.answer(rogue.calls)
                rogue.calls += 1
        speak(_Counting(self.connection, rogue.sent, call))  # type: ignore[arg-type]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def rogue(answer: Callable[[int], Speak], token: Speak | None = None) -> Iterator[Rogue]:
    """Serve it for as long as the block lasts."""
    server = Rogue(answer, token or says(http(json.dumps(TOKEN).encode())))
    with listening(type("Handler", (_Handler,), {"rogue": server})) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server in threads, for as long as the block lasts; its port."""
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


_METER = """
import os, resource, subprocess, sys
child = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(child.pid, 0)
with open(sys.argv[1], "w") as file:
    file.write(str(usage.ru_maxrss))
os._exit(os.waitstatus_to_exitcode(status))
"""


class Proxy(socketserver.StreamRequestHandler):
    """A proxy that knows CONNECT and keeps all that passes; a subclass has `seen` and `passed` of its own."""

    seen: list[str]
    passed: bytearray

    def handle(self) -> None:
        with suppress(*CONNECTION_LOST):
            head = b""
            while not head.endswith(b"\r\n\r\n") and (line := self.rfile.readline()):
                head += line
            self.seen.append(head.decode())
            host, _, port = self.seen[-1].split()[1].rpartition(":")
            with socket.create_connection((host, int(port))) as far:
                self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=self._copy, args=(far, self.connection))
                back.start()
                self._copy(self.connection, far)
                back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(*CONNECTION_LOST, OSError):
            while data := source.recv(65536):
                self.passed += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def proxy_that_says(said: bytes) -> type[socketserver.BaseRequestHandler]:
    """A proxy that answers every CONNECT with these bytes, and ends."""

    class Saying(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(*CONNECTION_LOST):
                while self.rfile.readline().strip():
                    pass
                self.connection.sendall(said)

    return Saying


def metered(path: Path) -> Sequence[str]:
    """What to start a command under, so that the most memory it held is written to `path`.

    A small process of its own: a child's figure includes what its parent held when it was started.
    """
    return [sys.executable, "-c", _METER, str(path)]


def peak_mib(path: Path) -> float:
    """What was written there, in MiB."""
    return int(path.read_text()) / (1 << (20 if sys.platform == "darwin" else 10))
