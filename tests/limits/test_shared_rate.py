"""Permits of a shared rate: one limit for all limiters of a state folder, virtual time, real file."""

import asyncio
import math
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from batchrec.emulator.counters import busiest_second
from batchrec.errors import OutputFailed
from batchrec.limits.keeper import LocalKeeper
from batchrec.limits.quota import Quota
from batchrec.limits.rate_limiter import RateLimiter
from batchrec.limits.shared_rate import SharedRates, used_lately
from batchrec.values import Caps, Permit, Target
from tests.support.virtual_time import run, virtual

TRIP = 0.1


@pytest.fixture
def paces(tmp_path: Path) -> Iterator[SharedRates]:
    """Paces in an empty state folder."""
    with closing(SharedRates(tmp_path)) as opened:
        yield opened


def limiter_of(paces: SharedRates, rate: float, service: str = "dish") -> RateLimiter:
    return a_limiter(paces, rate, service, asyncio.get_running_loop().time)


def a_limiter(paces: SharedRates, rate: float, service: str, clock: Callable[[], float]) -> RateLimiter:
    """One of a process of its own, which only opens its counts: no call is charged here."""
    target = Target("me", service, Caps(rate))
    with tempfile.TemporaryDirectory() as folder, closing(Quota(Path(folder), time.time)) as quota:
        keeper = LocalKeeper(paces, quota, clock)
        allowance, _ = keeper.open(target)
    return RateLimiter(keeper, target, allowance, clock)


async def departures(limiter: RateLimiter, seconds: float) -> list[float]:
    """Departures of calls that are always ready, and are answered after a tenth of a second."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    times = []
    while loop.time() < end:
        slot = await limiter.acquire()
        times.append(loop.time())
        loop.call_later(TRIP, limiter.on_answer, slot, loop.time())
    return times


@pytest.mark.parametrize("rate", [2, 10, 50, 200, 500, 2000])
def test_whole_rate_is_used(tmp_path: Path, rate: int) -> None:
    """99 % of the rate and never more, with late timers; above 200 calls/s several turns at a time."""
    seconds = min(30, max(5, 4000 / rate))
    with closing(SharedRates(tmp_path)) as paces:

        async def leave() -> list[float]:
            return await departures(limiter_of(paces, rate), seconds)

        times = run(leave(), late=lambda: 0.0007)
    assert len(times) >= 0.985 * rate * seconds
    assert busiest_second(times) <= rate + 1 + rate / 100


@pytest.mark.parametrize("rate", [2, 50, 300])
def test_two_limiters_share_one_rate(tmp_path: Path, rate: int) -> None:
    """As two processes, each with a connection of its own: they leave at the rate, and both get on."""
    with closing(SharedRates(tmp_path)) as one, closing(SharedRates(tmp_path)) as other:

        async def leave() -> list[list[float]]:
            return await asyncio.gather(*(departures(limiter_of(paces, rate), 10) for paces in (one, other)))

        first, second = run(leave())
    assert len(first) + len(second) == pytest.approx(10 * rate, rel=0.03, abs=2)
    assert min(len(first), len(second)) >= 0.15 * 10 * rate
    assert busiest_second(sorted([*first, *second])) <= rate + 1 + rate / 100


def test_a_job_keeps_to_its_own_lower_rate(tmp_path: Path) -> None:
    """Another job of the account has set a higher rate: the account goes at that, this job at its own."""
    with closing(SharedRates(tmp_path)) as one, closing(SharedRates(tmp_path)) as other:

        async def leave() -> list[list[float]]:
            return await asyncio.gather(departures(limiter_of(one, 5), 20), departures(limiter_of(other, 20), 20))

        slow, fast = run(leave())
    # It competes for each place with the other job, by chance: of 100 it gets 99, give or take 1.3, in the mean.
    assert 90 <= len(slow) <= 102
    assert busiest_second(slow) <= 5 + 2
    assert len(slow) + len(fast) == pytest.approx(400, rel=0.03)


@virtual
async def _told_to_all(paces: SharedRates, other: SharedRates) -> None:
    refused, reader = limiter_of(paces, 100), limiter_of(other, 100)
    slot = await refused.acquire()
    refused.on_refused(slot, asyncio.get_running_loop().time())
    assert refused.rate == pytest.approx(99.5)
    await reader.acquire()
    assert reader.rate == pytest.approx(99.5, abs=0.1)


def test_a_refusal_is_known_to_every_process_at_once(tmp_path: Path, paces: SharedRates) -> None:
    """A refusal of one process slows all."""
    with closing(SharedRates(tmp_path)) as other:
        _told_to_all(paces, other)


@virtual
async def _services(paces: SharedRates) -> None:
    dish, logo = limiter_of(paces, 1), limiter_of(paces, 1, "logo")
    loop = asyncio.get_running_loop()
    before = loop.time()
    await dish.acquire()
    await logo.acquire()
    assert loop.time() - before < 0.1


def test_services_have_paces_of_their_own(paces: SharedRates) -> None:
    """A limit holds for one service of one account."""
    _services(paces)


@virtual
async def _late(paces: SharedRates) -> None:
    loop = asyncio.get_running_loop()
    limiter = limiter_of(paces, 10)
    slot = await limiter.acquire()
    assert not limiter.stale(slot)
    await asyncio.sleep(1)
    assert limiter.stale(slot)
    waiting = asyncio.ensure_future(_turns(limiter, 40))
    await asyncio.sleep(2.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    begun = loop.time()
    slot = await limiter.acquire()
    assert loop.time() - begun < 0.3


async def _turns(limiter: RateLimiter, count: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(count):
        slot = await limiter.acquire()
        loop.call_later(TRIP, limiter.on_answer, slot, loop.time())


def test_who_stops_waiting_leaves_no_hole(paces: SharedRates) -> None:
    """A turn that is cancelled is given back; one that comes too late is told so."""
    _late(paces)


def test_what_was_found_outlives_the_process_and_the_boot(tmp_path: Path) -> None:
    """The next run begins at the rate that the last one found, also after the machine was started anew."""

    async def search(paces: SharedRates, seconds: float) -> float:
        limiter = limiter_of(paces, math.inf)
        loop = asyncio.get_running_loop()
        recent: list[float] = []
        end = loop.time() + seconds
        while loop.time() < end:
            slot = await limiter.acquire()
            now = loop.time()
            recent = [moment for moment in recent if now - moment < 1]
            if len(recent) < 20:
                recent.append(now)
                loop.call_later(TRIP, limiter.on_answer, slot, now)
            else:
                loop.call_later(0.01, limiter.on_refused, slot, now)
        return limiter.rate

    with closing(SharedRates(tmp_path, boot="one")) as paces:
        assert run(search(paces, 30)) == pytest.approx(20, abs=1)
    with closing(SharedRates(tmp_path, boot="another")) as paces:
        assert run(search(paces, 0.5)) == pytest.approx(20, abs=1)


def test_times_of_an_earlier_boot_mean_nothing(tmp_path: Path) -> None:
    """A pause that was set at another count of seconds does not hold up a machine that has just started."""

    async def turn(paces: SharedRates) -> float:
        loop = asyncio.get_running_loop()
        limiter, begun = limiter_of(paces, 1), loop.time()
        slot = await limiter.acquire()
        limiter.hold(slot, begun + 10**6)
        return loop.time() - begun

    for boot in ("one", "another"):
        with closing(SharedRates(tmp_path, boot=boot)) as paces:
            assert run(turn(paces)) < 0.1


def test_the_file_is_its_owners_alone(tmp_path: Path, paces: SharedRates) -> None:
    """Nobody else of the machine reads or changes it."""
    assert stat.S_IMODE((tmp_path / "pace.db").stat().st_mode) == 0o600


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A broken or unusable file of rates ends the run with a reason."""
    (tmp_path / "pace.db").write_bytes(b"no database" * 100)
    with pytest.raises(OutputFailed, match=r"pace\.db: cannot be used"):
        SharedRates(tmp_path)


def _fail_amid(paces: SharedRates) -> None:
    with paces.transaction("me", "dish") as pace:
        pace.grant(1000.2, 10)
        raise ZeroDivisionError


def test_a_turn_that_fails_changes_nothing(paces: SharedRates) -> None:
    """Half a change is taken back."""
    with paces.transaction("me", "dish") as pace:
        granted = pace.grant(1000.0, 10)[0]
    with pytest.raises(ZeroDivisionError):
        _fail_amid(paces)
    with paces.transaction("me", "dish") as pace:
        assert list(pace.calls) == [granted[0].number]


EARLIER = (
    b'{"limit":9.95,"known":0.0,"starting":false,"gain":8.0,"reached_at":1000000000000.0,"refused_at":10.0,'
    b'"limit_cut":9.95,"steepness":0.000025,"refusals":[1001.9],"changed_at":1002.1,"cut_at":1002.1,"cut":0.005,'
    b'"answered_at":1002.0,"most":10.0,"most_at":1001.9,"next_at":1001.97,"paused_until":-1000000000000.0,'
    b'"pause":0.25,"slack":1000000000000.0,"doubt":100000.0,"now":{"since":-1000000000000.0,"answers":18,'
    b'"fastest":0.1,"slowest":0.1,"total":1.8},"before":{"since":-1000000000000.0,"answers":0,'
    b'"fastest":1000000000000.0,"slowest":0.0,"total":0.0},"number":18,"flow":7.6,"flow_since":1002.1,"flow_from":18}'
)
"""A state as the first format has it."""


def test_the_format_on_the_disk_stays(tmp_path: Path) -> None:
    """The state of an earlier version is read and written again to the byte: both may share a folder."""
    with closing(SharedRates(tmp_path, boot="one")) as paces, closing(sqlite3.connect(tmp_path / "pace.db")) as db:
        with db:
            db.execute("INSERT INTO pace VALUES ('me', 'dish', 'one', ?, ?, ?)", (EARLIER, b"", b""))
        with paces.transaction("me", "dish") as pace:
            assert (pace.rate, pace.trips.shortest, pace.trips.slack) == (9.95, 0.1, math.inf)
        written = db.execute("SELECT state FROM pace").fetchone()[0]
    assert orjson.loads(written) == orjson.loads(EARLIER)


def test_a_searched_rate_is_a_number_on_the_disk(tmp_path: Path) -> None:
    """JSON has no infinity: 1e12 stands for it, as in the first format."""
    with closing(SharedRates(tmp_path)) as paces:
        with paces.transaction("me", "dish") as pace:
            pace.grant(1000.0, math.inf)
        with closing(sqlite3.connect(tmp_path / "pace.db")) as db:
            assert orjson.loads(db.execute("SELECT state FROM pace").fetchone()[0])["most"] == 1e12
    with closing(SharedRates(tmp_path)) as paces, paces.transaction("me", "dish") as pace:
        assert pace.ceiling.searching


async def _leased_beside(folder: Path, rate: float) -> float:
    """The rate of a job of 10 calls/s beside one that has set a much higher one in another process."""
    time = asyncio.get_running_loop().time
    with closing(SharedRates(folder)) as one, closing(SharedRates(folder)) as other:
        await a_limiter(one, rate, "dish", time).acquire()
        limiter = a_limiter(other, 10, "dish", time)
        await limiter.acquire()
        return limiter.rate


@pytest.mark.parametrize("rate", [1e11, 1e12, 1e300])
def test_no_set_rate_is_taken_for_a_search(tmp_path: Path, rate: float) -> None:
    """Any positive number may be set, the one that stands for infinity on the disk among them."""
    assert run(_leased_beside(tmp_path, rate)) == 10


@pytest.mark.parametrize(
    "state",
    [
        b'{"limit": 3, "tempo": 1, "now": {}, "before": {}}',
        b'{"limit": 3, "now": null, "before": {}}',
        b'{"limit": 3, "now": {}, "before": [1]}',
        b"[]",
        b"null",
    ],
)
def test_what_another_version_wrote_is_nothing_known(tmp_path: Path, state: bytes) -> None:
    """A row that cannot be read is no reason to stop: the pace is learnt anew."""
    with closing(SharedRates(tmp_path)) as paces:
        with paces.transaction("me", "dish") as pace:
            pace.grant(1000.0, 10)
        with closing(sqlite3.connect(tmp_path / "pace.db")) as db, db:
            db.execute("UPDATE pace SET state = ?", (state,))
        with paces.transaction("me", "dish") as pace:
            assert (pace.rate, pace.calls) == (0, {})


def test_without_a_folder_the_pace_is_the_process_s(tmp_path: Path) -> None:
    """Two emulators in two processes do not share a rate."""
    with closing(SharedRates(None)) as one, closing(SharedRates(None)) as other:
        with one.transaction("me", "dish") as pace:
            pace.grant(1000.0, 1)
        with other.transaction("me", "dish") as pace:
            assert pace.grant(1000.0, 1)[0] != []


def test_real_clocks_work_too(paces: SharedRates) -> None:
    """Twenty turns at 100 calls/s on an ordinary event loop take a fifth of a second."""

    async def leave() -> list[Permit]:
        limiter = a_limiter(paces, 100, "dish", time.monotonic)
        return [await limiter.acquire() for _ in range(21)]

    begun = time.monotonic()
    slots = asyncio.run(leave())
    assert len({slot.number for slot in slots}) == 21
    assert time.monotonic() - begun >= 0.19


def test_recent_calls_of_an_account_are_seen(tmp_path: Path) -> None:
    """For five seconds, by the folder's rates alone, and nothing is made where there are none."""
    used, idle = Target("me", "dish", Caps(10)), Target("me", "logo", Caps(10))
    assert not used_lately(tmp_path, [used], 1000.0)
    assert list(tmp_path.iterdir()) == []
    with closing(SharedRates(tmp_path)) as rates, rates.transaction("me", "dish") as rate:
        rate.grant(1000.0, 10)
    assert used_lately(tmp_path, [idle, used], 1004.0)
    assert not used_lately(tmp_path, [idle, used], 1006.0)
    assert not used_lately(tmp_path, [idle], 1000.0)
