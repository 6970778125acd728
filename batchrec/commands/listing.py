"""`batchrec show`: results in the terminal, one row an image, filtered and sorted."""

import csv
import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rich.cells import cell_len, set_cell_size

from ..console.output import printing
from ..console.text import say
from ..engine.canary import describe
from ..exact_json import dumps
from ..journal.canaries import MODEL_CHANGES, changes_of
from ..journal.results import Results, results_of
from ..journal.search import search
from ..journal.selection import Selection
from ..language import _, ngettext
from ..outputs.csv import escape_formula
from ..redact import visible
from ..values import Row
from .links import link_images

Form = Literal["table", "json", "csv", "paths0"]

COLUMNS = ("image", "step", "service", "name", "score", "root", "labels", "answered_at", "error")
"""Columns of `--csv`: a row an image and step, with its top label; `labels` is the number of labels."""

_ROWS_ELSEWHERE = 40
"""Rows of a table without `--limit` where the output is no terminal."""

_FEWEST_ROWS = 10
"""Rows of a table without `--limit` on a low terminal."""

_MARGIN_ROWS = 4  # header, notice and prompt
_LABELS = 3
"""Labels of an image and step in the table."""

_MEASURED_ROWS = 1000
"""Rows from which the widths of the columns are taken."""

_LEAST_NAME_COLUMNS = 16  # cells of a terminal
_COLUMNS_ELSEWHERE = 240  # cells, where standard output is no terminal


@dataclass(frozen=True, slots=True)
class Listing:
    """Request of `show`: which rows, in which order, and in which form.

    `limit`: at most so many images, 0: all; None: as many as the screen holds in a table, else all. `link_to`: a folder
    into which the images are linked, in place of a list.
    """

    selection: Selection
    by_score: bool = False
    limit: int | None = None
    form: Form = "table"
    link_to: Path | None = None

    @property
    def tells_rest(self) -> bool:
        """Whether the user is told how many rows there are beside those shown."""
        return self.limit is None and self.form == "table"


@dataclass(slots=True)
class _Chosen:
    """Rows to print, each with its line of JSON. `total`: number of all that match, where known.

    `cut` is set once the rows are read: there are more than the limit.
    """

    rows: Iterator[tuple[Row, bytes]] = field(default_factory=lambda: iter(()))
    total: int | None = None
    cut: bool = False


def show_results(directory: Path, listing: Listing) -> None:
    """Print the results of an output directory, or its failures. Raises JobError, OutputFailed."""
    with results_of(directory) as results:
        listing.selection.check_steps(results.steps)
        chosen = (_failures if listing.selection.failed else _results)(results, listing, _limit(listing))
        if listing.link_to is not None:
            say(*link_images(results.base, _images(chosen.rows), listing.link_to))
            return
        with printing():
            shown = _PRINTERS[listing.form](results, chosen.rows, listing)
        _tell(shown, chosen, listing)
        for change in changes_of(results.journal.note(MODEL_CHANGES)):
            if not listing.selection.failed and listing.selection.step in (None, change.step):
                say(describe(change))


def _limit(listing: Listing) -> int | None:
    if listing.limit is not None:
        return listing.limit or None
    if listing.form != "table" or listing.link_to is not None:
        return None
    if not sys.stdout.isatty():
        return _ROWS_ELSEWHERE
    return max(_FEWEST_ROWS, shutil.get_terminal_size().lines - _MARGIN_ROWS)


def _results(results: Results, listing: Listing, limit: int | None) -> _Chosen:
    """The results of at most `limit` images."""
    selection = listing.selection
    # The rows of so many images, also at steps that the job has no longer, and one more to know whether there are more.
    most = None if limit is None else limit * (1 if selection.step else len(results.every_step()) or 1) + 1
    found = search(results, selection, by_score=listing.by_score, most=most)
    chosen = _Chosen(total=found.total)
    if not selection.restrictive and selection.step is None and listing.tells_rest:
        chosen.total = results.journal.overview.answered()

    def rows() -> Iterator[tuple[Row, bytes]]:
        images: set[str] = set()
        for match in found.matches:
            line = results.at(match.start, match.length)
            row = results.head(line) if listing.form in ("table", "paths0") else results.row(line)
            if limit is not None:
                images.add(row["image"])
                if len(images) > limit:
                    chosen.cut = True
                    return
            yield row, line

    chosen.rows = rows()
    return chosen


def _failures(results: Results, listing: Listing, limit: int | None) -> _Chosen:
    """The failures of at most `limit` images, in input order."""
    chosen = _Chosen()
    if listing.selection.step is None and listing.tells_rest:
        chosen.total = results.journal.overview.failed()

    def rows() -> Iterator[tuple[Row, bytes]]:
        images: set[str] = set()
        for row in results.failures():
            if not listing.selection.matches_failure(row):
                continue
            images.add(row["image"])
            if limit is not None and len(images) > limit:
                chosen.cut = True
                return
            yield row, dumps(row) + b"\n"

    chosen.rows = rows()
    return chosen


def _images(rows: Iterable[tuple[Row, bytes]]) -> Iterator[str]:
    """Each image once."""
    seen: set[str] = set()
    for row, _line in rows:
        if row["image"] not in seen:
            seen.add(row["image"])
            yield row["image"]


# -- forms


def _print_json(results: Results, rows: Iterable[tuple[Row, bytes]], listing: Listing) -> int:
    shown = 0
    for _row, line in rows:
        sys.stdout.buffer.write(line)
        shown += 1
    return shown


def _print_paths(results: Results, rows: Iterable[tuple[Row, bytes]], listing: Listing) -> int:
    shown = 0
    for image in _images(rows):
        sys.stdout.buffer.write(os.fsencode(_location(results.base, image)) + b"\0")
        shown += 1
    return shown


def _print_csv(results: Results, rows: Iterable[tuple[Row, bytes]], listing: Listing) -> int:
    """Print CSV as results.csv has it: byte order mark, CRLF, no cell that is a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    sys.stdout.buffer.write(b"\xef\xbb\xbf")
    shown = 0
    for row, _line in rows:
        writer.writerow([escape_formula(cell) if isinstance(cell, str) else cell for cell in _cells(row)])
        sys.stdout.buffer.write(text.getvalue().encode("utf-8", "replace"))
        text.seek(0)
        text.truncate()
        shown += 1
    if not shown:
        sys.stdout.buffer.write(text.getvalue().encode())
    return shown


def _cells(row: Row) -> tuple[Any, ...]:
    asked = (row["image"], row["step"], row["service"])
    if "labels" not in row:
        return (*asked, None, None, None, None, row["failed_at"], row["code"])
    top = row["labels"][0] if row["labels"] else {}
    label = (top.get("name"), top.get("score"), top.get("root"), len(row["labels"]))
    return (*asked, *label, row["answered_at"], None)


def _print_table(results: Results, rows: Iterable[tuple[Row, bytes]], listing: Listing) -> int:
    """Print a line an image: its name, which leads to the file on a terminal, and a column a step."""
    failed = listing.selection.failed
    steps = [listing.selection.step] if listing.selection.step else list(results.steps)
    head = (_("image"), _("step"), _("code"), _("message")) if failed else (_("image"), *steps)
    lines = _failure_lines(rows) if failed else _result_lines(rows, steps)
    first = list(islice(lines, _MEASURED_ROWS))
    if not first:
        return 0
    links = sys.stdout.isatty()
    room = shutil.get_terminal_size().columns - 1 if links else _COLUMNS_ELSEWHERE
    widths = [max(cell_len(cells[at]) for cells in (head, *first)) for at in range(len(head))]
    widths = _fitted(widths, room)
    print("  ".join(_fit(cell, width) for cell, width in zip(head, widths, strict=True)).rstrip())
    shown = 0
    for batch in (first, lines):
        for image, *cells in batch:
            name = _fit(_front_cut(visible(image), widths[0]), widths[0])
            if links:
                name = _linked(name, results.base, image)
            others = (_fit(visible(cell), width) for cell, width in zip(cells, widths[1:], strict=True))
            print("  ".join((name, *others)).rstrip())
            shown += 1
    return shown


def _result_lines(rows: Iterable[tuple[Row, bytes]], steps: list[str]) -> Iterator[tuple[str, ...]]:
    """Cells of a line an image: the rows of an image that follow each other are put together."""
    image, cells = "", dict.fromkeys(steps, "")
    for row, _line in rows:
        if row["image"] != image or cells.get(row["step"]):
            if image:
                yield (image, *cells.values())
            image, cells = row["image"], dict.fromkeys(steps, "")
        if row["step"] in cells:
            cells[row["step"]] = _label_text(row)
    if image:
        yield (image, *cells.values())


def _failure_lines(rows: Iterable[tuple[Row, bytes]]) -> Iterator[tuple[str, ...]]:
    for row, _line in rows:
        yield row["image"], row["step"], str(row["code"]), row["message"]


def _label_text(row: Row) -> str:
    labels = row["labels"][:_LABELS]
    return ", ".join(map(_label, labels)) if labels else _("nothing found")


def _label(label: dict[str, Any]) -> str:
    name = label["name"]
    if not name and (box := label.get("box")):
        name = "{left:g},{top:g} {width:g}x{height:g}".format(**box)
    return str(name) if label["score"] is None else f"{name} {label['score']:.2f}"


def _fitted(widths: list[int], room: int) -> list[int]:
    """Widths that fit into `room` columns: the widest give way first, the last column last of all."""
    widths = list(widths)
    room -= 2 * (len(widths) - 1)
    while (over := sum(widths) - room) > 0 and max(widths) > _LEAST_NAME_COLUMNS:
        widest = max(range(len(widths)), key=widths.__getitem__)
        second = max([_LEAST_NAME_COLUMNS, *(width for at, width in enumerate(widths) if at != widest)])
        widths[widest] -= max(1, min(over, widths[widest] - second))
    return widths


def _fit(text: str, width: int) -> str:
    """The text in exactly so many columns; where it is cut, an ellipsis ends it."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _front_cut(name: str, width: int) -> str:
    """The end of a name that is too wide: its beginning is mostly a folder that others share."""
    if cell_len(name) <= width:
        return name
    while cell_len(name) >= width:
        name = name[1:]
    return "…" + name


def _linked(text: str, base: Path, image: str) -> str:
    """The text as a link to the image's file (OSC 8)."""
    address = image if "://" in image else Path(_location(base, image)).as_uri()
    return f"\x1b]8;;{visible(address)}\x1b\\{text}\x1b]8;;\x1b\\"


def _location(base: Path, image: str) -> str:
    return image if "://" in image else os.path.normpath(base / image)


_PRINTERS = {"table": _print_table, "json": _print_json, "csv": _print_csv, "paths0": _print_paths}


def _tell(shown: int, chosen: _Chosen, listing: Listing) -> None:
    """Say on standard error that nothing matches, or how to see the rest."""
    failed = listing.selection.failed
    if not shown:
        say(_("no failure matches") if failed else _("no result matches"))
    elif listing.tells_rest and chosen.cut:
        said = ngettext("{count:,} image shown", "{count:,} images shown", shown).format(count=shown)
        if (total := chosen.total) is not None:
            kind = (
                ngettext("{count:,} failure in all", "{count:,} failures in all", total)
                if failed
                else ngettext("{count:,} result in all", "{count:,} results in all", total)
            )
            said += "; " + kind.format(count=total)
        say(said + "; " + _("--limit 0 shows all, --json and --csv write all"))
