"""Concurrency: micro-batching, turns, a byte budget, a lock with priorities, chunks, work beside."""

import asyncio
import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

_MOST = 64
"""Items of a batch."""

_CHUNK = 16
"""Items that a thread takes at once: to hand over one alone takes as long (20 us) as to hash a small file."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Batcher(Generic[_Item, _Result]):
    """Gathers items until the event loop comes round, and works on all of them in one go.

    `work` gives a result for each item, in order; what it raises is raised for each of them. `undo` is given the result
    of an item whose task was cancelled before it could take it.
    """

    def __init__(
        self,
        work: Callable[[Sequence[_Item]], Sequence[_Result]],
        undo: Callable[[_Result], None] = lambda result: None,
    ) -> None:
        self._work = work
        self._undo = undo
        self._waiting: list[tuple[_Item, asyncio.Future[_Result]]] = []

    async def do(self, item: _Item) -> _Result:
        """The result of this item. Of one whose task is cancelled before the work begins nothing is done."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._gather, 0)
        future: asyncio.Future[_Result] = loop.create_future()
        self._waiting.append((item, future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._undo(future.result())
            raise

    def _gather(self, seen: int) -> None:
        """Wait for more as long as every turn of the loop brings more."""
        if seen < len(self._waiting) < _MOST:
            asyncio.get_running_loop().call_soon(self._gather, len(self._waiting))
        else:
            self._work_off()

    def _work_off(self) -> None:
        waiting = [(item, future) for item, future in self._waiting if not future.done()]
        self._waiting.clear()
        if not waiting:
            return
        try:
            results = self._work([item for item, _ in waiting])
        except BaseException as exc:  # whatever it is, the tasks raise it, where somebody hears of it
            for _, future in waiting:
                future.set_exception(exc)
            return
        for (_, future), result in zip(waiting, results, strict=True):
            future.set_result(result)


class TurnLimiter:
    """Lets `most` tasks go on in a turn of the event loop, and none in the turn in which it asks.

    For what takes long and waits for nothing. Where many calls are answered at once, all their answers are read first,
    one after the other, while what that needs is in the processor's cache. And what is ready to leave need not wait
    until all of them have made ready what comes after.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Go on in a later turn, in order."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._next)
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        await place

    def _next(self) -> None:
        left = self._most
        while left and self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                left -= 1
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)


class MemoryBudget:
    """So many bytes, lent out. One who asks for more than there is gets it all, once everything is back."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def size(self) -> int:
        """Bytes in all, lent out or not."""
        return self._size

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for bytes."""
        return bool(self._waiting)

    async def take(self, size: int, *, first: bool = False) -> int:
        """Wait for so many bytes; returns how many are to be given back. `first`: before all others."""
        size = min(size, self._size)
        if self._waiting or size > self._left:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.insert(0 if first else len(self._waiting), (size, place))
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self.give(size)
                else:
                    self._serve()
                raise
        else:
            self._left -= size
        return size

    def give(self, size: int) -> None:
        """These bytes are not needed any more."""
        self._left += size
        if self._waiting:
            self._serve()

    def resize(self, size: int) -> None:
        """Lend so many bytes from now on. What is lent beyond that stays lent until it is given back."""
        self._left += size - self._size
        self._size = size
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        while self._waiting:
            size, place = self._waiting[0]
            if not place.done():
                if size > self._left:
                    return
                self._left -= size
                place.set_result(None)
            self._waiting.popleft()


class PriorityLock:
    """Lock whose waiters are served in the order of their arrival, those with priority first."""

    def __init__(self) -> None:
        self._busy = False
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    async def acquire(self, *, first: bool) -> None:
        if self._busy:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (not first, next(self._count), place))
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self.release()
                raise
        self._busy = True

    def release(self) -> None:
        while self._waiting:
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():
                place.set_result(None)  # stays busy: the place is handed over
                return
        self._busy = False


def mapped(pool: Executor, work: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """Results of short work on items, in order: `pool.map` whose threads take several items at once."""
    chunks = [items[at : at + _CHUNK] for at in range(0, len(items), _CHUNK)]
    for results in pool.map(lambda chunk: [work(item) for item in chunk], chunks):
        yield from results


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine while the block runs, and cancel it at the end; what it raised is raised then."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
