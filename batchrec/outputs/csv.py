"""results.csv: one row per label, for people with a spreadsheet."""

import csv
import io
from collections.abc import Mapping
from typing import Any

from ..model import Row

COLUMNS = (
    *("image", "step", "service", "rank", "name", "score", "root", "calorie", "year"),
    *("left", "top", "width", "height", "log_id", "answered_at"),
)

_NOTHING: list[object] = [""] * 10
_NO_BOX = [""] * 4

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class CsvOutput:
    """Rows as CSV with CRLF. The byte order mark tells Excel that it is UTF-8."""

    filename = "results.csv"
    header = ("\ufeff" + ",".join(COLUMNS) + "\r\n").encode()

    def encode(self, row: Row) -> bytes:
        """A line for every label, or one with an empty rank where there is none."""
        head = [_cell(row["image"]), _cell(row["step"]), _cell(row["service"])]
        tail = [_cell(row["response"].get("log_id")), _cell(row["answered_at"])]
        labels = [_cells(rank, label) for rank, label in enumerate(row["labels"], start=1)] or [_NOTHING]
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows([head + label + tail for label in labels])
        return text.getvalue().encode("utf-8", "replace")


def _cells(rank: int, label: Mapping[str, Any]) -> list[object]:
    get, box = label.get, label.get("box")
    return [
        rank,
        _cell(get("name")),
        _cell(get("score")),
        _cell(get("root")),
        _cell(get("calorie")),
        _cell(get("year")),
        *([_cell(box.get(side)) for side in ("left", "top", "width", "height")] if box else _NO_BOX),
    ]


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
