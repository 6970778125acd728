"""The gate before one service at one account: rate, health, counts. A call leaves when all three say so."""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..api.retry import PERMISSION_DENIED, Breaker, counts
from ..concurrency import Batcher, PriorityLock
from ..errors import CredentialsRefused, ServiceUnavailable
from ..interfaces import Account, CallLog
from ..times import iso_beijing
from ..values import Authorization, Failure, Kind, Permit, QuotaKey
from .availability import Caps
from .quota import Closure, Quota
from .shared_rate import RateLimiter, SharedRates

_log = logging.getLogger(__name__)

_CLUSTER_BUSY = 4
_LOOK_AT_THE_CLOCK = 30.0
_FRESH_TOKENS = 3
_MOST_AHEAD = 1000
_WHY_18 = (
    ". Either limits.qps is more than the account has, or somebody else uses the account, or its free quota was never "
    "claimed in the console (since 2021 that is answered with 18)"
)


class GateClosed(Exception):
    """No further call may leave through this gate in this run; `closure` or a missing permission is the reason."""


class Ticket(NamedTuple):
    """A call that may leave: when (monotonic seconds), what it carries, and what it is counted on."""

    sent_at: float
    authorization: Authorization
    charge: QuotaKey
    slot: Permit


_Booking = QuotaKey | Closure | None
"""What a call is counted on, or why it must not leave after all."""


class Gate:
    """Lets calls of one service leave. `service` is its name in counts, with the model where there is one.

    `payer` is the account's name in counts; `slots` bounds the calls in flight of all gates together. `time` is
    monotonic, in seconds. With `wait` a closure that has an end is waited for; `now` (Unix seconds) is looked at
    twice a minute, so that a sleeping laptop or a corrected clock does not matter. `proven`: the service has answered
    such requests before, so that refused ones are no sign of a misconfigured job.
    """

    def __init__(
        self,
        service: str,
        account: Account,
        payer: str,
        caps: Caps,
        quota: Quota,
        paces: SharedRates,
        ledger: CallLog,
        slots: asyncio.Semaphore,
        *,
        patience: float,
        wait: bool,
        proven: bool = False,
        time: Callable[[], float],
        now: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.service = service
        self._account = account
        self._payer = payer
        self._caps = caps
        self._quota = quota
        self._ledger = ledger
        self._slots = slots
        self._patience = patience
        self._wait = wait
        self._time, self._now, self._rng = time, now, rng
        self.pacer = RateLimiter(paces, payer, service, caps.qps, time)
        self.breaker = Breaker(patience, proven)
        self.closure: Closure | None = None
        self.forbidden = False
        self.in_flight = 0
        self._settled = asyncio.Event()
        self._full = False
        self._departures = Batcher(self._book, self._unbook)
        self._line = PriorityLock()
        quota.record_limits(payer, service, caps.daily, caps.total)
        self._last_closure = quota.closure(payer, service)
        self._last_closure_at = -math.inf
        self._refused_since: float | None = None
        self._refused_tokens: set[Authorization] = set()

    @property
    def closed(self) -> bool:
        """Whether no call may leave any more."""
        return self.forbidden or self.closure is not None

    @property
    def over(self) -> bool:
        """Whether no call may leave any more in this run."""
        return self.closed and not self.opens

    @property
    def _probing(self) -> bool:
        """Whether the next call is a probe: the first of a run, or the service is down, or was used up when last asked.

        Else all workers would try a key that is refused, or a job that is misconfigured, before the first is told so.
        """
        return not self.breaker.tried or self.breaker.down or self._last_closure is not None

    @property
    def opens(self) -> bool:
        """Whether a closed gate opens by itself, and may be waited for."""
        return self._wait and not self.forbidden and self.closure is not None and self.closure.until is not None

    async def enter(self, *, first: bool = False) -> Ticket:
        """Wait until a call may leave, count it, and note that it leaves. `first` goes before everybody else who waits.

        Raises GateClosed, CredentialsRefused, ServiceUnavailable, and OutputFailed when the count cannot be kept.
        """
        while True:
            await self._line.acquire(first=first)
            try:
                authorization, slot = await self._pass()
            finally:
                self._line.release()
            try:
                # Outside of the line, so that all who come through it together are counted together.
                booked = await self._departures.do(None)
            except BaseException:
                self._turn_back(slot)
                raise
            if isinstance(booked, QuotaKey):
                return Ticket(self._time(), authorization, booked, slot)
            self._turn_back(slot, booked)
            first = True

    async def _pass(self) -> tuple[Authorization, Permit]:
        """Wait for all that a call has to wait for, and take a place in flight."""
        while True:
            await self._until_open()
            await self._until_healthy()
            await self._until_room()
            # Before the pacer, or the calls that wait for a new token would all leave at once.
            authorization = await self._account.authorize()
            slot = await self.pacer.acquire()
            # After the pacer, or a slow service would keep places from the others while it waits for its turn.
            slot = await self._place(slot)
            # Calls in flight have ended while this one waited for its turn: what they were told holds for it too.
            if not self.closed and not (self._probing and self.in_flight):
                self.in_flight += 1
                return authorization, slot
            self._slots.release()
            self.pacer.forgo(slot)

    async def _place(self, slot: Permit) -> Permit:
        """A place in flight. The slot, or a later one where the wait took so long that it is over."""
        await self._slots.acquire()
        try:
            if self.pacer.stale(slot):
                self.pacer.forgo(slot)
                return await self.pacer.acquire()
        except BaseException:
            self._slots.release()
            raise
        return slot

    def _book(self, calls: Sequence[None]) -> Sequence[_Booking]:
        """Count calls that have a place in flight, and note that they leave."""
        if self.closed or (self._probing and self.in_flight > 1):
            return [None] * len(calls)
        caps, ahead = self._caps, math.ceil(min(self.pacer.rate, _MOST_AHEAD))
        booked = self._quota.reserve(self._payer, self.service, caps.daily, caps.total, calls=len(calls), ahead=ahead)
        self._ledger.sent([charge for charge in booked if isinstance(charge, QuotaKey)])
        return booked

    def _unbook(self, booking: _Booking) -> None:
        if isinstance(booking, QuotaKey):
            self._quota.give_back(booking)
            self._ledger.settled(booking, counted=False)

    def _turn_back(self, slot: Permit, closure: Closure | None = None) -> None:
        """A call does not leave, since there is no room for it or, without a closure, for another reason."""
        self.pacer.forgo(slot)
        self._left()
        # A call in flight may yet be refused and give its place back: only after that is the limit reached.
        if closure is not None and self.in_flight:
            self._full = True
        elif closure is not None:
            self._close(closure)

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
            self._answered(ticket)
            return
        self._ledger.settled(ticket.charge, counted=counts(failure))
        if failure.kind is not Kind.THROTTLED:
            self._refused_since = None
        if failure.kind is Kind.TRANSIENT and isinstance(failure.code, str):
            self.pacer.lost(ticket.slot)
        elif failure.kind is not Kind.THROTTLED:
            self.pacer.replied(ticket.slot, ticket.sent_at)
        if not counts(failure):
            self._quota.give_back(ticket.charge)
        self._learn(ticket, image, failure, suspect=suspect)
        if self._probed(ticket) and failure.kind is not Kind.TOKEN:
            self.closure = self._last_closure

    def _probed(self, ticket: Ticket) -> bool:
        """Whether this call was the probe of a closure that still stands."""
        return self._last_closure is not None and ticket.sent_at >= self._last_closure_at

    def _learn(self, ticket: Ticket, image: object, failure: Failure, *, suspect: bool) -> None:
        match failure.kind:
            case Kind.THROTTLED:
                self._throttled(ticket, failure)
            case Kind.EXHAUSTED:
                self._exhausted(ticket, int(failure.code))
            case Kind.TOKEN:
                self._token_refused(ticket.authorization)
            case Kind.REFUSED:
                self._refused(failure)
            case Kind.IMAGE if isinstance(failure.code, int):
                self.breaker.judged()
                self._let_through(ticket)
            case Kind.TRANSIENT | Kind.UNKNOWN:
                self.breaker.failed(image, self._time(), suspect=suspect)
                if self.breaker.expired(self._time()):
                    raise ServiceUnavailable(
                        f"{self.service}: {_describe_failure(failure)}, for {self._patience:g} s and every call"
                    )
            case Kind.REQUEST:
                self.breaker.malformed()
                if self.breaker.misconfigured:
                    raise ServiceUnavailable(
                        f"{self.service}: every request is refused, so the job is misconfigured: "
                        f"{_describe_failure(failure)}"
                    )

    def _answered(self, ticket: Ticket) -> None:
        self.breaker.on_answer()
        self._refused_since = None
        self._refused_tokens.clear()
        self._let_through(ticket)

    def _let_through(self, ticket: Ticket) -> None:
        """Neither rate nor quota were in the way of a call."""
        self.pacer.on_answer(ticket.slot, ticket.sent_at)
        if self._probed(ticket):
            self._last_closure = None
            self._quota.reopen(self._payer, self.service)

    def _token_refused(self, authorization: Authorization) -> None:
        """Counts against the token it was sent with, however many calls carried it."""
        self._account.on_refused(authorization)
        if authorization.fresh:
            self._refused_tokens.add(authorization)
        if len(self._refused_tokens) >= _FRESH_TOKENS:
            raise CredentialsRefused(
                f"{self.service}: {_FRESH_TOKENS} fresh tokens were refused, with no answer between"
            )

    def _exhausted(self, ticket: Ticket, code: int) -> None:
        closure = self._last_closure = self._quota.close_service(self._payer, self.service, code, ticket.charge.day)
        self._last_closure_at = self._time()
        # The refusal of a call that left before midnight says nothing about the day that has begun.
        if closure.until is None or closure.until > self._now():
            self._close(closure)

    def _close(self, closure: Closure) -> None:
        news, self.closure = self.closure is None, closure
        if news and self.opens and closure.until is not None:
            _log.warning("%s: used up for today; waits until %s", self.service, iso_beijing(closure.until))

    def _throttled(self, ticket: Ticket, failure: Failure) -> None:
        if failure.code == _CLUSTER_BUSY:
            self.pacer.hold(ticket.slot, ticket.sent_at)
        else:
            self.pacer.on_refused(ticket.slot, ticket.sent_at)
            if not self.pacer.slowest:
                return
        if self._refused_since is None:
            self._refused_since = self._time()
        if self._time() - self._refused_since >= self._patience:
            raise ServiceUnavailable(
                f"{self.service}: every call is refused ({_describe_failure(failure)}), "
                f"at {self.pacer.rate:.3g} calls/s" + ("" if failure.code == _CLUSTER_BUSY else _WHY_18)
            )

    def _refused(self, failure: Failure) -> None:
        if failure.code != PERMISSION_DENIED:
            raise CredentialsRefused(f"{self.service}: {_describe_failure(failure)}")
        if not self.forbidden:  # calls in flight are told the same
            _log.error("%s: %s; see `batchrec errors 6`", self.service, _describe_failure(failure))
        self.forbidden = True

    async def _until_open(self) -> None:
        """Go on where the service is open, or will be by itself and may be waited for. Raises GateClosed."""
        while self.closed:
            if not self.opens or self.closure is None or self.closure.until is None:
                raise GateClosed
            if (remaining := self.closure.until - self._now()) > 0:
                await asyncio.sleep(min(_LOOK_AT_THE_CLOCK, remaining))
            else:
                self.closure = None

    async def _until_healthy(self) -> None:
        """While it is doubtful whether the service takes calls, one at a time probes it."""
        while self._probing and self.in_flight:
            await self._next_settled()
            await self._until_open()
        if self.breaker.down:
            await asyncio.sleep(self.breaker.probe_delay(self._rng))

    async def _until_room(self) -> None:
        """Where the limit was reached while calls were in flight: wait until one has ended."""
        while self._full and self.in_flight:
            await self._next_settled()
            await self._until_open()

    async def _next_settled(self) -> None:
        self._settled.clear()
        await self._settled.wait()


def _describe_failure(failure: Failure) -> str:
    return f"{failure.message} ({failure.code})" if failure.message else f"error {failure.code}"
