"""The hold of a run on an address, which has no locks: a file with a sign of life every few seconds.

A run on another machine takes over where there has been none for a minute, by the clocks of both. Whoever has lost the
hold writes nothing more. On one machine a lock decides, so that a killed run is resumed at once.
"""

import asyncio
import contextlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGTERM

from filelock import Timeout

from ..concurrency import beside
from ..engine.process import Stopper
from ..errors import DirectoryBusy
from ..language import _
from ..state.directory import make_private, write_private
from ..state.file_system import private_lock
from .storage import Storage

HELD = "HELD.json"
BEAT_SECONDS = 10.0
"""Time between two signs of life."""
GONE_SECONDS = 60.0
"""Age of a sign of life from which on its run is taken for dead."""
_SETTLED_SECONDS = 1.0
"""Time between taking the hold and looking again: an address has no locks, and two machines may both see it free."""


class Hold:
    """The hold of this machine on an address. `now` gives Unix seconds. Blocks. Raises OSError."""

    def __init__(
        self,
        storage: Storage,
        owner: str,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage, self._owner, self._now, self._sleep = storage, owner, now, sleep
        self.lost = False

    def take(self) -> None:
        """Take the hold. Raises DirectoryBusy where the run of another machine has it.

        Of several machines that take it in the same moment, the last one to write has it.
        """
        mine = self._mine()
        self._write()
        while not mine:
            self._sleep(_SETTLED_SECONDS)
            mine = self._mine()
            if not mine:  # whoever gave it up has removed what was written here
                self._write()

    def _mine(self) -> bool:
        """Tell whether this machine has the hold, or nobody. Raises DirectoryBusy where another one has."""
        owner, host, at = self._held()
        age = self._now() - at
        if owner == "" or age >= GONE_SECONDS:
            return False
        if owner != self._owner:
            text = _(
                "{url}: a run on {host} holds it, with a sign of life {age:.0f} s ago; if it is dead, wait a minute"
            )
            raise DirectoryBusy(text.format(url=self._storage.url, host=host, age=max(0.0, age)))
        return True

    def beat(self) -> bool:
        """Give a sign of life; False where somebody else has taken the hold."""
        if self._held()[0] not in ("", self._owner):
            self.lost = True
            return False
        self._write()
        return True

    def release(self) -> None:
        """Give the hold up."""
        if not self.lost and self._held()[0] == self._owner:
            self._storage.remove([HELD])

    def check(self) -> None:
        """Raise DirectoryBusy where the hold is lost: nothing more may be written."""
        if self.lost or not self.beat():
            text = _("{url}: a run on another machine has taken it over; results so far are in its parts")
            raise DirectoryBusy(text.format(url=self._storage.url))

    def _held(self) -> tuple[str, str, float]:
        """Owner, host and last sign of life; an empty owner where nobody holds it."""
        try:
            said = json.loads(self._storage.read(HELD))
            return str(said["owner"]), str(said["host"]), float(said["at"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return "", "", 0.0

    def _write(self) -> None:
        said = {"owner": self._owner, "host": socket.gethostname(), "at": self._now()}
        self._storage.write(HELD, json.dumps(said).encode())


@asynccontextmanager
async def held(storage: Storage, folder: Path, stopper: Stopper) -> AsyncIterator[Hold]:
    """Hold an address. `folder` is this machine's, of that address; a run that loses the hold is stopped.

    Raises DirectoryBusy, OSError.
    """
    make_private(folder)
    lock = private_lock(folder / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise DirectoryBusy(_("{directory}: another run holds it").format(directory=storage.url)) from None
    try:
        hold = Hold(storage, _owner(folder))
        await asyncio.to_thread(hold.take)
        try:
            async with beside(_beating(hold, stopper)):
                yield hold
        finally:
            with contextlib.suppress(OSError):  # it ages
                await asyncio.to_thread(hold.release)
    finally:
        lock.release()


async def _beating(hold: Hold, stopper: Stopper) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        with contextlib.suppress(OSError):  # the next one may come through
            if not await asyncio.to_thread(hold.beat):
                stopper.stop(SIGTERM)
                return


def _owner(folder: Path) -> str:
    """The name of this machine's folder, made once."""
    path = folder / "owner"
    if not path.exists():
        write_private(path, secrets.token_hex(8).encode())
    return path.read_text()
