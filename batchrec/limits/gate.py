"""The gate before one service at one account: a call leaves when availability, rate and quota let it."""

import asyncio
import logging
from collections.abc import Sequence

from ..api.retry import Breaker, cluster_busy, counts
from ..concurrency import Batcher, PriorityLock
from ..interfaces import Account, CallLog, Keeper, Upload
from ..times import Clock
from ..values import Authorization, Closure, Failure, Kind, Permit, QuotaKey, ServiceState, Target, Ticket, Uncounted
from .availability import Availability, Policy, Verdict
from .rate_limiter import RateLimiter

_log = logging.getLogger(__name__)

_LOOK_AT_THE_CLOCK = 30.0
"""Seconds after which the clock is read again while a closure is waited for: a laptop may sleep, a clock be set."""


class GateClosed(Exception):
    """No further call may leave in this run; `closure` or a missing permission is the reason."""


_Booking = QuotaKey | Closure | None
"""The key that a call is counted on, or why it must not leave after all."""


def open_gate(
    target: Target,
    account: Account,
    keeper: Keeper,
    calls: CallLog,
    slots: asyncio.Semaphore,
    policy: Policy,
    clock: Clock,
) -> "Gate":
    """The gate of a run, with the rate and the closure that the keeper knows of. Raises OutputFailed."""
    allowance, closure = keeper.open(target)
    limiter = RateLimiter(keeper, target, allowance, clock.time)
    return Gate(limiter, Availability(target.service, policy, closure), target, account, keeper, calls, slots, clock)


class Gate:
    """Lets calls of one service leave. `slots` bounds the calls in flight of all gates together.

    `calls` notes the calls that are under way.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        availability: Availability,
        target: Target,
        account: Account,
        keeper: Keeper,
        calls: CallLog,
        slots: asyncio.Semaphore,
        clock: Clock,
    ) -> None:
        self.limiter = limiter
        self._availability = availability
        self._target, self._account, self._keeper = target, account, keeper
        self._calls, self._slots, self._clock = calls, slots, clock
        self.in_flight = 0
        self._settled = asyncio.Event()
        self._full = False
        self._departures = Batcher(self._book, self._unbook)
        self._line = PriorityLock()

    @property
    def service(self) -> str:
        """The service's name in counts, with the model where there is one."""
        return self._target.service

    @property
    def breaker(self) -> Breaker:
        """Whether the service fails for everybody."""
        return self._availability.breaker

    @property
    def closure(self) -> Closure | None:
        """The reason why the service takes no more calls, by the quota."""
        return self._availability.closure

    @property
    def forbidden(self) -> bool:
        """Whether the account lacks the permission for the service."""
        return self._availability.forbidden

    @property
    def closed(self) -> bool:
        """Whether no call may leave any more."""
        return self._availability.closed

    @property
    def opens(self) -> bool:
        """Whether a closed gate opens by itself, and may be waited for."""
        return self._availability.opens

    @property
    def state(self) -> ServiceState:
        """The state of the service, for a display."""
        return self._availability.state(self._clock.time())

    @property
    def over(self) -> bool:
        """Whether no call may leave any more in this run."""
        return self.closed and not self.opens

    async def enter(self, upload: Upload | None = None, *, first: bool = False) -> Ticket:
        """Wait until a call may leave, count it, and note that it leaves.

        `upload` is its body, which has to be admitted. `first` goes before everybody else who waits.

        Raises GateClosed, CredentialsRefused, ServiceUnavailable, and OutputFailed when the count cannot be kept.
        """
        while True:
            await self._line.acquire(first=first)
            try:
                authorization, permit = await self._pass(upload, first=first)
            finally:
                self._line.release()
            try:
                # Outside of the line, so that all who come through it together are counted together.
                booked = await self._departures.do(permit)
            except BaseException:
                self._turn_back(permit)
                raise
            if isinstance(booked, QuotaKey):
                return Ticket(self._clock.time(), authorization, booked, permit)
            self._turn_back(permit, booked)
            first = True

    async def _pass(self, upload: Upload | None, *, first: bool) -> tuple[Authorization, Permit]:
        """Wait for all that a call has to wait for, and take a place in flight."""
        while True:
            await self._until_open()
            await self._until_healthy()
            await self._until_room()
            if upload is not None:
                # After the service is open, or a body that waits for the next day would keep room from the others.
                await upload.admit(first=first)
            # Before the permit, or the calls that wait for a new token would all leave at once.
            authorization = await self._account.authorize()
            permit = await self.limiter.acquire()
            if not isinstance(permit, Closure):
                # After the permit, or a slow service would keep places from the others while it waits for its turn.
                permit = await self._place(permit)
            # Calls in flight have ended while this one waited for its turn: what they were told holds for it too.
            if not isinstance(permit, Closure) and self._availability.admits(self.in_flight):
                self.in_flight += 1
                return authorization, permit
            if upload is not None:
                upload.end()
            if isinstance(permit, Closure):
                self._no_room(permit)
            else:
                self._slots.release()
                self.limiter.forgo(permit)

    async def _place(self, permit: Permit) -> Permit | Closure:
        """Take a place in flight.

        Returns the permit, or a later one where the wait took so long that it is stale.
        """
        await self._slots.acquire()
        later: Permit | Closure = permit
        try:
            if self.limiter.stale(permit):
                self.limiter.forgo(permit)
                later = await self.limiter.acquire()
        except BaseException:
            self._slots.release()
            raise
        if isinstance(later, Closure):
            self._slots.release()
        return later

    def _book(self, permits: Sequence[Permit]) -> Sequence[_Booking]:
        """Count calls that have a place in flight, and note that they leave."""
        if not self._availability.admits(self.in_flight - 1):
            return [None] * len(permits)
        booked = self._keeper.charge(self._target, permits)
        self._calls.sent([charge for charge in booked if isinstance(charge, QuotaKey)])
        return booked

    def _unbook(self, booking: _Booking) -> None:
        if isinstance(booking, QuotaKey):
            self._keeper.report(self._target, (Uncounted(booking),))
            self._calls.settled(booking, counted=False)

    def _turn_back(self, permit: Permit, closure: Closure | None = None) -> None:
        """A call does not leave, since there is no room for it or, without a closure, for another reason."""
        self.limiter.forgo(permit)
        self._left()
        if closure is not None:
            self._no_room(closure)

    def _no_room(self, closure: Closure) -> None:
        # A call in flight may yet be refused and give its place back: only after that is the limit reached.
        if self.in_flight:
            self._full = True
        else:
            self._follow(self._availability.close(closure))

    def _left(self) -> None:
        """A place in flight is free again."""
        self.in_flight -= 1
        self._slots.release()
        self._settled.set()
        self._full = False

    def settle(self, ticket: Ticket, image: object, failure: Failure | None, *, suspect: bool = False) -> None:
        """Learn from how a call ended. Raises CredentialsRefused or ServiceUnavailable when the run must end."""
        self._left()
        if failure is None:
            self.limiter.on_answer(ticket.permit, ticket.sent_at)
            self._follow(self._availability.on_answer(ticket))
            return
        self._calls.settled(ticket.charge, counted=counts(failure))
        self._note_end(ticket, failure)
        if not counts(failure):
            self._keeper.report(self._target, (Uncounted(ticket.charge),))
        if failure.kind is Kind.TOKEN:
            self._account.on_refused(ticket.authorization)
        self._follow(
            self._availability.on_failure(
                ticket,
                image,
                failure,
                suspect=suspect,
                now=self._clock.time(),
                unix=self._clock.now(),
                allowance=self.limiter.allowance,
            )
        )

    def _note_end(self, ticket: Ticket, failure: Failure) -> None:
        """Tell the rate limiter whether the call has arrived, and whether the rate was in its way."""
        permit, sent_at = ticket.permit, ticket.sent_at
        match failure.kind:
            case Kind.THROTTLED if cluster_busy(failure):
                self.limiter.hold(permit, sent_at)
            case Kind.THROTTLED:
                self.limiter.on_refused(permit, sent_at)
            case Kind.TRANSIENT if isinstance(failure.code, str):
                self.limiter.lost(permit)
            case Kind.IMAGE if isinstance(failure.code, int):
                self.limiter.on_answer(permit, sent_at)
            case _:
                self.limiter.replied(permit, sent_at)

    def _follow(self, verdict: Verdict) -> None:
        """Do what the availability says."""
        if verdict.event is not None:
            self._keeper.report(self._target, (verdict.event,))
        if verdict.log is not None:
            _log.log(*verdict.log)
        if verdict.error is not None:
            raise verdict.error

    async def _until_open(self) -> None:
        """Go on where the service is open, or will be by itself and may be waited for. Raises GateClosed."""
        while self._availability.closed:
            remaining = self._availability.remaining(self._clock.now())
            if remaining is None:
                raise GateClosed
            if remaining:
                await asyncio.sleep(min(_LOOK_AT_THE_CLOCK, remaining))
            else:
                self._availability.reopen()

    async def _until_healthy(self) -> None:
        """While it is doubtful whether the service takes calls, one at a time probes it."""
        while self._availability.probing and self.in_flight:
            await self._next_settled()
            await self._until_open()
        if self.breaker.down:
            await asyncio.sleep(self.breaker.probe_delay(self._clock.rng))

    async def _until_room(self) -> None:
        """Wait until a call in flight has ended, if the limit was reached while there were some."""
        while self._full and self.in_flight:
            await self._next_settled()
            await self._until_open()

    async def _next_settled(self) -> None:
        self._settled.clear()
        await self._settled.wait()
