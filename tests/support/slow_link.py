"""A slow uplink: a TCP proxy on loopback whose connections share one rate towards the server.

It takes little into its own buffers, as a router does, so that the sender's system sees what has not gone through; or,
`greedy`, all that comes, as a proxy on the sender's side of the link does.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK = 16 * 1024
_BURST = 0.1
"""Seconds for which the rate is made up where the proxy itself had to wait for a processor."""

_BUFFER = 32 * 1024  # less makes the system wait between its packets


class SlowLink:
    """Proxy for `target` (`http://host:port`): `rate` in bytes per second, `delay` in seconds each way."""

    def __init__(self, target: str, rate: float, delay: float, *, greedy: bool) -> None:
        self._host, _, self._port = target.removeprefix("http://").partition(":")
        self._rate, self._delay, self._greedy = rate, delay, greedy
        self._free = 0.0
        self.url = ""
        """The address in place of the target's."""
        self.carried = 0
        """Bytes that went through towards the server."""
        self.first = self.last = 0.0
        """Times of the first byte's start and the last byte's end, by the event loop's clock."""

    async def serve(self, started: "asyncio.Future[None] | None" = None) -> None:
        """Serve until cancelled."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        server = await asyncio.start_server(self._connection, sock=listening, limit=_CHUNK)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if started is not None:
            started.set_result(None)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(self._host, int(self._port))
        except OSError:
            writer.close()
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, forth, slowly=True))
                group.create_task(self._carry(back, writer, slowly=False))
        except asyncio.CancelledError:  # at the end of the test
            for each in (writer, forth):
                each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slowly: bool) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                through = self._pass(len(chunk)) if slowly else loop.time()
                if not self._greedy:
                    await asyncio.sleep(through - loop.time())
                loop.call_at(through + self._delay, self._deliver, writer, chunk)
        loop.call_at(max(self._free, loop.time()) + self._delay, writer.close)

    @staticmethod
    def _deliver(writer: asyncio.StreamWriter, chunk: bytes) -> None:
        if not writer.is_closing():
            writer.write(chunk)

    def _pass(self, size: int) -> float:
        """Return the time at which so many bytes are through, after all that came before them."""
        now = asyncio.get_running_loop().time()
        self.first = self.first or now
        self._free = max(now - _BURST, self._free) + size / self._rate
        self.last = max(now, self._free)
        self.carried += size
        return self._free


@contextmanager
def slow_link(target: str, rate: float, delay: float = 0.02, *, greedy: bool = False) -> Iterator[SlowLink]:
    """A slow link in a thread of its own, for as long as the block lasts."""
    link = SlowLink(target, rate, delay, greedy=greedy)
    ready = threading.Event()
    ended: list[asyncio.Event] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = loop.create_future()
        serving = asyncio.ensure_future(link.serve(started))
        await started
        loops.append(loop)
        ended.append(asyncio.Event())
        ready.set()
        await ended[0].wait()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    ready.wait()
    try:
        yield link
    finally:
        loops[0].call_soon_threadsafe(ended[0].set)
        thread.join()
