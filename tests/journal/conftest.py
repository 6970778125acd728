"""A journal for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchrec.journal import Journal

from .parts import FIRST, SECOND, found


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Two steps of one service, and the images a, b, c, d to be called for at both."""
    journal = Journal(tmp_path)
    steps = journal.opening.take_steps([FIRST, SECOND])
    list(journal.opening.take_inputs(found(*"dbca")))
    journal.queue.fill(steps.values())
    yield journal
    journal.close()
