"""Thumbnails: JPEGs of 160 px without metadata, 50 to a script, each made once for a content.

Their places are kept by SHA-256 in a database in the report, so that the next report makes only what is new.
"""

import os
import signal
import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import NamedTuple

import pybase64

from ..fetch.cache import is_kept, kept_bytes
from ..images import digest, thumbnail
from ..journal.reader import Reader
from ..sources.store import FileStore
from ..state.directory import state_directory
from ..values import Failure
from .folder import KEPT

PACK_FILES = 50
"""Thumbnails of a script. Of 250 a jump in a sorted view takes seconds, of 25 there are twice as many files."""

SIDE_PIXELS = 160
TYPICAL_BYTES = 5_300
"""Bytes of a thumbnail of 160 px in its script, measured with photographs."""

_CHUNK_FILES = 64  # that a process is given at a time
_FEW_FILES = 32  # are made in this process: another one takes 0.3 s to start
_AHEAD_CHUNKS = 3  # a process


class Made(NamedTuple):
    """Thumbnail as a JPEG, and the size of its picture as displayed; empty where there is none."""

    jpeg: bytes = b""
    width: int = 0
    height: int = 0
    changed: bool = False
    """Whether the file holds other bytes now, or is gone."""


class Wanted(NamedTuple):
    """Thumbnail to be made: the image's number, its key, and the SHA-256 that was recognized."""

    number: int
    key: str
    sha256: bytes


def make(base: str, wanted: list[tuple[str, bytes]], side: int) -> list[Made]:
    """Make the thumbnails of some files below a folder: their keys, and the digests of the bytes expected."""
    store = FileStore(Path(base))
    return [_one(store, key, sha256, side) for key, sha256 in wanted]


def _one(store: FileStore, key: str, sha256: bytes, side: int) -> Made:
    if is_address(key):
        data: bytes | Failure | None = kept_bytes(state_directory(os.environ), sha256)
        if data is None:  # it has made way in the cache, and is no image that has moved
            return Made()
    else:
        data = store.read(key)
    if data is None or isinstance(data, Failure) or digest(data) != sha256:
        return Made(changed=True)
    small = thumbnail(data, side)
    return Made() if small is None else Made(*small)


class Packs:
    """Thumbnails of a report under way, in packs, and the database of their places.

    Those of the earlier report are taken over where they have the same side. Raises OSError and sqlite3.Error.
    """

    def __init__(self, folder: Path, earlier: Path, side: int) -> None:
        self._folder = folder / "data" / "thumbs"
        self._folder.mkdir(parents=True)
        _take_over(self._folder, folder, earlier, side)
        self._db = sqlite3.connect(folder / KEPT, isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")  # a report that is not whole is never used
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(f"PRAGMA user_version = {side}")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS thumbs (sha256 BLOB PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._db.execute("BEGIN")
        last = self._db.execute("SELECT max(place) FROM thumbs").fetchone()[0]
        self._pack = 0 if last is None else last // PACK_FILES + 1
        self._entries: list[bytes] = []

    def place(self, sha256: bytes) -> int | None:
        """The place of a content's thumbnail; None where there is none yet."""
        row = self._db.execute("SELECT place FROM thumbs WHERE sha256 = ?", (sha256,)).fetchone()
        return row[0] if row else None

    def add(self, sha256: bytes, made: Made) -> int:
        """Add a thumbnail; returns its place."""
        place = self._pack * PACK_FILES + len(self._entries)
        self._db.execute("INSERT OR IGNORE INTO thumbs VALUES (?, ?)", (sha256, place))
        encoded = pybase64.b64encode(made.jpeg)
        self._entries.append(b'[%d,%d,"%b"]' % (made.width, made.height, encoded))
        if len(self._entries) == PACK_FILES:
            self._write()
        return place

    def _write(self) -> None:
        content = b'batchrec.take("thumbs/%05d",[%b])\n' % (self._pack, b",\n".join(self._entries))
        (self._folder / f"{self._pack:05d}.js").write_bytes(content)
        self._pack, self._entries = self._pack + 1, []

    def close(self) -> None:
        """Write what is left."""
        if self._entries:
            self._write()
        self._db.execute("COMMIT")
        self._db.close()


def _take_over(packs: Path, folder: Path, earlier: Path, side: int) -> None:
    kept = earlier / KEPT
    if not kept.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{kept.absolute().as_uri()}?mode=ro", uri=True)) as db:
            same = db.execute("PRAGMA user_version").fetchone()[0] == side
            whole = db.execute("SELECT max(place) FROM thumbs").fetchone()[0]
    except sqlite3.Error:
        return
    files = sorted((earlier / "data" / "thumbs").glob("*.js"))
    if not same or whole is None or not files or int(files[-1].stem) != whole // PACK_FILES:
        return
    for file in files:
        _link(file, packs / file.name)
    (folder / KEPT).write_bytes(kept.read_bytes())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        target.write_bytes(source.read_bytes())


@dataclass
class Thumbnails:
    """Places of the thumbnails by the numbers of their images, plus 1; 0: none.

    `made` in this report; `gone`: images whose file is gone or holds other bytes now.
    """

    places: "array[int]" = field(default_factory=lambda: array("I"))
    made: int = 0
    gone: int = 0

    def of(self, number: int) -> int:
        """The place of an image's thumbnail plus 1, or 0."""
        return self.places[number] if number < len(self.places) else 0

    def put(self, number: int, place: int) -> None:
        """Note the place of an image's thumbnail."""
        if number >= len(self.places):
            self.places.extend([0] * (number + 1 - len(self.places)))
        self.places[number] = place + 1


class Maker:
    """Makes the thumbnails that `packs` lacks, in processes where they are many."""

    def __init__(self, packs: Packs, base: Path, side: int, on_made: Callable[[int], None]) -> None:
        self._packs, self._base, self._side, self._on_made = packs, str(base), side, on_made
        self.found = Thumbnails()
        self._waiting: dict[bytes, list[int]] = {}
        """By the digests that are under way: the images that have them."""

    def run(self, journal: Reader, count: int) -> Thumbnails:
        """Make them, `count` being how many there are at most."""
        if count <= _FEW_FILES:
            for chunk in self._chunks(journal):
                self._take(chunk, make(self._base, [wanted[1:] for wanted in chunk], self._side))
            return self.found
        processes = os.cpu_count() or 1
        pool = _pool(processes)
        pending: list[tuple[list[Wanted], Future[list[Made]]]] = []
        try:
            for chunk in self._chunks(journal):
                future = pool.submit(make, self._base, [wanted[1:] for wanted in chunk], self._side)
                pending.append((chunk, future))
                if len(pending) > processes * _AHEAD_CHUNKS and not self._settle(*pending.pop(0)):
                    pool, pending = _pool(processes), []
            for each in pending:
                self._settle(*each)
        finally:
            pool.shutdown(cancel_futures=True)
        return self.found

    def _settle(self, chunk: list[Wanted], future: Future[list[Made]]) -> bool:
        """Take a chunk; False where its process has died, and with it all that were under way."""
        try:
            self._take(chunk, future.result())
        except BrokenProcessPool:
            self._waiting.clear()
            return False
        return True

    def _chunks(self, journal: Reader) -> Iterator[list[Wanted]]:
        chunk: list[Wanted] = []
        for number, key, sha256 in journal.endings.contents():
            place = self._packs.place(sha256)
            if place is not None:
                self.found.put(number, place)
            elif sha256 in self._waiting:
                self._waiting[sha256].append(number)
            elif _can_be_read(key, sha256):
                self._waiting[sha256] = [number]
                chunk.append(Wanted(number, key, sha256))
            if len(chunk) == _CHUNK_FILES:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _take(self, chunk: list[Wanted], made: list[Made]) -> None:
        for wanted, each in zip(chunk, made, strict=True):
            numbers = self._waiting.pop(wanted.sha256, [wanted.number])
            if not each.jpeg:
                self.found.gone += len(numbers) if each.changed else 0
                continue
            self.found.made += 1
            place = self._packs.add(wanted.sha256, each)
            for number in numbers:
                self.found.put(number, place)
        self._on_made(len(chunk))


def missing(journal: Reader, packs: Packs) -> int:
    """Number of images whose thumbnail is not there yet."""
    return sum(
        packs.place(sha256) is None and _can_be_read(key, sha256) for _, key, sha256 in journal.endings.contents()
    )


def _can_be_read(key: str, sha256: bytes) -> bool:
    """Whether it is a file, or an image by URL whose bytes are kept in the cache."""
    return not is_address(key) or is_kept(state_directory(os.environ), sha256)


def is_address(key: str) -> bool:
    """Whether an image is an address, and no file."""
    return key[:8].lower().startswith(("http://", "https://"))


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_belong_to_parent)


def _belong_to_parent() -> None:
    """Leave the end of a process of the pool to the command: no Ctrl-C, and an end where that is killed.

    A pool's processes hold both ends of the pipe of their tasks, and would wait at it for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
