"""Fixtures of the acceptance tests."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Place, emulating

from batchrec.emulator import Emulator
from batchrec.times import next_reset

LONGEST = 120.0
"""Seconds that the longest of these tests takes on a busy machine."""


@pytest.fixture(autouse=True)
def _within_one_day() -> None:
    """Calls are counted by the day in Beijing: none of these tests may begin before a midnight and end after it."""
    left = next_reset(time.time()) - time.time()
    if left < LONGEST:
        time.sleep(left + 1)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator that allows everything; tests change its settings and faults."""
    with emulating() as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, emulator: Emulator) -> Place:
    """A place whose job file asks the emulator."""
    return Place(tmp_path, emulator.url)


@pytest.fixture
def apart(tmp_path: Path) -> Place:
    """A place for commands that need no service."""
    return Place(tmp_path)
