"""A web server of images for tests, with faults by the path, and a proxy that connects for real."""

import gzip
import random
import select
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness import picture

PAGE = b"<!DOCTYPE html><html><title>Sign in</title><body>Please sign in</body></html>"
BODY_BYTES = 50_000_000
"""Bytes that the path /big sends, if anybody takes them."""


@dataclass
class Web:
    """The server: requests by path, as often as they came, and the bytes that left for /big.

    `GET /ok/N.png` is the image of seed N; the other paths are the methods of `_Handler` whose names begin with `say_`.
    """

    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    logins: dict[str, str] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)
    """Names of the headers that came, in lower case."""
    big_sent: int = 0
    at_once: int = 0
    most_at_once: int = 0
    times: dict[str, list[float]] = field(default_factory=dict)
    release: threading.Event = field(default_factory=threading.Event)
    """Set where slow paths are to end."""
    tags: bool = True
    """Whether images have an ETag."""
    repaired: bool = False
    """Whether the paths with faults give images from now on."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        """Note the request, and answer by the first part of the path."""
        web, path = self.web, self.path
        with web.lock:
            web.requests[path] += 1
            web.times.setdefault(path, []).append(time.monotonic())
            web.hosts.add(self.headers.get("Host", ""))
            web.headers.update(name.lower() for name in self.headers)
            web.at_once += 1
            web.most_at_once = max(web.most_at_once, web.at_once)
            if login := self.headers.get("Authorization"):
                web.logins[path] = login
        try:
            kind = "ok" if web.repaired else path.split("/")[1].partition("?")[0]
            getattr(self, f"say_{kind}", self.say_missing)()
        finally:
            with web.lock:
                web.at_once -= 1

    @property
    def seed(self) -> int:
        """The number in the path's last part."""
        digits = "".join(filter(str.isdigit, self.path.split("?")[0].rsplit("/", 1)[-1]))
        return int(digits or 0)

    def reply(self, body: bytes, *headers: tuple[str, str], status: int = 200, kind: str = "image/jpeg") -> None:
        """A whole reply."""
        with self.web.lock:
            self.web.statuses[self.path, status] += 1
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def say_ok(self) -> None:
        """An image, with an ETag; 304 where the client has it."""
        tag = f'"tag-{self.path}"'
        if self.web.tags and self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.send_header("ETag", tag)
            self.end_headers()
            with self.web.lock:
                self.web.statuses[self.path, 304] += 1
            return
        self.reply(picture(self.seed), *([("ETag", tag)] if self.web.tags else []))

    def say_torn(self) -> None:
        """Half a JPEG with a whole reply at first, then all of it under the same ETag, with 304 as `say_ok` has it."""
        tag = f'"tag-{self.path}"'
        whole = picture(self.seed, "JPEG", (64, 64))
        if self.web.requests[self.path] == 1:
            self.reply(whole[: len(whole) // 2], ("ETag", tag))
        elif self.headers.get("If-None-Match") == tag:
            self.reply(b"", status=304)
        else:
            self.reply(whole, ("ETag", tag))

    def say_webp(self) -> None:
        """A WebP image under the name of a JPEG."""
        self.reply(picture(self.seed, "WEBP"))

    def say_missing(self) -> None:
        """404."""
        self.reply(b"no such image", status=404, kind="text/plain")

    def say_busy(self) -> None:
        """429 with Retry-After at first, then the image."""
        if self.web.requests[self.path] == 1:
            self.reply(b"", ("Retry-After", "1"), status=429)
        else:
            self.say_ok()

    def say_refusing(self) -> None:
        """429 without end, which asks for an hour."""
        self.reply(b"", ("Retry-After", "3600"), status=429)

    def say_packed(self) -> None:
        """An image in gzip, which was not asked for."""
        self.reply(gzip.compress(picture(self.seed)), ("Content-Encoding", "gzip"))

    def say_labelled(self) -> None:
        """A plain image with a word as its encoding that is none."""
        self.reply(picture(self.seed), ("Content-Encoding", "utf-8"))

    def say_brotli(self) -> None:
        """Bytes in an encoding that nobody asked for."""
        self.reply(b"\x1b\x0f\xf8\x27" + random.Random(1).randbytes(2000), ("Content-Encoding", "br"))

    def say_unpacked(self) -> None:
        """An image that says it is in gzip, and is not."""
        self.reply(picture(self.seed), ("Content-Encoding", "gzip"))

    def say_shaky(self) -> None:
        """A reset at first, then the image."""
        if self.web.requests[self.path] == 1:
            self.say_reset()
        else:
            self.say_ok()

    def say_reset(self) -> None:
        """A connection that is reset in the middle of the body."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(picture(self.seed)[:100])
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def say_slow(self) -> None:
        """Half an image, and nothing more until the test ends."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(picture(self.seed)[:100])
        self.wfile.flush()
        self.web.release.wait(60)
        self.close_connection = True

    def say_html(self) -> None:
        """A page that says it is a JPEG."""
        self.reply(PAGE)

    def say_loop(self) -> None:
        """A redirect to itself."""
        self.reply(b"", ("Location", self.path), status=302)

    def say_moved(self) -> None:
        """A redirect to the image."""
        self.reply(b"", ("Location", f"/ok/{self.seed}.png"), status=301)

    def say_away(self) -> None:
        """A redirect to another host: that of the query."""
        self.reply(b"", ("Location", self.path.partition("?")[2]), status=302)

    def say_big(self) -> None:
        """50 MB in chunks, without a length."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        piece = picture(1)[:2000] + b"\0" * 98_000
        for _ in range(BODY_BYTES // len(piece)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.web.big_sent += len(piece)
        self.wfile.write(b"0\r\n\r\n")

    def say_long(self) -> None:
        """50 MB by its Content-Length, of which nothing need be taken."""
        self.send_response(200)
        self.send_header("Content-Length", str(BODY_BYTES))
        self.end_headers()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def serving(web: Web | None = None, *, tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Serve images for as long as the block lasts."""
    web = web or Web()
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": web})) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        web.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield web
        finally:
            web.release.set()
            server.shutdown()
            thread.join()


def tunnel(
    seen: list[str], reach: Callable[[str], tuple[str, int]], refusal: str = ""
) -> type[socketserver.BaseRequestHandler]:
    """A proxy that notes the first line of each request, and connects a CONNECT to where `reach` says.

    `refusal`: the status line with which it refuses instead.
    """

    class Tunnel(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            """One connection."""
            line = self.rfile.readline().decode().strip()
            seen.append(line)
            while self.rfile.readline().strip():
                pass
            if refusal or not line.startswith("CONNECT "):
                self.wfile.write(f"HTTP/1.1 {refusal or '403 Forbidden'}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            with socket.create_connection(reach(line.split()[1]), timeout=20) as other, suppress(OSError):
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                _relay(self.connection, other)

    return Tunnel


def _relay(one: socket.socket, other: socket.socket) -> None:
    pair = {one: other, other: one}
    while True:
        ready, _, _ = select.select(list(pair), [], [], 20)
        for sock in ready:
            data = sock.recv(65536)
            if not data:
                return
            pair[sock].sendall(data)
        if not ready:
            return
