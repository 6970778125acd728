"""results.csv: one row per label, for people with a spreadsheet."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..model import Row

COLUMNS = (
    *("image", "step", "service", "rank", "name", "score", "root", "calorie", "year"),
    *("left", "top", "width", "height", "log_id", "answered_at"),
)

_SIDES = ("left", "top", "width", "height")
_NO_LABEL = "," * 9
_NO_BOX = ",,,"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_QUOTED = re.compile('[",\r\n]')


class CsvOutput:
    """Rows as CSV with CRLF. The byte order mark tells Excel that it is UTF-8."""

    filename = "results.csv"
    header = ("\ufeff" + ",".join(COLUMNS) + "\r\n").encode()

    def encode(self, row: Row) -> bytes:
        """A line for every label, or one with an empty rank where there is none.

        What is the same in all lines of a row is written once, and what a label says is mostly known: the standard
        library's writer takes five times as long.
        """
        head = f"{_cell(row['image'])},{_cell(row['step'])},{_cell(row['service'])}"
        tail = f"{_cell(row['response'].get('log_id'))},{_cell(row['answered_at'])}\r\n"
        labels = [f"{rank},{_cells(label)}" for rank, label in enumerate(row["labels"], start=1)] or [_NO_LABEL]
        return "".join([f"{head},{label},{tail}" for label in labels]).encode("utf-8", "replace")


def _cells(label: Mapping[str, Any]) -> str:
    get = label.get
    name, rest = _meaning(get("name"), get("root"), get("calorie"), get("year"))
    box = get("box")
    return f"{name},{_cell(get('score'))},{rest}," + (",".join([_cell(box.get(s)) for s in _SIDES]) if box else _NO_BOX)


@lru_cache(4096, typed=True)
def _meaning(name: object, root: object, calorie: object, year: object) -> tuple[str, str]:
    """What is left and right of the score. A service has some thousand labels, each of which always says the same."""
    return _cell(name), f"{_cell(root)},{_cell(calorie)},{_cell(year)}"


def _cell(value: object) -> str:
    """A value as RFC 4180 has it. Text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    if value is None:
        return ""
    if type(value) is float:
        return str(value)
    text = str(value)
    if isinstance(value, str) and text.startswith(_FORMULA):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
