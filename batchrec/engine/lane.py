"""A lane: the gate, the steps and the queues of one service."""

from collections import deque
from dataclasses import dataclass, field

from ..api.client import Request
from ..job.follow_ups import Conditions
from ..limits.gate import Gate
from ..state.answer_cache import CacheKey
from ..values import Task
from .rows import Asked

MOST_WORKERS = 256
"""Calls in flight at most, of a lane and of all lanes together."""

PREPARING = 8
"""Workers beside those whose calls are in flight, so that the next call is ready when one of these ends."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step made ready: how its requests look, what its images must be, and which steps may follow.

    `question` is what its answers are known by in later jobs, None where they are not kept; with `reuse` those of
    earlier jobs are taken.
    """

    asked: Asked
    request: Request
    attempts: int
    repair: bool
    follow: Conditions = ()
    question: CacheKey | None = None
    reuse: bool = False
    strip: bool = False


@dataclass(slots=True)
class Lane:
    """One service at one account: its gate, the numbers of its steps, and how many workers it has and may have."""

    gate: Gate
    steps: tuple[int, ...]
    workers: int
    most: int = MOST_WORKERS
    ready: deque[Task] = field(default_factory=deque)
    later: deque[Task] = field(default_factory=deque)
    """Images that failed while the service was down: a fresh one makes the better probe."""
    aside: deque[Task] = field(default_factory=deque)
    """Images that wait for a place among those that are prepared, so that no worker has to."""
