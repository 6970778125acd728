"""The journal of a run: one SQLite file per output directory, opened for writing by one process.

Two clocks of durability. What is finished is committed in groups, after the result files are on the disk, and then
synced. Calls are counted before they leave, without a sync; `calls` says what a power cut can take of the counts.
"""

import os
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from ..outputs.directory import JOURNAL, open_own
from ..state.durable import boot_id
from .answers import Answers
from .calls import Calls
from .canaries import Canaries
from .database import WRITTEN, Log, connect, open_for_writing, translated
from .opening import Opening
from .queue import Queue
from .reader import Reader
from .schema import current_copy
from .survey import Survey
from .tiles import Tiles
from .treatments import Treatments


class Journal:
    """The parts of one output directory's journal, over one database.

    Raises OutputFailed if it cannot be written.

    `boot` is the kernel's boot id; None: ask the system.
    """

    def __init__(self, directory: Path, boot: str | None = None) -> None:
        path = directory / JOURNAL
        with translated(path, WRITTEN), ExitStack() as opened:
            # Judged before anything could change it: a connection that may write would finish another program's log.
            script = _script(path)
            self.database = open_for_writing(path, script, opened)
            log = Log(path, opened)
            looker = opened.enter_context(closing(connect(path)))
            self.calls = Calls(self.database, log, boot_id() if boot is None else boot)
            self.queue = Queue(self.database)
            self.opening = Opening(self.database, self.calls, self.queue)
            self.answers = Answers(self.database, self.calls, looker)
            self.tiles = Tiles(self.database, self.calls)
            self.canaries = Canaries(self.database, self.calls)
            self.survey = Survey(self.database)
            self.treatments = Treatments(self.database)
            self.reader = Reader(self.database)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let go of the file."""
        with self.database.guarded():
            self._opened.close()

    def note(self, key: str) -> Any:
        """The value of a note, or None."""
        return self.database.note(key)

    def put_note(self, key: str, value: object) -> None:
        """Keep a value under a key; None forgets it."""
        with self.database.transaction():
            self.database.put_note(key, value)

    def sync(self) -> None:
        """Wait until what was committed is on the disk. Takes no lock."""
        self.calls.sync()

    def conclude(self, stamps: str) -> None:
        """Note that a run has come to its end: no call is under way, and the files look like `stamps`."""
        with self.database.transaction():
            self.calls.conclude()
            self.database.put_note("stamps", stamps)


def _script(path: Path) -> str:
    """The script that brings the journal up to date, which is made, empty, where there is none."""
    if not path.exists():
        os.close(open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    with ExitStack() as opened:
        return current_copy(path, opened)[1]
