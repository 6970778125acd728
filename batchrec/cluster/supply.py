"""Shards to be handed out: new ones, in input order, and those that were lost."""

import secrets
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..journal.queue import Queue
from ..sources import Logins
from ..values import InputEntry, Task
from .node import Shard


@dataclass(slots=True)
class Waiting:
    """A shard that is to be handed out: its last epoch (0: none) and what remains of it."""

    name: str
    epoch: int
    tasks: Sequence[Task]


class Supply:
    """Shards of one run.

    `pattern` is one without images, `steps` are the journal's numbers of steps by name. `size`: images and steps of a
    new one.
    """

    def __init__(self, queue: Queue, pattern: Shard, steps: Mapping[str, int], logins: Logins, size: int) -> None:
        self._queue, self._pattern, self._logins, self._size = queue, pattern, logins, size
        self._names = {number: name for name, number in steps.items()}
        self.lost: deque[Waiting] = deque()
        # Beside the number: a writer of an earlier run may still be at work on a shard of that number.
        self.number, self._token = 0, secrets.token_hex(4)

    def lost_one(self, steps: Sequence[int]) -> Waiting | None:
        """A shard that was lost with images of these steps."""
        for waiting in self.lost:
            if any(task.step in steps for task in waiting.tasks):
                self.lost.remove(waiting)
                return waiting
        return None

    def new(self, steps: Sequence[int], horizon: int) -> Waiting | None:
        """A new shard: the next images of these steps, in input order."""
        tasks = self._queue.claim(steps, horizon, self._size)
        if not tasks:
            return None
        self.number += 1
        return Waiting(f"{self.number:06}-{self._token}", 0, tasks)

    def shard(self, waiting: Waiting) -> Shard:
        """A shard as a node is given it."""
        logins = self._logins.of(task.key for task in waiting.tasks)
        return replace(self._pattern, name=waiting.name, tasks=list(self._entries(waiting.tasks)), logins=logins)

    def _entries(self, tasks: Sequence[Task]) -> Iterator[tuple[InputEntry, list[str]]]:
        steps: dict[str, tuple[InputEntry, list[str]]] = {}
        for task in tasks:
            entry = InputEntry(task.key, 0, task.position, task.size, task.mtime_ns, task.problem)
            steps.setdefault(task.key, (entry, []))[1].append(self._names[task.step])
        yield from steps.values()
