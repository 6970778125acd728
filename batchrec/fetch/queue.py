"""Queue of images to be fetched: so many of a host at once, a bounded amount ahead of its use.

A host that is slow or down keeps its own fetches waiting, and nobody else's.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ..interfaces import Fetcher
from ..values import Failure

_MOST_READY = 1_000
"""Images that are fetched and not yet used at most."""

Done = Callable[[Failure | None], None]


class FetchQueue:
    """Images that are fetched or wait for that. `hire` starts a task, which ends when the run stops."""

    def __init__(self, fetcher: Fetcher, hire: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._fetcher = fetcher
        self._hire = hire
        self._waiting: dict[str, deque[str]] = {}  # by host
        self._working: dict[str, int] = {}  # by host: tasks that fetch from it
        self._asked: dict[str, list[tuple[Done, Callable[[], bool]]]] = {}  # by key
        self._ready: dict[str, int] = {}  # by key: bytes that are fetched and not yet used
        self._ready_bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    def add(self, key: str, done: Done, wanted: Callable[[], bool] = lambda: True) -> None:
        """Have an image fetched; `done` is called once with its failure, or None. Of several adds, one fetch.

        Where no add of it is `wanted` any more at its turn, it is not fetched, and `done` is called with None.
        """
        if key in self._asked:
            self._asked[key].append((done, wanted))
            return
        self._asked[key] = [(done, wanted)]
        host = self._fetcher.host(key)
        self._waiting.setdefault(host, deque()).append(key)
        if self._working.get(host, 0) < self._fetcher.per_host:
            self._working[host] = self._working.get(host, 0) + 1
            self._hire(self._serve(host))

    def used(self, key: str) -> None:
        """Note that an image is used, or not needed: room for the next ones."""
        self._ready_bytes -= self._ready.pop(key, 0)
        if self._has_room:
            self._room.set()

    @property
    def _has_room(self) -> bool:
        return len(self._ready) < _MOST_READY and self._ready_bytes <= self._fetcher.ahead_bytes

    async def _serve(self, host: str) -> None:
        """Fetch the images of a host, one after the other, until none waits."""
        waiting = self._waiting[host]
        while waiting:
            if not self._has_room:
                self._room.clear()
                await self._room.wait()
                continue
            key = waiting.popleft()
            failure = None
            if any(wanted() for _, wanted in self._asked[key]):
                failure = await self._fetcher.fetch(key)
                if failure is None:
                    size = self._fetcher.has(key) or 0
                    self._ready_bytes += size - self._ready.get(key, 0)
                    self._ready[key] = size
            for done, _ in self._asked.pop(key):
                done(failure)
        self._working[host] -= 1
        if not self._working[host]:
            del self._working[host], self._waiting[host]
