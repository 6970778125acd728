"""The job's present requests and files, by which records of earlier runs count or not."""

import asyncio
from collections.abc import Mapping

from .. import images
from ..interfaces import ImageStore
from ..values import Failure, Task
from .parts import Record


class Wanted:
    """Options and files may have changed since the run that left a record.

    `fingerprints` are the digests of the steps' requests, by the journal's numbers.
    """

    def __init__(self, fingerprints: Mapping[int, str], store: ImageStore) -> None:
        self._fingerprints, self._store = fingerprints, store

    async def holds(self, record: Record, task: Task) -> bool:
        """Whether a record belongs to what the job asks now, of the bytes that the file has now."""
        if (subject := record.subject) is None:
            return True
        if subject.fingerprint != self._fingerprints[task.step]:
            return False
        if (subject.size, subject.mtime_ns) == (task.size, task.mtime_ns):
            return True
        return record.sha256 is not None and await asyncio.to_thread(self._digest, record.image) == record.sha256

    def _digest(self, key: str) -> bytes | None:
        data = self._store.read(key)
        return None if isinstance(data, Failure) else images.digest(data)
