"""results.csv: one row per label, for people with a spreadsheet."""

import csv
import io

from ..model import Row

COLUMNS = (
    *("image", "step", "service", "rank", "name", "score", "root", "calorie", "year"),
    *("left", "top", "width", "height", "log_id", "answered_at"),
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NO_BOX = {"left": "", "top": "", "width": "", "height": ""}


class CsvOutput:
    """Rows as CSV with CRLF. The byte order mark tells Excel that it is UTF-8."""

    filename = "results.csv"
    header = ("\ufeff" + ",".join(COLUMNS) + "\r\n").encode()

    def encode(self, row: Row) -> bytes:
        """A line for every label, or one with an empty rank where there is none."""
        common = {name: row[name] for name in ("image", "step", "service", "answered_at")}
        common["log_id"] = row["response"].get("log_id")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        for rank, label in enumerate(row["labels"], start=1):
            cells = {**common, **label, **(label.get("box") or _NO_BOX), "rank": rank}
            writer.writerow([_cell(cells.get(column)) for column in COLUMNS])
        if not row["labels"]:
            writer.writerow([_cell(common.get(column)) for column in COLUMNS])
        return text.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
