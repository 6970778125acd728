"""Availability: closures, probes, tokens and patience, decided from times that a test passes in."""

import logging
import math

import pytest

from batchrec.api.codes import kind_of
from batchrec.errors import CredentialsRefused, ServiceUnavailable
from batchrec.limits.availability import Availability, Policy, Verdict
from batchrec.values import (
    Allowance,
    Authorization,
    Closure,
    Failure,
    Permit,
    QuotaKey,
    Reopened,
    Ticket,
    UsedUp,
)

DAY = "2026-11-23"
MIDNIGHT = 1_795_449_600.0
"""The Unix time at which that day ends in Beijing."""
PACK = Closure(19, None)


def code(number: int) -> Failure:
    return Failure(kind_of(number), number, f"said {number}")


def a_ticket(sent_at: float = 0.0, token: str = "a") -> Ticket:
    return Ticket(sent_at, Authorization(token, fresh=True), QuotaKey("me", "dish", DAY), Permit(1, sent_at))


def tell(
    state: Availability,
    failure: Failure,
    now: float = 0.0,
    *,
    ticket: Ticket | None = None,
    unix: float = MIDNIGHT - 3600,
    slowest: bool = True,
    image: object = "image",
) -> Verdict:
    """A call that failed at `now`."""
    allowance = Allowance(0.667, slowest)
    return state.on_failure(
        ticket or a_ticket(now), image, failure, suspect=False, now=now, unix=unix, allowance=allowance
    )


PATIENT = Policy(60)


def tried(policy: Policy = PATIENT, last_closure: Closure | None = None) -> Availability:
    """The state of a service that has answered one call of this run."""
    state = Availability("dish", policy, last_closure)
    if last_closure is None:
        state.on_answer(a_ticket(-1.0))
    return state


def test_the_first_call_goes_alone() -> None:
    """Beside none in flight it may leave, beside one not; after an answer all may."""
    state = Availability("dish", Policy(60))
    assert (state.admits(0), state.admits(1)) == (True, False)
    state.on_answer(a_ticket())
    assert state.admits(255)


@pytest.mark.parametrize(("number", "until"), [(17, MIDNIGHT), (19, None)])
def test_used_up_quota_closes_and_is_to_be_recorded(number: int, until: float | None) -> None:
    """The keeper is told code and day; the closure ends at midnight in Beijing, or never."""
    state = tried()
    assert tell(state, code(number)).event == UsedUp(number, DAY)
    assert state.closure == Closure(number, until)
    assert not state.admits(0)


def test_a_closure_is_waited_for_where_the_policy_says_so() -> None:
    """The seconds that remain, 0 at its end, None without the policy or an end; the wait is logged once."""
    state = tried(Policy(60, wait=True))
    level, text = tell(state, code(17)).log or (0, "")
    assert (level, text) == (
        logging.WARNING,
        "dish: used up for today; waits until 2026-11-24T00:00:00+08:00",
    )
    assert tell(state, code(17)).log is None
    assert (state.remaining(MIDNIGHT - 5), state.remaining(MIDNIGHT + 5)) == (5.0, 0.0)
    for policy, number in [(Policy(60), 17), (Policy(60, wait=True), 19)]:
        closed = tried(policy)
        tell(closed, code(number))
        assert closed.remaining(MIDNIGHT) is None


def test_yesterdays_refusal_leaves_a_probe() -> None:
    """A call of 23:59:59 that is refused at 00:00:01 closes nothing; one call at a time makes sure."""
    state = tried()
    verdict = tell(state, code(17), 1.0, ticket=a_ticket(0.0), unix=MIDNIGHT + 1)
    assert (verdict.event, state.closed) == (UsedUp(17, DAY), False)
    assert (state.admits(0), state.admits(1)) == (True, False)


@pytest.mark.parametrize("failure", [None, code(216201)])
def test_a_probe_that_gets_through_reopens(failure: Failure | None) -> None:
    """By an answer, or by the service's opinion of the image."""
    state = tried(last_closure=PACK)
    verdict = state.on_answer(a_ticket()) if failure is None else tell(state, failure)
    assert verdict.event == Reopened()
    assert state.admits(5)


@pytest.mark.parametrize("number", [18, 4, 282000, 216100])
def test_a_probe_that_says_nothing_closes(number: int) -> None:
    """One call a run may be spent on a service that was used up."""
    state = tried(last_closure=PACK)
    tell(state, code(number))
    assert state.closure == PACK


def test_a_probe_whose_token_was_refused_is_repeated() -> None:
    """The token was in its way, not the quota."""
    state = tried(last_closure=PACK)
    tell(state, code(110))
    assert state.admits(0)


def test_an_answer_of_before_the_closure_does_not_reopen() -> None:
    """Its call left while there was still something left."""
    state = tried()
    tell(state, code(19), 5.0, ticket=a_ticket(4.0))
    assert state.on_answer(a_ticket(4.5)).event is None
    assert state.closed


def test_patience_with_refusals() -> None:
    """69 once every call was refused for so long, at the lowest rate; anything else starts the time again."""
    state = tried(Policy(60))
    assert tell(state, code(18), 0.0, slowest=False).error is None
    assert tell(state, code(18), 100.0).error is None
    tell(state, code(216201), 120.0)
    assert tell(state, code(18), 161.0).error is None
    error = tell(state, code(18), 221.0).error
    assert isinstance(error, ServiceUnavailable)
    assert "at 0.667 calls/s. Either limits.qps" in str(error)


def test_patience_with_a_busy_cluster() -> None:
    """Code 4 needs no lowest rate, and is not explained by limits.qps."""
    state = tried(Policy(60))
    assert tell(state, code(4), 0.0, slowest=False).error is None
    error = tell(state, code(4), 60.0, slowest=False).error
    assert isinstance(error, ServiceUnavailable)
    assert str(error).endswith("calls/s")


def test_patience_with_failures() -> None:
    """Ten failures in a row, of three images or more, are an outage; it ends the run after so long."""
    state = tried(Policy(60))
    for second in range(10):
        assert not state.probing
        assert tell(state, code(282000), float(second), image=second % 3).error is None
    assert state.probing
    assert isinstance(tell(state, code(282000), 60.0, image=4).error, ServiceUnavailable)


def test_three_fresh_tokens() -> None:
    """77 with the third; one token counts once, and an answer starts the count again."""
    state = tried()
    for token in "aabb":
        assert tell(state, code(110), ticket=a_ticket(token=token)).error is None
    state.on_answer(a_ticket())
    for token in "ab":
        assert tell(state, code(111), ticket=a_ticket(token=token)).error is None
    assert isinstance(tell(state, code(111), ticket=a_ticket(token="c")).error, CredentialsRefused)


def test_a_missing_permission_is_said_once() -> None:
    """It closes the service for good; a refused key ends the run instead."""
    state = tried(Policy(60, wait=True))
    assert tell(state, code(6)).log == (logging.ERROR, "dish: said 6 (6); see `batchrec errors 6`")
    assert tell(state, code(6)).log is None
    assert (state.forbidden, state.opens, state.remaining(math.inf)) == (True, False, None)
    assert isinstance(tell(tried(), code(14)).error, CredentialsRefused)


@pytest.mark.parametrize(("proven", "ends"), [(False, True), (True, False)])
def test_twenty_malformed_requests(proven: bool, ends: bool) -> None:
    """A job that was never answered is misconfigured; a service that has answered it is not doubted."""
    state = Availability("dish", Policy(60, proven=proven))
    verdicts = [tell(state, code(216100)) for _ in range(20)]
    assert [verdict.error is not None for verdict in verdicts] == [False] * 19 + [ends]
