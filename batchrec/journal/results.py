"""Results of an output directory for whoever reads them: show, report, exports, Python.

A row counts while it is the last one of its image and step and is committed. Bytes behind the committed length belong
to a run under way. The file is opened together with the journal and belongs to it: a run that rewrites results.jsonl
meanwhile puts a new file in its place, and this one is read to its end.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import OutputFailed, ResultsDamaged
from ..exact_json import dumps, loads
from ..language import _
from ..outputs.directory import NEW
from ..outputs.jsonl import JsonlOutput
from ..values import Row
from .database import translated
from .reader import Reader, reading

_BLOCK_BYTES = 256 * 1024
"""Bytes read at a time: they stay in a core's cache while they are cut into lines."""

_OPENINGS = 3
"""Attempts to get a journal and a results.jsonl that belong together; a rewrite lasts as long as a rename."""

_RESPONSE, _AFTER, _END = b',"response":', b',"attempts":', b"}"
_LAST_BYTES = 64 * 1024
"""Bytes read at first to find the last row: a row has about 1 KB."""


@dataclass(frozen=True, slots=True)
class ImageResults:
    """Results and failures of one image that count, in the order of the steps."""

    image: str
    rows: list[Row] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Results:
    """Results and failures of one directory, as they were when it was opened.

    `base` is the folder that images are relative to, absolute.
    """

    directory: Path
    base: Path
    name: str
    endpoint: str
    steps: tuple[str, ...]
    journal: Reader
    file: BinaryIO | None = None
    """results.jsonl; None where there is none."""

    def lines(self) -> Iterator[bytes]:
        """Every row that counts, as its line, in order of completion. Raises as `groups` does."""
        for _start, line in self.placed():
            yield line

    def groups(self) -> Iterator[tuple[int, list[bytes]]]:
        """Every committed line, superseded ones too, in groups: the offset of the first, and the lines.

        Raises as `blocks` does.
        """
        for start, block in self.blocks():
            yield start, block.splitlines(keepends=True)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """The committed bytes in blocks of whole lines, each with its offset.

        Holds one block: a quarter of a megabyte, or one line. Raises OutputFailed where the file cannot be read,
        ResultsDamaged where it is shorter than what was committed.
        """
        length, start, rest = self.length, 0, b""
        with translated(self._path):
            for block in self._blocks(length):
                end = block.rfind(b"\n") + 1
                if end:
                    whole, rest = rest + block[:end], block[end:]
                    yield start, whole
                    start += len(whole)
                else:
                    rest += block
        if start != length:
            raise ResultsDamaged(
                _(
                    "{path}: ends at byte {place:,}, but {length:,} were committed. Put the file back, "
                    "or run the job with --rebuild"
                ).format(path=self._path, place=start, length=length)
            )

    def placed(self) -> Iterator[tuple[int, bytes]]:
        """Every row that counts, in order of completion: its offset in results.jsonl, and its line.

        Raises as `groups` does.
        """
        replaced = self.journal.replaced()
        for start, lines in self.groups():
            for line in lines:
                if start not in replaced:
                    yield start, line
                start += len(line)

    def rows(self) -> Iterator[Row]:
        """Every row that counts, in order of completion, with exact integers. Raises as `groups` does."""
        for _start, line in self.placed():
            yield self.row(line)

    def row(self, line: bytes) -> Row:
        """The row of a line, with exact integers. Raises OutputFailed where it is none."""
        try:
            row: Row | None = loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise OutputFailed(
                _("{path}: holds a line that is no row: {line!r}").format(path=self._path, line=line[:80])
            )
        return row

    def head(self, line: bytes) -> Row:
        """The row of a line without `response` and what follows it, in half the time. Raises as `row` does."""
        # No text holds these bytes as they stand, since JSON escapes the quotation mark. Rows of others may lack them.
        place = line.find(_RESPONSE)
        return self.row(line[:place] + _END) if place > 0 else self.row(line)

    def parts(self, line: bytes) -> tuple[Row, bytes]:
        """The row of a line without `response`, and the JSON of that, as it stands. Raises as `row` does."""
        rest, response = cut(line)
        row = self.row(rest)
        return row, response or dumps(row.pop("response", None))

    def at(self, start: int, length: int) -> bytes:
        """The line at an offset of results.jsonl."""
        with translated(self._path):
            return self._at(start, length)

    def _at(self, start: int, length: int) -> bytes:
        if self.file is None:
            raise OutputFailed(_("{path}: there is no such file").format(path=self._path))
        return read_at(self.file, start, length)

    def every_step(self) -> list[str]:
        """The steps of the job, then those that are no longer in it and have results."""
        return list(dict.fromkeys((*self.steps, *self.journal.steps_with_results())))

    def by_image(self) -> Iterator[ImageResults]:
        """Every image with a result or a failure, in input order. Raises as `lines` does."""
        with translated(self._path):
            for key, places in groupby(self.journal.by_image(), itemgetter(0)):
                found = ImageResults(key)
                for _key, _step, start, length, failure in places:
                    if start is None:
                        found.failures.append(loads(failure.encode()))
                    else:
                        found.rows.append(self.row(self._at(start, length)))
                yield found

    def failures(self) -> Iterator[dict[str, Any]]:
        """Failures that count now: the rows of failures.jsonl, in input order."""
        return self.journal.failures()

    @property
    def length(self) -> int:
        """Committed bytes of results.jsonl."""
        return self.journal.outputs().get(JsonlOutput.filename, (0, 0))[0]

    @property
    def _path(self) -> Path:
        return self.directory / JsonlOutput.filename

    def _blocks(self, length: int) -> Iterator[bytes]:
        """The committed bytes. Other reads of the file may come between two blocks."""
        place = 0
        while self.file is not None and place < length:
            self.file.seek(place)
            block = self.file.read(min(_BLOCK_BYTES, length - place))
            if not block:
                return
            place += len(block)
            yield block


def read_at(file: BinaryIO, start: int, length: int) -> bytes:
    """Bytes of a file from an offset on, whatever its place is."""
    if hasattr(os, "pread"):  # a third of the time of seeking and reading; Windows has none
        return os.pread(file.fileno(), length, start)
    file.seek(start)
    return file.read(length)


def cut(line: bytes) -> tuple[bytes, bytes]:
    """A row's line without `response`, and the JSON of that; the line and nothing where it has none.

    To parse the rest takes half the time.
    """
    start, end = line.find(_RESPONSE), line.rfind(_AFTER)
    if not 0 < start < end:  # what follows `response` is numbers, null and texts: none holds the bytes either
        return line, b""
    return line[:start] + line[end:], line[start + len(_RESPONSE) : end]


@contextmanager
def results_of(directory: Path) -> Iterator[Results]:
    """Open the results of an output directory, also while a run writes there.

    Raises JobError where it is none, or was made by a later version, ResultsDamaged where results.jsonl holds other
    rows than the journal says.
    """
    for attempt in range(_OPENINGS):
        with ExitStack() as stack:
            journal = stack.enter_context(reading(directory))
            file = _opened(directory, journal, stack)
            results = Results(
                directory,
                (directory.resolve() / (journal.note("base") or ".")).resolve(),
                str(journal.note("name") or directory.name),
                str(journal.note("endpoint") or ""),
                tuple(step.name for step in journal.active_steps()),
                journal,
                file,
            )
            if _belongs(results) or attempt == _OPENINGS - 1:
                yield results
                return


def _opened(directory: Path, journal: Reader, stack: ExitStack) -> BinaryIO | None:
    """The file that belongs to the journal: the new one, where a run is about to put it in place."""
    path = directory / JsonlOutput.filename
    names = [path.with_name(path.name + NEW)] if path.name in str(journal.note("swap") or "").split() else []
    for name in (*names, path):
        with translated(name):
            try:
                return stack.enter_context(closing(open(name, "rb", buffering=0)))
            except FileNotFoundError:
                continue
    return None


def _belongs(results: Results) -> bool:
    """Whether the last committed row stands where the journal says; after a rewrite it does not.

    A file that is too short does not belong to the journal either.
    """
    length = results.length
    if not length or results.file is None:
        return not length
    tail = _last_line(results, length)
    try:
        row = json.loads(tail)
        return results.journal.stands(str(row["image"]), str(row["step"]), length - len(tail))
    except (ValueError, KeyError, TypeError):
        return False


def _last_line(results: Results, length: int) -> bytes:
    size = _LAST_BYTES
    while True:
        start = max(0, length - size)
        tail = results.at(start, length - start)
        if start == 0 or b"\n" in tail[:-1]:
            return tail[:-1].rpartition(b"\n")[2] + tail[-1:]
        size *= 8
