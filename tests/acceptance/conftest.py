"""Fixtures of the acceptance tests."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from harness import Place, emulating
from stranger import Said, Stranger, reply, strange

from batchrec.emulator import Emulator


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
def stranger() -> Iterator[Stranger]:
    """A service that keeps what it is sent, and answers each call in another way."""
    numbers = count()
    with strange(Stranger(lambda _, form: Said(reply(f"thing {next(numbers)}")))) as server:
        yield server


@pytest.fixture
def apart(tmp_path: Path) -> Place:
    """A place for commands that need no service."""
    return Place(tmp_path)
