"""What several tasks want done at once is done at once: one transaction for all that come in a turn of the event loop.

At a few calls a second every batch holds one item; the busier the loop, the more share the price of a transaction.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

_MOST = 64

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Batch(Generic[_Item, _Result]):
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


class Turns:
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
