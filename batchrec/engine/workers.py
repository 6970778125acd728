"""The worker tasks of a run: cancelled while they wait, never while a call of theirs is under way."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..errors import BatchrecError


class Workers:
    """Tasks that are cancelled by `stop`, except for those that are bound.

    A worker is bound from the sending of its call until the result is recorded, so that no paid call is lost. `group`
    is the task group of the run. `error`: the most important error that stopped the run.
    """

    group: asyncio.TaskGroup

    def __init__(self) -> None:
        self.stopping = False
        self.error: BatchrecError | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._bound: set[asyncio.Task[Any] | None] = set()

    def hire(self, work: Coroutine[Any, Any, None]) -> None:
        """Start one more worker."""
        self._tasks.add(self.group.create_task(work))

    async def all_done(self) -> None:
        """Wait until no worker is left, those included that are hired meanwhile."""
        while working := {task for task in self._tasks if not task.done()}:
            await asyncio.wait(working)

    def bind(self) -> None:
        """Keep the current task from being cancelled: its call leaves."""
        self._bound.add(asyncio.current_task())

    def release(self) -> None:
        """Let the current task be cancelled again: its call is back and recorded, or is to be repeated."""
        self._bound.discard(asyncio.current_task())

    def stop(self, error: BatchrecError | None = None) -> None:
        """Cancel the workers that are not bound; the others end when their result is recorded."""
        if error is not None and error.outranks(self.error):
            self.error = error
        self.stopping = True
        for task in self._tasks - self._bound:
            task.cancel()
