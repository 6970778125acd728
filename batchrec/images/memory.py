"""One budget of memory for all pictures that are decoded at a time, in whatever thread or process."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

DECODING_BYTES = 1_000_000_000
"""As much as six photographs of 12 megapixels take. A picture that takes more is decoded alone."""


class MemoryBudget:
    """So many bytes, lent to threads in the order in which they ask."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until so many bytes are left, or all of them where it is more; they are given back at the end.

        Whoever holds some must not ask for more: two such threads could wait for each other.
        """
        size, place = min(size, self._size), object()
        with self._changed:
            self._line.append(place)
            self._changed.wait_for(lambda: self._line[0] is place and size <= self._left)
            self._line.popleft()
            self._left -= size
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._left += size
                self._changed.notify_all()


decoding = MemoryBudget(DECODING_BYTES)
"""The budget of this process."""
