"""The keeper of one account as an actor on the cluster's head.

What it imports is what its restart takes, with no call leaving meanwhile: no engine, and HTTP only for a token.
"""

import asyncio
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass

from ..api.credentials import Credentials
from ..errors import BatchrecError
from ..interfaces import Account
from ..limits.quota import Quota
from ..limits.shared_rate import CLUSTER, SharedRates, used_lately
from ..redact import remember
from ..state.directory import make_private, state_directory
from ..times import Clock
from ..values import Allowance, Authorization, Closure, Event, Target
from .client import gone
from .keeper import IDLE_SECONDS, ClusterKeeper, Fenced, Holder, Slice

_IDLE_LOOK_SECONDS = 10.0
_CLOSED_SECONDS = 5.0  # for the end of connections; what is counted is on the disk


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Endpoint and credentials that a token is fetched with.

    `timeout` and `patience`: seconds of a call and of an outage; `rate`: calls per second.
    """

    endpoint: str
    credentials: Credentials
    timeout: float
    patience: float
    rate: float


class KeeperActor:
    """The keeper of one account. Counts are in the state folder of the head's machine.

    It ends itself after `idle` seconds without a word of a driver.
    """

    def __init__(self, source: TokenSource, idle: float = IDLE_SECONDS) -> None:
        remember(*source.credentials.secrets)
        self._source = source
        self._state = state_directory(os.environ)
        rates = self._state / CLUSTER
        make_private(rates)
        self._opened = AsyncExitStack()
        self._core = ClusterKeeper(
            self._opened.enter_context(closing(SharedRates(rates))),
            self._opened.enter_context(closing(Quota(self._state, time.time))),
            Clock(time.monotonic, time.time, random.Random()),
            anew=_started_anew(),
        )
        self._account: Account | None = None
        self._closed, self._ending = threading.Event(), False
        self._opened.callback(self._closed.set)
        threading.Thread(target=self._end_when_abandoned, args=(idle,), daemon=True).start()

    def _end_when_abandoned(self, idle: float) -> None:
        """End the actor for good when its drivers are gone. In a thread: after a restart nobody may call it."""
        while not self._closed.wait(min(idle / 10, _IDLE_LOOK_SECONDS)):
            if self._core.idle_seconds >= idle:
                import ray

                ray.kill(ray.get_runtime_context().current_actor, no_restart=True)
                return

    async def authorize(self, refused: str) -> Authorization | BatchrecError:
        """The account's token; another one where `refused` is the present one."""
        try:
            account = self._account = self._account or await self._open_account()
            found = await account.authorize()
            if refused and found.query == refused:
                account.on_refused(found)
                found = await account.authorize()
            return found
        except BatchrecError as error:
            return error

    async def _open_account(self) -> Account:
        from ..api.accounts import open_account  # they take half a second to import
        from ..api.http import open_transport

        source, kept = self._source, self._state
        transport = await self._opened.enter_async_context(open_transport(source.endpoint, source.timeout, source.rate))
        endpoint, credentials, patience = source.endpoint, source.credentials, source.patience
        return open_account(endpoint, credentials, transport, cache=kept, patience=patience, now=time.time)

    async def begin(self, shard: str, floor: int) -> Holder:
        """As `ClusterKeeper.begin`."""
        return self._core.begin(shard, floor)

    async def end(self, holder: Holder) -> None:
        """As `ClusterKeeper.end`."""
        self._core.end(holder)

    async def silent(self, driver: str, given: Sequence[Holder]) -> list[Holder] | None:
        """As `ClusterKeeper.silent`. None where the driver has to enter first: this keeper has started anew."""
        return self._core.silent(given) if self._core.hear(driver) else None

    async def beat(self, holder: Holder) -> tuple[bool, float]:
        """As `ClusterKeeper.beat`, with the time here."""
        return self._core.beat(holder), time.monotonic()

    async def open(self, target: Target) -> tuple[Allowance, Closure | None]:
        """As `ClusterKeeper.open`."""
        return self._core.open(target)

    async def lease(self, holder: Holder, target: Target, events: Sequence[Event]) -> Slice | Closure | Fenced:
        """As `ClusterKeeper.lease`."""
        return await self._core.lease(holder, target, events)

    async def report(self, target: Target, events: Sequence[Event]) -> Allowance:
        """As `ClusterKeeper.report`."""
        return self._core.report(target, events)

    async def shares(self, targets: Sequence[Target]) -> bool:
        """Whether runs on this machine alone make calls of the account as well."""
        return used_lately(self._state, targets, time.monotonic())

    async def enter(self, driver: str, source: TokenSource) -> None:
        """Note a driver. Tokens are fetched with its source from now on: a secret may be new.

        Raises ShardLost while the keeper ends, as if it had: the driver starts the next one.
        """
        if self._ending:
            raise gone(type(self).__name__)
        self._core.enter(driver)
        if source != self._source:
            remember(*source.credentials.secrets)
            self._source, self._account = source, None

    async def leave(self, driver: str) -> None:
        """Forget a driver, and end the actor with the last one."""
        if self._core.leave(driver):
            import ray

            self._ending = True
            try:
                async with asyncio.timeout(_CLOSED_SECONDS):
                    await self.aclose()
            finally:
                ray.actor.exit_actor()  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        """Close its files and connections; it does not end itself any more."""
        await self._opened.aclose()


def _started_anew() -> bool:
    """Whether Ray has started this actor in the place of one that has died."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    context = ray.get_runtime_context()
    return bool(context.get_actor_id()) and bool(context.was_current_actor_reconstructed)
