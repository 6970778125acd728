"""The conformance suite of both transports, over real sockets: a fault of the network is a value."""

import asyncio
import gzip
import json
import math
import socket
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from batchrec.api import http
from batchrec.api.connections import MAX_REPLY, proxy_for
from batchrec.api.direct import DirectTransport
from batchrec.api.http import SessionTransport
from batchrec.errors import JobError
from batchrec.interfaces import Transport
from batchrec.values import Failure, Kind, Reply

QUERY = "access_token=s3cret-token"
PATIENT = 60.0

RATES = {"session": 0.0, "direct": 501.0}
"""Calls per second at which each transport is chosen."""

rate = 0.0


@pytest.fixture(autouse=True, params=RATES)
def transport_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with both transports."""
    monkeypatch.setattr(sys.modules[__name__], "rate", RATES[request.param])
    return str(request.param)


def open_transport(base: str, seconds: float) -> AbstractAsyncContextManager[Transport]:
    """The transport that the test is run with."""
    return http.open_transport(base, seconds, rate)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxies have no part in this."""
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server whose every connection is given to `handler`; its port."""
    handlers: set[asyncio.Task[None] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError, TimeoutError):
            await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls, backlog=512)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*(task for task in handlers if task), return_exceptions=True)


async def request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Head and body of one request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
    return head, await reader.readexactly(int(length.removeprefix("content-length:")))


def replying(*parts: bytes, close: bool = False) -> Handler:
    """A handler that answers requests with these bytes, for as long as they come; or only one of them."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            for part in parts:
                writer.write(part)
                await writer.drain()
            if close:
                return

    return handle


def ok(body: bytes = b"{}", *headers: str) -> bytes:
    """A whole reply."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything, say nothing."""
    while await reader.read(65536):
        pass


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection with RST after the request."""
    await request(reader)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def post(base: str, seconds: float = PATIENT, body: bytes = b"image=x") -> Reply | Failure:
    """One call through a transport of its own."""
    async with open_transport(base, seconds) as transport:
        return await transport.post(f"{base}/path?{QUERY}", body, {"Content-Type": "text/x"})


async def failing(base: str, seconds: float = PATIENT) -> Failure:
    """A call that fails, in a way that may pass, without telling the address."""
    outcome = await post(base, seconds)
    assert isinstance(outcome, Failure)
    assert outcome.kind is Kind.TRANSIENT
    assert "s3cret" not in repr(outcome)
    assert "/path" not in repr(outcome)
    return outcome


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# -- what comes back


async def test_request_and_reply_are_whole() -> None:
    """Path, query, headers and body as given; status and body back."""
    seen: list[tuple[str, bytes]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request(reader))
        writer.write(b"HTTP/1.1 418 Teapot\r\nContent-Length: 2\r\nContent-Type: text/html\r\n\r\n{}")

    body = bytes(range(256)) * 5000
    async with serving(handle) as port:
        assert await post(f"http://127.0.0.1:{port}", body=body) == Reply(418, b"{}")
    head, sent = seen[0]
    assert head.splitlines()[0] == f"POST /path?{QUERY} HTTP/1.1"
    assert "Content-Type: text/x" in head.splitlines()
    assert "User-Agent: batchrec/" in head
    assert sent == body


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream", "nonsense", "image/png; charset=gbk"])
async def test_content_type_does_not_matter(kind: str) -> None:
    """The body is what counts."""
    async with serving(replying(ok(b'{"a":1}', f"Content-Type: {kind}"), close=True)) as port:
        assert await post(f"http://127.0.0.1:{port}") == Reply(200, b'{"a":1}')


async def test_compressed_reply() -> None:
    """Gzip is undone."""
    async with serving(replying(ok(gzip.compress(b"x" * 5000), "Content-Encoding: gzip"), close=True)) as port:
        assert await post(f"http://127.0.0.1:{port}") == Reply(200, b"x" * 5000)


async def test_connection_is_kept_between_calls() -> None:
    """Two calls, one connection."""
    connections = 0
    reply = replying(ok())

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reply(reader, writer)

    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            replies = [await transport.post(base, b"x", {}) for _ in range(2)]
    assert (replies, connections) == ([Reply(200, b"{}")] * 2, 1)


async def test_what_comes_before_the_reply() -> None:
    """Interim replies say nothing yet, however many there are."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with serving(replying(interim, ok())) as port:
        assert await post(f"http://127.0.0.1:{port}") == Reply(200, b"{}")


async def test_protocol_that_is_switched() -> None:
    """The bytes after 101 are no HTTP: the connection is not used again."""
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request(reader)
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
        await reader.read()

    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, 1.0) as transport:
            seen = [await transport.post(base, b"x", {}) for _ in range(2)]
    assert all(isinstance(reply, Failure) or reply.status == 101 for reply in seen)
    assert connections == 2


async def test_reply_before_the_body_has_left() -> None:
    """It counts, and what is left of the body is not taken for the next call by the server."""
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\n{}")
        await reader.read()

    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            replies = [await transport.post(base, bytes(64 << 20), {}) for _ in range(2)]
    assert (replies, connections) == ([Reply(413, b"{}")] * 2, 2)


async def test_header_with_a_line_break() -> None:
    """It would begin another header: nothing is sent."""
    async with serving(replying(ok(), close=True)) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            outcome = await transport.post(base, b"x", {"Authorization": "Bearer x\r\nHost: elsewhere"})
    assert isinstance(outcome, Failure)
    assert "elsewhere" not in repr(outcome)


async def test_connection_closed_between_calls() -> None:
    """A server that hangs up without a word after each reply costs no call."""
    once = replying(ok(), close=True)
    async with serving(once) as port, serving(once) as another:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            for _ in range(3):
                assert await transport.post(base, b"x", {}) == Reply(200, b"{}")
                # A round trip elsewhere, in which the news of the end arrives too.
                assert await post(f"http://127.0.0.1:{another}") == Reply(200, b"{}")


@pytest.mark.parametrize("stray", [ok(b'"stray"'), b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_reply_that_nobody_asked_for(stray: bytes) -> None:
    """Bytes that arrive on an idle connection are not the answer to the next call."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(ok((await request(reader))[1]))
            await arrived.wait()
            writer.write(stray)

    arrived = asyncio.Event()
    async with serving(handle) as port, serving(replying(ok(), close=True)) as another:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            assert await transport.post(base, b"1", {}) == Reply(200, b"1")
            arrived.set()
            # Two round trips elsewhere, in which the stray reply arrives too.
            assert [await post(f"http://127.0.0.1:{another}") for _ in range(2)] == [Reply(200, b"{}")] * 2
            assert await transport.post(base, b"2", {}) == Reply(200, b"2")


async def test_redirect_is_not_followed() -> None:
    """The token does not go elsewhere."""
    visitors = 0

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visitors
        visitors += 1

    async with serving(elsewhere) as other:
        redirect = f"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:{other}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with serving(replying(redirect, close=True)) as port:
            assert await post(f"http://127.0.0.1:{port}") == Reply(307, b"")
    assert visitors == 0


async def test_no_cookies_and_no_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only requested data is sent: no cookie of a server, no password that the machine keeps for others."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1\nlogin me\npassword mine\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    heads: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append((await request(reader))[0].lower())
            writer.write(ok(b"{}", "Set-Cookie: a=b; Path=/"))

    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            for _ in range(2):
                assert await transport.post(base, b"x", {}) == Reply(200, b"{}")
    assert ["cookie:" in head or "authorization:" in head for head in heads] == [False, False]


# -- what goes wrong


async def test_nobody_listens() -> None:
    """No connection, so nothing can have been counted."""
    outcome = await failing(f"http://127.0.0.1:{(port := free_port())}")
    assert (outcome.code, outcome.counted) == ("connection", False)
    assert f"127.0.0.1:{port}" in outcome.message


async def test_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection either; the message names the host."""

    def unknown(*arguments: object, **named: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    outcome = await failing("https://no-such-host.invalid")
    assert (outcome.code, outcome.counted) == ("connection", False)
    assert "no-such-host.invalid" in outcome.message


@pytest.mark.parametrize(
    "handler",
    [
        reset,
        replying(b"", close=True),
        replying(b"HTTP/1.1 200 OK\r\nContent-Le", close=True),
        replying(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"log_id"', close=True),
        replying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", close=True),
        replying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", close=True),
        replying(b"220 mail.example.com ESMTP\r\n", close=True),
        replying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, close=True),
        replying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", close=True),
        replying(ok(b"no gzip at all", "Content-Encoding: gzip"), close=True),
    ],
    ids=[
        "reset",
        "closed without a word",
        "torn headers",
        "torn body",
        "torn chunk",
        "broken chunk",
        "no http",
        "endless header",
        "endless headers",
        "broken gzip",
    ],
)
async def test_connection_that_breaks(handler: Handler) -> None:
    """The request was sent, so the call may have been counted."""
    async with serving(handler) as port:
        outcome = await failing(f"http://127.0.0.1:{port}")
    assert (outcome.code, outcome.counted) == ("disconnected", True)


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
async def test_reply_that_never_ends(beginning: bytes) -> None:
    """The time is for the whole call; a call that timed out may have been counted."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        await hang(reader, writer)

    async with serving(handle) as port:
        outcome = await failing(f"http://127.0.0.1:{port}", 0.3)
    assert (outcome.code, outcome.counted) == ("timeout", True)


async def test_reply_that_is_far_too_large() -> None:
    """It is not read to its end."""
    flood = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    async with serving(replying(flood, *[b"x" * 2**20] * (MAX_REPLY // 2**20 + 1), close=True)) as port:
        outcome = await failing(f"http://127.0.0.1:{port}")
    assert (outcome.code, outcome.message) == ("not_json", "the reply is larger than 2 MB")


async def test_reply_that_swells_when_unpacked() -> None:
    """The limit is on what it unpacks to."""
    packed = gzip.compress(bytes(MAX_REPLY + 1), 1)
    async with serving(replying(ok(packed, "Content-Encoding: gzip"), close=True)) as port:
        assert (await failing(f"http://127.0.0.1:{port}")).code == "not_json"


# -- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that no machine knows."""
    return trustme.CA()


def tls(authority: trustme.CA, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=not_after).configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The same authority, named by SSL_CERT_FILE."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


async def test_authority_of_ones_own(trusted: trustme.CA) -> None:
    """SSL_CERT_FILE is honoured."""
    async with serving(replying(ok(), close=True), tls(trusted, "localhost")) as port:
        assert await post(f"https://localhost:{port}") == Reply(200, b"{}")


async def test_certificate_of_an_unknown_authority(authority: trustme.CA) -> None:
    """Refused before anything is sent, with the reason."""
    async with serving(hang, tls(authority, "localhost")) as port:
        outcome = await failing(f"https://localhost:{port}")
    assert (outcome.code, outcome.counted) == ("tls", False)
    assert "certificate was not accepted" in outcome.message
    assert "issuer" in outcome.message
    assert "name it in SSL_CERT_FILE" in outcome.message


async def test_expired_certificate(trusted: trustme.CA) -> None:
    """The message says so."""
    context = tls(trusted, "localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    async with serving(hang, context) as port:
        outcome = await failing(f"https://localhost:{port}")
    assert (outcome.code, outcome.counted) == ("tls", False)
    assert "certificate has expired" in outcome.message
    assert "clock of this machine" in outcome.message
    assert "SSL_CERT_FILE" in outcome.message


async def test_certificate_of_somebody_else(trusted: trustme.CA) -> None:
    """The message names the mismatch."""
    async with serving(hang, tls(trusted, "elsewhere.example")) as port:
        outcome = await failing(f"https://localhost:{port}")
    assert (outcome.code, outcome.counted) == ("tls", False)
    assert "Hostname mismatch" in outcome.message
    assert "check the endpoint" in outcome.message
    assert "SSL_CERT_FILE" in outcome.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no certificate"),
        (bytes(range(256)), "holds no certificate"),
    ],
)
async def test_certificates_that_are_none(
    content: bytes | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL passes over an SSL_CERT_FILE that it cannot read: refused by name, before anything is sent."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(JobError, match=rf"^SSL_CERT_FILE: .*/ca\.pem: {reason}"):
        await failing("https://localhost:1")


async def test_server_that_speaks_no_tls() -> None:
    """Plain HTTP where TLS is expected."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(handle) as port:
        outcome = await failing(f"https://localhost:{port}")
    assert (outcome.code, outcome.counted) == ("tls", False)


async def test_handshake_that_hangs() -> None:
    """No connection within the time: nothing was sent, nothing is counted."""
    async with serving(hang) as port:
        outcome = await failing(f"https://localhost:{port}", 0.5)
    assert (outcome.code, outcome.counted) == ("connection", False)


# -- proxies


@pytest.mark.parametrize(
    ("endpoint", "environ", "proxy"),
    [
        ("https://aip.baidubce.com", {}, None),
        ("https://aip.baidubce.com", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://aip.baidubce.com", {"https_proxy": "http://p:3128"}, "http://p:3128"),
        ("https://aip.baidubce.com", {"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
        ("https://aip.baidubce.com", {"HTTP_PROXY": "http://p:3128"}, None),
        ("https://aip.baidubce.com", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "a.com,.baidubce.com"}, None),
        ("https://aip.baidubce.com", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, None),
        ("https://aip.baidubce.com", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "bce.com"}, "http://p:3128"),
        ("https://host:8443", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "host:8443"}, None),
        ("https://host:8443", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "host:443"}, "http://p:3128"),
        ("http://127.0.0.1:80", {"HTTPS_PROXY": "http://p:3128", "HTTP_PROXY": "http://p:3128"}, None),
    ],
)
def test_which_proxy(
    endpoint: str, environ: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTPS_PROXY and NO_PROXY as everywhere; loopback is never proxied."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(endpoint) == proxy


@pytest.mark.parametrize(
    "value",
    [
        "socks5://me:mine@p:1080",
        "ftp://p:21",
        "http://",
        "://",
        "http://[::1",
        "http://p:99999",
        "p:x",
        "\x1b[31m",
        "http://me:mi#ne@p:1",
        "http://me:1/mine@p:1",
        "http://me:1#mine@p:1",
        "http://me:1?mine@p",
    ],
)
def test_proxy_that_is_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is no HTTP proxy is refused: it is neither passed by nor taken for one."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(JobError, match=r"^HTTPS_PROXY: expected http://host:port") as caught:
        proxy_for("https://aip.baidubce.com")
    assert "mine" not in str(caught.value)
    assert "mi#" not in str(caught.value)
    assert "percent-encoded" in str(caught.value)


def tunnel(seen: list[str]) -> Handler:
    """A proxy that knows CONNECT, and notes what it is asked."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head)
        host, port = head.split()[1].rsplit(":", 1)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))
        with suppress(ConnectionError):
            await far_writer.wait_closed()

    return handle


async def test_call_through_a_proxy(trusted: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy sees host and port, and its own password, but neither path nor token."""
    seen: list[str] = []
    async with (
        serving(replying(ok(), close=True), tls(trusted, "localhost")) as port,
        serving(tunnel(seen)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:mine@127.0.0.1:{proxy}")
        assert await post(f"https://localhost:{port}") == Reply(200, b"{}")
    assert seen[0].splitlines()[0] == f"CONNECT localhost:{port} HTTP/1.1"
    assert "Proxy-Authorization: Basic" in seen[0]
    assert "s3cret" not in seen[0]


async def test_certificate_is_verified_through_a_proxy(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy is no reason to trust anybody."""
    async with serving(hang, tls(authority, "localhost")) as port, serving(tunnel([])) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
        outcome = await failing(f"https://localhost:{port}")
    assert (outcome.code, outcome.counted) == ("tls", False)


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway"])
async def test_proxy_that_refuses(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection was made, and the message blames the proxy without its password."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    async with serving(handle) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cret@127.0.0.1:{proxy}")
        outcome = await failing("https://localhost:1")
    assert (outcome.code, outcome.counted) == ("connection", False)
    assert outcome.message.startswith(f"the proxy made no connection: it answered HTTP {status[:3]}")
    assert ("percent-encoded: # is %23" in outcome.message) == status.startswith("407")
    assert "s3cret" not in outcome.message


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000,
        b"HTTP/1.1 200 OK\r\n\r\nnot TLS at all",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["nothing", "ssh", "endless header", "no tls", "a page"],
)
async def test_proxy_that_talks_nonsense(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call never left, so nothing is counted, and the message blames the proxy."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)

    async with serving(handle) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cret@127.0.0.1:{proxy}")
        outcome = await failing("https://localhost:1")
    assert outcome.code in ("connection", "tls")
    assert not outcome.counted
    assert outcome.code == "tls" or "proxy" in outcome.message


async def test_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message blames the proxy, not the service."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cret@127.0.0.1:{free_port()}")
    outcome = await failing("https://localhost:1")
    assert (outcome.code, outcome.counted) == ("connection", False)
    assert "proxy" in outcome.message


async def test_many_calls_at_once() -> None:
    """Two hundred in flight, each with its own reply."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(ok((await request(reader))[1]))

    async with serving(echo) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            bodies = [json.dumps({"n": number}).encode() for number in range(200)]
            replies = await asyncio.gather(*(transport.post(base, body, {}) for body in bodies))
    assert replies == [Reply(200, body) for body in bodies]


# -- which one, and what only a pool can get wrong


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(0.0, SessionTransport), (500.0, SessionTransport), (500.1, DirectTransport), (math.inf, DirectTransport)],
)
async def test_rate_chooses_the_transport(asked: float, expected: type) -> None:
    """The public API serves up to 500 calls/s; more, or an unknown rate, takes the fast transport."""
    async with http.open_transport("http://127.0.0.1:1", PATIENT, asked) as transport:
        assert type(transport) is expected


async def test_call_that_is_cancelled() -> None:
    """Its connection is closed, for its reply may still come; others go on."""
    waiting, connections = asyncio.Event(), 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        _, body = await request(reader)
        waiting.set()
        if number == 1:
            closed.set_result(await reader.read())
        writer.write(ok(body))

    closed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            call = asyncio.ensure_future(transport.post(base, b"1", {}))
            await waiting.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.wait_for(closed, PATIENT) == b""
            assert await transport.post(base, b"2", {}) == Reply(200, b"2")
    assert connections == 2


async def test_time_is_over_after_the_call_has_left() -> None:
    """It may have been counted; the connection is not used again."""
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await hang(reader, writer)

    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, 0.3) as transport:
            outcomes = [await transport.post(base, b"x", {}) for _ in range(2)]
    assert [(outcome.code, outcome.counted) for outcome in outcomes if isinstance(outcome, Failure)] == [
        ("timeout", True),
        ("timeout", True),
    ]
    assert connections == 2


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000],
    ids=["long", "many"],
)
async def test_huge_headers(head: bytes) -> None:
    """They are not read to their end, and the call may have been counted."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(head + b"\r\n\r\n{}")
        await writer.drain()
        await reader.read()

    async with serving(handle) as port:
        outcome = await failing(f"http://127.0.0.1:{port}")
    assert (outcome.code, outcome.counted) == ("disconnected", True)


async def test_calls_in_flight_are_bounded_by_nobody_else() -> None:
    """The pool has no limit of its own: 300 connections to one host, since the workers are the bound."""
    everybody, connections = asyncio.Event(), 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await request(reader)
        if connections == 300:
            everybody.set()
        await everybody.wait()
        writer.write(ok())

    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            replies = await asyncio.gather(*(transport.post(base, b"x", {}) for _ in range(300)))
    assert (set(replies), connections) == ({Reply(200, b"{}")}, 300)


async def test_body_of_several_megabytes() -> None:
    """It arrives whole, without a warning, and its connection is used again."""
    sizes = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            sizes.append(len((await request(reader))[1]))
            writer.write(ok())

    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            for size in (1 << 20, 5 << 20):
                assert await transport.post(base, bytes(size), {}) == Reply(200, b"{}")
    assert sizes == [1 << 20, 5 << 20]


async def test_call_is_never_sent_twice() -> None:
    """The end of the connection after a call has left is its end: a second call might be paid twice."""
    bodies = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append((await request(reader))[1])
        if len(bodies) == 1:
            writer.write(ok())
            bodies.append((await request(reader))[1])

    async with serving(handle) as port:
        base = f"http://127.0.0.1:{port}"
        async with open_transport(base, PATIENT) as transport:
            assert await transport.post(base, b"1", {}) == Reply(200, b"{}")
            outcome = await transport.post(base, b"2", {})
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.counted, bodies) == ("disconnected", True, [b"1", b"2"])
