"""Fixtures of the acceptance tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Place, emulating

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
def apart(tmp_path: Path) -> Place:
    """A place for commands that need no service."""
    return Place(tmp_path)
