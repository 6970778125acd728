"""Merging of parts into an output directory: one row for each image and step, whoever wrote how many.

The journal decides: a record of what is finished already is passed over. So a merge may be cut short anywhere and done
again, and parts may be read while they grow. Of several records the one in the lowest epoch counts: it was paid first.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

from ..engine.recorder import GROUP_MOST, Recorded, Recorder
from ..engine.rows import Outcome
from ..job.follow_ups import Conditions, labels_of, triggered
from ..journal import Finished, Journal
from ..outputs.files import ResultFiles
from ..values import Task
from .parts import Parts, Promise, Read, Record, damage, decode
from .wanted import Wanted

LATE_SECONDS = 60.0
"""Time that network file systems may take to show what another machine has written; NFS as mounted: up to 60 s."""
_AGAIN_SECONDS = 0.5
_TOLD = "told.json"
"""Stands for a note, with the parts that a worker has told of."""


class Merger:
    """Merges parts into a directory that its run holds.

    `steps` are the journal's numbers of steps by name, `following` the conditions by number. `committed` is called with
    each group that is on the disk, `remember` in the thread that commits it.
    """

    def __init__(
        self,
        journal: Journal,
        files: ResultFiles,
        parts: Parts,
        steps: Mapping[str, int],
        following: Mapping[int, Conditions],
        wanted: Wanted,
        committed: Callable[[Sequence[Recorded]], None] = lambda group: None,
        remember: Callable[[Sequence[Recorded]], None] = lambda group: None,
    ) -> None:
        self._journal, self._files, self._parts = journal, files, parts
        self._steps, self._following = steps, following
        self._wanted = wanted
        self._committed, self._remember = committed, remember
        self._read: dict[tuple[str, str], Read] = {}
        self._noted: dict[tuple[str, str], Mapping[str, Promise]] = {}
        self._batch: dict[tuple[int, int], Outcome] = {}
        self._images: set[str] = set()
        self._contents: dict[tuple[int, bytes, str | None], str] = {}
        self.dropped = 0
        """Records that were passed over: their image was finished by then, or the job asks for something else now."""
        self.unwanted: set[tuple[str, str]] = set()
        """Images and steps of those that belong to other options, another treatment or other bytes."""
        self.kept: set[str] = set()
        """Shards that have left any of these."""
        self._awaited: set[str] = set()
        self._refused = False
        self.damaged: dict[tuple[str, str], str] = {}
        """Parts, by shard and name, that are not what the notes of their shards promise, with the reason."""

    async def finish(self, told: Mapping[str, Mapping[str, Promise]], *, patient: bool = True) -> None:
        """Merge all that shards have left, with the parts that their workers tell of.

        Network file systems may show them some time later; they are damaged where they are not whole then.
        """
        self._noted |= {(shard, _TOLD): promises for shard, promises in told.items()}
        early: list[Record] = []
        deadline = time.monotonic() + (LATE_SECONDS if patient else 0.0)
        while time.monotonic() < deadline:
            self._awaited.clear()
            await self._catch_up(told, early, patient=True)
            if not self._awaited:
                break
            await asyncio.sleep(_AGAIN_SECONDS)
        else:
            await self._catch_up(told, early, patient=False)
        self.dropped += len(early)

    async def catch_up(self, shards: Iterable[str], *, patient: bool = False) -> None:
        """Merge what these shards have left since the last call. Raises OSError, OutputFailed.

        `patient`: parts that are shorter than promised may be longer soon.
        """
        early: list[Record] = []
        await self._catch_up(shards, early, patient=patient)
        self.dropped += len(early)

    async def _catch_up(self, shards: Iterable[str], early: list[Record], *, patient: bool) -> None:
        """As `catch_up`. `early` are records that could not be merged so far, and are tried again."""
        for shard in shards:
            self._refused = False
            async for content in self._new(shard, patient):
                early += [record for record in _records(content) if not await self._put(record)]
            if self._refused:
                self.kept.add(shard)
        await self._flush()
        # Where the record that asks for a step has come in a later part than that of the step itself.
        while early:
            still = [record for record in early if not await self._put(record)]
            await self._flush()
            if len(still) == len(early):
                break
            early[:] = still

    async def _new(self, shard: str, patient: bool) -> AsyncIterator[bytes]:
        """New whole lines of a shard's parts, the lowest epoch first; a damaged part is left out."""
        files = await asyncio.to_thread(self._parts.of, shard)
        promised = await self._promised(shard, (*files, _TOLD))
        for part in sorted({*(name for name in files if name.endswith(".jsonl")), *promised}):
            read = self._read.setdefault((shard, part), Read())
            promise = promised.get(part)
            # A size that is listed may be an old one, as network file systems have them: not where there is a promise.
            known = files[part] <= read.bytes if promise is None else promise == read.promise
            if known or (shard, part) in self.damaged:
                continue
            try:
                content = await asyncio.to_thread(self._parts.read, shard, part, read.bytes)
            except FileNotFoundError:
                if promise is None:
                    continue
                content = b""
            read.take(content)
            if promise is not None and read.promise != promise:
                if not (patient and read.bytes < promise.bytes):
                    self.damaged[shard, part] = damage(promise, read.promise if part in files else None)
                    continue
                self._awaited.add(part)
            if content:
                yield content

    async def _promised(self, shard: str, files: Iterable[str]) -> Mapping[str, Promise]:
        """Parts that the notes of a shard name, of all epochs that have finished it."""
        promised: dict[str, Promise] = {}
        for note in files:
            if note.endswith(".json"):
                key = shard, note
                if not self._noted.get(key) and note != _TOLD:
                    self._noted[key] = await asyncio.to_thread(self._parts.promises, shard, note)
                promised |= self._noted.get(key, {})
        return promised

    def forget(self, shard: str) -> None:
        """Drop what is known of a shard's parts: they are removed."""
        self._read = {key: place for key, place in self._read.items() if key[0] != shard}
        self._noted = {key: noted for key, noted in self._noted.items() if key[0] != shard}

    async def _put(self, record: Record) -> bool:
        """Add a record to the group. False where its image is finished at the step, or is not asked for there."""
        step = self._steps.get(record.step)
        if step is None:
            return False
        task = self._task(record, step)
        if task is None and record.image in self._images:
            await self._flush()  # its step may follow from a record of this group
            task = self._task(record, step)
        if task is None or (task.image, task.step) in self._batch:
            return False
        if not await self._wanted.holds(record, task):
            self.unwanted.add((record.image, record.step))
            self._refused = True
            return False
        self._batch[task.image, task.step] = self._outcome(record, task)
        self._images.add(record.image)
        if len(self._batch) >= GROUP_MOST - 1:
            await self._flush()
        return True

    def _task(self, record: Record, step: int) -> Task | None:
        task = self._journal.queue.unfinished_task(record.image, step)
        return None if task is None else task._replace(variant=record.variant)

    def _outcome(self, record: Record, task: Task) -> Outcome:
        # Its calls were counted where they were made, as those of tiles are.
        finished = Finished(task, record.sha256, record.attempts, record.at, failure=record.failure, in_tiles=True)
        if record.row is None:
            return Outcome(finished)
        labels = labels_of(record.row)
        row = {**record.row, "same_as": record.row["same_as"] or self._twin(record, task)}
        return Outcome(finished, row).followed_by(triggered(self._following.get(task.step, ()), labels))

    def _twin(self, record: Record, task: Task) -> str | None:
        """Another image of this job with the same bytes, which was finished before."""
        if record.sha256 is None:
            return None
        first = self._contents.setdefault((task.step, record.sha256, record.variant), record.image)
        if first != record.image:
            return first
        known = self._journal.answers.finished_content(task.step, record.sha256, record.variant)
        if known is None or known.failure is not None:
            return None
        row = self._files.read(known.start, known.length)
        origin = row["same_as"] or row["image"]
        return None if origin == record.image else str(origin)

    async def _flush(self) -> None:
        """Commit what is gathered, by the recorder of every run."""
        if not self._batch:
            return
        recorder = Recorder(self._journal, self._files, self._remember)
        for outcome in self._batch.values():
            await recorder.add(outcome)
        self._batch.clear()
        self._images.clear()
        self._contents.clear()
        recorder.close()
        await recorder.run(self._committed)


def _records(content: bytes) -> Iterator[Record]:
    """The records of whole lines; others are passed over."""
    return filter(None, map(decode, content.splitlines(keepends=True)))
