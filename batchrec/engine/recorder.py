"""Recording what is finished: rows for every output, then one group commit.

A group is written, flushed and synced to the result files first and committed to the journal after, so that a kill
between the two leaves rows that the next opening cuts off, never an answer that is noted but not there.
"""

import asyncio
from collections.abc import Callable, Sequence

from ..journal import Finished, Journal
from ..outputs.files import Line, ResultFiles, Texts, writing
from .rows import Outcome

GROUP_SECONDS = 0.15
"""How long an answer waits for company, at most. With the commit itself it stays under the promised quarter second."""

GROUP_MOST = 1000
"""Outcomes that wait at most; whoever has another one waits for the commit."""


Written = tuple[Finished, Texts | None]
"""What the journal is to note of an outcome, and its row as text."""

Recorded = tuple[Finished, bytes | None]
"""What the journal notes of an outcome, and its line in results.jsonl where there is one."""


class Recorder:
    """Collects outcomes and commits them in groups.

    Each group is given to `remember` in a thread when it is noted, and to `committed` on the event loop when it is on
    the disk. After `run` has ended with an error nothing more is recorded.
    """

    def __init__(
        self,
        journal: Journal,
        files: ResultFiles,
        committed: Callable[[Sequence[Recorded]], None],
        remember: Callable[[Sequence[Recorded]], None] = lambda group: None,
    ) -> None:
        self._journal = journal
        self._files = files
        self._committed = committed
        self._remember = remember
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
        """Nothing more will come: commit what waits, and end."""
        self._closing = True
        self._arrived.set()
        self._flush_now.set()

    async def run(self) -> None:
        """Commit groups until closed. Raises OutputFailed. When cancelled, what waits is committed first."""
        try:
            while not (self._closing and not self._waiting):
                await self._arrived.wait()
                await self._wait_for_group()
                await self._shielded_commit()
        except asyncio.CancelledError:
            await self._shielded_commit()
            raise

    async def _wait_for_group(self) -> None:
        try:
            async with asyncio.timeout(GROUP_SECONDS):
                await self._flush_now.wait()
        except TimeoutError:
            pass

    async def _shielded_commit(self) -> None:
        """A group that has begun to be written is finished, whatever happens around it."""
        commit = asyncio.ensure_future(self._commit())
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            await commit
            raise

    async def _commit(self) -> None:
        group, self._waiting = self._waiting, []
        self._arrived.clear()
        if not self._closing:
            self._flush_now.clear()
        if group:
            recorded = placed(group, await self._write([texts for _, texts in group if texts is not None]))
            await asyncio.to_thread(self._note, recorded)
            self._committed(recorded)
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
    """The same group, whose rows stand in results.jsonl as these lines."""
    places, recorded = iter(lines), list[Recorded]()
    for finished, texts in group:
        if texts is None:
            recorded.append((finished, None))
        else:
            start, line = next(places)
            recorded.append((Finished(*finished[:-2], start, len(line)), line))
    return recorded
