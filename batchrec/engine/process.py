"""The process of a run: signals, garbage collection, event loop, file descriptors."""

import asyncio
import contextlib
import functools
import gc
import logging
import math
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

from ..errors import Interrupted
from ..language import _

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that stop a run. Windows has no SIGHUP, which says that the terminal is gone."""


class Stopper:
    """Signals of a run: the first calls `ask`, on the event loop, to stop it; the second cancels it."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.ask: Callable[[], None] = lambda: None
        self._main: asyncio.Task[Any] | None = None
        self._leaving = False

    def came(self) -> bool:
        """Whether a signal has come. May be called in any thread."""
        return self.signal is not None

    def stop(self, number: signal.Signals) -> None:
        """Stop as the first signal does. To be called on the event loop."""
        if self.signal is None:
            self.signal = number
            self.ask()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals while the block lasts; a second one cancels the task that entered it.

        Raises Interrupted, with the signal's exit code, where the block ends by the second signal or raises it itself.
        """
        self._main = asyncio.current_task()
        forget = [self._heed(number) for number in _wanted()]
        try:
            yield
        except Interrupted as error:
            raise self._interrupted(str(error)) from error
        except asyncio.CancelledError:
            if not self._leaving:
                raise
            text = _("left at once; the next run tells how many calls were not waited for")
            raise self._interrupted(text) from None
        finally:
            for end in forget:
                end()

    def _heed(self, number: signal.Signals) -> Callable[[], object]:
        """Install the handler; returns a function that removes it, or restores the previous one."""
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(number, self._came, number)
        except NotImplementedError:  # Windows has no signals that an event loop can wait for
            return functools.partial(signal.signal, number, signal.signal(number, self._came_outside))
        return functools.partial(loop.remove_signal_handler, number)

    def _came(self, number: signal.Signals) -> None:
        if self.signal is None:
            self.signal = number
            _log.warning("%s: finishing the calls that have left; send it again to leave at once", number.name)
            self.ask()
        elif self._main is not None:
            self._leaving = True
            self._main.cancel()

    def _interrupted(self, text: str) -> Interrupted:
        error = Interrupted(text)
        if self.signal is not None:
            error.exit_code = 128 + self.signal
        return error

    def _came_outside(self, number: int, frame: FrameType | None) -> None:
        if self._main is not None:
            self._main.get_loop().call_soon_threadsafe(self._came, signal.Signals(number))


def _wanted() -> Iterator[signal.Signals]:
    """The signals to handle: not a SIGHUP that is ignored already, as under `nohup`."""
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            yield number


_T = TypeVar("_T")

_ALLOCATIONS = 50_000
"""Objects that are made between two collections of garbage; Python itself takes 700."""


class RareCollections:
    """Makes garbage collections rare while runs and exports go on; restores the collector after them.

    There are hardly any cycles, and a collection looks through all rows that wait to be written: as often as Python
    does it that takes 20 us an image of a run, and a quarter of the time of an export. What was loaded before is not
    looked through at all. A process that has frozen its objects or collects less often by itself keeps its own way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # runs may be in several threads
        self._runs = 0
        self._before: tuple[int, int, int] | None = None
        self._froze = False

    def __enter__(self) -> None:
        with self._lock:
            self._runs += 1
            if self._runs > 1:
                return
            self._froze = not gc.get_freeze_count()
            if self._froze:
                gc.freeze()
            before = gc.get_threshold()
            self._before = before if 0 < before[0] < _ALLOCATIONS else None
            if self._before:
                gc.set_threshold(_ALLOCATIONS, *before[1:])

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            self._runs -= 1
            if self._runs:
                return
            if self._froze:
                gc.unfreeze()
            if self._before and gc.get_threshold()[0] == _ALLOCATIONS:
                gc.set_threshold(*self._before)


rare_collections = RareCollections()
"""The collector is the process's, so there is one for all runs."""


_DESCRIPTORS_KEPT = 96
"""Descriptors for all but connections: some 40 for databases, files and the event loop, the rest for decoders."""

_FEWEST_CONNECTIONS = 4
"""Connections that are tried under any limit."""

_MOST_DESCRIPTORS = (65_536, 10_240)
"""Limits to try where the hard one is none, or is not taken: 10,240 is the most that macOS takes."""


def raise_descriptor_limit() -> None:
    """Let this process open as many files as the system allows; the lower soft limit is for `select`."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (hard, *_MOST_DESCRIPTORS):
        if limit == resource.RLIM_INFINITY or not soft < limit or (limit > hard != resource.RLIM_INFINITY):
            continue
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            return


def connections_at_most(descriptors_each: int) -> float:
    """The number of connections that the limit of descriptors allows; infinite where there is none."""
    if resource is None or (limit := resource.getrlimit(resource.RLIMIT_NOFILE)[0]) == resource.RLIM_INFINITY:
        return math.inf
    return max(_FEWEST_CONNECTIONS, (limit - _DESCRIPTORS_KEPT) // descriptors_each)


def run_loop(main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine on the fastest event loop there is here.

    For a process that does nothing else: the settings of the garbage collector are not restored.
    """
    raise_descriptor_limit()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS)
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):  # Windows, PyPy
        import uvloop

        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())
