"""Hours that take no time, for tests and simulations: an event loop whose clock jumps to the next timer."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")

START = 1_000.0
"""Where the clock of every loop begins."""

_TURN = 1e-6
_SECONDS_FOR_THREADS = 1.0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own. `late` says how many seconds each wake-up comes too late."""

    def __init__(self, late: Callable[[], float] = lambda: 0.0) -> None:
        self._virtual = START
        self.late = late
        super().__init__(_JumpingSelector(self._turn))

    def time(self) -> float:
        """Virtual seconds."""
        return self._virtual

    def _turn(self, seconds: float) -> None:
        # Time must pass in every turn, or a limiter whose timer rings a rounding error too early re-arms for ever.
        self._virtual += _TURN
        if seconds > 0:
            self._virtual += seconds + self.late()


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for events without waiting, and lets the time that a real selector would have waited have passed."""

    def __init__(self, turn: Callable[[float], None]) -> None:
        super().__init__()
        self._turn = turn

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The events that are there."""
        if timeout is None:
            events = super().select(_SECONDS_FOR_THREADS)
            if not events:
                raise RuntimeError("deadlock: nothing is ready, and no timer is set")
            return events
        events = super().select(0)
        self._turn(0.0 if events else timeout)
        return events


def run(coroutine: Coroutine[Any, Any, Any], late: Callable[[], float] = lambda: 0.0) -> Any:
    """What a coroutine returns, in virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(late)) as runner:
        return runner.run(coroutine)


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that runs in virtual time."""

    @functools.wraps(test)
    def in_virtual_time(*arguments: P.args, **named: P.kwargs) -> None:
        run(test(*arguments, **named))

    return in_virtual_time
