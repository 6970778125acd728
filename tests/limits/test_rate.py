"""The rate controller: shares used and refused, cuts, recovery, slack. In virtual time."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchrec.emulator.counters import busiest_second
from batchrec.limits.rate import RateController
from batchrec.values import Permit
from tests.support.simulation import Outcome, Service, Window, simulate

RATES = [2, 10, 50, 200]
NOW = 1000.0


def leave(pace: RateController, rate: float, seconds: float, *, begin: float = NOW, trip: float = 0.1) -> list[float]:
    """Departures of calls that are always ready; every one is answered after `trip` seconds."""
    times: list[float] = []
    under_way: list[tuple[float, Permit]] = []
    now = begin
    while now < begin + seconds:
        while under_way and under_way[0][0] + trip <= now:
            sent, slot = under_way.pop(0)
            pace.on_answer(slot.number, sent, sent + trip)
        slots, again = pace.grant(now, rate)
        if slots:
            times.append(slots[0].at)
            under_way.append((slots[0].at, slots[0]))
        now = max(now + 1e-6, slots[0].at if slots else again + 0.01)
    return times


# -- a set rate


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("trip", [0.02, 0.3, 3.0])
def test_whole_rate_is_used_and_not_a_call_more(rate: int, trip: float) -> None:
    """99 % of the rate, however long answers take, and in no second more than it."""
    times = leave(RateController(), rate, 120, trip=trip)
    steady = [time for time in times if time >= NOW + 10]
    assert len(steady) >= 0.99 * rate * 110
    assert busiest_second(times) <= rate


@pytest.mark.parametrize("rate", [0.1, 0.5, 3.7])
def test_rates_that_are_no_whole_numbers(rate: float) -> None:
    """Any positive rate is kept, slower than one a second too."""
    assert len(leave(RateController(), rate, 200)) == pytest.approx(200 * rate, abs=1, rel=0.005)


@pytest.mark.parametrize("rate", RATES)
def test_calls_leave_evenly(rate: int) -> None:
    """One after the other from the first on; late timers are made up for by 20 ms at most, never a burst."""
    times = leave(RateController(), rate, 5)
    assert min(later - earlier for earlier, later in pairwise(times[:rate])) >= 0.97 / rate
    assert _most_in(0.1, times) <= 2 + 0.125 * rate


def _most_in(seconds: float, times: list[float]) -> int:
    return max(sum(time <= other < time + seconds for other in times) for time in times)


def test_idle_time_is_not_saved_up() -> None:
    """After an hour without a call they leave one after the other again."""
    pace = RateController()
    leave(pace, 10, 5)
    times = leave(pace, 10, 1, begin=NOW + 3600)
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.097


@pytest.mark.parametrize("window", ["sliding", "fixed"])
@pytest.mark.parametrize(("jitter", "least"), [(0.0, 0.99), (0.04, 0.97), (0.18, 0.895)])
@pytest.mark.parametrize("rate", RATES)
def test_a_strict_service_refuses_less_than_one_in_a_thousand(
    rate: int, jitter: float, least: float, window: Window
) -> None:
    """With any jitter of the network: calls are not refused, and most of the limit is used."""
    service = Service(rate, window, way=(0.02, 0.02 + jitter))
    outcomes = [simulate(service, rate, max(60, min(300, 6000 / rate)), seed=seed) for seed in (1, 2, 3)]
    assert min(outcome.used(rate) for outcome in outcomes) >= least
    assert _share_refused(outcomes) <= 0.001


def _share_refused(outcomes: list[Outcome]) -> float:
    refused = sum(len(outcome.refused) for outcome in outcomes)
    return refused / (refused + sum(len(outcome.taken) for outcome in outcomes))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    limit=st.sampled_from([1, 3, 20, 100]),
    jitter=st.floats(0, 0.3),
    thinking=st.tuples(st.floats(0, 2), st.floats(0, 2)),
    processes=st.integers(1, 8),
    seed=st.integers(0, 10**6),
)
def test_without_learnt_slack_nothing_is_refused_by_construction(
    limit: int, jitter: float, thinking: tuple[float, float], processes: int, seed: int
) -> None:
    """The first 500 calls risk nothing: refusals come only from the yet unknown shortest round trip."""
    service = Service(limit, way=(0.01, 0.01 + jitter), thinking=(min(thinking), max(thinking)))
    outcome = simulate(service, limit, min(200, 450 / limit), processes=processes, seed=seed)
    assert len(outcome.refused) <= 2


def test_slow_thinking_costs_less_and_less() -> None:
    """Answers that vary by half a second: the part that is no jitter is learnt, and the limit used."""
    outcome = simulate(Service(100, thinking=(0.05, 0.55)), 100, 180)
    assert outcome.used(100, 5, 15) < 0.85
    assert outcome.used(100, 120) > 0.97
    assert outcome.refusals() <= 0.001


@pytest.mark.parametrize("processes", [2, 4, 20])
def test_processes_share_one_rate(processes: int) -> None:
    """Together they use what one would, and are refused no more."""
    outcome = simulate(Service(50, way=(0.02, 0.06)), 50, 60, processes=processes)
    assert outcome.used(50) >= 0.97
    assert outcome.refusals() <= 0.001


def test_a_job_with_a_lower_rate_does_not_slow_the_others() -> None:
    """The highest rate that a running job has set holds, until two seconds after its last call."""
    pace = RateController()
    leave(pace, 10, 2)
    pace.grant(NOW + 2, 2)
    assert pace.rate == 10
    pace.grant(NOW + 5, 2)
    assert pace.rate == 2


# -- refusals


def test_refusals_of_one_round_trip_are_one_small_cut() -> None:
    """Fifty calls that were under way together cost half a percent of the rate, once."""
    pace = RateController()
    times = leave(pace, 100, 3)
    for number in range(50):
        pace.on_refused(number, times[-1] + number / 1000, NOW + 3)
    assert pace.rate == pytest.approx(99.5, abs=0.01)


def test_quick_refusals_belong_to_the_round_trip_of_the_answers() -> None:
    """A refusal is faster than an answer: calls within a round trip after a cut were not yet slower."""
    pace = RateController()
    leave(pace, 100, 3, trip=0.2)
    for wait in (0.0, 0.05, 0.1, 0.15):
        pace.on_refused(1, NOW + 3 + wait, NOW + 3.005 + wait)
    assert pace.rate == pytest.approx(99.5, abs=0.01)


def test_refusals_that_go_on_cut_more_and_more() -> None:
    """Half a percent, one, two, four, five: each after a round trip of its own."""
    pace = RateController()
    leave(pace, 100, 3)
    rates = []
    for event in range(6):
        pace.on_answer(1, NOW + 3 + event, NOW + 3.1 + event)
        pace.on_refused(10**6, NOW + 3 + event, NOW + 3.1 + event)
        rates.append(pace.rate)
    cuts = [1 - after / before for before, after in pairwise([100.0, *rates])]
    assert cuts == pytest.approx([0.005, 0.01, 0.02, 0.04, 0.05, 0.05], rel=0.3)


def test_never_under_a_third_of_a_set_rate() -> None:
    """Under any number of refusals a third stays, and that is told."""
    pace = RateController()
    pace.grant(NOW, 9)
    for event in range(100):
        pace.on_refused(10**6, NOW + event, NOW + event + 0.01)
    assert (pace.rate, pace.slowest) == (3, True)


def test_rate_recovers_by_itself_and_no_further() -> None:
    """A cut is over within the minute, and the set rate is the most."""
    pace = RateController()
    leave(pace, 10, 3)
    pace.on_refused(10**6, NOW + 3, NOW + 3.1)
    assert pace.rate < 10
    leave(pace, 10, 60, begin=NOW + 3.2)
    assert (pace.rate, pace.slowest) == (10, False)


@pytest.mark.parametrize(("limit", "rate"), [(5, 10), (100, 200), (7, 20)])
def test_a_rate_that_is_set_too_high_comes_down_to_the_limit(limit: int, rate: int) -> None:
    """A job does not fail for it: within seconds it goes at what the account has."""
    outcome = simulate(Service(limit, thinking=(0.1, 0.1)), rate, 120)
    assert outcome.used(limit, 20) >= 0.9
    assert outcome.refusals(20) <= 0.03


def test_another_user_of_the_account_is_made_way_for() -> None:
    """The half of the limit that another user leaves is used; soon after they end, all of it again."""
    outcome = simulate(Service(40, thinking=(0.1, 0.1)), 40, 200, other=(60, 120, 20))
    assert outcome.used(20, 70, 120) >= 0.85
    assert outcome.used(40, 160, 200) >= 0.95


def test_busy_cluster_pauses_everybody_longer_each_time() -> None:
    """A quarter of a second, then doubled up to 8 s; one event holds once; an answer makes it short again."""
    pace, now, waits = RateController(), NOW, []
    for _ in range(8):
        sent = _next_leaves(pace, now)
        pace.hold(sent, sent)
        pace.hold(sent - 0.001, sent)
        now = _next_leaves(pace, sent)
        waits.append(round(now - sent, 2))
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    pace.on_answer(1, now, now + 0.01)
    sent = _next_leaves(pace, now + 0.01)
    pace.hold(sent, sent)
    assert _next_leaves(pace, sent) - sent == pytest.approx(0.25, abs=0.01)


def _next_leaves(pace: RateController, now: float) -> float:
    while True:
        slots, again = pace.grant(now, 1000)
        if slots:
            return slots[0].at
        now = max(now, again) + 0.001


# -- what nobody knows about a call


def test_a_call_without_an_answer_holds_its_place() -> None:
    """A lost call may have arrived just before it was given up: its second begins there."""
    pace = RateController()
    times = leave(pace, 1, 5, trip=0.05)
    slot = pace.grant(times[-1] + 1.1, 1)[0][0]
    pace.lost(slot.number, slot.at + 30)
    assert pace.grant(slot.at + 30.5, 1)[0] == []
    assert pace.grant(slot.at + 31.01, 1)[0] != []


def test_a_forgone_slot_is_free_again() -> None:
    """A call that does not leave takes no place."""
    pace = RateController()
    leave(pace, 1, 3)
    slot = pace.grant(NOW + 5, 1)[0][0]
    pace.forgo(slot.number)
    assert pace.grant(slot.at + 1, 1)[0] != []
    assert slot.number not in pace.calls


# -- finding the rate


@pytest.mark.parametrize("limit", [2, 10, 80])
def test_auto_finds_the_limit(limit: int) -> None:
    """Within ten seconds it is within 5 % of an unknown limit, and stays there with hardly a refusal."""
    outcome = simulate(Service(limit), math.inf, 300)
    reached = outcome.second_reaching(0.95 * limit - 0.5)
    assert reached is not None
    assert reached <= 10
    assert outcome.used(limit, 15) >= 0.95
    assert len(outcome.refused) <= max(3, 0.0015 * len(outcome.taken))


def test_auto_follows_another_user() -> None:
    """It gives way, and comes back within a minute."""
    outcome = simulate(Service(80), math.inf, 240, other=(60, 120, 40))
    assert outcome.used(40, 70, 120) >= 0.85
    assert outcome.used(80, 180, 240) >= 0.85


def test_auto_begins_where_it_was() -> None:
    """The rate that was found is the start of the next run, which need not search."""
    pace = RateController()
    pace.grant(NOW, math.inf)
    pace.ceiling.limit = pace.ceiling.proven = 40.0
    pace.ceiling.starting = False
    pace.ceiling.limit = math.inf
    pace.grant(NOW + 1, math.inf)
    assert pace.rate == 40


def test_a_clock_that_went_back_is_another_clock() -> None:
    """Times far ahead of now bind nobody: neither what was sent then, nor a pause."""
    pace = RateController()
    leave(pace, 10, 3, begin=NOW + 10**6)
    pace.hold(NOW + 10**6 + 3, NOW + 10**6 + 3)
    assert pace.grant(NOW, 10)[0] != []


def test_auto_tries_nothing_that_is_not_used() -> None:
    """A job that calls now and then learns nothing about the limit, and does not pretend to."""
    pace = RateController()
    for second in range(60):
        slots, _ = pace.grant(NOW + 3 * second, math.inf)
        for slot in slots:
            pace.on_answer(slot.number, slot.at, slot.at + 0.1)
    assert pace.rate <= 4


def test_random_orders_of_replies_never_break_it() -> None:
    """Answers in any order, refusals, losses, unknown numbers: a positive rate, and permits keep coming."""
    rng = random.Random(5)
    pace, now, under_way = RateController(), NOW, list[tuple[int, float]]()
    granted = 0
    for _ in range(3000):
        now += rng.random() / 10
        slots, _ = pace.grant(now, 20)
        granted += len(slots)
        under_way.extend((slot.number, slot.at) for slot in slots)
        while under_way and rng.random() < 0.6:
            number, sent = under_way.pop(rng.randrange(len(under_way)))
            match rng.randrange(6):
                case 0:
                    pace.lost(number, now)
                case 1:
                    pace.forgo(number)
                case 2:
                    pace.replied(number + rng.randrange(3), sent, max(sent, now))
                    pace.on_refused(number, sent, now)
                case _:
                    pace.on_answer(number, sent, max(sent, now))
    assert granted > 500
    assert 20 / 3 * 0.999 <= pace.rate <= 20
