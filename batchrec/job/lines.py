"""Lines on which the keys of a job file stand, for complaints.

The text is TOML that `tomllib` has read: this scanner only follows keys, brackets and strings. No library for TOML
keeps positions.
"""

import re
import tomllib
from bisect import bisect
from collections.abc import Mapping

Loc = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"[A-Za-z0-9_-]+|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'',
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[Loc, int]:
    """The line, from 1, on which each key, table and entry of a list begins; {} for a text not followed."""
    scanner = _Scanner(text)
    try:
        scanner.document()
    except (RecursionError, tomllib.TOMLDecodeError, _Lost):  # nothing depends on it but the numbers in complaints
        return {}
    return scanner.lines


def line_of(loc: Loc, lines: Mapping[Loc, int]) -> int | None:
    """The line of what `loc` names, or of the innermost table around it; None if unknown."""
    return next((lines[loc[:length]] for length in range(len(loc), 0, -1) if loc[:length] in lines), None)


class _Lost(Exception):
    """The text is not what was expected here."""


class _Scanner:
    """Position in a text, and the lines found so far."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Loc, int] = {}
        self._text = text
        self._at = 0
        self._breaks = [place.start() for place in re.finditer("\n", text)]
        self._entries: dict[Loc, int] = {}

    def document(self) -> None:
        """Follow all tables and keys."""
        table: Loc = ()
        self._skip()
        while self._at < len(self._text):
            if self._takes("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip()

    def _header(self) -> Loc:
        """A table, or with two brackets an entry of a list of tables."""
        start = self._at
        entry = self._takes("[")
        *outer, last = self._keys()
        loc: Loc = ()
        for key in outer:
            loc = self._inner((*loc, key))
        loc = (*loc, last)
        if entry:
            index = self._entries[loc] = self._entries.get(loc, -1) + 1
            self._note(loc, start)
            loc = (*loc, index)
        self._note(loc, start)
        self._expect("]]" if entry else "]")
        return loc

    def _inner(self, loc: Loc) -> Loc:
        """The table itself; of a list of tables the entry under way."""
        return (*loc, self._entries[loc]) if loc in self._entries else loc

    def _pair(self, table: Loc) -> None:
        loc, start = table, self._at
        for key in self._keys():
            loc = (*loc, key)
            self._note(loc, start)
        self._expect("=")
        self._value(loc)

    def _keys(self) -> list[str]:
        found = []
        while True:
            self._skip()
            key = self._match(_KEY)
            found.append(next(iter(tomllib.loads(f"{key} = 0"))))
            self._skip()
            if not self._takes("."):
                return found

    def _value(self, loc: Loc) -> None:
        self._skip()
        if self._takes("["):
            self._list(loc)
        elif self._takes("{"):
            self._inline(loc)
        elif self._text[self._at : self._at + 1] in ('"', "'"):
            self._match(_STRING)
        else:
            self._match(_BARE)

    def _list(self, loc: Loc) -> None:
        for index in range(len(self._text)):
            self._skip()
            if self._takes("]"):
                return
            self._note((*loc, index), self._at)
            self._value((*loc, index))
            self._skip()
            self._takes(",")

    def _inline(self, loc: Loc) -> None:
        self._skip()
        while not self._takes("}"):
            self._pair(loc)
            self._skip()
            self._takes(",")
            self._skip()

    def _note(self, loc: Loc, at: int) -> None:
        self.lines.setdefault(loc, bisect(self._breaks, at - 1) + 1)

    def _skip(self) -> None:
        if blank := _BLANK.match(self._text, self._at):
            self._at = blank.end()

    def _takes(self, sign: str) -> bool:
        there = self._text.startswith(sign, self._at)
        self._at += len(sign) * there
        return there

    def _expect(self, sign: str) -> None:
        self._skip()
        if not self._takes(sign):
            raise _Lost

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()
        return found[0]
