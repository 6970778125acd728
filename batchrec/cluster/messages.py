"""Messages to the actors of a Ray cluster.

Ray places actors, notices processes that end, and carries messages. No actor method is retried by Ray.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..errors import BatchrecError, ServiceUnavailable
from ..language import _
from ..outputs.files import writing
from .client import ShardLost, gone
from .keeper import Holder
from .keeper_actor import TokenSource

# Usage statistics are on by default, and are read when Ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
from ray.exceptions import RayActorError, RayError, RayTaskError

NAMESPACE = "batchrec"
"""Ray's namespace of the keepers."""

_KEEPER_SECONDS = 60.0
"""Time that a keeper which starts anew is waited for."""
_REPLY_SECONDS = 60.0
"""Time that a driver waits for a reply of the keeper, which may be frozen."""
_LEFT_SECONDS = 5.0
"""Time that the keeper has for a driver's last word."""
_AGAIN_SECONDS = 0.05


def _now() -> float:
    return asyncio.get_running_loop().time()


async def heard(reply: Any) -> Any:
    """The reply of an actor. Raises ShardLost where it is gone, and our own errors as they were raised.

    An error of the system there becomes OutputFailed; other errors of our code there stay defects.
    """
    try:
        return await reply
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, BatchrecError):
            raise cause from None
        if isinstance(cause, RayError):
            raise gone(type(cause).__name__) from None
        if isinstance(cause, OSError):
            raise writing(cause.filename or _("a node of the cluster"), cause) from None
        raise
    except RayError as error:
        if isinstance(error, RayActorError) and error.actor_init_failed:  # mostly no batchrec there, or another one
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ServiceUnavailable(lines[-1] if lines else type(error).__name__) from None
        # Not every end of a process is a RayActorError: one that the memory monitor has killed, or whose node has
        # left before it began, has an error of its own.
        raise gone(type(error).__name__) from None


class KeeperHandle:
    """The way to a keeper's actor, which Ray starts anew where it has died."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def send(self, method: str, *arguments: object) -> Awaitable[Any]:
        """Send a message. What is awaited raises ShardLost where the keeper is gone."""
        return heard(getattr(self._handle, method).remote(*arguments))

    def ask(self, method: str, *arguments: object, again: tuple[object, ...] | None = None) -> Awaitable[Any]:
        """Send a message, and send it once more where the keeper was gone, when there is one again.

        `again`: the arguments of later attempts (None: the same), since the first may have been heard. What is awaited
        raises ShardLost where there is no keeper for long.
        """
        first = self.send(method, *arguments)  # now: messages keep their order

        async def answer() -> Any:
            reply, deadline = first, _now() + _KEEPER_SECONDS
            while True:
                try:
                    return await reply
                except ShardLost:
                    if _now() > deadline:
                        raise
                await asyncio.sleep(_AGAIN_SECONDS)
                reply = self.send(method, *(arguments if again is None else again))

        return answer()


class DriversKeeper:
    """A driver's way to the keeper of an account, which is started where there is none.

    `start` starts it, or finds it, and gives its handle; `source`: the credentials with which it fetches tokens.
    """

    def __init__(self, start: Callable[[], Any], driver: str, source: TokenSource) -> None:
        self._start, self._driver, self._source = start, driver, source

    async def __aenter__(self) -> "DriversKeeper":
        self._entering = asyncio.ensure_future(self._enter())  # beside the start of workers
        return self

    async def __aexit__(self, *exc: object) -> None:
        if not self._entering.done():
            self._entering.cancel()
        elif self._entering.exception() is None:
            with contextlib.suppress(BatchrecError, TimeoutError):
                async with asyncio.timeout(_LEFT_SECONDS):
                    await self._entering.result().send("leave", self._driver)

    async def _enter(self) -> KeeperHandle:
        """Have the keeper stay for this driver. One that is just ending is gone at the next attempt."""
        deadline = _now() + _KEEPER_SECONDS
        while True:
            try:
                handle = KeeperHandle(self._start())
                await handle.send("enter", self._driver, self._source)
                return handle
            except (ShardLost, RayError) as error:
                if _now() > deadline:
                    raise error if isinstance(error, ShardLost) else gone(type(error).__name__) from None
            await asyncio.sleep(_AGAIN_SECONDS)

    async def ask(self, method: str, *arguments: object) -> Any:
        """The keeper's reply. Raises ServiceUnavailable where there is no keeper for long, or a frozen one."""
        reason: object
        try:
            async with asyncio.timeout(_REPLY_SECONDS):
                handle = await asyncio.shield(self._entering)
                return await handle.ask(method, *arguments)
        except ShardLost as error:
            reason = error
        except TimeoutError:
            reason = _("it has not replied for {seconds:.0f} s").format(seconds=_REPLY_SECONDS)
        raise ServiceUnavailable(_("--on: the keeper of the rate is gone: {error}").format(error=reason))

    async def silent(self, given: Sequence[Holder]) -> list[Holder]:
        """As `ClusterKeeper.silent`; a keeper that has started anew is told of this driver."""
        silent: list[Holder] | None = None
        while silent is None:
            silent = await self.ask("silent", self._driver, given)
            if silent is None:
                await self.ask("enter", self._driver, self._source)
        return silent
