"""A manifest: a file that lists the inputs, one path a row.

What is wrong in it is refused with its line.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import BinaryIO

from ..errors import JobError
from ..values import InputEntry
from .keys import normal, printable, quoted
from .scope import Scope, reason

MAX_ROW = 1 << 16
"""The longest row, in bytes; no path is nearly as long, and a file without line ends must not fill the memory."""

MAX_PATH = 4096
"""The longest path, in bytes: Linux takes no more, and to look at each of a longer one's folders takes seconds."""

_BUFFER = 1 << 20  # bytes
_BOM = b"\xef\xbb\xbf"
_SHOWN = 20  # columns that a complaint lists
_LONGEST = 60  # characters of a value in a complaint


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest as the job file names it; its paths are relative to its own folder."""

    given: str
    column: str
    source: int
    scope: Scope

    def __iter__(self) -> Iterator[InputEntry]:
        """Every row in order, whether its file exists or not.

        Raises JobError at the first row that is no path.
        """
        read = READERS[kind(self.given)]
        with self._opened() as lines:
            for position, path in enumerate(read(lines, self.column), start=1):
                if found := self._found(path, position):
                    yield found

    def _found(self, path: str, position: int) -> InputEntry | None:
        # NUL is taken out first: early 3.11 releases cut a path short there, and another file would be meant.
        written = os.path.join(os.path.dirname(self.given), path.replace("\0", r"\x00"))
        key = normal(written)
        if _is_too_long(path):
            # Not the key of another row, if the path is long by its detours alone.
            name, _ = printable(key if _is_too_long(key) else written)
            return InputEntry(name, self.source, position, -1, 0, f"the path has more than {MAX_PATH:,} bytes")
        found = self.scope.examine(key, self.source, position)
        if found and "\0" in path:
            return found._replace(size=-1, mtime_ns=0, problem="the name holds a NUL byte")
        return found

    @contextmanager
    def _opened(self) -> "Iterator[Lines]":
        try:
            with open(self.scope.full(self.given), "rb", buffering=_BUFFER) as file:
                yield Lines(file, self.given)
        except OSError as error:
            raise JobError(f"input.manifest: {quoted(self.given)} cannot be read: {reason(error)}") from error


class Lines:
    """The lines of a manifest as text, ends included, and the complaints about them.

    Whoever reads calls `start_row` before each row, which may be of several lines but not of more than `MAX_ROW`
    bytes.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._number = 0
        self._first = 1
        self._room = MAX_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(self._room + 1)
        if not raw:
            raise StopIteration
        self._number += 1
        self._room -= len(raw)
        if self._room < 0:
            raise self.wrong(f"a row of more than {MAX_ROW // 1024} KiB; expected a path")
        if self._number == 1:
            raw = raw.removeprefix(_BOM)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            self._first = self._number
            raise self.wrong("not UTF-8; expected UTF-8, with or without byte order mark") from error

    def start_row(self) -> None:
        """Begin a new row on the next line."""
        self._first = self._number + 1
        self._room = MAX_ROW

    def wrong(self, complaint: str) -> JobError:
        """The complaint about the current row, with the line that the row starts on."""
        # Where the file has ended, no row starts any more; the last line is the place then.
        line = max(1, min(self._first, self._number))
        return JobError(f"input.manifest: {quoted(self._name)}, line {line}: {complaint}")


def _is_too_long(path: str) -> bool:
    return 4 * len(path) > MAX_PATH and len(path.encode("utf-8", "surrogatepass")) > MAX_PATH


def kind(name: str) -> str:
    """The suffix that says how a manifest is read; one of `READERS`, or the manifest is of no known kind."""
    return os.path.splitext(name)[1].lower()


def _txt(lines: Lines, _column: str) -> Iterator[str]:
    return _single(lines)


def _jsonl(lines: Lines, column: str) -> Iterator[str]:
    expected = f'expected an object like {{{quoted(column)}: "a.jpg"}}'
    for text in _single(lines):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise lines.wrong(f"not JSON; {expected}") from error
        if not isinstance(row, dict):
            raise lines.wrong(f"{_shown(row)} is not an object; {expected}")
        if column not in row:
            raise lines.wrong(_no_such("key", column, list(row)))
        path = row[column]
        if not isinstance(path, str) or not path.strip():
            raise lines.wrong(f"key {quoted(column)} is {_shown(path)}; expected a path")
        yield path


def _csv(lines: Lines, column: str) -> Iterator[str]:
    records = _records(lines)
    header = next(records, None)
    if header is None:
        raise lines.wrong(f"the file is empty; expected a header with the column {quoted(column)}")
    if header.count(column) != 1:
        raise lines.wrong(_no_such("column", column, header))
    index = header.index(column)
    for record in records:
        if len(record) <= index or not record[index].strip():
            raise lines.wrong(f"column {quoted(column)} is empty; expected a path")
        yield record[index]


READERS: dict[str, Callable[[Lines, str], Iterator[str]]] = {".txt": _txt, ".csv": _csv, ".jsonl": _jsonl}
"""Readers of the paths of a manifest, by its suffix."""


def _single(lines: Lines) -> Iterator[str]:
    """Rows of one line each, without their ends; blank ones are left out."""
    for line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        if text.strip():
            yield text
        lines.start_row()


def _records(lines: Lines) -> Iterator[list[str]]:
    """The CSV's records; those without any text, as spreadsheets leave them at the end, are left out."""
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise lines.wrong(f"broken CSV: {error}") from error
        if record is None:
            return
        if any(cell.strip() for cell in record):
            yield record
        lines.start_row()


def _shown(value: object) -> str:
    text = quoted(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _no_such(what: str, column: str, names: list[str]) -> str:
    if column in names:
        return f"{what} {quoted(column)} is there {names.count(column)} times; expected it once"
    listed = ", ".join(map(_shown, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
    close = get_close_matches(column, names, n=1)
    hint = f"; did you mean {_shown(close[0])}?" if close else ""
    return f"no {what} {quoted(column)}; expected one of {listed or 'none'}{hint}"
