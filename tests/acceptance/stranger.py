"""A server that nobody of this project wrote would be like this one: threads, http.server, replies as it likes."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import trustme

AUTHORITY = trustme.CA()
"""Signs the certificates of strangers; nobody trusts it unless told to."""

TOKEN = {"access_token": "24.stranger-token.2592000", "expires_in": 2592000, "scope": "public"}


@dataclass(frozen=True)
class Said:
    """One reply: the body's bytes, the status, headers beside, and how its end is told, and seconds to wait."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    framing: str = "length"
    after: float = 0.0


@dataclass
class Stranger:
    """The server: what it was asked, and how it answers the n-th recognition call (from 0) for its form."""

    answer: Callable[[int, dict[str, str]], Said]
    token: Callable[[], Said] = lambda: Said(json.dumps(TOKEN).encode())
    url: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tokens: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def reply(*names: str, **more: object) -> bytes:
    """A reply of advanced_general with these keywords."""
    result = [{"keyword": name, "score": 0.9 - n / 10, "root": "植物-花"} for n, name in enumerate(names)]
    return json.dumps({"log_id": 1, "result_num": len(result), "result": result, **more}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stranger: Stranger

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        form = {key: values[0] for key, values in parse_qs(raw).items()}
        stranger = self.stranger
        if self.path.startswith("/oauth/2.0/token"):
            query = {key: values[0] for key, values in parse_qs(self.path.partition("?")[2]).items()}
            stranger.tokens.append(form | query)
            self._say(stranger.token())
            return
        with stranger.lock:
            number = len(stranger.calls)
            stranger.calls.append(form)
            stranger.requests.append((self.path, dict(self.headers.items())))
            said = stranger.answer(number, form)
        time.sleep(said.after)
        self._say(said)

    def _say(self, said: Said) -> None:
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        body = said.body
        match said.framing:
            case "length":
                self.send_header("Content-Length", str(len(body)))
            case "chunked":
                self.send_header("Transfer-Encoding", "chunked")
                body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
            case "close":
                self.send_header("Connection", "close")
                self.close_connection = True
            case "silently_closed":
                self.send_header("Content-Length", str(len(body)))
                self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


def certified(name: str = "127.0.0.1", not_after: datetime | None = None) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate of AUTHORITY for that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name, not_after=not_after).configure_cert(context)
    return context


@contextmanager
def strange(stranger: Stranger, *, tls: bool | ssl.SSLContext = False) -> Iterator[Stranger]:
    """Serve it for as long as the block lasts; with TLS by a certificate of AUTHORITY, or as that context has it."""
    handler = type("Handler", (_Handler,), {"stranger": stranger})
    with _Server(("127.0.0.1", 0), handler) as server:
        if tls:
            context = certified() if tls is True else tls
            server.socket = context.wrap_socket(server.socket, server_side=True)
        stranger.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield stranger
        finally:
            server.shutdown()
            thread.join()
