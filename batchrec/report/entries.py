"""Entries: every result and failure that counts, by the names of the images, each with its line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from ..errors import OutputFailed
from ..exact_json import dumps
from ..journal.database import translated
from ..journal.endings import Ending
from ..journal.results import Results, cut, read_at, results_of
from ..outputs.jsonl import JsonlOutput
from ..values import Row


class Entry(NamedTuple):
    """A result or a failure.

    `line` is its JSON as results.jsonl or failures.jsonl has it, without the line's end.
    `row` is that JSON without `response`; integers of over 64 bits are floats in it. `outdated`: the file, or the
    options of the step, have changed since, and the image is called for again.
    """

    number: int
    image: str
    sha256: bytes | None
    step: str
    row: Row
    line: bytes
    failed: bool
    outdated: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """An output directory that is read entry by entry, and its results."""

    results: Results
    file: BinaryIO | None

    def entries(self) -> Iterator[Entry]:
        """Every entry, by the names of the images; those of one image follow each other.

        Raises OutputFailed where a row is not where the journal has it: the file has been replaced meanwhile.
        """
        with translated(self.results.directory / JsonlOutput.filename):
            yield from map(self._entry, self.results.journal.endings.all())

    def entries_of(self, sha256: bytes) -> list[Entry]:
        """Entries of the images with these bytes, by their names. Raises as `entries` does."""
        with translated(self.results.directory / JsonlOutput.filename):
            return [self._entry(ending) for ending in self.results.journal.endings.of(sha256)]

    def _entry(self, ending: Ending) -> Entry:
        row: Row
        if ending.failure is not None:
            row, line = ending.failure, dumps(ending.failure)
        else:
            line = self._line(ending)
            row = _parsed(line)
            if row.get("image") != ending.image or row.get("step") != ending.step:
                raise OutputFailed(
                    f"{self.results.directory / JsonlOutput.filename}: the row of {ending.image!r} is not where the "
                    "journal has it; if a run has just ended, run the command again, else see `batchrec verify`"
                )
        failed = ending.failure is not None
        return Entry(ending.number, ending.image, ending.sha256, ending.step, row, line, failed, ending.superseded)

    def _line(self, ending: Ending) -> bytes:
        if self.file is None:
            return b""
        return read_at(self.file, ending.start, ending.length).rstrip(b"\n")


def _parsed(line: bytes) -> Row:
    try:
        row = orjson.loads(cut(line)[0])
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


@contextmanager
def entries_of(directory: Path) -> Iterator[Directory]:
    """Open an output directory. Raises JobError where it is none, OutputFailed where it cannot be read."""
    with results_of(directory) as results:
        path = directory / JsonlOutput.filename
        with translated(path):
            file = path.open("rb") if path.exists() else None
        try:
            yield Directory(results, file)
        finally:
            if file is not None:
                file.close()
