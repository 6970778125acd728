"""A bound on what is held at once, in bytes: whoever asks for more than is left waits, and is served in order."""

import asyncio
from collections import deque


class Budget:
    """So many bytes, lent out. One who asks for more than there is gets it all, once everything is back."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> int:
        """Wait until so many bytes can be had. How many they are: what is to be given back."""
        size = min(size, self._size)
        if self._waiting or size > self._left:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, place))
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
