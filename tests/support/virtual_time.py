"""Virtual time for tests and simulations: an event loop whose clock jumps to the next timer."""

import asyncio
import functools
import selectors
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVarTuple, Unpack

P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

START = 1_000.0
"""Seconds on the clock of every loop at its beginning."""

_TURN = 1e-6
_SECONDS_FOR_THREADS = 1.0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own. `late` says how many seconds each wake-up comes too late.

    The clock stands still while a thread works, or else hours would pass in the milliseconds of a write.
    """

    def __init__(self, late: Callable[[], float] = lambda: 0.0) -> None:
        self._virtual = START
        self._in_threads: set[asyncio.Future[Any]] = set()
        self.late = late
        super().__init__(_JumpingSelector(self._turn, lambda: bool(self._in_threads)))

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], Any], *args: *Ts
    ) -> asyncio.Future[Any]:
        """As every loop does it, and known to be at work."""
        future = super().run_in_executor(executor, func, *args)
        self._in_threads.add(future)
        future.add_done_callback(self._in_threads.discard)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 (as asyncio has it)
        """As every loop does it, without a limit: the 300 s of Python 3.12 and newer would pass at once."""
        if sys.version_info >= (3, 12):
            await super().shutdown_default_executor(None)
        else:
            await super().shutdown_default_executor()

    def _turn(self, seconds: float) -> None:
        # Time must pass in every turn, or a limiter whose timer rings a rounding error too early re-arms for ever.
        self._virtual += _TURN
        if seconds > 0:
            self._virtual += seconds + self.late()


class _JumpingSelector(selectors.DefaultSelector):
    """Selector that does not wait: the time that a real one would have waited passes at once."""

    def __init__(self, turn: Callable[[float], None], threads_work: Callable[[], bool]) -> None:
        super().__init__()
        self._turn = turn
        self._threads_work = threads_work

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The events that are there."""
        if timeout is None:
            events = super().select(_SECONDS_FOR_THREADS)
            if not events:
                raise RuntimeError("deadlock: nothing is ready, and no timer is set")
            return events
        events = super().select(_SECONDS_FOR_THREADS if timeout > 0 and self._threads_work() else 0)
        self._turn(0.0 if events else timeout)
        return events


def run(coroutine: Coroutine[Any, Any, Any], late: Callable[[], float] = lambda: 0.0) -> Any:
    """Run a coroutine in virtual time; its result."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(late)) as runner:
        return runner.run(coroutine)


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that runs in virtual time."""

    @functools.wraps(test)
    def in_virtual_time(*arguments: P.args, **named: P.kwargs) -> None:
        run(test(*arguments, **named))

    return in_virtual_time
