"""The job's present requests, treatment and files, by which records of earlier runs count or not."""

import asyncio
from collections.abc import Mapping

from .. import images
from ..api.services import SERVICES
from ..interfaces import ImageStore
from ..job.spec import Step
from ..values import Task, Treatment
from .parts import Record


class Wanted:
    """Options, treatment and files may have changed since the run that left a record.

    `steps` are the job's, by the journal's numbers.
    """

    def __init__(self, steps: Mapping[int, Step], treatment: Treatment, store: ImageStore) -> None:
        self._treatment, self._store = treatment, store
        self._asked = {number: (step.fingerprint, SERVICES[step.service].limits) for number, step in steps.items()}

    async def holds(self, record: Record, task: Task) -> bool:
        """Whether a record belongs to what the job asks now, of the bytes that the file has now.

        A file of another time is read, and so are files where the treatment has changed: it may not concern them.
        """
        if (subject := record.subject) is None:
            return True
        if subject.fingerprint != self._asked[task.step][0]:
            return False
        listed = (subject.size, subject.mtime_ns) == (task.size, task.mtime_ns)
        if listed and subject.treatment == self._treatment.decisive:
            return True
        return await asyncio.to_thread(self._as_sent, record, task.step)

    def _as_sent(self, record: Record, step: int) -> bool:
        """Whether a file has the bytes that were sent, and would be changed as it was then."""
        data = self._store.read(record.image)
        if not isinstance(data, bytes) or images.digest(data) != record.sha256:
            return False
        return images.variant(data, self._asked[step][1], self._treatment) == (record.variant or "")
