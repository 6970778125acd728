"""Messages to the actors of a Ray cluster.

Ray places actors, notices processes that end, and carries messages. No actor method is retried by Ray.
"""

import asyncio
import os
import time
from collections.abc import Awaitable
from typing import Any

from ..errors import BatchrecError, ServiceUnavailable
from ..language import _
from ..outputs.files import writing
from .client import ShardLost

# Usage statistics are on by default, and are read when Ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
from ray.exceptions import RayActorError, RayError, RayTaskError

NAMESPACE = "batchrec"
"""Ray's namespace of the keepers."""

_KEEPER_SECONDS = 60.0
"""Time that a keeper which starts anew is waited for."""
_AGAIN_SECONDS = 0.05


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
            raise _gone(cause) from None
        if isinstance(cause, OSError):
            raise writing(cause.filename or _("a node of the cluster"), cause) from None
        raise
    except RayError as error:
        if isinstance(error, RayActorError) and error.actor_init_failed:  # mostly no batchrec there, or another one
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ServiceUnavailable(lines[-1] if lines else type(error).__name__) from None
        # Not every end of a process is a RayActorError: one that the memory monitor has killed, or whose node has
        # left before it began, has an error of its own.
        raise _gone(error) from None


def _gone(error: RayError) -> ShardLost:
    return ShardLost(_("a process of the cluster is gone: {reason}").format(reason=type(error).__name__))


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
            reply, deadline = first, time.monotonic() + _KEEPER_SECONDS
            while True:
                try:
                    return await reply
                except ShardLost:
                    if time.monotonic() > deadline:
                        raise
                await asyncio.sleep(_AGAIN_SECONDS)
                reply = self.send(method, *(arguments if again is None else again))

        return answer()
