"""Images of a run that are URLs: fetched ahead of their calls, without a worker that waits for that."""

from collections.abc import Callable, Coroutine
from typing import Any

from ..fetch.queue import FetchQueue
from ..interfaces import Fetcher
from ..sources import is_url
from ..values import Failure, Task
from .lane import Lane, Postponed

_MOST_FETCHES = 3
"""Fetches of an image for one call: its bytes may have left the cache before their turn, but not again and again."""


class Fetching:
    """Hands URLs to the fetchers, and puts their images back on their lanes.

    `fetcher` None: there are no URLs. `hire` starts a task of the run; `wake` lets workers look for images again.
    """

    def __init__(
        self,
        fetcher: Fetcher | None,
        hire: Callable[[Coroutine[Any, Any, None]], None],
        wake: Callable[[], None],
    ) -> None:
        self._fetcher = fetcher
        self._queue = None if fetcher is None else FetchQueue(fetcher, hire)
        self._wake = wake
        self._fetched: dict[tuple[int, int], int] = {}  # by step and image: fetches so far
        self._failures: dict[tuple[int, int], Failure] = {}

    def look(self, lane: Lane, task: Task) -> Task | Failure | Postponed:
        """Return the image with its size where its bytes can be read, else the failure or reason why not.

        Returns FETCHING for an image that is handed over by `begin`, and CLOSED where no call may leave for it.
        """
        if self._fetcher is None or not is_url(task.key):
            return task
        if (failure := self._failures.pop((task.step, task.image), None)) is not None:
            return failure
        size = self._fetcher.has(task.key)
        if size is not None:
            return task._replace(size=size)
        if self._fetched.get((task.step, task.image), 0) >= _MOST_FETCHES:
            return task  # the store says that it is not there
        return Postponed.CLOSED if lane.gate.over else Postponed.FETCHING

    def begin(self, lane: Lane, task: Task) -> None:
        """Have an image fetched, which then comes back to its lane."""
        assert self._queue is not None
        key = task.step, task.image
        self._fetched[key] = self._fetched.get(key, 0) + 1
        lane.begin_fetch()

        def done(failure: Failure | None) -> None:
            if failure is not None:
                self._failures[key] = failure
            lane.fetched(task)
            self._wake()

        self._queue.add(task.key, done, lambda: not lane.gate.over)

    def used(self, task: Task) -> None:
        """Note that an image needs its bytes no more, so that others can be fetched."""
        if self._queue is not None and self._fetched.pop((task.step, task.image), 0):
            self._queue.used(task.key)
