"""The uplink: bytes of bodies on their way, bounded by as many as the network carries in five seconds.

Where the uplink and not the rate is the limit, every further body only makes all others slower, until each passes its
time, and is counted, paid and sent once more. So a body has to be admitted before its call leaves, and the time of a
call begins when the last byte of its body has left this machine.

A body has left when neither the event loop nor the system holds a byte of it. The system is asked for the bytes of a
connection that the other end has not acknowledged (Linux: SIOCOUTQ, macOS: SO_NWRITE); elsewhere only the event loop's
own are known.
"""

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator

from ..concurrency import MemoryBudget

if sys.platform != "win32":
    import fcntl
    import termios

BUSY_SECONDS = 5.0
"""Seconds for which the admitted bodies keep the uplink busy: enough that it never waits for the next one."""

STALLED_SECONDS = 30.0
"""Seconds without progress after which an upload is given up."""

FIRST_BYTES = 2_000_000
"""Bytes that are admitted until the uplink is known, and at least: four images of 360 KB as base64."""

_FEWEST = 2
"""Bodies that are admitted whatever their size: one leaves while the reply to the other is under way."""

_TICK = 0.05
"""Seconds between two looks at the bodies on their way."""

_GROWTH = 2**_TICK
"""Growth of the bound from one look to the next: it doubles in a second."""

_LEAST_SECONDS = 1.0
"""Seconds over which a rate is measured at least: buffers on the way take the first bytes of each body at once."""

_PIECE, _ONE_PIECE = 64 * 1024, 256 * 1024
"""Bytes of a body that are handed to a connection at a time, and up to which it is handed over in one go."""

_SO_NWRITE = 0x1024  # of macOS's <sys/socket.h>


class Uplink:
    """Bound of the bodies on their way. `unsent` says how many bytes a connection still holds.

    One for all services of a run.
    """

    def __init__(self, unsent: "Callable[[asyncio.WriteTransport], int] | None" = None) -> None:
        self.unsent = unsent or bytes_unsent
        self._bound = FIRST_BYTES
        self._room = MemoryBudget(FIRST_BYTES)
        self._largest = 0
        self._watched: dict[Upload, None] = {}
        self._looking = False
        self._just_moved = 0
        # Time and bytes of the last looks, the oldest first; the first one has none.
        self._moved: deque[tuple[float, int]] = deque()

    def upload(self, size: int) -> "Upload":
        """A body of so many bytes, which is to be admitted."""
        return Upload(self, size)

    @property
    def limiting(self) -> bool:
        """Whether bodies wait for others to leave: the uplink, and not the rate, is the limit."""
        return self._room.waited_for

    @property
    def rate(self) -> float:
        """Bytes per second that left lately, while there was a body on its way; 0 where that is not known."""
        if len(self._moved) < 2:
            return 0.0
        (then, _), (now, _) = self._moved[0], self._moved[-1]
        return sum(moved for _, moved in self._moved) / max(_LEAST_SECONDS, now - then)

    async def take(self, size: int, *, first: bool) -> int:
        """Wait for the room of a body; returns the bytes that are to be given back."""
        if size > self._largest:
            self._largest = size
            self._fit()
        return await self._room.take(size, first=first)

    def give(self, held: int) -> None:
        """The room of a body is free again."""
        self._room.give(held)

    def watch(self, upload: "Upload") -> None:
        """Look at the body from now on until all of it has left."""
        self._watched[upload] = None
        if not self._looking:
            loop = asyncio.get_running_loop()
            self._looking = True
            self._just_moved = 0
            self._moved.clear()
            self._moved.append((loop.time(), 0))
            loop.call_later(_TICK, self._look)

    def moved(self, size: int) -> None:
        """So many bytes have left since they were looked at."""
        self._just_moved += size

    def forget(self, upload: "Upload") -> None:
        """Look at the body no more."""
        self._watched.pop(upload, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for upload in list(self._watched):
            upload.look(now)
        self._moved.append((now, self._just_moved))
        self._just_moved = 0
        while now - self._moved[0][0] > BUSY_SECONDS:
            self._moved.popleft()
        self._moved[0] = self._moved[0][0], 0
        self._bound = int(max(FIRST_BYTES, min(_GROWTH * self._bound, BUSY_SECONDS * self.rate)))
        self._fit()
        self._looking = bool(self._watched)
        if self._looking:
            loop.call_later(_TICK, self._look)

    def _fit(self) -> None:
        self._room.resize(max(self._bound, _FEWEST * self._largest))


class Upload:
    """A body from the room that it is given to its last byte."""

    __slots__ = ("_deadline", "_held", "_left", "_moved_at", "_seconds", "_transport", "_unwritten", "_uplink", "size")

    def __init__(self, uplink: Uplink, size: int) -> None:
        self.size = size
        self._uplink = uplink
        self._held = 0
        # Bytes that are not handed to the connection, and those that have not left this machine as far as was seen.
        self._unwritten = self._left = size
        self._transport: asyncio.WriteTransport | None = None
        self._deadline: asyncio.Timeout | None = None
        self._seconds = self._moved_at = 0.0

    async def admit(self, *, first: bool = False) -> None:
        """Wait until the body may be sent. `first` goes before all others that wait."""
        if not self._held:
            self._held = await self._uplink.take(self.size, first=first)

    def pieces(
        self, body: bytes, transport: asyncio.WriteTransport | None, deadline: asyncio.Timeout, seconds: float
    ) -> Iterator[bytes | memoryview]:
        """The body in the pieces in which it is to be written; after each the connection may take its time.

        `deadline` is set to `seconds` after the last byte has left, or to now where nothing moves any more.
        """
        self._transport, self._deadline, self._seconds = transport, deadline, seconds
        self._moved_at = asyncio.get_running_loop().time()
        deadline.reschedule(None)
        self._uplink.watch(self)
        if len(body) <= _ONE_PIECE:
            yield body
        else:
            view = memoryview(body)
            for start in range(0, len(body), _PIECE):
                yield view[start : start + _PIECE]
                self._unwritten = max(0, len(body) - start - _PIECE)
        self._unwritten = 0
        self.look(asyncio.get_running_loop().time())

    def look(self, now: float) -> None:
        """Note how much of the body has left; the call's deadline is set where all has, or nothing moves."""
        transport, deadline = self._transport, self._deadline
        if transport is None or deadline is None:
            return
        left = self._unwritten + self._uplink.unsent(transport)
        if left != self._left:
            self._uplink.moved(self._left - left)
            self._left, self._moved_at = left, now
        if not left:
            self.end()
            self._transport = None
            deadline.reschedule(now + self._seconds)
        elif now - self._moved_at >= STALLED_SECONDS:
            self._transport = None
            deadline.reschedule(now)

    def end(self) -> None:
        """The body has left, or never will: what it took is given back. May be called at any time."""
        self._uplink.forget(self)
        self._uplink.give(self._held)
        self._held = 0


def bytes_unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes that a connection has taken over and the other end has not acknowledged; 0 where it is closed."""
    waiting = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    try:
        if sys.platform == "linux":
            answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
            return waiting + int.from_bytes(answer, sys.byteorder)
        if sys.platform == "darwin":
            return waiting + int(connection.getsockopt(socket.SOL_SOCKET, _SO_NWRITE))
    except (OSError, ValueError, AttributeError):
        return 0
    return waiting
