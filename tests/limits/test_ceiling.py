"""The ceiling of the rate: cuts, recovery along the curve, the search for a limit that nobody set."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrec.limits.ceiling import Ceiling
from batchrec.limits.round_trips import Observed, RoundTrips

NOW = 1000.0
TRIPS = RoundTrips(Observed(answers=100, total=10.0))
"""A hundred answers within a tenth of a second each."""


def a_ceiling(rate: float) -> Ceiling:
    """One of a job that has set this rate, in the middle of its run."""
    ceiling = Ceiling(answered_at=NOW)
    ceiling.wish(NOW, rate)
    grow(ceiling, NOW)
    return ceiling


def grow(ceiling: Ceiling, now: float, calls: int = 0) -> None:
    """Let time pass, with the whole rate in use."""
    ceiling.wish(now, ceiling.set_rate)
    ceiling.answered_at = now
    ceiling.grow(now, calls, 10**6, TRIPS)


def test_a_set_rate_is_the_most() -> None:
    """A set rate is not exceeded, after any time without a refusal."""
    ceiling = a_ceiling(10)
    for second in range(100):
        grow(ceiling, NOW + second)
        assert ceiling.rate == 10


@pytest.mark.parametrize("rate", [2, 10, 200])
def test_recovery_is_slow_about_the_refused_rate(rate: float) -> None:
    """Half a percent is nearly made up for in 3 s, fully after 6 s."""
    ceiling = a_ceiling(rate)
    ceiling.lower(NOW, None, 0.1)
    assert ceiling.rate == pytest.approx(0.995 * rate)
    grow(ceiling, NOW + 3)
    assert 0.999 * rate < ceiling.rate < rate
    grow(ceiling, NOW + 6)
    assert ceiling.rate == rate


def test_a_rate_that_is_refused_again_is_come_near_to_more_slowly() -> None:
    """A refusal at the same level, over ten seconds after the last, halves the steepness, down to a bound."""
    ceiling = a_ceiling(10)
    steepness = []
    for event in range(1, 8):
        grow(ceiling, NOW + 20 * event)
        ceiling.lower(NOW + 20 * event, None, 0.1)
        steepness.append(ceiling.steepness)
    assert steepness == pytest.approx([2.5e-5, 1.25e-5, 6.25e-6, 3.125e-6, 1.5625e-6, 1.5e-6, 1.5e-6])


def test_calls_in_vain_cut_by_a_fifth() -> None:
    """Nothing was answered for more than a second: the rate is far too high."""
    ceiling = a_ceiling(10)
    ceiling.answered_at = NOW - 5
    ceiling.lower(NOW, None, 0.1)
    assert ceiling.rate == pytest.approx(8)


def test_many_refusals_cut_to_what_was_taken() -> None:
    """More than 15 % of a second's calls, and at least three: then the limit is known at once."""
    ceiling = a_ceiling(20)
    for number in range(5):
        ceiling.on_refused(NOW + number / 100)
    assert ceiling.taken_of(14, NOW + 0.04) == 10
    assert ceiling.taken_of(100, NOW + 0.04) is None


def test_refusals_of_one_round_trip_are_one() -> None:
    """A call that left within a mean round trip after a cut had not felt it."""
    ceiling = a_ceiling(10)
    ceiling.lower(NOW, None, 0.2)
    assert ceiling.already_cut(NOW + 0.19, 0.2)
    assert not ceiling.already_cut(NOW + 0.21, 0.2)


def test_the_search_doubles_every_second_until_a_refusal() -> None:
    """From two calls a second; what the service took in the second before the refusal is then proven."""
    ceiling = a_ceiling(math.inf)
    rates = []
    for second in range(1, 5):
        grow(ceiling, NOW + second)
        rates.append(ceiling.rate)
    assert rates == [4, 8, 16, 32]
    ceiling.lower(NOW + 4, ceiling.taken_of(20, NOW + 4), 0.1)
    assert (ceiling.rate, ceiling.proven, ceiling.starting) == (20, 20, False)


def test_the_search_goes_on_in_whole_calls() -> None:
    """After the first refusal the rate grows by one call/s; two seconds of use prove it."""
    ceiling = a_ceiling(math.inf)
    ceiling.lower(NOW, 20, 0.1)
    seen, calls = set(), 0
    for tenth in range(1, 1200):
        calls += int(ceiling.rate) if tenth % 10 == 0 else 0
        grow(ceiling, NOW + tenth / 10, calls)
        seen.add(ceiling.rate)
    assert seen >= {20.0, 21.0, 22.0}
    assert all(rate == int(rate) for rate in seen)
    assert ceiling.proven >= 21


def test_an_unused_rate_proves_nothing() -> None:
    """The search stands still while the log is half empty."""
    ceiling = a_ceiling(math.inf)
    for second in range(1, 100):
        ceiling.grow(NOW + second, second, 1, TRIPS)
    assert ceiling.rate == 2


@given(st.lists(st.tuples(st.sampled_from(["cut", "wait", "taken"]), st.floats(0, 100)), max_size=60), st.booleans())
def test_the_rate_stays_between_its_bounds(events: list[tuple[str, float]], searching: bool) -> None:
    """For any refusals at any time: never under the floor, never above a set rate, never infinite."""
    ceiling, now = a_ceiling(math.inf if searching else 9.0), NOW
    for what, amount in events:
        if what == "wait":
            now += amount
            grow(ceiling, now)
        else:
            ceiling.on_refused(now)
            ceiling.lower(now, int(amount) if what == "taken" else None, 0.1)
        assert (0.5 if searching else 3.0) <= ceiling.rate < math.inf
        assert searching or ceiling.rate <= 9


def test_another_boot_keeps_what_was_learnt() -> None:
    """The limit and the proven rate hold; no time does."""
    ceiling = a_ceiling(math.inf)
    ceiling.lower(NOW, 40, 0.1)
    assert ceiling.of_another_clock(NOW - 61)
    later = ceiling.learnt()
    assert (later.limit, later.proven, later.starting) == (40, 40, False)
    assert (later.cut_at, later.set_at, later.changed_at) == (-math.inf,) * 3


def test_a_limit_below_a_rate_that_was_never_refused() -> None:
    """A limit that another job's search found does not hold back a job that sets a higher rate."""
    ceiling = Ceiling(limit=40.0, proven=40.0, starting=False)
    ceiling.wish(NOW, 100)
    grow(ceiling, NOW)
    assert ceiling.rate == 100
