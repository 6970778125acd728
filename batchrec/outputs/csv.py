"""results.csv: one row per label, for people with a spreadsheet."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..values import Row

COLUMNS = (
    *("image", "step", "service", "rank", "name", "score", "root", "calorie", "year"),
    *("left", "top", "width", "height", "log_id", "answered_at", "error"),
)

_SIDES = ("left", "top", "width", "height")
_NO_LABEL = "," * 9  # rank to height are empty
_NO_BOX = ",,,"
_MOST_KEPT, _LONG = 4096, 100  # labels in the cache, characters of a text in it

_SIGNS = r"=+\-@＝＋－＠"
"""Signs that begin a formula, in a character class; Excel takes the full-width ones for the others."""

_FORMULA = re.compile(rf"[{_SIGNS}\t\r\n\0]|.*[;\t][{_SIGNS}]", re.DOTALL).match
_INNER = re.compile(rf"(?<=[;\t])(?=[{_SIGNS}])")
_NUMBERS = (float, int, bool)
_QUOTED = re.compile('[",\r\n]')
_PLAIN = re.compile(rf'[^{_SIGNS}\t\r\n\0",;][^\t\r\n",;]*').fullmatch


class CsvOutput:
    """Rows as CSV with CRLF. The byte order mark tells Excel that it is UTF-8."""

    name = "csv"
    filename = "results.csv"
    dialect = 3
    """1: an apostrophe before ASCII signs, tab and CR at a cell's start; 2: before full-width signs, and inside too.

    3: the column `error`, with the failed images at the end of the file.
    """
    header = ("\ufeff" + ",".join(COLUMNS) + "\r\n").encode()

    def encode(self, row: Row) -> bytes:
        """A line for every label, or one with an empty rank where there is none.

        Cells that all lines of a row share are written once, and those of a label are mostly cached: the standard
        library's writer takes several times as long.
        """
        head = f"{_cell(row['image'])},{_asked(row['step'], row['service'])},"
        tail = f",{_cell(row['response'].get('log_id'))},{_cell(row['answered_at'])},\r\n"
        lines = [_label(rank, label) for rank, label in enumerate(row["labels"], start=1)] or [_NO_LABEL]
        return f"{head}{f'{tail}{head}'.join(lines)}{tail}".encode("utf-8", "replace")

    def encode_failure(self, failure: Row) -> bytes:
        """A line with an empty rank and the failure's code."""
        asked = f"{_cell(failure['image'])},{_asked(failure['step'], failure['service'])},"
        return f"{asked}{_NO_LABEL},,,{_cell(failure['code'])}\r\n".encode("utf-8", "replace")


def _label(rank: int, label: Mapping[str, Any]) -> str:
    get = label.get
    score, box = get("score"), get("box")
    number = score if type(score) is float else _cell(score)
    name, rest = _MEANINGS[get("name"), get("root"), get("calorie"), get("year")]
    return f"{rank}{name}{number}{rest}{_cells(*map(box.get, _SIDES)) if box else _NO_BOX}"


class _Meanings(dict[tuple[object, ...], tuple[str, str]]):
    """Cache of the cells left and right of a score, by the label's other values.

    Numbers are not cached, since other numbers are equal to them, nor long texts: a broken service has many.
    """

    def __missing__(self, said: tuple[object, ...]) -> tuple[str, str]:
        name, *others = said
        cells = f",{_cell(name)},", f",{_cells(*others)},"
        if len(self) < _MOST_KEPT and all(each is None or (type(each) is str and len(each) < _LONG) for each in said):
            self[said] = cells
        return cells


_MEANINGS = _Meanings()


@lru_cache(64)
def _asked(step: str, service: str) -> str:
    return _cells(step, service)


def _cells(*values: object) -> str:
    return ",".join([_cell(value) for value in values])


def _cell(value: object) -> str:
    """A value as a cell by RFC 4180.

    Text that a spreadsheet would take for a formula begins with an apostrophe.

    Excel separates at `;` where the decimal sign is a comma, and at tabs when text is pasted: what follows one of
    these inside a text may become a cell too, so a sign that begins a formula there gets its own apostrophe.
    """
    if value is None:
        return ""
    text = str(value)
    if type(value) in _NUMBERS or _PLAIN(text):
        return text
    text = escape_formula(text)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def escape_formula(text: str) -> str:
    """The text with an apostrophe before each sign that begins a formula in a spreadsheet."""
    return "'" + _INNER.sub("'", text) if _FORMULA(text) else text
