"""Parts: files in which nodes leave what is finished, until the driver has merged it into the results.

A part belongs to one shard, one epoch and one writer, and nobody else writes into it, so that a node that was taken for
dead spoils nothing. Parts lie beside the results, on any file system that fsspec knows:

    parts/SHARD/00005-1f0c9a7e-0001.jsonl    epoch, writer, number; one record a line
    parts/SHARD/DONE-00005-1f0c9a7e.json     written last: the parts with their sizes, records and checksums

On a file system of files, a part is appended to with each group. Object stores have no appending: there, records gather
for some seconds and become a part of their own, and these seconds are what a kill can take.
"""

import errno
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..exact_json import dumps, loads
from ..journal import Finished
from ..language import _
from ..outputs.files import read_row
from ..values import Failure, Kind, Row
from .storage import Storage

PARTS = "parts"
"""Name of the folder of parts in an output directory."""

GATHERED_SECONDS = 5.0
"""Time for which records gather where there is no appending."""

_GATHERED = 1000
"""Records that gather at most."""

_ROW = b',"row":'

_DONE = "DONE-"
"""Beginning of the names of notes."""

_TOKEN = "TOKEN"


class Subject(NamedTuple):
    """Request, treatment and file of an outcome.

    `fingerprint` is the digest of the step's request, `treatment` is `Treatment.decisive`, size and time are those of
    the file as it was listed.
    """

    fingerprint: str
    treatment: str
    size: int
    mtime_ns: int


class Record(NamedTuple):
    """An image that is finished at a step: its row or its failure, and what the journal notes beside it.

    `variant` is the text of `images.variant`; `sha256` is None where the file was not read. `subject` is None in parts
    of versions that did not note it.
    """

    image: str
    step: str
    sha256: bytes | None
    variant: str | None
    attempts: int
    at: str
    row: Row | None = None
    failure: Failure | None = None
    subject: Subject | None = None


def encode(finished: Finished, step: str, subject: Subject, line: bytes | None) -> bytes:
    """The record of an outcome as a line. `line` is its row as results.jsonl has it, None where it failed."""
    task, failure = finished.task, finished.failure
    noted: dict[str, Any] = {"variant": task.variant, "subject": list(subject)}
    if line is not None:
        return dumps(noted)[:-1] + _ROW + line.rstrip(b"\n") + b"}\n"
    assert failure is not None
    noted |= {
        "image": task.key,
        "step": step,
        "sha256": None if finished.sha256 is None else finished.sha256.hex(),
        "attempts": finished.attempts,
        "at": finished.at,
        "failure": [failure.kind.value, failure.code, failure.message],
    }
    return dumps(noted) + b"\n"


def decode(line: bytes) -> Record | None:
    """The record of a line; None where it is not whole, as a kill leaves the last one."""
    if not line.endswith(b"}\n"):
        return None
    start, found, text = line.partition(_ROW)
    try:
        noted = loads(start + b"}" if found else line)
        if found:
            row = read_row(text[:-2] + b"\n")
            return None if row is None else _of_row(row, noted["variant"], _subject(noted))
        kind, code, message = noted["failure"]
        failure = Failure(Kind(kind), code, message)
        own = noted["image"], noted["step"], _digest(noted), noted["variant"], noted["attempts"], noted["at"]
        return Record(*own, failure=failure, subject=_subject(noted))
    except (ValueError, KeyError, TypeError):  # zeros, as a power cut leaves them
        return None


def _of_row(row: Row, variant: str | None, subject: Subject | None) -> Record:
    own = row["image"], row["step"], _digest(row), variant, row["attempts"], row["answered_at"], row
    return Record(*own, subject=subject)


def _subject(noted: Mapping[str, Any]) -> Subject | None:
    return Subject(*noted["subject"]) if "subject" in noted else None


def _digest(noted: Mapping[str, Any]) -> bytes | None:
    return None if noted["sha256"] is None else bytes.fromhex(noted["sha256"])


class Promise(NamedTuple):
    """A part as the note of its finished shard has it: size, records, and SHA-256 in hex."""

    bytes: int
    records: int
    sha256: str


class Read:
    """Size, records and checksum of as much of a part as was written or read."""

    def __init__(self) -> None:
        self.bytes = self._records = 0
        self._sha256 = hashlib.sha256()

    def take(self, content: bytes) -> None:
        """Add the next lines."""
        self.bytes += len(content)
        self._records += content.count(b"\n")
        self._sha256.update(content)

    @property
    def promise(self) -> Promise:
        """The words of a note about it."""
        return Promise(self.bytes, self._records, self._sha256.hexdigest())


class Parts:
    """The parts of an output directory. `url` is a path or any address that fsspec opens. Blocks.

    Raises OSError where they cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        self._storage = Storage(f"{url.rstrip('/')}/{PARTS}")
        self.appends = self._storage.appends
        """Whether files can be appended to."""

    def shards(self) -> list[str]:
        """Names of the shards that have left anything, in order."""
        return [name for name, entry in self._storage.listed().items() if entry["type"] == "directory"]

    def of(self, shard: str) -> dict[str, int]:
        """Names and sizes of a shard's files, the lowest epoch first, its notes after its parts."""
        listed = self._storage.listed(shard)
        files = {name: int(entry["size"] or 0) for name, entry in listed.items()}
        return {name: files[name] for name in sorted(files, key=lambda name: (name.startswith(_DONE), name))}

    def read(self, shard: str, part: str, start: int = 0) -> bytes:
        """Whole lines of a part, from an offset that ends one. Raises FileNotFoundError."""
        content = self._storage.read(f"{shard}/{part}", start)
        return content[: content.rfind(b"\n") + 1]

    def write(self, shard: str, name: str, content: bytes) -> None:
        """Write a file as a whole."""
        self._storage.write(f"{shard}/{name}", content)

    def append(self, shard: str, name: str, content: bytes) -> None:
        """Append to a file, which is made where there is none."""
        self._storage.append(f"{shard}/{name}", content)

    def promises(self, shard: str, note: str) -> dict[str, Promise]:
        """The parts that a note names; none where it was cut short, or is removed."""
        try:
            parts = json.loads(self._storage.read(f"{shard}/{note}"))["parts"]
            return {name: Promise(**noted) for name, noted in parts.items()}
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            return {}

    def remove(self, shard: str) -> None:
        """Remove what a shard has left, once it is merged; notes first, since they promise the others."""
        self._storage.remove([f"{shard}/{name}" for name in self.of(shard) if name.startswith(_DONE)])
        try:
            self._storage.remove_folder(shard)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # a node that was taken for dead has left something just now
                raise

    def put_token(self, token: str | None) -> None:
        """Leave a text by which other nodes tell whether they see this folder; None removes it."""
        if token is None:
            self._storage.remove([_TOKEN])
        else:
            self._storage.write(_TOKEN, token.encode())

    def token(self) -> str:
        """The text that was left; empty where there is none."""
        try:
            return self._storage.read(_TOKEN).decode()
        except FileNotFoundError:
            return ""

    def try_to_write(self) -> None:
        """Write a file of this machine, and remove it."""
        name = f"TRIED-{secrets.token_hex(4)}"
        self._storage.write(name, b"")
        self._storage.remove([name])


class PartWriter:
    """Writes the parts of one shard in one epoch, from any thread.

    `time` is monotonic, in seconds. Blocks.
    """

    def __init__(self, parts: Parts, shard: str, epoch: int, time: Callable[[], float] = time.monotonic) -> None:
        self._parts, self._shard, self._epoch, self._time = parts, shard, epoch, time
        # Beside the epoch: a keeper that has lost its memory may mint one again.
        self._writer, self._number = secrets.token_hex(4), 1
        self._gathered: list[bytes] = []
        self._since = 0.0
        self._lock = threading.RLock()
        self._written: dict[str, Read] = {}

    def add(self, lines: Sequence[bytes]) -> None:
        """Take records in, and write them now or with later ones."""
        with self._lock:
            if not self._gathered:
                self._since = self._time()
            self._gathered += lines
            if self._parts.appends or len(self._gathered) >= _GATHERED:
                self.flush()
            else:
                self.flush_due()

    def flush_due(self) -> None:
        """Write what has gathered for long enough."""
        with self._lock:
            if self._time() - self._since >= GATHERED_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Write what has gathered. It stays gathered where that fails."""
        with self._lock:
            if not self._gathered:
                return
            content = b"".join(self._gathered)
            name = f"{self._epoch:05}-{self._writer}-{self._number:04}.jsonl"
            if self._parts.appends:
                self._parts.append(self._shard, name, content)
            else:
                self._parts.write(self._shard, name, content)
                self._number += 1
            self._gathered = []
            self._written.setdefault(name, Read()).take(content)

    @property
    def promises(self) -> dict[str, Promise]:
        """The parts of this epoch so far."""
        with self._lock:
            return {name: written.promise for name, written in self._written.items()}

    def done(self) -> None:
        """Note that the shard is finished, with the parts of this epoch.

        Nothing is noted where somebody has removed a part: it is merged, and its images are somebody else's.
        """
        self.flush()
        promises, found = self.promises, self._parts.of(self._shard)
        if any(found.get(name) != promise.bytes for name, promise in promises.items()):
            return
        parts = {name: promise._asdict() for name, promise in promises.items()}
        note = {"epoch": self._epoch, "parts": parts}
        self._parts.write(self._shard, f"{_DONE}{self._epoch:05}-{self._writer}.json", json.dumps(note).encode())


def damage(promise: Promise, found: Promise | None) -> str:
    """The reason why a part is not what its note promises; empty where it is.

    `found` None: it is missing.
    """
    if found is None:
        return _("is missing")
    if found == promise:
        return ""
    if found.bytes != promise.bytes:
        text = _("has {found:,} bytes of whole lines, but {bytes:,} were written")
        return text.format(found=found.bytes, bytes=promise.bytes)
    return _("holds other bytes than were written")


def damages(parts: Parts) -> Iterator[tuple[str, str]]:
    """Parts that are not what the notes of their shards promise, each with the reason.

    Reads all of them.
    """
    for shard in parts.shards():
        for note in parts.of(shard):
            for part, promise in parts.promises(shard, note).items() if note.startswith(_DONE) else ():
                found = Read()
                try:
                    found.take(parts.read(shard, part))
                except FileNotFoundError:
                    yield f"{PARTS}/{shard}/{part}", damage(promise, None)
                    continue
                if reason := damage(promise, found.promise):
                    yield f"{PARTS}/{shard}/{part}", reason


def local_parts(directory: Path) -> bool:
    """Whether an output directory has parts that are not merged."""
    folder = directory / PARTS
    return folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir())
