"""The rate, end to end: the account's limit is used by one job, by two, and found by a job that was not told it."""

from pathlib import Path

import pytest
from harness import Place, images_of, until

from batchrec.emulator import Emulator, FaultPlan
from batchrec.emulator.counters import busiest_second

SERVICE = "advanced_general"


def throttled(emulator: Emulator) -> int:
    """Calls that were refused with 18."""
    return emulator.counters.outcomes[SERVICE]["18"]


def seconds_of(emulator: Emulator) -> float:
    """From the second call that was let through, since the first goes alone, to the last."""
    admitted = emulator.counters.admitted[SERVICE]
    return admitted[-1] - admitted[1]


def test_a_strict_service_refuses_hardly_a_call(place: Place, emulator: Emulator) -> None:
    """Where any second is counted to the call, the rate is used, and no call is one too many."""
    keys = place.pictures(300)
    emulator.configure(qps=40, latency=0.05)
    place.job(limits={"qps": 40})
    assert place.run().code == 0
    assert images_of(place.rows()) == keys
    assert throttled(emulator) <= 1
    assert 300 / seconds_of(emulator) >= 0.93 * 40
    print(f"40 calls/s: {300 / seconds_of(emulator):.1f} used, {throttled(emulator)} of 300 refused")


def test_two_processes_share_the_rate(place: Place, emulator: Emulator, tmp_path: Path) -> None:
    """Two jobs of one account that begin at the same minute take no more than one would."""
    other = Place(tmp_path / "other", emulator.url)
    other.root.mkdir()
    other.env["BATCHREC_STATE_DIR"] = str(place.state)
    emulator.configure(qps=40, latency=0.05)
    for number, each in enumerate((place, other)):
        each.pictures(150, start=1000 * number)
        each.job(limits={"qps": 40})
    running = [each.start_run() for each in (place, other)]
    assert [each.wait().code for each in running] == [0, 0]
    assert throttled(emulator) <= 2
    assert busiest_second(emulator.counters.admitted[SERVICE]) <= 40
    assert 300 / seconds_of(emulator) >= 0.9 * 40
    print(f"two at 40 calls/s: {300 / seconds_of(emulator):.1f} used, {throttled(emulator)} of 300 refused")


def test_auto_finds_the_rate_and_remembers_it(place: Place, emulator: Emulator) -> None:
    """A job that was not told the limit finds it within seconds; the next one begins with it."""
    place.pictures(300)
    emulator.configure(qps=30, latency=0.05)
    place.job(limits={"qps": "auto"})
    assert place.run().code == 0
    searching, refused = seconds_of(emulator), throttled(emulator)
    assert searching < 300 / 30 + 8
    assert 1 <= refused <= 12
    emulator.counters.admitted.clear()
    place.pictures(200, "more")
    place.job(limits={"qps": "auto"}, input={"paths": ["more"]}, output={"directory": "results/more"})
    assert place.run("--no-reuse").code == 0
    assert 200 / seconds_of(emulator) >= 0.85 * 30
    print(
        f"auto: 300 in {searching:.1f} s with {refused} refused, then {200 / seconds_of(emulator):.1f} calls/s at once"
    )


def test_a_rate_that_is_too_high_costs_refusals_and_no_row(place: Place, emulator: Emulator) -> None:
    """A job that claims twice of what the account has is done at what it has."""
    keys = place.pictures(250)
    emulator.configure(qps=25, latency=0.05)
    place.job(limits={"qps": 50})
    assert place.run().code == 0
    assert (images_of(place.rows()), place.failures()) == (keys, [])
    assert throttled(emulator) <= 60
    assert seconds_of(emulator) <= 250 / 25 + 4


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_a_slow_service_is_not_asked_more_slowly(place: Place, emulator: Emulator, seconds: float) -> None:
    """As many calls are in flight as rate and latency need: a pool of eight would make 8 calls/s of 1 s."""
    place.pictures(200)
    emulator.configure(latency=seconds)
    place.job(limits={"qps": 40})
    assert place.run().code == 0
    assert 20 <= 200 / seconds_of(emulator) <= 44  # 40 on a machine with nothing else to do
    assert emulator.counters.max_in_flight <= 40 * seconds + 12


def test_a_service_that_hangs_does_not_pile_up_calls(place: Place, emulator: Emulator) -> None:
    """Where nothing comes back no more calls leave than four seconds of the rate."""
    place.pictures(200)
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "hang", "from": 20}]})
    place.job(limits={"qps": 20, "timeout": 6, "patience": 1})
    running = place.start_run()
    until(lambda: emulator.counters.in_flight >= 20)
    assert running.wait().code == 69
    assert emulator.counters.max_in_flight <= 4 * 20


def test_waiting_for_tomorrow_says_until_when(place: Place, emulator: Emulator) -> None:
    """A run that sleeps until the service's midnight says so, once, with the time."""
    place.pictures(6)
    place.job(limits={"daily": 2, "on_daily_limit": "wait"})
    running = place.start_run("--progress", "plain")
    until(lambda: "waits until" in running.said()[1])
    assert running.said()[1].count("used up for today; waits until") == 1
    running.kill()
