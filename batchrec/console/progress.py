"""Display of progress on standard error: a live line on a terminal, plain lines elsewhere."""

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from ..values import ADVISED_SIDE
from .text import duration, say

Style = Literal["auto", "rich", "plain", "none"]

PLAIN_SECONDS = 10.0
"""Between two plain lines; the contract asks for one every 30 s at least."""

ANSWERS = "answers"
"""Word for what a run counts a second."""

_RICH_SECONDS = 0.2
_WINDOW_SECONDS = 15.0
_MEGABITS = 8e-6  # in a byte


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a run: images and steps `done` of `total`, those failed, and the allowed calls/s.

    `allowed` is None where there is no limit, `until` when it goes on, where it waits for the service's next day, and
    `what` what is counted a second. `uplink` is what the uplink carries, in bytes/s, where it is the limit, else 0;
    `shrunk` the images/s that it would carry with `input.max_side`, 0 where that is no advice.
    """

    done: int
    total: int
    failed: int
    answered: int
    allowed: float | None
    until: str | None = None
    what: str = ANSWERS
    uplink: float = 0.0
    shrunk: float = 0.0


class Meter:
    """Answers per second over the last quarter minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, answered: int) -> float:
        """Note how many are answered by now; the rate since the oldest note that is young enough."""
        now = self._clock()
        self._seen.append((now, answered))
        while now - self._seen[0][0] > _WINDOW_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        return (answered - before) / (now - then) if now > then else 0.0


def line(snapshot: Snapshot, rate: float) -> str:
    """A plain line: done of all, answers/s beside the allowed rate, failed, time left."""
    left = duration((snapshot.total - snapshot.done) / rate) if rate > 0 else "unknown"
    waits = f", waits until {snapshot.until}" if snapshot.until else ""
    if snapshot.uplink:
        waits += f", limited by the uplink ({snapshot.uplink * _MEGABITS:.1f} Mbit/s)"
    if snapshot.uplink and snapshot.shrunk:
        waits += f", about {snapshot.shrunk:.1f} images/s with input.max_side = {ADVISED_SIDE}"
    done = f"{snapshot.done:,} of {snapshot.total:,} done, {rate:.1f} {snapshot.what}/s"
    if snapshot.what != ANSWERS:
        return f"{done}, {left} left"
    allowed = "" if snapshot.allowed is None else f" (allowed {snapshot.allowed:.1f})"
    return f"{done}{allowed}, {snapshot.failed:,} failed, {left} left{waits}"


def chosen(style: Style) -> Style:
    """The style that "auto" stands for here: rich on a terminal, plain without one."""
    if style != "auto":
        return style
    return "rich" if sys.stderr.isatty() else "plain"


@asynccontextmanager
async def shown(style: Style, snapshot: Callable[[], Snapshot | None]) -> AsyncIterator[None]:
    """Show how far it is for as long as the block lasts. No snapshot: the inputs are still being listed."""
    style = chosen(style)
    if style == "none":
        yield
        return
    meter = Meter()
    _text(snapshot(), meter)
    task = asyncio.ensure_future(_rich(snapshot, meter) if style == "rich" else _plain(snapshot, meter))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if style == "plain" and (last := snapshot()) is not None:
            say(_text(last, meter))


def _text(now: Snapshot | None, meter: Meter) -> str:
    return "listing the inputs" if now is None else line(now, meter.rate(now.answered))


async def _plain(snapshot: Callable[[], Snapshot | None], meter: Meter) -> None:
    while True:
        await asyncio.sleep(PLAIN_SECONDS)
        say(_text(snapshot(), meter))


async def _rich(snapshot: Callable[[], Snapshot | None], meter: Meter) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("")
        while True:
            now = snapshot()
            text = _text(now, meter).rpartition("done, ")[2]
            progress.update(bar, completed=now.done if now else 0, total=now.total if now else None, description=text)
            await asyncio.sleep(_RICH_SECONDS)
