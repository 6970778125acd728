"""The gate: order, slots, limits, closures, refusals and outages, instant by instant in virtual time."""

import asyncio
import random
import sqlite3
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchrec.api.codes import kind_of
from batchrec.api.retry import Action, Tries, backoff, counts, decide
from batchrec.emulator.counters import busiest_second
from batchrec.errors import BatchrecError, CredentialsRefused, OutputFailed, ServiceUnavailable
from batchrec.limits.availability import Policy
from batchrec.limits.gate import Gate, GateClosed, open_gate
from batchrec.limits.keeper import LocalKeeper
from batchrec.limits.quota import Quota
from batchrec.limits.shared_rate import SharedRates
from batchrec.times import BEIJING, Clock
from batchrec.values import Authorization, Caps, Failure, Kind, QuotaKey, Target
from tests.support.gates import through_gates
from tests.support.simulation import Service as ServiceModel
from tests.support.virtual_time import START, run, virtual

NOON = datetime(2026, 11, 23, 12, tzinfo=BEIJING).timestamp()
HOUR = 3600.0
TIMEOUT = Failure(Kind.TRANSIENT, "timeout", "no answer")


def code(number: int) -> Failure:
    return Failure(kind_of(number), number, f"said {number}")


class CallLedger:
    """The number of calls under way."""

    def __init__(self) -> None:
        self.under_way = 0

    def sent(self, charges: Sequence[QuotaKey]) -> None:
        self.under_way += len(charges)

    def settled(self, charge: QuotaKey, *, counted: bool) -> None:
        self.under_way -= 1


class OneToken:
    """An account whose token is always there, unless `fetching` seconds are set."""

    secrets = ()

    def __init__(self) -> None:
        self.fetching = 0.0
        self.refusals = 0

    async def authorize(self) -> Authorization:
        if self.fetching:
            seconds, self.fetching = self.fetching, 0.0
            await asyncio.sleep(seconds)
        return Authorization(f"access_token={self.refusals}", fresh=True)

    def on_refused(self, authorization: Authorization) -> None:
        self.refusals += 1


class Wall:
    """Unix time, running with the loop's clock from noon in Beijing; a test may correct it."""

    def __init__(self) -> None:
        self.at_start = NOON

    def __call__(self) -> float:
        try:
            return self.at_start + asyncio.get_running_loop().time() - START
        except RuntimeError:
            return self.at_start


class Counts(Quota):
    """Counts by a clock that a gate can share."""

    def __init__(self, folder: Path) -> None:
        self.wall = Wall()
        self.file = folder / "quota.db"
        self.paces = SharedRates(folder)
        super().__init__(folder, self.wall)

    def close(self) -> None:
        self.paces.close()
        super().close()


@pytest.fixture
def quota(tmp_path: Path) -> Iterator[Counts]:
    """Counts in an empty folder."""
    with closing(Counts(tmp_path)) as counts:
        yield counts


def a_gate(
    quota: Counts,
    caps: Caps | None = None,
    *,
    service: str = "dish",
    account: OneToken | None = None,
    ledger: CallLedger | None = None,
    slots: asyncio.Semaphore | None = None,
    patience: float = 60,
    wait: bool = False,
    tried: bool = True,
) -> Gate:
    clock = Clock(asyncio.get_running_loop().time, quota.wall, random.Random(1))
    gate = open_gate(
        Target("me", service, caps or Caps(1000)),
        account or OneToken(),
        LocalKeeper(quota.paces, quota, clock.time),
        ledger or CallLedger(),
        slots or asyncio.Semaphore(256),
        Policy(patience, wait),
        clock,
    )
    gate.breaker.tried = tried
    return gate


def used(quota: Counts, service: str = "dish") -> int:
    """Calls in all."""
    return next((line.used[1] for line in quota.usage() if line.service == service), 0)


@asynccontextmanager
async def waiting(*calls: Coroutine[Any, Any, Any]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Tasks that have come as far as they can by themselves; those that remain at the end are cancelled."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0.01)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# -- order


@virtual
async def _order(quota: Counts, callers: Iterable[tuple[str, bool]], expected: list[str]) -> None:
    gate = a_gate(quota, Caps(10))
    left: list[str] = []

    async def pass_through(name: str, first: bool) -> None:
        await gate.enter(first=first)
        left.append(name)

    await gate.enter()
    await asyncio.gather(*(pass_through(*caller) for caller in callers))
    assert left == expected


def test_first_come_first_served(quota: Counts) -> None:
    """Calls leave in the order in which they came."""
    _order(quota, [(str(number), False) for number in range(9)], [str(number) for number in range(9)])


def test_refused_calls_go_before_the_others(quota: Counts) -> None:
    """Callers with priority are next, in order of arrival among themselves; the one at its turn keeps it."""
    callers = [("a", False), ("b", False), ("X", True), ("c", False), ("Y", True)]
    _order(quota, callers, ["a", "X", "Y", "b", "c"])


# -- nothing leaks

Caller = st.tuples(
    st.floats(0, 2),
    st.none() | st.floats(0, 2),
    st.floats(0, 1),
    st.sampled_from([None, None, code(18), code(4), code(110), code(216201), code(282000), TIMEOUT]),
    st.booleans(),
)


@settings(deadline=None, max_examples=80)
@given(callers=st.lists(Caller, max_size=25), slots=st.integers(1, 4), qps=st.sampled_from([5, 50]))
def test_cancelled_calls_leave_nothing_behind(
    callers: list[tuple[float, float | None, float, Failure | None, bool]], slots: int, qps: int
) -> None:
    """Cancelled at any point: every slot is free again, the line moves, and only calls made are counted."""

    async def live(quota: Counts) -> None:
        free = asyncio.Semaphore(slots)
        account = OneToken()
        account.fetching = 0.3
        gate = a_gate(quota, Caps(qps), account=account, slots=free, patience=1e9)
        counted = 0

        async def call(arrives: float, holds: float, failure: Failure | None, first: bool) -> None:
            nonlocal counted
            await asyncio.sleep(arrives)
            ticket = await gate.enter(first=first)
            counted += failure is None or counts(failure)
            account.refusals = 0
            try:
                await asyncio.sleep(holds)
            finally:
                gate.settle(ticket, arrives, failure)

        tasks = []
        for arrives, cancelled_after, holds, failure, first in callers:
            tasks.append(task := asyncio.ensure_future(call(arrives, holds, failure, first)))
            if cancelled_after is not None:
                asyncio.get_running_loop().call_later(arrives + cancelled_after, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (gate.in_flight, used(quota)) == (0, counted)
        gate.settle(await gate.enter(), "last", None)
        for _ in range(slots):
            assert not free.locked()
            await free.acquire()

    with tempfile.TemporaryDirectory() as folder, closing(Counts(Path(folder))) as quota:
        run(live(quota))


@pytest.mark.parametrize("number", [14, 15, 23])
def test_refused_key_ends_the_run_and_frees_its_slot(quota: Counts, number: int) -> None:
    """77 from the call that was told, with nothing left in flight and its count given back."""

    @virtual
    async def live() -> None:
        slots = asyncio.Semaphore(1)
        gate = a_gate(quota, slots=slots)
        ticket = await gate.enter()
        with pytest.raises(CredentialsRefused, match=f"said {number}"):
            gate.settle(ticket, "image", code(number))
        assert (gate.in_flight, slots.locked(), used(quota)) == (0, False, 0)

    live()


def test_count_that_cannot_be_kept(quota: Counts) -> None:
    """74, and neither the slot nor the place in the line is lost."""

    @virtual
    async def live() -> None:
        slots = asyncio.Semaphore(1)
        gate = a_gate(quota, slots=slots)
        with closing(sqlite3.connect(quota.file)) as other:
            other.execute("ALTER TABLE pack RENAME TO elsewhere")
            with pytest.raises(OutputFailed):
                await gate.enter()
            other.execute("ALTER TABLE elsewhere RENAME TO pack")
        assert (gate.in_flight, slots.locked()) == (0, False)
        assert (await gate.enter()).charge.day == "2026-11-23"

    live()


# -- slots and the token


def test_calls_in_flight_are_bounded_over_all_gates(quota: Counts) -> None:
    """Three slots are three calls, whatever the services and rates."""

    @virtual
    async def live() -> None:
        slots = asyncio.Semaphore(3)
        gates = [a_gate(quota, service=name, slots=slots) for name in ("dish", "plant")]
        most = 0

        async def call(gate: Gate) -> None:
            nonlocal most
            ticket = await gate.enter()
            most = max(most, sum(each.in_flight for each in gates))
            await asyncio.sleep(0.1)
            gate.settle(ticket, "image", None)

        await asyncio.gather(*(call(gate) for gate in gates * 20))
        assert most == 3

    live()


def test_slow_service_keeps_no_slot_from_a_quick_one(quota: Counts) -> None:
    """With one slot, waiting ten seconds for a turn does not stop the other service."""

    @virtual
    async def live() -> None:
        slots = asyncio.Semaphore(1)
        slow, quick = a_gate(quota, Caps(0.1), service="slow", slots=slots), a_gate(quota, slots=slots)
        slow.settle(await slow.enter(), "image", None)
        loop = asyncio.get_running_loop()
        async with waiting(slow.enter()):
            began = loop.time()
            for _ in range(50):
                quick.settle(await quick.enter(), "image", None)
            assert loop.time() - began < 1

    live()


def test_calls_that_waited_for_a_token_do_not_leave_at_once(quota: Counts) -> None:
    """Twenty callers, five seconds without a token: then they go at the pace, as ever."""

    @virtual
    async def live() -> None:
        account = OneToken()
        account.fetching = 5.0
        gate = a_gate(quota, Caps(10), account=account)
        times = [ticket.sent_at for ticket in await asyncio.gather(*(gate.enter() for _ in range(20)))]
        assert min(times) == pytest.approx(START + 5, abs=0.01)
        assert busiest_second(times) <= 11

    live()


# -- limits of one's own


async def ask_all(gate: Gate, outcomes: Iterable[Failure | None], workers: int) -> int:
    """Call until the gate closes; a call takes 0.1 s and has the next of `outcomes`. Returns the answered."""
    script = iter(outcomes)
    answered = 0

    async def work() -> None:
        nonlocal answered
        while True:
            try:
                ticket = await gate.enter()
            except GateClosed:
                return
            outcome = next(script, None)
            await asyncio.sleep(0.1)
            gate.settle(ticket, "image", outcome)
            answered += outcome is None

    await asyncio.gather(*(work() for _ in range(workers)))
    return answered


Outcomes = st.lists(st.sampled_from([None, code(18), code(4)]), max_size=40)


@settings(deadline=None, max_examples=40)
@given(outcomes=Outcomes, workers=st.integers(1, 12), limit=st.integers(0, 15), daily=st.booleans())
def test_limit_is_used_to_the_unit(outcomes: list[Failure | None], workers: int, limit: int, daily: bool) -> None:
    """Refused calls give their places back, also while others find none left: all the limit is answered."""
    caps = Caps.of(100, daily=limit) if daily else Caps.of(100, total=limit)
    with tempfile.TemporaryDirectory() as folder, closing(Counts(Path(folder))) as quota:

        async def live() -> int:
            return await ask_all(a_gate(quota, caps), outcomes, workers)

        assert (limit, limit) == (run(live()), used(quota))


@pytest.mark.parametrize(("failure", "kept"), [(TIMEOUT, 1), (code(282000), 1), (code(216201), 1), (code(18), 0)])
def test_what_counts_against_a_limit(quota: Counts, failure: Failure, kept: int) -> None:
    """A reply or a timeout counts, a refusal at the door does not."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        gate.settle(await gate.enter(), "image", failure)
        assert used(quota) == kept

    live()


def test_call_that_never_left_does_not_count(quota: Counts) -> None:
    """No connection, no count."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        gate.settle(await gate.enter(), "image", Failure(Kind.TRANSIENT, "connection", "", counted=False))
        assert used(quota) == 0

    live()


# -- closures


@pytest.mark.parametrize("number", [17, 19, 6])
def test_no_call_leaves_after_a_closure(quota: Counts, number: int) -> None:
    """Neither those who wait in line nor the one who waits for its turn."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota, Caps(2))
        ticket = await gate.enter()
        async with waiting(*(gate.enter() for _ in range(5))) as tasks:
            gate.settle(ticket, "image", code(number))
            await asyncio.sleep(10)
            assert {GateClosed} == {type(task.exception()) for task in tasks}
        assert (gate.closed, gate.opens, gate.forbidden) == (True, False, number == 6)
        assert used(quota) == 0

    live()


def test_used_up_day_is_kept_for_the_next_run(quota: Counts) -> None:
    """With its end, so that the run can say when to come back."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        gate.settle(await gate.enter(), "image", code(17))
        assert gate.closure == quota.closure("me", "dish")
        assert gate.closure is not None
        assert gate.closure.until == NOON + 12 * HOUR

    live()


def test_missing_permission_is_not_kept(quota: Counts) -> None:
    """A person may tick the service meanwhile."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        gate.settle(await gate.enter(), "image", code(6))
        assert quota.closure("me", "dish") is None

    live()


@pytest.mark.parametrize("number", [17, 19])
def test_later_run_spends_one_call_on_a_closure(quota: Counts, number: int) -> None:
    """While the probe is under way nobody else calls; refused again, nobody else does."""

    @virtual
    async def live() -> None:
        quota.close_service("me", "dish", number, "2026-11-23")
        gate = a_gate(quota)
        async with waiting(*(gate.enter() for _ in range(5))) as tasks:
            await asyncio.sleep(10)
            assert [task.done() for task in tasks] == [True, False, False, False, False]
            gate.settle(tasks[0].result(), "image", code(number))
            await asyncio.sleep(10)
            assert {GateClosed} == {type(task.exception()) for task in tasks[1:]}
        assert quota.closure("me", "dish") is not None

    live()


@pytest.mark.parametrize("outcome", [None, code(216201)])
def test_probe_that_gets_through_opens_the_service(quota: Counts, outcome: Failure | None) -> None:
    """An answer does, and so does the service's opinion of the image; the closure is forgotten."""

    @virtual
    async def live() -> None:
        quota.close_service("me", "dish", 19, "2026-11-23")
        gate = a_gate(quota)
        async with waiting(*(gate.enter() for _ in range(5))) as tasks:
            gate.settle(tasks[0].result(), "image", outcome)
            await asyncio.sleep(1)
            assert all(task.done() for task in tasks)
        assert quota.closure("me", "dish") is None

    live()


@pytest.mark.parametrize("failure", [TIMEOUT, code(18)], ids=lambda failure: str(failure.code))
def test_probe_that_says_nothing_is_the_only_one(quota: Counts, failure: Failure) -> None:
    """One call a run may be spent on a service that was used up: after a timeout or 18 it stays closed."""

    @virtual
    async def live() -> None:
        quota.close_service("me", "dish", 17, "2026-11-23")
        gate = a_gate(quota)
        gate.settle(await gate.enter(), "image", failure)
        with pytest.raises(GateClosed):
            await gate.enter()
        assert gate.closure is not None

    live()


def test_answer_to_a_call_that_left_before_the_closure_does_not_open_it(quota: Counts) -> None:
    """Only the probe can: the others left while there was still something left."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        early, refused = await gate.enter(), await gate.enter()
        await asyncio.sleep(0.1)
        gate.settle(refused, "image", code(17))
        gate.settle(early, "image", None)
        assert quota.closure("me", "dish") is not None

    live()


@pytest.mark.parametrize("told", [True, False])
def test_day_is_waited_for_over_midnight_in_beijing(quota: Counts, told: bool) -> None:
    """Whether the service said 17 or the own limit was reached: on at 00:00, counted on the new day."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota, Caps.of(10, daily=None if told else 2), wait=True)
        for number in range(2):
            gate.settle(await gate.enter(), "image", code(17) if told and number else None)
        ticket = await gate.enter()
        assert quota.wall() == pytest.approx(NOON + 12 * HOUR, abs=1)
        assert ticket.charge.day == "2026-11-24"

    live()


def test_corrected_clock_is_noticed_while_waiting(quota: Counts) -> None:
    """A laptop that slept, or a clock that was set, is noticed within half a minute."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota, Caps.of(10, daily=1), wait=True)
        gate.settle(await gate.enter(), "image", None)
        async with waiting(gate.enter()) as tasks:
            await asyncio.sleep(1)
            assert gate.opens
            quota.wall.at_start += 12 * HOUR
            await asyncio.sleep(31)
            assert tasks[0].done()

    live()


def test_used_up_pack_is_never_waited_for(quota: Counts) -> None:
    """19 has no end."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota, wait=True)
        gate.settle(await gate.enter(), "image", code(19))
        assert not gate.opens
        with pytest.raises(GateClosed):
            await gate.enter()

    live()


@pytest.mark.parametrize("wait", [True, False])
def test_refusal_of_yesterday_closes_nothing(quota: Counts, wait: bool) -> None:
    """Left at 23:59:59, refused at 00:00:01: the new day stays open, and one probe makes sure."""

    @virtual
    async def live() -> None:
        quota.wall.at_start += 12 * HOUR - 1
        gate = a_gate(quota, wait=wait)
        ticket = await gate.enter()
        await asyncio.sleep(2)
        gate.settle(ticket, "image", code(17))
        assert not gate.closed
        assert (await gate.enter()).charge.day == "2026-11-24"
        async with waiting(gate.enter()) as tasks:
            assert not tasks[0].done()

    live()


# -- refusals and outages


async def fails_for_ever(gate: Gate, failure: Failure, workers: int = 8) -> tuple[float, BatchrecError, int]:
    """Calls that all fail the same way: seconds until the run ends, its reason, and the calls made."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    end: asyncio.Future[BatchrecError] = loop.create_future()
    calls = 0

    async def work(number: int) -> None:
        nonlocal calls
        while not end.done():
            ticket = await gate.enter(first=True)
            calls += 1
            await asyncio.sleep(0.1)
            try:
                gate.settle(ticket, number, failure)
            except BatchrecError as error:
                if not end.done():
                    end.set_result(error)

    async with waiting(*(work(number) for number in range(workers))):
        error = await asyncio.wait_for(end, 24 * HOUR)
        return loop.time() - began, error, calls


@pytest.mark.parametrize("qps", [2, 10, 200])
@pytest.mark.parametrize("failure", [code(18), Failure(Kind.THROTTLED, "http_429", "HTTP 429")])
def test_refused_for_ever(quota: Counts, qps: int, failure: Failure) -> None:
    """69 after patience, at a third of the rate, saying that a free quota may never have been claimed."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota, Caps(qps))
        seconds, error, _ = await fails_for_ever(gate, failure)
        assert isinstance(error, ServiceUnavailable)
        assert "free quota was never claimed" in str(error)
        assert 60 <= seconds <= 70
        assert gate.limiter.rate == pytest.approx(qps / 3, rel=0.02)

    live()


def test_busy_for_ever(quota: Counts) -> None:
    """Code 4: 69 after patience, and few calls in it."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota, Caps(100))
        seconds, error, calls = await fails_for_ever(gate, code(4), workers=1)
        assert isinstance(error, ServiceUnavailable)
        assert 60 <= seconds <= 75
        assert calls <= 15

    live()


def test_rare_refusals_with_anything_between_end_nothing(quota: Counts) -> None:
    """Two busy moments an hour apart are not an hour of refusals, even with only bad images between."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        for failure in (code(4), code(216201), code(4)):
            gate.settle(await gate.enter(), "image", failure)
            await asyncio.sleep(HOUR)
        assert not gate.closed

    live()


@pytest.mark.parametrize("failure", [code(282000), TIMEOUT, code(424242)])
def test_failing_for_ever(quota: Counts, failure: Failure) -> None:
    """69 after patience, several probes, one at a time."""

    @virtual
    async def live() -> None:
        seconds, error, calls = await fails_for_ever(a_gate(quota), failure)
        assert isinstance(error, ServiceUnavailable)
        assert failure.message in str(error)
        assert 60 <= seconds <= 75
        assert 6 <= calls <= 30

    live()


def test_third_fresh_token_refused_in_a_row(quota: Counts) -> None:
    """77: another token would not help either."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        for _ in range(2):
            gate.settle(await gate.enter(), "image", code(110))
        with pytest.raises(CredentialsRefused, match="3 fresh tokens"):
            gate.settle(await gate.enter(), "image", code(111))

    live()


def test_answer_between_refused_tokens_starts_the_count_again(quota: Counts) -> None:
    """A service that revokes tokens now and then is not one that refuses them all."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        for _ in range(10):
            gate.settle(await gate.enter(), "image", code(110))
            gate.settle(await gate.enter(), "image", code(110))
            gate.settle(await gate.enter(), "image", None)
        assert gate.in_flight == 0

    live()


def test_one_token_refused_to_many_calls_is_one_refusal(quota: Counts) -> None:
    """It counts only against the token it was sent with."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        tickets = [await gate.enter() for _ in range(8)]
        for ticket in tickets:
            gate.settle(ticket, "image", code(110))
        assert not gate.closed

    live()


@pytest.mark.parametrize(
    ("outcome", "proven", "at_once"),
    [
        (None, False, 8),
        (code(216201), False, 8),
        (code(216100), False, 1),
        (code(216100), True, 8),
        (code(110), True, 1),
        (code(18), True, 1),
        (code(282000), True, 1),
    ],
    ids=lambda value: str(value.code) if isinstance(value, Failure) else str(value),
)
def test_first_call_goes_alone(quota: Counts, outcome: Failure | None, proven: bool, at_once: int) -> None:
    """Until the service has accepted one: a refused key or a misconfigured job costs one call, not many."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota, tried=False)
        gate.breaker.proven = proven
        ticket = await gate.enter()
        async with waiting(*(gate.enter() for _ in range(8))) as others:
            assert not any(call.done() for call in others)
            gate.settle(ticket, "image", outcome)
            await asyncio.sleep(5)
            assert at_once == sum(call.done() for call in others)

    live()


def test_twenty_malformed_requests(quota: Counts) -> None:
    """69 with the twentieth: the job is misconfigured."""

    @virtual
    async def live() -> None:
        gate = a_gate(quota)
        for _ in range(19):
            gate.settle(await gate.enter(), "image", code(216100))
        with pytest.raises(ServiceUnavailable, match="misconfigured: said 216100"):
            gate.settle(await gate.enter(), "image", code(216100))

    live()


# -- images against a service

Service = Callable[[str, float], Failure | None]


class Pool:
    """The workers' side of a gate: each image is asked till it is answered, or has no attempt left."""

    def __init__(self, gate: Gate, service: Service, attempts: int = 5) -> None:
        self.gate, self.service, self.attempts = gate, service, attempts
        self.calls = Counter[str]()
        self.answered: set[str] = set()
        self.failed: set[str] = set()
        self.most_while_down = 0
        self.rng = random.Random(1)

    async def work_through(self, images: Iterable[str], workers: int = 16) -> None:
        """Until every image is answered or failed. Raises what ends a run."""
        queue = deque(images)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(queue))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _work(self, queue: deque[str]) -> None:
        while queue:
            image = queue.popleft()
            (self.answered if await self._ask(image) else self.failed).add(image)

    async def _ask(self, image: str) -> bool:
        tries = Tries(self.attempts)
        while True:
            ticket = await self.gate.enter()
            if self.gate.breaker.down:
                self.most_while_down = max(self.most_while_down, self.gate.in_flight)
            self.calls[image] += 1
            failure = self.service(image, asyncio.get_running_loop().time() - START)
            await asyncio.sleep(0.1)
            self.gate.settle(ticket, image, failure, suspect=tries.suspect)
            if failure is None:
                return True
            assert decide(failure) is Action.AGAIN
            tries.failed(self.gate.breaker)
            await asyncio.sleep(backoff(tries.spent, self.rng))
            if not tries.settle(self.gate.breaker):
                return False


IMAGES = [f"good{number}" for number in range(60)]


@pytest.mark.parametrize("place", [0, 30, 60], ids=["first", "among", "last"])
def test_poisonous_image_fails_alone(quota: Counts, place: int) -> None:
    """An image that the service always stumbles over fails after its attempts, and takes no other with it."""

    @virtual
    async def live() -> None:
        pool = Pool(a_gate(quota, Caps(20)), lambda image, now: code(282000) if image == "poison" else None)
        await pool.work_through([*IMAGES[:place], "poison", *IMAGES[place:]])
        assert ({"poison"}, set(IMAGES)) == (pool.failed, pool.answered)
        assert pool.calls["poison"] in (5, 6)
        assert {1} == {pool.calls[image] for image in IMAGES}

    live()


@pytest.mark.parametrize("qps", [2, 20, 200])
def test_outage_in_the_middle_loses_no_image(quota: Counts, qps: int) -> None:
    """Forty seconds of 282000 for everybody: all wait, one probe at a time, and all are answered."""

    @virtual
    async def live() -> None:
        pool = Pool(a_gate(quota, Caps(qps)), lambda image, now: code(282000) if 1 < now < 41 else None)
        images = [f"image{number}" for number in range(max(60, qps * 3))]
        await pool.work_through(images, workers=max(16, qps * 4))
        assert (set(), set(images)) == (pool.failed, pool.answered)
        assert pool.most_while_down == 1
        assert sum(pool.calls.values()) <= len(images) + qps * 4 + 40

    live()


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_bad_hour_is_no_outage(quota: Counts, share: float) -> None:
    """Calls leave at the full rate while some are answered, and images fail by their attempts alone."""

    @virtual
    async def live() -> None:
        rng = random.Random(3)
        pool = Pool(a_gate(quota, Caps(20)), lambda image, now: code(282000) if rng.random() < share else None)
        pool.gate.breaker.on_answer()  # the first call of a run is another matter
        images = [f"image{number}" for number in range(200)]
        await pool.work_through(images, workers=80)
        assert pool.answered | pool.failed == set(images)
        assert all(pool.calls[image] >= 5 for image in pool.failed)
        assert len(pool.failed) <= len(images) * share**5 * 1.5 + 5
        seconds_at_rate = sum(pool.calls.values()) / 20
        assert asyncio.get_running_loop().time() - START <= seconds_at_rate + 20  # backoffs of the last images

    live()


@settings(deadline=None, max_examples=25)
@example(share=0.488, seed=187)
@given(share=st.floats(0, 0.5), seed=st.integers(0, 2**32))
def test_outage_after_a_bad_minute_ends_with_69(share: float, seed: int) -> None:
    """Up to half of the calls failed before: an outage fails no image, costs few calls, and ends with 69."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, closing(Counts(Path(folder))) as quota:
        during: list[float] = []

        def service(image: str, now: float) -> Failure | None:
            if now > 20:
                during.append(now)
            return code(282000) if now > 20 or rng.random() < share else None

        async def live() -> None:
            pool = Pool(a_gate(quota, Caps(20)), service, attempts=20)
            with pytest.raises(ServiceUnavailable):
                await pool.work_through([f"image{number}" for number in range(1000)])
            assert not pool.failed
            assert 79 <= asyncio.get_running_loop().time() - START <= 95

        run(live())
        assert len(during) <= 16 + 10 * 10 + 40  # in flight, ten times the usual row, probes


@pytest.mark.parametrize("slots", [1, 2])
def test_few_slots_lose_no_image_either(quota: Counts, slots: int) -> None:
    """One call at a time, many workers: images take turns; an outage is told from a poisonous image."""

    @virtual
    async def live() -> None:
        def service(image: str, now: float) -> Failure | None:
            return code(282000) if image == "poison" or 1 < now < 41 else None

        pool = Pool(a_gate(quota, Caps(20), slots=asyncio.Semaphore(slots)), service)
        await pool.work_through(["poison", *IMAGES])
        assert ({"poison"}, set(IMAGES)) == (pool.failed, pool.answered)

    live()


def test_outage_with_a_poisonous_image_in_it(quota: Counts) -> None:
    """The outage spends none of its attempts; afterwards it fails as any other would."""

    @virtual
    async def live() -> None:
        def service(image: str, now: float) -> Failure | None:
            return code(282000) if image == "good20" or 1 < now < 41 else None

        pool = Pool(a_gate(quota, Caps(20)), service)
        await pool.work_through(IMAGES)
        assert {"good20"} == pool.failed

    live()


def test_service_that_is_down_from_the_start(quota: Counts) -> None:
    """Nothing is failed, one probe at a time; it is 69 after patience."""

    @virtual
    async def live() -> None:
        pool = Pool(a_gate(quota, Caps(20)), lambda image, now: TIMEOUT)
        with pytest.raises(ServiceUnavailable, match="no answer"):
            await pool.work_through(IMAGES)
        assert 60 <= asyncio.get_running_loop().time() - START <= 75
        assert (set(), set(), 1) == (pool.failed, pool.answered, pool.most_while_down)
        assert 5 <= sum(pool.calls.values()) <= 40

    live()


def test_service_that_comes_up_late_is_used_at_once(quota: Counts) -> None:
    """Down for half a minute from the start: ten seconds later at the latest it runs at full rate."""

    @virtual
    async def live() -> None:
        pool = Pool(a_gate(quota, Caps(20)), lambda image, now: TIMEOUT if now < 30 else None)
        await pool.work_through(IMAGES)
        assert set(IMAGES) == pool.answered
        assert asyncio.get_running_loop().time() - START <= 30 + 10 + 60 / 20 + 1

    live()


@settings(deadline=None, max_examples=25)
@given(share=st.floats(0, 0.25), seed=st.integers(0, 2**32))
def test_service_that_fails_now_and_then(share: float, seed: int) -> None:
    """Up to a quarter of random failures: every image ends, the run goes on, nearly all are answered."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, closing(Counts(Path(folder))) as quota:

        async def live() -> Pool:
            pool = Pool(a_gate(quota, Caps(50)), lambda image, now: TIMEOUT if rng.random() < share else None)
            await pool.work_through(IMAGES)
            return pool

        pool = run(live())
        assert len(pool.answered) + len(pool.failed) == len(IMAGES)
        assert len(pool.failed) <= 2


def test_processes_share_a_day(tmp_path: Path) -> None:
    """Gates over one state folder use the day to the call, and go on after each midnight."""
    way = (0.02, 0.06)
    days = through_gates(ServiceModel(20, way=way), Caps.of(20, daily=250), 60 * HOUR, 3, tmp_path)
    assert days.taken == {"2026-11-23": 250, "2026-11-24": 250, "2026-11-25": 250}
    assert days.refused <= 2
