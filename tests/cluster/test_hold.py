"""The hold on an address: machines that take it in the same moment, with a clock of the test."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("fsspec is installed with Ray, on Linux", allow_module_level=True)

from batchrec.cluster.hold import GONE_SECONDS, HELD, Hold
from batchrec.cluster.storage import Storage
from batchrec.errors import DirectoryBusy

Act = Callable[[], None]


class Machines:
    """Machines at one address; what happens while one of them waits is told in advance."""

    def __init__(self, url: str) -> None:
        self.storage, self.time = Storage(url), 1000.0
        self.meanwhile: list[Act] = []
        self.slept = 0

    def hold(self, name: str) -> Hold:
        def sleep(seconds: float) -> None:
            self.slept += 1
            if self.meanwhile:
                self.meanwhile.pop()()
            self.time += seconds

        return Hold(self.storage, name, lambda: self.time, sleep)


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(f"file://{tmp_path}/out")


def test_one_of_two_machines_takes_the_hold(machines: Machines) -> None:
    """Both see it free, or that its run is dead, and both write: whoever wrote first gives up."""
    first, second = machines.hold("first"), machines.hold("second")
    for _case in ("free", "dead"):
        there = machines.storage.read(HELD) if HELD in machines.storage.listed() else None

        def second_takes_it(there: bytes | None = there) -> None:
            ours = machines.storage.read(HELD)
            if there is None:
                machines.storage.remove([HELD])
            else:
                machines.storage.write(HELD, there)
            # What the second one reads is what was there before the first one wrote.
            second.take()
            assert machines.storage.read(HELD) != ours

        machines.meanwhile = [second_takes_it]
        with pytest.raises(DirectoryBusy, match="holds it"):
            first.take()
        assert second.beat()
        machines.time += GONE_SECONDS


def test_a_machine_that_has_the_hold_does_not_wait(machines: Machines) -> None:
    """Its run was killed a moment ago, and is resumed at once; a minute later another one may be taking it."""
    hold = machines.hold("first")
    hold.take()
    assert machines.slept == 1
    machines.hold("first").take()
    assert machines.slept == 1
    machines.time += GONE_SECONDS
    machines.hold("first").take()
    assert machines.slept == 2


def test_a_hold_that_is_given_up_meanwhile(machines: Machines) -> None:
    """The machine before removes the file with what was written there since: it is written again."""
    machines.meanwhile = [lambda: machines.storage.remove([HELD])]
    hold = machines.hold("first")
    hold.take()
    with pytest.raises(DirectoryBusy):
        machines.hold("second").take()
