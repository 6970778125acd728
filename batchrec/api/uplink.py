"""The uplink: bytes of bodies on their way, bounded by as many as the network carries in five seconds.

Where the uplink and not the rate is the limit, every further body only makes all others slower, until each passes its
time, and is counted, paid and sent once more. So a body has to be admitted before its call leaves, and the time of a
call begins when the last byte of its body has left this machine.

A body has left when neither the event loop nor the system holds a byte of it. The system is asked for the bytes of a
connection that the other end has not acknowledged (Linux: SIOCOUTQ, macOS: SO_NWRITE); elsewhere only the event loop's
own are known. Over TLS, asyncio does not tell what its inner transport holds; but while that holds any, the system's
own buffer is full, so that the body has not left.

A proxy may take bodies over faster than it passes them on, and acknowledge them: then nothing is seen to wait. So the
bodies without a reply are bounded too, by as many bytes as replies stand for in the time of the shortest call and a
third of `limits.timeout`. Where there is no such queue, calls take no longer than that and the bound is not felt.
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

_GROWTH = 2 ** (_TICK / 0.25)
"""Growth of the bound from one look to the next: it doubles in a quarter of a second."""

_LEAST_SECONDS = 1.0
"""Seconds over which a rate is measured at least: buffers on the way take the first bytes of each body at once."""

_LEAST_MEASURED = 2.0
"""Seconds over which a rate that is kept for later runs is measured at least."""

_QUEUE_SHARE = 1 / 3
"""Share of a call's time that a body may wait in a queue which is not seen: the reply has the rest."""

_DECAY = 0.98
"""Part of the highest rate of replies that is left of it at the next reply."""

_SLOWED = 2.0
"""Times of the shortest call from which on bodies without a reply are taken to wait for the uplink."""

_PIECE, _ONE_PIECE = 64 * 1024, 256 * 1024
"""Bytes of a body that are handed to a connection at a time, and up to which it is handed over in one go."""

_SO_NWRITE = 0x1024  # of macOS's <sys/socket.h>


class Uplink:
    """Bound of the bodies on their way. `unsent` says how many bytes a connection still holds.

    One for all services of a run. An upload without progress for `stalled` seconds is given up.
    """

    def __init__(
        self, unsent: "Callable[[asyncio.WriteTransport], int] | None" = None, stalled: float = STALLED_SECONDS
    ) -> None:
        self.unsent = unsent or bytes_unsent
        self.stalled = stalled
        self.measured = 0.0
        """The rate that was seen last while the uplink was the limit; 0 where it never was."""
        self._bound = FIRST_BYTES
        self._room = MemoryBudget(FIRST_BYTES)
        self._settled = False
        self._largest, self._least = 0, FIRST_BYTES
        self._watched: dict[Upload, None] = {}
        self._looking = False
        self._looked_at = 0.0
        self._just_moved = 0
        # Seconds and bytes of the last looks, the oldest first, with their sums: only time with a body on its way.
        self._moved: deque[tuple[float, int]] = deque()
        self._span, self._carried = 0.0, 0
        self._unanswered = MemoryBudget(FIRST_BYTES)
        self.replied = 0
        self._reply_rate, self._shortest, self._slowed = 0.0, float("inf"), False

    def upload(self, size: int) -> "Upload":
        """A body of so many bytes, which is to be admitted."""
        return Upload(self, size)

    @property
    def limiting(self) -> bool:
        """Whether bodies wait for others to leave: the uplink, and not the rate, is the limit."""
        return (self._settled and self._room.waited_for) or (self._slowed and self._unanswered.waited_for)

    @property
    def rate(self) -> float:
        """Bytes per second that left lately, while there was a body on its way; 0 where that is not known."""
        return self._carried / max(_LEAST_SECONDS, self._span)

    async def take(self, size: int, *, first: bool) -> tuple[int, int]:
        """Wait for the room of a body; returns the bytes to be given back: on the way, and without a reply."""
        if size > self._largest:
            self._largest = size
            self._least = max(FIRST_BYTES, _FEWEST * size)
            self._room.resize(max(self._least, self._bound))
            self._unanswered.resize(max(self._least, self._unanswered.size))
        held = await self._room.take(size, first=first)
        try:
            return held, await self._unanswered.take(size, first=first)
        except BaseException:
            self._room.give(held)
            raise

    def give(self, held: int) -> None:
        """The room of a body is free again: it has left, or never will."""
        self._room.give(held)

    def answered(self, unanswered: int) -> None:
        """A body has its reply, or will never have one."""
        self._unanswered.give(unanswered)

    def on_reply(self, size: int, before: int, seconds: float, call_seconds: float) -> None:
        """Learn from a reply to a body: `before` were replied when it began to leave, `seconds` ago."""
        self.replied += size
        self._shortest = min(self._shortest, seconds)
        self._slowed = seconds > _SLOWED * self._shortest
        self._reply_rate = max(_DECAY * self._reply_rate, (self.replied - before) / max(seconds, _TICK))
        most = self._reply_rate * (self._shortest + _QUEUE_SHARE * call_seconds)
        self._unanswered.resize(max(self._least, int(most)))

    def watch(self, upload: "Upload") -> None:
        """Look at the body from now on until all of it has left."""
        self._watched[upload] = None
        if not self._looking:
            loop = asyncio.get_running_loop()
            self._looking = True
            self._looked_at = loop.time()
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
        self._note(now - self._looked_at, self._just_moved)
        self._looked_at, self._just_moved = now, 0
        allowed = BUSY_SECONDS * self.rate
        self._settled = _GROWTH * self._bound >= allowed
        self._bound = max(FIRST_BYTES, int(min(_GROWTH * self._bound, allowed)))
        self._room.resize(max(self._least, self._bound))
        if self.limiting and self._span >= _LEAST_MEASURED:
            self.measured = self.rate
        self._looking = bool(self._watched)
        if self._looking:
            loop.call_later(_TICK, self._look)

    def _note(self, seconds: float, size: int) -> None:
        self._moved.append((seconds, size))
        self._span += seconds
        self._carried += size
        while self._span - self._moved[0][0] > BUSY_SECONDS:
            seconds, size = self._moved.popleft()
            self._span -= seconds
            self._carried -= size


class Upload:
    """A body from the room that it is given to its reply."""

    __slots__ = (
        *("_began", "_deadline", "_held", "_left", "_moved_at", "_replied_before", "_seconds", "_transport"),
        *("_unanswered", "_unwritten", "_uplink", "size", "stalled"),
    )

    def __init__(self, uplink: Uplink, size: int) -> None:
        self.size = size
        self.stalled = False
        """Whether it was given up, since nothing moved."""
        self._uplink = uplink
        self._held = self._unanswered = 0
        # Bytes that are not handed to the connection, and those that have not left this machine as far as was seen.
        self._unwritten = self._left = size
        self._transport: asyncio.WriteTransport | None = None
        self._deadline: asyncio.Timeout | None = None
        self._seconds = self._began = self._moved_at = 0.0
        self._replied_before = 0

    async def admit(self, *, first: bool = False) -> None:
        """Wait until the body may be sent. `first` goes before all others that wait."""
        if not self._held:
            self._held, self._unanswered = await self._uplink.take(self.size, first=first)

    def pieces(
        self, body: bytes, transport: asyncio.WriteTransport | None, deadline: asyncio.Timeout, seconds: float
    ) -> Iterator[bytes | memoryview]:
        """The body in the pieces in which it is to be written; after each the connection may take its time.

        `deadline` is set to `seconds` after the last byte has left, or to now where nothing moves any more.
        """
        self._transport, self._deadline, self._seconds = transport, deadline, seconds
        self._began = self._moved_at = now = asyncio.get_running_loop().time()
        self._replied_before = self._uplink.replied
        self._uplink.watch(self)
        # Most bodies leave at once, and the deadline is as it should be. Else the next look takes it off.
        if len(body) > _ONE_PIECE or (deadline.when() or now) < now + 2 * _TICK:
            deadline.reschedule(None)
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
            self._note(left)
            self._moved_at = now
        if not left:
            self._leave()
            if (deadline.when() or 0) < now + self._seconds - _TICK:
                deadline.reschedule(now + self._seconds)
        elif now - self._moved_at >= self._uplink.stalled:
            self.stalled = True
            self._leave()
            deadline.reschedule(now)
        elif deadline.when() is not None:
            deadline.reschedule(None)

    def replied(self) -> None:
        """A reply to the whole body has come, so that all of it has left."""
        if self._left:
            self._note(0)
        seconds = asyncio.get_running_loop().time() - self._began
        self._uplink.on_reply(self.size, self._replied_before, seconds, self._seconds)

    def end(self) -> None:
        """The call is over: what the body took is given back. May be called at any time."""
        self._leave()
        if self._unanswered:
            self._uplink.answered(self._unanswered)
            self._unanswered = 0

    def _note(self, left: int) -> None:
        self._uplink.moved(self._left - left)
        self._left = left

    def _leave(self) -> None:
        """Look at the body no more: it has left, or never will."""
        self._transport = self._deadline = None
        self._uplink.forget(self)
        if self._held:
            self._uplink.give(self._held)
            self._held = 0


def bytes_unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes that a connection has taken over and the other end has not acknowledged; 0 where it is closed."""
    waiting = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if connection is None:
        return waiting
    try:
        if sys.platform == "linux":
            answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
            return waiting + int.from_bytes(answer, sys.byteorder)
        if sys.platform == "darwin":
            return waiting + int(connection.getsockopt(socket.SOL_SOCKET, _SO_NWRITE))
    except (OSError, ValueError):
        return 0
    return waiting
