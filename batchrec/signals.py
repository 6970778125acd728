"""SIGINT and SIGTERM: the first asks to stop, the second cancels."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopper:
    """Which signal came, if any. `ask` is what the first one calls, on the event loop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.ask: Callable[[], None] = lambda: None
        self._main: asyncio.Task[Any] | None = None

    def came(self) -> bool:
        """Whether a signal has come; may be asked in any thread."""
        return self.signal is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Heed the signals for as long as the block lasts; a second one cancels the task that entered it."""
        self._main = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            try:
                loop.add_signal_handler(number, self._came, number)
            except NotImplementedError:  # Windows has no signals that an event loop can wait for
                signal.signal(number, self._came_outside)
        try:
            yield
        finally:
            for number in _SIGNALS:
                with contextlib.suppress(NotImplementedError):
                    loop.remove_signal_handler(number)

    def _came(self, number: signal.Signals) -> None:
        if self.signal is None:
            self.signal = number
            _log.warning("%s: finishing the calls that have left; send it again to leave at once", number.name)
            self.ask()
        elif self._main is not None:
            self._main.cancel()

    def _came_outside(self, number: int, frame: FrameType | None) -> None:
        if self._main is not None:
            self._main.get_loop().call_soon_threadsafe(self._came, signal.Signals(number))
