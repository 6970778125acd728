"""Two processes on one account: limits are kept to the call, whoever makes it, and whatever kills it."""

from pathlib import Path

import pytest
from harness import Place, emulating, until

from batchrec.emulator import Emulator

CAP = 1000


@pytest.fixture
def pair(tmp_path: Path, emulator: Emulator) -> tuple[Place, Place]:
    """Two jobs of one account: folders of their own, one state folder."""
    first, second = Place(tmp_path / "one", emulator.url), Place(tmp_path / "two", emulator.url)
    for place in (first, second):
        place.root.mkdir()
    second.env["BATCHREC_STATE_DIR"] = str(first.state)
    return first, second


def test_a_daily_cap_of_1000_is_spent_by_two_processes_to_the_call(
    pair: tuple[Place, Place], emulator: Emulator
) -> None:
    """1,400 pictures in two jobs that run at once: 1,000 calls are made, and both say that the day is used up."""
    for number, place in enumerate(pair):
        place.pictures(CAP * 7 // 10, start=10_000 * number)
        place.job(limits={"daily": CAP})
    running = [place.start_run() for place in pair]
    codes = [run.wait(120).code for run in running]
    rows = [len(place.rows()) for place in pair]
    calls = emulator.counters.calls["advanced_general"]
    print(f"two processes, {CAP:,} calls a day: {calls:,} calls made, rows {rows[0]} + {rows[1]}, exit {codes}")
    assert codes == [75, 75]
    assert (calls, sum(rows), pair[0].counted()) == (CAP, CAP, CAP)
    assert sum(place.summary()["calls"] for place in pair) == CAP
    assert min(rows) > 0


def test_a_kill_gives_no_call_back(pair: tuple[Place, Place], emulator: Emulator) -> None:
    """One of the two is killed and started again: what it had sent stays counted, so the pack is never overdrawn."""
    pack = 200
    emulator.configure(latency=0.1)
    for number, place in enumerate(pair):
        place.pictures(pack + 50, start=10_000 * number)  # more than the pack, if the other is late
        place.job(limits={"total": pack, "qps": 60})
    killed, other = (place.start_run() for place in pair)
    until(lambda: pair[0].row_count() >= 20)
    killed.kill()
    again = pair[0].start_run()
    assert [run.wait().code for run in (again, other)] == [75, 75]
    calls, rows = emulator.counters.calls["advanced_general"], sum(len(place.rows()) for place in pair)
    # A call that was counted and noted need not have reached the service when the kill came.
    lost = pair[0].summary()["outcome_unknown"]
    assert pair[0].counted() == pack
    assert calls <= pack
    assert rows == pack - lost
    assert 0 < lost < 40


def test_an_account_named_in_two_profiles_is_one_account(tmp_path: Path) -> None:
    """Two keys of one account, told so in credentials.toml, share its day."""
    with emulating() as emulator:
        place = Place(tmp_path, emulator.url)
        keys = {"default": "key-default", "second": "key-second"}
        place.credentials(
            **{name: {"api_key": key, "secret_key": "secret", "account": "工作室"} for name, key in keys.items()}
        )
        place.pictures(8)
        place.job(limits={"daily": 5})
        assert place.run("--limit", "3").code == 0
        place.job(limits={"daily": 5}, account={"profile": "second"})
        assert (place.run().code, emulator.counters.calls["advanced_general"]) == (75, 5)
