"""Rows of a manifest by its kind, and the complaints about them."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from itertools import chain
from typing import TextIO

from ..console.foreign import csv_fault
from ..errors import JobError
from ..language import _, mark
from .keys import quoted

MAX_ROW = 1 << 16
"""The longest row, in characters; no path is nearly as long, and a file without line ends must not fill the memory."""

SEPARATORS = ",;\t，"
"""Separators of a table's cells, in the order in which they are tried."""

_SEPARATORS = mark("a comma, a semicolon, a tab or a full-width comma")

_END_OF_FILE = "\x1a"
"""Ctrl-Z, which programs from DOS write behind the last line."""

_BLANKS = " \t\r\n\ufeff\u3000\xa0"
_HEADER_LINES = 20  # of one header; its cells may have line breaks
_SHOWN = 20  # columns that a complaint lists
_LONGEST = 60  # characters of a value in a complaint


class Lines:
    """The lines of a manifest with their ends, and the complaints about them.

    The reader of rows calls `start_row` before each row, which may be of several lines but not of more than `MAX_ROW`
    characters. `file` is opened with `newline=""`, or with the only line end that counts.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._number = 0
        self._first = 1
        self._room = MAX_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = self._file.readline(self._room + 1)
        except UnicodeDecodeError as error:
            raise self.wrong(_("not {encoding}; save the list as UTF-8").format(encoding=error.encoding)) from error
        if not line:
            raise StopIteration
        self._number += 1
        self._room -= len(line)
        if self._room < 0:
            raise self.wrong(_("a row of more than {max_row:,} characters; expected a path").format(max_row=MAX_ROW))
        if self._number == 1:
            line = line.removeprefix("\ufeff")
        return _without_end(line) if _END_OF_FILE in line else line

    @property
    def line(self) -> int:
        """The line on which the current row starts."""
        # Where the file has ended, no row starts any more; the last line is the place then.
        return max(1, min(self._first, self._number))

    def start_row(self) -> None:
        """Begin a new row on the next line."""
        self._first = self._number + 1
        self._room = MAX_ROW

    def wrong(self, complaint: str) -> JobError:
        """The complaint about the current row."""
        return wrong(self._name, self.line, complaint)


def wrong(name: str, line: int, complaint: str) -> JobError:
    """A complaint about a line of a manifest."""
    return JobError(
        _("input.manifest: {name}, line {line}: {complaint}").format(name=quoted(name), line=line, complaint=complaint)
    )


def kind(name: str) -> str:
    """The suffix that says how a manifest is read; one of `READERS`, or the manifest is of no known kind."""
    return os.path.splitext(name)[1].lower()


def _without_end(line: str) -> str:
    """The line without the Ctrl-Z at the end of the file; one that holds nothing else is blank."""
    return line.rstrip(_END_OF_FILE) if line.strip(_END_OF_FILE + "\r\n") else "\n"


def _txt(lines: Lines, _column: str) -> Iterator[str]:
    return _single(lines)


def _jsonl(lines: Lines, column: str) -> Iterator[str]:
    expected = _('expected an object like {{{column}: "a.jpg"}}').format(column=quoted(column))
    for text in _single(lines):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            hint = _("; in JSON a backslash is written twice") if "\\" in text else ""
            raise lines.wrong(f"not JSON; {expected}{hint}") from error
        if not isinstance(row, dict):
            raise lines.wrong(_("{shown} is not an object; {expected}").format(shown=_shown(row), expected=expected))
        if column not in row:
            raise lines.wrong(_no_such(_("key"), column, list(row)))
        path = "" if row[column] is None else row[column]
        if not isinstance(path, str):
            raise lines.wrong(
                _("key {column} is {shown}; expected a path").format(column=quoted(column), shown=_shown(path))
            )
        yield path


def _csv(lines: Lines, column: str) -> Iterator[str]:
    return _table(lines, column, SEPARATORS)


def _tsv(lines: Lines, column: str) -> Iterator[str]:
    return _table(lines, column, "\t,;，")


READERS: dict[str, Callable[[Lines, str], Iterator[str]]] = {".txt": _txt, ".csv": _csv, ".tsv": _tsv, ".jsonl": _jsonl}
"""Readers of the paths by the manifest's suffix; a blank path is a row without a file."""


def _single(lines: Lines) -> Iterator[str]:
    """Rows of one line each, without their ends; blank ones are left out."""
    for line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        if text.strip():
            yield text
        lines.start_row()


def _table(lines: Lines, column: str, separators: str) -> Iterator[str]:
    """The cells of a column. The header names it, and has the separator of all rows."""
    begun, separator = _begin(lines, column, separators)
    records = _records(lines, chain(begun, lines), separator)
    header = next(records, [])
    index = _index(header, column)
    if index is None:
        raise lines.wrong(_no_such(_("column"), column, header) + _undivided(column, header))
    for record in records:
        yield record[index] if len(record) > index else ""


def _begin(lines: Lines, column: str, separators: str) -> tuple[list[str], str]:
    """Lines of the header and its separator: one that makes the column a cell, else that of most cells."""
    for line in lines:
        text = line.strip(_BLANKS)
        if lines.line == 1 and text.strip('"').lower().startswith("sep="):
            separators = _declared(lines, line.strip('"\r\n')[4:])
        elif "".join(text.split()).strip(SEPARATORS) and not text.startswith("#TYPE "):  # written by Export-Csv
            break
        lines.start_row()
    else:
        raise lines.wrong(
            _("the file is empty; expected a header with the column {column}").format(column=quoted(column))
        )
    begun = [line]
    while True:
        names = {separator: next(csv.reader(begun, delimiter=separator), []) for separator in separators}
        for separator in separators:
            if _index(names[separator], column) is not None:
                return begun, separator
        if "".join(begun).count('"') % 2 == 0 or len(begun) == _HEADER_LINES or not (line := next(lines, "")):
            return begun, max(separators, key=lambda separator: len(names[separator]))
        begun.append(line)


def _undivided(column: str, header: list[str]) -> str:
    """Advice for a header that is one cell although the column's name is a part of it."""
    whole = len(header) != 1 or header[0].isalnum() or column not in header[0]
    return "" if whole else _("; cells are divided by {separators}").format(separators=_(_SEPARATORS))


def _declared(lines: Lines, separator: str) -> str:
    """The separator of a `sep=` line, which Excel reads and writes."""
    if separator not in list(SEPARATORS):
        raise lines.wrong(
            _("{given}; expected {separators}").format(given=quoted("sep=" + separator), separators=_(_SEPARATORS))
        )
    return separator


def _index(header: list[str], column: str) -> int | None:
    """Position of the column, by its name as it is written, else without blanks and quotes around it."""
    for names in (header, [name.strip(_BLANKS + "\"'") for name in header]):
        if names.count(column) == 1:
            return names.index(column)
    return None


def _records(lines: Lines, source: Iterator[str], separator: str) -> Iterator[list[str]]:
    """The records of a table; those without any text, as spreadsheets leave them at the end, are left out."""
    reader = csv.reader(source, delimiter=separator, strict=True)
    while True:
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise lines.wrong(_("broken CSV: {error}").format(error=csv_fault(error))) from error
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
        return _("{what} {column} is there {count} times; expected it once").format(
            what=what, column=quoted(column), count=names.count(column)
        )
    listed = ", ".join(map(_shown, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
    close = get_close_matches(column, names, n=1)
    hint = _("; did you mean {shown}?").format(shown=_shown(close[0])) if close else ""
    return _("no {what} {column}; expected one of {known}{hint}").format(
        what=what, column=quoted(column), known=listed or _("none"), hint=hint
    )
