"""The state of one service in this run: closures, probes, refused tokens, refusals for `patience`.

Pure like `Breaker`: times come in as arguments, and a `Verdict` says what the gate has to do.
"""

import logging
import math
from typing import NamedTuple

from ..api.retry import Action, Breaker, cluster_busy, decide
from ..errors import BatchrecError, CredentialsRefused, ServiceUnavailable
from ..language import _, mark
from ..periods import period_of
from ..times import iso_beijing
from ..values import (
    Allowance,
    Authorization,
    Closure,
    Failure,
    Kind,
    QuotaEvent,
    Reopened,
    ServiceState,
    Ticket,
    UsedUp,
)
from .quota import used_up

_FRESH_TOKENS = 3
"""Fresh tokens refused with no result between, after which another would not help either."""
_WHY_18 = mark(
    ". Either limits.qps is more than the account has, or somebody else uses the account, or its free quota was never "
    "claimed in the console (since 2021 the service says 18 to that)"
)


class Policy(NamedTuple):
    """The patience of a run with a service.

    `patience`: seconds that it may fail or refuse for everybody. `wait`: whether a closure that has an end is waited
    for. `proven`: it has answered such requests before, so that refused ones are no sign of a misconfigured job.
    """

    patience: float
    wait: bool = False
    proven: bool = False


class Verdict(NamedTuple):
    """Instructions for the gate: an event to report, a level and text to log, an error that ends the run."""

    event: QuotaEvent | None = None
    log: tuple[int, str] | None = None
    error: BatchrecError | None = None


class Availability:
    """Whether calls of one service may leave.

    `last_closure` is the one that the service reported last, if it holds.
    Times are monotonic seconds (`now`), but Unix seconds (`unix`) where a closure's end is compared with them.
    """

    def __init__(self, service: str, policy: Policy, last_closure: Closure | None = None) -> None:
        self.service, self._policy = service, policy
        self.breaker = Breaker(policy.patience, policy.proven)
        self.closure: Closure | None = None
        self.forbidden = False
        self._last_closure = last_closure
        self._last_closure_at = -math.inf
        self._last_code: int | str | None = None
        self._refused_since: float | None = None
        self._refused_tokens: set[Authorization] = set()

    @property
    def closed(self) -> bool:
        """Whether no call may leave any more."""
        return self.forbidden or self.closure is not None

    @property
    def opens(self) -> bool:
        """Whether the closure ends by itself, and may be waited for."""
        closure = self.closure
        if closure is None or closure.until is None or self.forbidden:
            return False
        return self._policy.wait and period_of(closure.code).waited_for

    @property
    def probing(self) -> bool:
        """Whether the next call is a probe.

        It is the first of a run, or the service is down or was used up when last asked. Else all workers would try a
        key that is refused, or a job that is misconfigured, before the first is told so.
        """
        return not self.breaker.tried or self.breaker.down or self._last_closure is not None

    def state(self, now: float) -> ServiceState:
        """The state in a word, with its code and its age, for a display."""
        if self.forbidden:
            return ServiceState("forbidden", code=self._last_code)
        if (closure := self.closure) is not None:
            return ServiceState("exhausted", code=closure.code, until=closure.until, waits=self.opens)
        if self.breaker.down and self.breaker.failing_since is not None:
            since = now - self.breaker.failing_since
            return ServiceState("probing", since, self._last_code, self._policy.patience)
        if self._refused_since is not None:
            return ServiceState("throttled", now - self._refused_since, self._last_code, self._policy.patience)
        return ServiceState("first" if self.probing else "")

    def admits(self, others: int) -> bool:
        """Whether a call may leave beside so many others that are in flight."""
        return not self.closed and not (self.probing and others)

    def remaining(self, unix: float) -> float | None:
        """Seconds until the closure ends; 0 where there is none, None where it does not end in this run."""
        if not self.closed:
            return 0.0
        if not self.opens or self.closure is None or self.closure.until is None:
            return None
        return max(0.0, self.closure.until - unix)

    def reopen(self) -> None:
        """Forget a closure that has ended."""
        self.closure = None

    def close(self, closure: Closure) -> Verdict:
        """Let no further call leave until the closure ends."""
        news, self.closure = self.closure is None, closure
        if news and self.opens and closure.until is not None:
            text = f"{self.service}: used up for today; waits until {iso_beijing(closure.until)}"
            return Verdict(log=(logging.WARNING, text))
        return Verdict()

    def on_answer(self, ticket: Ticket) -> Verdict:
        """Learn from a call that was answered."""
        self.breaker.on_answer()
        self._refused_since = None
        self._refused_tokens.clear()
        return self._let_through(ticket)

    def on_failure(
        self,
        ticket: Ticket,
        image: object,
        failure: Failure,
        *,
        suspect: bool,
        now: float,
        unix: float,
        allowance: Allowance,
    ) -> Verdict:
        """Learn from a call that has failed. `suspect`: others were answered while this image failed before."""
        self._last_code = failure.code
        if failure.kind is not Kind.THROTTLED:
            self._refused_since = None
        match failure.kind:
            case Kind.THROTTLED:
                verdict = self._throttled(failure, now, allowance)
            case Kind.EXHAUSTED:
                verdict = self._exhausted(ticket, failure.code, now, unix)
            case Kind.TOKEN:
                return self._token_refused(ticket.authorization)
            case Kind.REFUSED:
                verdict = self._refused(failure)
            case Kind.IMAGE if isinstance(failure.code, int):
                self.breaker.judged()
                verdict = self._let_through(ticket)
            case Kind.TRANSIENT | Kind.UNKNOWN:
                verdict = self._failed(image, failure, now, suspect=suspect)
            case Kind.REQUEST:
                verdict = self._malformed(failure)
            case _:
                verdict = Verdict()
        if self._probed(ticket) and verdict.error is None:
            self.closure = self._last_closure
        return verdict

    def _probed(self, ticket: Ticket) -> bool:
        """Whether this call was the probe of a closure that still stands."""
        return self._last_closure is not None and ticket.sent_at >= self._last_closure_at

    def _let_through(self, ticket: Ticket) -> Verdict:
        """Neither rate nor quota were in the way of a call."""
        if not self._probed(ticket):
            return Verdict()
        self._last_closure = None
        return Verdict(Reopened())

    def _throttled(self, failure: Failure, now: float, allowance: Allowance) -> Verdict:
        busy = cluster_busy(failure)
        if not busy and not allowance.slowest:
            return Verdict()
        if self._refused_since is None:
            self._refused_since = now
        if now - self._refused_since < self._policy.patience:
            return Verdict()
        return self._unavailable(
            _("every call is refused ({failure}), at {rate:.3g} calls/s{why}").format(
                failure=_describe_failure(failure), rate=allowance.rate, why="" if busy else _(_WHY_18)
            )
        )

    def _exhausted(self, ticket: Ticket, code: int | str, now: float, unix: float) -> Verdict:
        closure = self._last_closure = used_up(code, ticket.charge.day)
        self._last_closure_at = now
        # The refusal of a call that left before midnight says nothing about the day that has begun.
        holds = closure.until is None or closure.until > unix
        verdict = self.close(closure) if holds else Verdict()
        return verdict._replace(event=UsedUp(code, ticket.charge.day))

    def _token_refused(self, authorization: Authorization) -> Verdict:
        """Count against the token that the call was sent with, however many calls carried it."""
        if authorization.fresh:
            self._refused_tokens.add(authorization)
        if len(self._refused_tokens) < _FRESH_TOKENS:
            return Verdict()
        text = _("{service}: {count} fresh tokens were refused, with no result between")
        return Verdict(error=CredentialsRefused(text.format(service=self.service, count=_FRESH_TOKENS)))

    def _refused(self, failure: Failure) -> Verdict:
        text = f"{self.service}: {_describe_failure(failure)}"
        if decide(failure) is not Action.CLOSE:
            return Verdict(error=CredentialsRefused(text))
        news, self.forbidden = not self.forbidden, True  # calls in flight are told the same
        return Verdict(log=(logging.ERROR, f"{text}; see `batchrec errors {failure.code}`") if news else None)

    def _failed(self, image: object, failure: Failure, now: float, *, suspect: bool) -> Verdict:
        self.breaker.failed(image, now, suspect=suspect)
        if not self.breaker.expired(now):
            return Verdict()
        return self._unavailable(
            _("{failure}, for {seconds:g} s and every call").format(
                failure=_describe_failure(failure), seconds=self._policy.patience
            )
        )

    def _malformed(self, failure: Failure) -> Verdict:
        self.breaker.malformed()
        if not self.breaker.misconfigured:
            return Verdict()
        return self._unavailable(
            _("every request is refused, so the job is misconfigured: {failure}").format(
                failure=_describe_failure(failure)
            )
        )

    def _unavailable(self, why: str) -> Verdict:
        return Verdict(error=ServiceUnavailable(f"{self.service}: {why}"))


def _describe_failure(failure: Failure) -> str:
    return f"{failure.message} ({failure.code})" if failure.message else f"error {failure.code}"
