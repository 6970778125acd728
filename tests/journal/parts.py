"""What the tests of the journal share: two steps, inputs, and outcomes of them."""

import hashlib

from batchrec.journal import Finished, StepRecord
from batchrec.journal.queue import EVERYTHING
from batchrec.values import InputEntry, QuotaKey, Task

__all__ = ["CHARGE", "EVERYTHING", "FIRST", "SECOND", "digest", "finished", "found"]

CHARGE = QuotaKey("me", "dish", "2026-11-23")
FIRST = StepRecord("first", "dish", "asked so", "")
SECOND = StepRecord("second", "dish", "asked otherwise", "")


def found(*keys: str, size: int = 10) -> list[InputEntry]:
    """Inputs of one source."""
    return [InputEntry(key, 0, 0, size, 1) for key in keys]


def digest(content: str) -> bytes:
    """SHA-256 of a content."""
    return hashlib.sha256(content.encode()).digest()


def finished(task: Task, content: str = "", **more: object) -> Finished:
    """An outcome of one call; without a failure, an answer."""
    return Finished(task._replace(variant=""), digest(content or task.key), 1, "now", **more)
