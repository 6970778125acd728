"""Round trips: the statistics of answers, and the excess that calls are kept apart for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec.limits.round_trips import RoundTrips

TRIPS = st.lists(st.floats(0.001, 5), min_size=1, max_size=400)


def answered(trips: list[float], *, apart: float = 0.01) -> RoundTrips:
    """Round trips of calls that left one after the other."""
    seen = RoundTrips()
    for number, trip in enumerate(trips):
        seen.on_answer(trip, number * apart, number)
    return seen


@given(TRIPS)
def test_statistics_are_those_of_the_answers(trips: list[float]) -> None:
    """Number, shortest, mean and the two excesses."""
    seen = answered(trips)
    assert (seen.answers, seen.shortest) == (len(trips), min(trips))
    assert seen.mean == pytest.approx(sum(trips) / len(trips))
    assert seen.mean_excess == pytest.approx(sum(trips) / len(trips) - min(trips), abs=1e-9)
    assert seen.most_excess == pytest.approx(max(trips) - min(trips))


def test_a_faster_network_of_minutes_ago_is_forgotten() -> None:
    """After two one-minute periods and 300 answers, the shortest is one of the last two periods."""
    seen = answered([0.01] * 301 + [0.1] * 1000, apart=0.2)
    assert seen.shortest == 0.1


def test_few_answers_do_not_end_a_period() -> None:
    """The shortest round trip of a slow job holds until 300 answers are there, however long that takes."""
    assert answered([0.01] + [0.1] * 200, apart=60).shortest == 0.01


def test_nothing_is_known_before_the_first_answer() -> None:
    """A call is taken to last ten seconds, and its excess is all of it."""
    seen = RoundTrips()
    assert (seen.unanswered(), seen.mean, seen.mean_excess, seen.most_excess) == (10, 0, 0, 0)


@given(TRIPS, st.floats(0.001, 5))
def test_a_call_has_arrived_before_its_answer(trips: list[float], trip: float) -> None:
    """Arrival is after sending, by at most a round trip less the shortest, and a margin."""
    seen = answered(trips)
    latest = seen.latest_arrival(100.0, 100.0 + trip) - 100.0
    assert latest >= max(0.0, trip - seen.shortest)
    assert latest <= max(0.0, trip - seen.shortest) + 0.002 + 8 * seen.mean_excess / len(trips) + 0.2 + 1e-9


def test_the_slack_begins_at_the_longest_excess_and_shrinks() -> None:
    """It is learnt after 500 calls, falls faster and faster without a refusal, and ends at 5 ms."""
    seen = answered([0.1, 0.6] * 250)
    assert seen.slack == math.inf
    slacks = []
    for number in range(60_000):
        seen.on_answer(0.1 + number % 2 / 2, 10 + number / 100, 501 + number)
        slacks.append(seen.slack)
    assert slacks[0] == pytest.approx(0.5, rel=0.01)
    assert slacks[1_000] > 0.45
    assert slacks[-1] == 0.005


def test_a_refusal_puts_the_slack_up_by_a_quarter() -> None:
    """Afterwards it takes 100,000 answers to fall to 1/e."""
    seen = answered([0.1, 0.6] * 300)
    before = seen.slack
    seen.on_refused()
    assert (seen.slack, seen.doubt) == (pytest.approx(1.25 * before), 100_000)
