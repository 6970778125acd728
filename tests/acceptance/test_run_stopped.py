"""Stopping, and runs that meet: signals while calls hang, terminals, locks of killed runs, two names of a folder."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Place, calls_of, images_of, until
from terminal import CONTROLLED

from batchrec.emulator import Emulator, FaultPlan

HANG = FaultPlan.parse({"faults": [{"kind": "hang"}]})
WELL = FaultPlan.parse({"faults": []})


def test_a_signal_waits_for_paid_calls_no_longer_than_the_timeout(place: Place, emulator: Emulator) -> None:
    """Calls that never end are waited for up to limits.timeout; then the run ends, and they count as spent."""
    keys = place.pictures(10)
    place.job(limits={"timeout": 2})
    emulator.plan = FaultPlan.parse({"faults": [{"kind": "hang", "from": 2}]})
    running = place.start_run()
    until(lambda: emulator.counters.in_flight >= 5)
    running.send(signal.SIGTERM)
    assert running.wait(20).code == 143
    calls = emulator.counters.calls["advanced_general"]
    assert (len(place.rows()), place.failures(), place.counted()) == (1, [], calls)
    emulator.plan = WELL
    assert place.run().code == 0
    assert (images_of(place.rows()), place.summary()["outcome_unknown"]) == (keys, 0)


@pytest.mark.parametrize(
    ("first", "second", "code"), [(signal.SIGINT, signal.SIGINT, 130), (signal.SIGTERM, signal.SIGINT, 143)]
)
def test_the_second_signal_leaves_at_once_and_everything_exact(
    place: Place, emulator: Emulator, first: signal.Signals, second: signal.Signals, code: int
) -> None:
    """Rows that were there are whole, calls in flight are counted and told, and the rest is asked again once."""
    keys = place.pictures(40)
    place.job(limits={"timeout": 60, "qps": 50})
    running = place.start_run()
    until(lambda: place.row_count() >= 10)
    emulator.plan = HANG
    until(lambda: emulator.counters.in_flight >= 5)
    running.send(first)
    until(lambda: first.name in running.said()[1])
    running.send(second)
    assert running.wait(40).code == code
    rows, calls = len(place.rows()), emulator.counters.calls["advanced_general"]
    assert emulator.counters.outcomes["advanced_general"]["ok"] == rows
    assert place.counted() == calls
    emulator.plan = WELL
    assert place.run().code == 0
    assert images_of(place.rows()) == keys
    assert place.summary()["outcome_unknown"] == calls - rows
    assert place.batchrec("verify", str(place.output)).code == 0


def test_nohup_keeps_a_run_from_the_end_of_its_terminal(place: Place, emulator: Emulator) -> None:
    """A SIGHUP that is ignored when the run begins stays ignored."""
    keys = place.pictures(30)
    place.job(limits={"qps": 30})
    running = place.start_run(under=["nohup"])
    until(lambda: place.row_count() >= 5)
    running.send(signal.SIGHUP)
    assert running.wait().code == 0
    assert images_of(place.rows()) == keys


@pytest.mark.parametrize("endpoint", ["embedded", None])
def test_a_terminal_that_is_closed_ends_the_run_in_order(place: Place, endpoint: str | None) -> None:
    """A window that is closed, a broken ssh: nothing can be written to the terminal, and all results are saved."""
    keys = place.pictures(400)
    place.job(account={"endpoint": endpoint or place.endpoint}, limits={"qps": 50})
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "batchrec", "run", "furniture.toml"]
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROLLED, *command],
        cwd=place.root,
        env={"TERM": "xterm", **place.env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    until(lambda: place.row_count() >= 5)
    os.close(ours)
    assert process.wait(30) == 129
    assert (place.summary()["stopped_by"], place.summary()["answered"]) == ("SIGHUP", len(place.rows()))
    assert len(place.rows()) < 400
    assert place.run().code == 0
    assert images_of(place.rows()) == keys


def test_a_lock_file_that_a_killed_run_left_stops_nobody(place: Place, emulator: Emulator) -> None:
    """The kernel's lock ends with its process, however new the file is that it stood on."""
    keys = place.pictures(30)
    place.job(limits={"qps": 20})
    running = place.start_run()
    until(lambda: place.row_count() >= 3)
    running.kill()
    assert (place.output / ".lock").exists()
    place.job()
    assert place.run().code == 0
    assert images_of(place.rows()) == keys


def test_a_lock_that_is_old_is_still_a_lock(place: Place, emulator: Emulator) -> None:
    """A run that takes days keeps its folder: the age of the lock file means nothing."""
    place.pictures(2)
    place.job()
    place.output.mkdir(parents=True)
    lock = place.output / ".lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        os.utime(lock, (1_000_000_000, 1_000_000_000))
        done = place.run()
    assert (done.code, calls_of(emulator)) == (73, 0)


def test_cron_overlap_leaves_the_folder_untouched(place: Place, emulator: Emulator) -> None:
    """The run that comes too late changes no byte and no time of what is there, under whatever name it came."""
    place.pictures(4)
    place.job()
    assert place.run().code == 0
    before = _state(place.output)
    other_name = place.root / "link"
    other_name.symlink_to(place.output, target_is_directory=True)
    with (place.output / ".lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        codes = [place.run().code]
        place.job(output={"directory": "link"})
        codes.append(place.run().code)
        codes.append(place.run("--rebuild", "--retry-failed").code)
    assert codes == [73, 73, 73]
    assert _state(place.output) == before
    assert emulator.counters.calls["advanced_general"] == 4


def _state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
