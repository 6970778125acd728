"""Preparation: from an image's file to the body of its call, within bounds of memory and time."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from .. import images
from ..api.client import Request
from ..concurrency import MemoryBudget, TurnLimiter
from ..interfaces import Fetcher, ImageStore
from ..values import Failure, Prepared, Shortage, Task
from .lane import Postponed, Step

_T = TypeVar("_T")
_Other = TypeVar("_Other", Failure, None)

_INLINE_BYTES = 256 * 1024
"""Files up to this size are read and looked at on the event loop: that is faster than a thread is reached."""

_MOST_BYTES = 512 * 1024 * 1024
"""Bytes that the images in hand may take together, as estimated by `_TIMES_ITS_SIZE`."""

_HEAVIEST = _MOST_BYTES * 3 // 4
"""Bytes that one image takes of them at most, so that small images go on beside the largest."""

_TIMES_ITS_SIZE = 3
"""Memory of an image, in sizes of its file: the file, the image that is sent of it, and that once more as text."""

_MOST_IN_A_TURN = 64
"""Images that are read in one iteration of the event loop: some 20 ms of it, for images of 100 KB."""

_PLACES_A_CORE = 2
"""Images a core that are decoded or wait for that: the next one is there when one is done, and few are in memory."""

_SHORTAGE_SECONDS = 60.0
"""Seconds that an image waits for a descriptor or memory to read it with, before it fails."""

_READ_AGAIN = 0.25
"""Seconds between two attempts to read an image for which the machine had no descriptor or memory."""


class Tile(NamedTuple):
    """The body of a tile's call, and the SHA-256 of the tile's bytes."""

    body: bytes
    digest: bytes


Encoded = tuple[Prepared, bytes, tuple[Tile, ...]]
"""Repairs of an image, its bytes let go of, and the body of its call or those of its tiles."""


class Ready(NamedTuple):
    """An image that can be sent: digest of its file, what was done to it, bodies of its calls, variant.

    With `tiles`, there is no `body`.
    """

    sha256: bytes
    image: Prepared
    body: bytes
    tiles: tuple[Tile, ...] = ()
    variant: str = ""

    @property
    def size(self) -> int:
        """Bytes of all bodies."""
        return len(self.body) + sum(len(tile.body) for tile in self.tiles)


class Preparation:
    """Reads files and makes the bodies of calls, in threads where that takes long.

    `store` holds the bytes of the inputs, and `fetcher` brings those of URLs there (None: there are none). `on_place`
    is called when an image leaves its place among those decoded.
    """

    def __init__(
        self,
        store: ImageStore,
        on_place: Callable[[], None],
        cores: int | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        cores = cores or os.cpu_count() or 1
        self.fetcher = fetcher
        self._store = store
        self._on_place = on_place
        # Apart, so that nothing is read behind images that are decoded.
        self._readers = ThreadPoolExecutor(cores, "files")
        self._decoders = ThreadPoolExecutor(cores, "pictures")
        self._memory = MemoryBudget(_MOST_BYTES)
        self._turns = TurnLimiter(_MOST_IN_A_TURN)
        self._most_places = _PLACES_A_CORE * cores
        # By step and image: those that are decoded, wait for it, or are about to.
        self._places: set[tuple[int, int]] = set()

    def close(self) -> None:
        """Let go of the threads, without waiting for work that has begun."""
        for threads in (self._readers, self._decoders):
            threads.shutdown(wait=False, cancel_futures=True)

    # -- bounds

    def take_place(self, task: Task) -> bool:
        """Take a place among the images that are decoded; True where the image has one, now or already."""
        key = task.step, task.image
        if key not in self._places and len(self._places) >= self._most_places:
            return False
        self._places.add(key)
        return True

    def leave_place(self, task: Task) -> None:
        """Give the image's place to others, where it has one: it is decoded, or need not be."""
        if (task.step, task.image) in self._places:
            self._places.remove((task.step, task.image))
            self._on_place()

    def admits(self, step: Step, task: Task) -> bool:
        """Whether the image may be read now; one too large to be sent as it is has to take a place first."""
        return images.fits_bytes(task.size, step.asked.service.limits) or self.take_place(task)

    def hold(self, task: Task) -> Awaitable[int]:
        """Wait for the memory that the image takes; the bytes are to be given back with `give`."""
        return self._memory.take(min(_TIMES_ITS_SIZE * max(0, task.size), _HEAVIEST))

    def keep(self, held: int, needed: int) -> int:
        """Give back what is held beyond the bytes needed; returns how many are still held."""
        kept = min(held, needed)
        self._memory.give(held - kept)
        return kept

    def give(self, held: int) -> None:
        """Give memory back that was held."""
        self._memory.give(held)

    # -- work

    async def read(self, step: Step, task: Task) -> tuple[bytes | Failure, bytes, str]:
        """Read a file in a later iteration of the event loop: bytes or failure, SHA-256, variant.

        While the machine has no descriptor or memory for that, it is tried again.
        """
        time = asyncio.get_running_loop().time
        until = time() + _SHORTAGE_SECONDS
        while True:
            await self._turns.take()
            if task.size <= _INLINE_BYTES:
                loaded = _load(self._store, step, task)
            else:
                loaded = await self._in_thread(self._readers, _load, self._store, step, task)
            if not isinstance(loaded[0], Shortage) or time() >= until:
                return loaded
            await asyncio.sleep(_READ_AGAIN)

    def loss(self, key: str) -> str:
        """Description of what is gone, where that keeps an input from being read; else empty."""
        return self._store.loss(key)

    async def prepare(self, step: Step, task: Task, data: bytes) -> Encoded | Failure | Postponed:
        """Return the body of a call for a file's bytes, or the failure of the image.

        Returns SET_ASIDE where the image has to be decoded and no place is free.
        """
        limits, treatment = step.asked.service.limits, step.treatment
        as_it_is = partial(images.as_it_is, data, limits, treatment)
        look = partial(_encoded, step.request, as_it_is)
        usual = look() if len(data) <= _INLINE_BYTES else await self._in_thread(self._readers, look)
        if usual is not None:
            return usual
        if not self.take_place(task):
            return Postponed.SET_ASIDE
        repair = partial(images.prepare, data, limits, treatment)
        return await self._in_thread(self._decoders, _encoded, step.request, repair)

    async def _in_thread(self, threads: ThreadPoolExecutor, function: Callable[..., _T], *arguments: object) -> _T:
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)


def _load(store: ImageStore, step: Step, task: Task) -> tuple[bytes | Failure, bytes, str]:
    """Read a file. Its SHA-256 is computed only where it is not known of the file as it is now."""
    data = store.read(task.key)
    if isinstance(data, Failure):
        return data, b"", ""
    known = task.sha256 is not None and store.stat(task.key) == (task.size, task.mtime_ns)
    sha256 = task.sha256 if known and task.sha256 else images.digest(data)
    return data, sha256, images.variant(data, step.asked.service.limits, step.treatment)


def _encoded(request: Request, prepare: Callable[[], Prepared | _Other]) -> Encoded | _Other:
    """Prepare an image and make the body at once, while its bytes are in the processor's cache."""
    prepared = prepare()
    if not isinstance(prepared, Prepared):
        return prepared
    if prepared.tiles:
        tiles = tuple(Tile(request.body(tile.data), images.digest(tile.data)) for tile in prepared.tiles)
        areas = tuple(tile._replace(data=b"") for tile in prepared.tiles)
        return prepared._replace(tiles=areas), b"", tiles
    return prepared._replace(data=b""), request.body(prepared.data), ()
