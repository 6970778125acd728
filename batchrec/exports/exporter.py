"""An export as its formats see it: selected rows, images, a folder, counts of what is left out.

A format is a function that takes an `Export` and writes files into its folder; `EXPORTS` has a row for each.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..journal.results import ImageResults, Results
from ..journal.selection import Selection
from ..language import _, ngettext
from ..values import Row
from .images import Images

_SAY_SECONDS = 20.0  # between two lines of progress
_LOOK_ROWS = 1000  # rows between two looks at the clock


@dataclass(slots=True)
class Export:
    """One export under way.

    `folder` exists, is empty, and becomes the target once the format has written all.

    `left_out` counts by sentence what did not get in; `notes` are further sentences for the user. `say` tells progress.
    """

    results: Results
    selection: Selection
    images: Images
    folder: Path
    target: Path
    say: Callable[[str], None] = lambda text: None
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    written: int = 0
    _told: float = field(default_factory=time.monotonic)

    @property
    def origin(self) -> dict[str, str]:
        """Origin of the results, for the head of a file: job, endpoint, base of the images' paths."""
        return {"job": self.results.name, "endpoint": self.results.endpoint, "base": str(self.results.base)}

    def leave_out_failures(self, count: int) -> None:
        """Count failures that do not get in unless the user asks for them."""
        self.leave_out(_("failures, which --failed exports"), count)

    def leave_out(self, reason: str, count: int = 1) -> None:
        """Count something that does not get in, by a sentence about it."""
        if count:
            self.left_out[reason] += count

    def rows(self) -> Iterator[tuple[Row, bytes]]:
        """The selected results, in order of completion; the others are counted as left out.

        Each is its row without `response`, and the JSON of that: to make values of it takes most of the time.
        """
        for row, response in map(self.results.parts, self._paced(self.results.lines())):
            if self.selection.matches(row):
                yield row, response
            else:
                self.leave_out(_("results that the filters do not select"))

    def failures(self) -> Iterator[dict[str, Any]]:
        """The selected failures, in input order."""
        return (failure for failure in self.results.failures() if self.selection.matches_failure(failure))

    def by_image(self, *, failures_too: bool = False) -> Iterator[ImageResults]:
        """The images with a selected result, in input order, each with these alone.

        With `--failed` those with a selected failure; with `failures_too` those with either. All else is counted as
        left out.
        """
        wanted = self.selection
        failures_too = failures_too or wanted.failed
        for image in self._paced(self.results.by_image()):
            rows = [row for row in image.rows if wanted.matches(row)]
            failures = [failure for failure in image.failures if wanted.matches_failure(failure)]
            self.leave_out(_("results that the filters do not select"), len(image.rows) - len(rows))
            if not failures_too:
                self.leave_out_failures(len(failures))
                failures = []
            if rows or failures:
                yield ImageResults(image.image, rows, failures)

    def labels(self, row: Row) -> Iterator[dict[str, Any]]:
        """The labels of a row that the filters select, best first."""
        return self.selection.labels(row)

    def _paced(self, rows: Iterator[Any]) -> Iterator[Any]:
        """The rows; now and then a line says how many there were."""
        for number, row in enumerate(rows, start=1):
            yield row
            if number % _LOOK_ROWS == 0 and time.monotonic() - self._told > _SAY_SECONDS:
                self._told = time.monotonic()
                self.say(ngettext("{count:,} row read", "{count:,} rows read", number).format(count=number))


@dataclass(frozen=True, slots=True)
class Exporter:
    """A format of exports.

    `owns`: names in the target folder that the format writes, and replaces with `--overwrite`; None: the folder is
    the format's as a whole. `by_row`: it counts results, and not images. `failures`: it has a place for failures
    (`--failed`). `places_images`: it puts the images into the folder, as hard links, copies or symbolic links.
    """

    name: str
    about: str
    write: Callable[[Export], None]
    owns: re.Pattern[str] | None
    by_row: bool = False
    failures: bool = True
    places_images: bool = False
