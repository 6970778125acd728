"""A worker as an actor: the engine on shards, with the account's keeper in another process."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Sequence
from pathlib import Path
from signal import SIGTERM

import ray

from ..engine.assembly import Work
from ..engine.process import Stopper
from ..errors import BatchrecError, JobError
from ..language import _
from ..outputs.files import writing
from ..state.answer_cache import ANSWERS
from ..values import Allowance, Authorization, Closure, Event, Target, Uncounted
from .keeper import Fenced, Holder, Slice
from .messages import NAMESPACE, KeeperHandle
from .node import Report, Shard, work_on
from .parts import Parts
from .published import failed
from .scratch import Scratch
from .storage import StorageError, require_library
from .versions import Versions


class KeeperChannel:
    """The `Channel` to the keeper's actor."""

    def __init__(self, keeper: KeeperHandle) -> None:
        self._keeper = keeper

    def open(self, target: Target) -> Awaitable[tuple[Allowance, Closure | None]]:
        """As the actor."""
        return self._keeper.ask("open", target)

    def lease(self, holder: Holder, target: Target, events: Sequence[Event]) -> Awaitable[Slice | Closure | Fenced]:
        """As the actor."""
        return self._keeper.ask("lease", holder, target, events, again=(holder, target, _told_twice(events)))

    def report(self, target: Target, events: Sequence[Event]) -> Awaitable[Allowance]:
        """As the actor."""
        return self._keeper.ask("report", target, events, again=(target, _told_twice(events)))

    def beat(self, holder: Holder) -> Awaitable[tuple[bool, float]]:
        """As the actor. The clock of one that has started anew is the head's as before."""
        return self._keeper.ask("beat", holder)


def _told_twice(events: Sequence[Event]) -> list[Event]:
    """The events that may be taken in twice: a count that is given back twice would be one call too many."""
    return [event for event in events if not isinstance(event, Uncounted)]


def _unwritten(output: str, error: OSError) -> BatchrecError:
    return failed(output, error) if isinstance(error, StorageError) else writing(error.filename or output, error)


class WorkerActor:
    """A worker: two shards at a time, in one event loop.

    `answers`: the file of a result cache, or nothing.
    """

    def __init__(self, keeper: str, answers: bytes) -> None:
        self._keeper = keeper
        self._scratch = Scratch(Path(tempfile.gettempdir()))
        tempfile.tempdir = str(self._scratch.path)  # of shards too
        self._answers: Path | None = None
        if answers:
            self._answers = self._scratch.path / ANSWERS
            self._answers.write_bytes(answers)
        self._stoppers: set[Stopper] = set()
        self._stopped = False

    async def versions(self) -> Versions:
        """Versions of this process."""
        return Versions.here(ray.__version__)

    async def probe(self, output: str, token: str, base: str) -> str:
        """The reason why this node cannot take part; empty where it can."""
        try:
            require_library(output)
            parts = await asyncio.to_thread(Parts, output)
            if await asyncio.to_thread(parts.token) != token:
                return _("{directory} is not the folder that the driver has").format(directory=output)
            await asyncio.to_thread(parts.try_to_write)
        except JobError as error:
            return str(error)
        except OSError as error:
            return str(_unwritten(output, error))
        if not os.path.isdir(base):
            return _("there is no folder {directory}").format(directory=base)
        return ""

    async def work(self, shard: Shard, holder: Holder) -> Report:
        """As `work_on`."""
        try:
            keeper = KeeperHandle(ray.get_actor(self._keeper, namespace=NAMESPACE))
        except ValueError:  # there is none of that name any more
            return Report(Work(), lost=True)
        stopper = Stopper()
        self._stoppers.add(stopper)
        if self._stopped:  # Ray keeps no order of messages to an actor that is asynchronous
            stopper.stop(SIGTERM)

        def authorize(refused: str) -> Awaitable[Authorization | BatchrecError]:
            return keeper.ask("authorize", refused)

        try:
            return await work_on(shard, holder, KeeperChannel(keeper), authorize, stopper, self._answers)
        except OSError as error:
            raise _unwritten(shard.output, error) from None
        finally:
            self._stoppers.discard(stopper)

    async def stop(self) -> None:
        """Stop all shards, as a signal does, and those that come later."""
        self._stopped = True
        for stopper in self._stoppers:
            stopper.stop(SIGTERM)
