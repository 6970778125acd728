"""Recording of outcomes: rows for every output, then one group commit.

A group is written, flushed and synced to the result files first and committed to the journal after, so that a kill
between the two leaves rows that the next opening cuts off, never a result that is noted but not there.
"""

import asyncio
from collections.abc import Callable, Sequence

from ..journal import Finished, Journal
from ..outputs.files import Line, ResultFiles, Texts, writing
from .rows import Outcome

GROUP_SECONDS = 0.15
"""Seconds that an outcome waits for others at most. With the commit that is under the promised quarter second."""

GROUP_MOST = 1000
"""Outcomes that wait at most; a worker with another one waits for the commit."""


Written = tuple[Finished, Texts | None]
"""An outcome as the journal is to note it, and its row as text."""

Recorded = tuple[Finished, bytes | None]
"""An outcome as the journal notes it, and its line in results.jsonl where there is one."""


class Recorder:
    """Collects outcomes and commits them in groups.

    `tiles` takes the answers of tiles, each at once: their image has no outcome yet.

    Each group is given to `remember` in the thread of its commit. When it is on the disk, its lines in results.jsonl
    are given to `on_rows` on the event loop. After `run` has ended with an error nothing more is recorded.
    """

    def __init__(
        self,
        journal: Journal,
        files: ResultFiles,
        remember: Callable[[Sequence[Recorded]], None] = lambda group: None,
        on_rows: Callable[[Sequence[bytes]], None] | None = None,
    ) -> None:
        self.tiles = journal.tiles
        self._journal = journal
        self._files = files
        self._remember = remember
        self._on_rows = on_rows
        self._waiting: list[Written] = []
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._flush_now = asyncio.Event()
        self._closing = False

    async def add(self, outcome: Outcome) -> None:
        """Hand over an outcome; waits while too many others wait."""
        while len(self._waiting) >= GROUP_MOST:
            self._room.clear()
            await self._room.wait()
        finished, row = outcome
        # As text at once: the rows of a group, kept until its commit, are more than a processor's cache holds.
        self._waiting.append((finished, None if row is None else self._files.encode(row)))
        self._arrived.set()
        if len(self._waiting) >= GROUP_MOST:
            self._flush_now.set()

    def close(self) -> None:
        """Have what waits committed, and `run` return: no outcome will be added any more."""
        self._closing = True
        self._arrived.set()
        self._flush_now.set()

    async def run(self, committed: Callable[[Sequence[Recorded]], None] = lambda group: None) -> None:
        """Commit groups until closed.

        `committed` is called on the event loop with each group that is on the disk. When cancelled, what waits is
        committed first. Raises OutputFailed.
        """
        try:
            while not (self._closing and not self._waiting):
                await self._arrived.wait()
                await self._wait_for_group()
                await self._shielded_commit(committed)
        except asyncio.CancelledError:
            await self._shielded_commit(committed)
            raise

    async def _wait_for_group(self) -> None:
        try:
            async with asyncio.timeout(GROUP_SECONDS):
                await self._flush_now.wait()
        except TimeoutError:
            pass

    async def _shielded_commit(self, committed: Callable[[Sequence[Recorded]], None]) -> None:
        """Commit a group; once begun it is finished, even if the task is cancelled."""
        commit = asyncio.ensure_future(self._commit(committed))
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            await commit
            raise

    async def _commit(self, committed: Callable[[Sequence[Recorded]], None]) -> None:
        group, self._waiting = self._waiting, []
        self._arrived.clear()
        if not self._closing:
            self._flush_now.clear()
        if group:
            recorded = placed(group, await self._write([texts for _, texts in group if texts is not None]))
            await asyncio.to_thread(self._note, recorded)
            committed(recorded)
            if self._on_rows is not None:
                self._on_rows([line for _, line in recorded if line is not None])
        self._room.set()

    async def _write(self, rows: Sequence[Texts]) -> list[Line]:
        try:
            return await self._files.append(rows)
        except OSError as exc:
            raise writing(self._files.directory, exc) from exc

    def _note(self, group: list[Recorded]) -> None:
        try:
            self._files.sync()
        except OSError as exc:
            raise writing(self._files.directory, exc) from exc
        self._journal.answers.commit([finished for finished, _ in group], self._files.places)
        self._remember(group)
        self._journal.sync()


def placed(group: Sequence[Written], lines: Sequence[Line]) -> list[Recorded]:
    """Return the group with the place of each row in results.jsonl.

    `lines` are those of its rows, in order.
    """
    places, recorded = iter(lines), list[Recorded]()
    for finished, texts in group:
        if texts is None:
            recorded.append((finished, None))
        else:
            start, line = next(places)
            recorded.append((Finished(*finished[:-2], start, len(line)), line))
    return recorded
