"""Gates of processes against a model of the service, in virtual time: calls from turn to count.

Each process has gates, paces and counts of its own over the files of one state folder, as real ones do. Only the
clock, the sockets and the service are not real.
"""

import asyncio
import random
from collections import Counter as Tally
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from batchrec.limits.availability import Policy
from batchrec.limits.gate import Gate, open_gate
from batchrec.limits.keeper import LocalKeeper
from batchrec.limits.quota import Quota
from batchrec.limits.shared_rate import SharedRates
from batchrec.times import Clock, beijing_day
from batchrec.values import Authorization, Caps, Failure, Kind, QuotaKey, Target

from . import virtual_time
from .simulation import Counter, Service

NOON = 1_795_406_400.0
"""A Unix time at which it is noon in Beijing, and the virtual clock begins."""

_DOWN = 0.01
_TOO_MANY = Failure(Kind.THROTTLED, 18, "Open api qps request limit reached")
_WORKERS = 8


@dataclass(slots=True)
class Days:
    """Calls that were taken by Beijing day, and how many were refused for their rate."""

    taken: Tally[str] = field(default_factory=Tally)
    refused: int = 0

    @property
    def calls(self) -> int:
        """In all."""
        return self.taken.total() + self.refused


class NoAccount:
    """Nobody pays."""

    secrets = ()
    refreshes = 0

    async def authorize(self) -> Authorization:
        """Nothing."""
        return Authorization()

    def on_refused(self, authorization: Authorization) -> None:
        """Nobody is there to hear it."""


class NoLedger:
    """Nothing is kept of what is under way."""

    def sent(self, charges: Sequence[QuotaKey]) -> None:
        """Nothing is noted."""

    def settled(self, charge: QuotaKey, *, counted: bool) -> None:
        """Nothing is noted."""


def unix() -> float:
    """The virtual clock as Unix time."""
    return NOON + asyncio.get_running_loop().time() - virtual_time.START


def a_gate(stack: ExitStack, folder: Path, caps: Caps, seed: int = 1, *, wait: bool = False) -> Gate:
    """The gate of one process whose state folder this is; it is let go of with the stack."""
    clock = Clock(asyncio.get_running_loop().time, unix, random.Random(seed))
    quota = stack.enter_context(closing(Quota(folder, unix)))
    keeper = LocalKeeper(stack.enter_context(closing(SharedRates(folder))), quota, clock.time)
    target, policy = Target("me", "dish", caps), Policy(60, wait)
    return open_gate(target, NoAccount(), keeper, NoLedger(), asyncio.Semaphore(256), policy, clock)


def through_gates(service: Service, caps: Caps, seconds: float, processes: int, folder: Path) -> Days:
    """Run processes that always have another call, and that wait for the next day at the daily limit."""
    days: Days = virtual_time.run(_play(service, caps, seconds, processes, folder))
    return days


async def _play(service: Service, caps: Caps, seconds: float, processes: int, folder: Path) -> Days:
    days, counter, rng = Days(), Counter(service.limit, service.window), random.Random(1)

    async def call(gate: Gate) -> None:
        while True:
            ticket = await gate.enter()
            await asyncio.sleep(rng.uniform(*service.way))
            taken = counter.takes(asyncio.get_running_loop().time())
            if taken:
                days.taken[ticket.charge.day] += 1
            else:
                days.refused += 1
            await asyncio.sleep(_DOWN + (rng.uniform(*service.thinking) if taken else 0.0))
            gate.settle(ticket, ticket, None if taken else _TOO_MANY)

    with ExitStack() as stack:
        gates = [a_gate(stack, folder, caps, seed, wait=True) for seed in range(processes)]
        tasks = [asyncio.ensure_future(call(gate)) for gate in gates for _ in range(_WORKERS)]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(outcome, asyncio.CancelledError):
                raise AssertionError("a call has ended by itself") from outcome
    return days


def days_of(seconds: float) -> list[str]:
    """The Beijing days that a run of so many seconds touches, from its first to its last."""
    return sorted({beijing_day(NOON + at) for at in range(0, int(seconds) + 1, 3600)})
