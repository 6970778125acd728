"""xlsx: results.xlsx, one row an image, with the labels of each step side by side.

Texts are written as texts: neither a label that begins with `=` becomes a formula, nor one that begins with `http` a
link, nor a log_id of 19 digits a rounded number. Rows are written as they come and not kept.
"""

import os
from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.exceptions import XlsxFileError

from .. import images
from ..errors import OutputFailed
from ..journal.results import ImageResults
from ..language import _
from ..values import Row
from .boxes import name_of
from .exporter import Export

_SHEET_ROWS = 1_048_575
"""Rows of a sheet below its head, in Excel."""

_CELL_CHARACTERS = 32_767
"""Characters of a cell, in Excel."""

_LINK_CHARACTERS = 1000  # of a path; Excel takes 2,079 for the link as it is encoded
_MOST_LINKS = 65_000  # links of a sheet: Excel takes 65,530
_MOST_THUMBNAILS = 20_000  # images: some 80 MB in the file
_THUMBNAIL_PIXELS = 80
_ROW_POINTS = 62.0  # height of a row with a thumbnail, in typographic points
_LABELS = 3
"""Labels of a step that have columns of their own; `--top` changes that."""

_SETTINGS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
    "in_memory": False,
}


def write_xlsx(export: Export) -> None:
    """Write the images with a selected result or failure. Raises OutputFailed."""
    scratch = export.folder / "scratch"  # on the disk of the target, not in /tmp
    scratch.mkdir()
    book = xlsxwriter.Workbook(export.folder / "results.xlsx", {**_SETTINGS, "tmpdir": str(scratch)})
    try:
        _Workbook(export, book, scratch).write()
        book.close()
    except XlsxFileError as exc:
        raise OutputFailed(_("{path}: cannot be written: {reason}").format(path=export.target, reason=exc)) from exc
    finally:
        book.fileclosed = True  # else its destructor tries again after an error
        for sheet in book.worksheets():  # after an error XlsxWriter leaves its scratch files open
            with suppress(OSError, AttributeError):
                sheet.row_data_fh.close()
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()


class _Sheet:
    """A sheet with a head, which goes on in a further one where it is full."""

    def __init__(self, book: Any, title: str, head: list[tuple[str, float]], style: Any, sheets: int = 1) -> None:
        self._book, self._title, self._head, self._style = book, title, head, style
        self._ready = [self._made(number) for number in range(1, sheets + 1)]
        self.sheet, self.row, self._number = self._ready.pop(0), 0, 1

    def next(self) -> int:
        """The number of the next row."""
        if self.row == _SHEET_ROWS:
            self._number += 1
            self.sheet = self._ready.pop(0) if self._ready else self._made(self._number)
            self.row = 0
        self.row += 1
        return self.row

    def text(self, column: int, value: object, style: Any = None) -> None:
        """Write a text into the current row; nothing for None."""
        if value is not None and value != "":
            self.sheet.write_string(self.row, column, _clean(str(value)), style)

    def _made(self, number: int) -> Any:
        sheet = self._book.add_worksheet(self._title if number == 1 else f"{self._title} {number}")
        sheet.freeze_panes(1, 1)
        for column, (name, width) in enumerate(self._head):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, _clean(name), self._style)
        return sheet


class _Workbook:
    """The three sheets of the workbook: images, counts of labels, failures."""

    def __init__(self, export: Export, book: Any, scratch: Path) -> None:
        self._export, self._book, self._scratch = export, book, scratch
        self._red = book.add_format({"font_color": "#9C0006", "bg_color": "#FFC7CE"})
        self._time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._score = book.add_format({"num_format": "0.000"})
        self._link = book.get_default_url_format()
        wanted = export.selection
        self._steps = [step for step in export.results.every_step() if wanted.step in (None, step)]
        self._labels = wanted.top or _LABELS
        self._each = 2 * self._labels + 3
        self._starts = {step: 2 + number * self._each for number, step in enumerate(self._steps)}
        """First column of each step."""
        total = export.results.journal.images_with_results()
        self._thumbnails = total <= _MOST_THUMBNAILS
        if not self._thumbnails:
            export.leave_out(
                _("thumbnails, since there are more than {most:,} images").format(most=_MOST_THUMBNAILS), total
            )
        bold = book.add_format({"bold": True})
        self._images = _Sheet(book, _("Images"), self._head(), bold, -(-total // _SHEET_ROWS) or 1)
        counts = [(_("step"), 20.0), (_("label"), 30.0), (_("images"), 10.0)]
        self._counts = _Sheet(book, _("Labels"), counts, bold)
        failed = [("image", 40.0), *((name, 16.0) for name in ("step", "kind", "code")), ("message", 60.0)]
        self._failures = _Sheet(
            book, _("Failures"), [*failed, ("attempts", 10.0), (_("failed at (local)"), 20.0)], bold
        )
        book.set_properties({"title": export.results.name, "comments": f"base: {export.results.base}"})

    def write(self) -> None:
        """Write all rows."""
        counts: Counter[tuple[str, str]] = Counter()
        for image in self._export.by_image(failures_too=True):
            self._write_image(image, counts)
            for failure in image.failures:
                self._write_failure(failure)
            self._export.written += 1
        for (step, name), total in sorted(counts.items(), key=lambda each: (each[0][0], -each[1])):
            at = self._counts.next()
            self._counts.text(0, step)
            self._counts.text(1, name)
            self._counts.sheet.write_number(at, 2, total)

    def _head(self) -> list[tuple[str, float]]:
        head = [(_("image"), 40.0), ("", 14.0 if self._thumbnails else 2.0)]
        for step in self._steps:
            for number in range(1, self._labels + 1):
                head += [(f"{step}: {_('label')} {number}", 18.0), (f"{step}: {_('score')} {number}", 8.0)]
            head += [(f"{step}: log_id", 22.0), (f"{step}: {_('answered at (local)')}", 20.0), (f"{step}: error", 16.0)]
        return head

    def _write_image(self, image: ImageResults, counts: Counter[tuple[str, str]]) -> None:
        row = self._images.next()
        self._write_name(row, image)
        if self._thumbnails:
            self._put_thumbnail(row, image.image)
        for result in image.rows:
            step = result["step"]
            for name in dict.fromkeys(self._write_result(row, self._starts[step], result)):
                counts[step, name] += 1
        for failure in image.failures:
            self._images.text(self._starts[failure["step"]] + self._each - 1, failure["code"], self._red)

    def _write_name(self, row: int, image: ImageResults) -> None:
        """Write the image's path, as a link to the file where there is room for links."""
        name = self._export.images.named(image.image)
        style = self._red if image.failures else None
        link = self._address(image.image) if row <= _MOST_LINKS else None
        if link is None or self._images.sheet.write_url(row, 0, link, style or self._link, _clean(name)[:255]) < 0:
            self._images.text(0, name, style)

    def _address(self, key: str) -> str | None:
        """The address of an image's file for a link; None where a link cannot have it."""
        if not self._export.images.there(key):
            return None
        path = str(self._export.images.located(key))
        if not self._export.images.absolute:
            path = os.path.relpath(os.path.realpath(path), os.path.realpath(self._export.target))
        # A link takes "#" for the begin of a place within the file.
        return None if any(each in path for each in "#%\n\r") or len(path) > _LINK_CHARACTERS else f"external:{path}"

    def _put_thumbnail(self, row: int, key: str) -> None:
        data = self._export.images.read(key)
        small = None if data is None else images.thumbnail(data, _THUMBNAIL_PIXELS)
        if small is None:
            return
        path = self._scratch / f"{row}-{self._images.sheet.index}.thumbnail"
        path.write_bytes(small.jpeg)
        self._images.sheet.set_row(row, _ROW_POINTS)
        self._images.sheet.insert_image(row, 1, str(path), {"object_position": 1, "decorative": True})

    def _write_result(self, row: int, column: int, result: Row) -> list[str]:
        """Write a result; returns the names of its labels."""
        sheet = self._images.sheet
        labels = list(self._export.labels(result))
        names = [*map(name_of, labels)]
        for at, label, name in zip(range(column, column + 2 * self._labels, 2), labels, names, strict=False):
            self._images.text(at, name)
            if isinstance(score := label.get("score"), int | float):
                sheet.write_number(row, at + 1, score, self._score)
        column += 2 * self._labels
        self._images.text(column, result["response"].get("log_id"))
        if (moment := _local(result["answered_at"])) is not None:
            sheet.write_datetime(row, column + 1, moment, self._time)
        return names

    def _write_failure(self, failure: Row) -> None:
        row = self._failures.next()
        self._failures.text(0, self._export.images.named(failure["image"]), self._red)
        for column, name in enumerate(("step", "kind", "code", "message"), start=1):
            self._failures.text(column, failure[name])
        self._failures.sheet.write_number(row, 5, failure["attempts"])
        if (moment := _local(failure["failed_at"])) is not None:
            self._failures.sheet.write_datetime(row, 6, moment, self._time)


def _local(moment: str) -> datetime | None:
    """The time in the zone of this machine, without the zone: Excel has none."""
    try:
        return datetime.fromisoformat(moment).astimezone().replace(tzinfo=None)
    except ValueError:
        return None


def _clean(text: str) -> str:
    """The text as a cell may have it: no characters that XML has not, and not too long."""
    return text[:_CELL_CHARACTERS].replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
