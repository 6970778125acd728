"""Uploads over real sockets, by both transports and event loops: their time and their room."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme

from batchrec.api.http import open_transport
from batchrec.api.uplink import Uplink
from batchrec.interfaces import Transport
from batchrec.values import Failure, Kind, Reply
from tests.support.slow_link import slow_link

RATES = {"session": 0.0, "direct": 501.0}
"""Calls per second at which each transport is chosen."""

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TOO_LARGE = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\n\r\n"
LARGE = bytes(16_000_000)
"""More than the system takes over for a connection whose other end reads nothing."""

Result = TypeVar("Result")
Runner = Callable[[Coroutine[Any, Any, Result]], Result]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=RATES)
def rate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """Every test runs with both transports, without the machine's own proxies."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return RATES[request.param]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner[Any]:
    """Run a test to its end on an event loop; nothing may fail behind its back."""
    failed: list[str] = []

    def within(work: Coroutine[Any, Any, Result]) -> Result:
        factory = pytest.importorskip("uvloop").new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: failed.append(str(context)))
            result = runner.run(work)
        assert not failed
        return result

    return within


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server whose connections are given to `handler`; its port. Connections end with the block."""
    handlers: set[asyncio.Task[None] | None] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls, backlog=64)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in handlers:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in handlers if task), return_exceptions=True)


def answering(delay: float) -> Handler:
    """A handler that answers each request so many seconds after its last byte."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
            await asyncio.sleep(delay)
            writer.write(REPLY)

    return handle


async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read nothing."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.Event().wait()


async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse by the head, and read no body."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(TOO_LARGE)
    await asyncio.Event().wait()


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break the connection in the middle of a body."""
    await reader.readexactly(100_000)


async def send(transport: Transport, uplink: Uplink, address: str, body: bytes) -> Reply | Failure:
    """One call whose body is admitted by the uplink."""
    upload = uplink.upload(len(body))
    await upload.admit()
    return await transport.post(f"{address}/path", body, {"Content-Type": "text/x"}, upload)


async def empty(uplink: Uplink) -> bool:
    """Whether all that was taken is given back: two of the largest bodies are admitted at once."""
    async with asyncio.timeout(30):
        for _ in range(2):
            await uplink.upload(len(LARGE)).admit()
    return True


async def moving(uplink: Uplink) -> None:
    """Wait until bytes have left."""
    while not uplink.rate:  # noqa: ASYNC110 - a socket tells nobody
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_time_begins_with_the_last_byte(
    run: Runner[None], rate: float, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success of an upload that takes longer than the timeout, over TLS too, in one piece and in several."""
    authority, context = trustme.CA(), None
    if scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    async def main() -> None:
        async with serving(answering(0), context) as port:
            with slow_link(f"http://127.0.0.1:{port}", 600_000) as link:
                address = link.url.replace("http", scheme)
                async with open_transport(address, 1.0, rate) as transport:
                    began = time.monotonic()
                    for size in (200_000, 1_200_000):
                        assert await send(transport, uplink, address, bytes(size)) == Reply(200, b"{}")
                    assert time.monotonic() - began > 2

    uplink = Uplink()
    run(main())


def test_a_late_reply_is_a_timeout(run: Runner[None], rate: float) -> None:
    """Counted from the last byte, whatever the upload took."""

    async def main() -> None:
        async with serving(answering(120)) as port:
            with slow_link(f"http://127.0.0.1:{port}", 1e6) as link:
                async with open_transport(link.url, 0.5, rate) as transport:
                    began = time.monotonic()
                    failure = await send(transport, Uplink(), link.url, bytes(1_000_000))
                    assert 1.1 < time.monotonic() - began < 60
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.code) == (Kind.TRANSIENT, "timeout")
        assert "limits.timeout" in failure.message

    run(main())


def test_a_stalled_upload_is_given_up_and_named(run: Runner[None], rate: float) -> None:
    """Before the time of a call where nothing moves: its room goes to others."""

    async def main() -> None:
        uplink = Uplink(stalled=0.4)
        async with serving(deaf) as port, open_transport(f"http://127.0.0.1:{port}", 60, rate) as transport:
            began = time.monotonic()
            failure = await send(transport, uplink, f"http://127.0.0.1:{port}", LARGE)
            assert time.monotonic() - began < 30
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.code) == (Kind.TRANSIENT, "timeout")
        assert "no progress" in failure.message
        assert await empty(uplink)

    run(main())


@pytest.mark.parametrize(("handler", "code"), [(refusing, 413), (resetting, "disconnected")])
def test_a_call_that_ends_before_its_body_has_left(
    run: Runner[None], rate: float, handler: Handler, code: object
) -> None:
    """Its reply counts, its connection is not used again, and its room is given back."""

    async def main() -> None:
        uplink = Uplink()
        async with serving(handler) as port, open_transport(f"http://127.0.0.1:{port}", 5, rate) as transport:
            for _ in range(2):
                outcome = await send(transport, uplink, f"http://127.0.0.1:{port}", LARGE)
                assert (outcome.status if isinstance(outcome, Reply) else outcome.code) == code
        assert await empty(uplink)

    run(main())


def test_a_cancelled_upload_gives_its_room_back(run: Runner[None], rate: float) -> None:
    """In the middle of its body."""

    async def main() -> None:
        uplink = Uplink()
        async with serving(deaf) as port, open_transport(f"http://127.0.0.1:{port}", 5, rate) as transport:
            call = asyncio.ensure_future(send(transport, uplink, f"http://127.0.0.1:{port}", LARGE))
            await moving(uplink)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
        assert await empty(uplink)

    run(main())


def test_an_empty_body_has_left(run: Runner[None], rate: float) -> None:
    """Nothing is waited for."""

    async def main() -> None:
        async with serving(answering(0)) as port, open_transport(f"http://127.0.0.1:{port}", 5, rate) as transport:
            assert await send(transport, Uplink(), f"http://127.0.0.1:{port}", b"") == Reply(200, b"{}")

    run(main())
