"""Command line with one more row in each table: service, code, output, export, path, limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

from batchrec import outputs, periods, sources
from batchrec.api import codes, services
from batchrec.sources.keys import normal
from batchrec.sources.scope import Scope
from batchrec.times import end_of_day
from batchrec.values import InputEntry, Kind, Row

if TYPE_CHECKING:
    from batchrec import exports

SKY = services.Service("sky", "colours of the sky", "/rest/2.0/image-classify/v1/sky", services.Reading())
CLOUDY = codes.Code(777, "too many clouds", Kind.IMAGE, "wait for the wind", billed=False)


class Names:
    """An output: the name of each image, a line each."""

    name = "names"
    filename = "results.names"
    dialect = 1
    header = b"# names\n"

    def encode(self, row: Row) -> bytes:
        """The image's name."""
        return f"{row['image']}\n".encode()

    def encode_failure(self, failure: Row) -> bytes:
        """The image's name, as a comment."""
        return f"# {failure['image']}\n".encode()


class Listed:
    """A kind of path: `list:A,B` are the files A and B."""

    def __init__(self, given: str, source: int, scope: Scope) -> None:
        self._names, self._source, self._scope = given.removeprefix("list:").split(","), source, scope

    @staticmethod
    def takes(given: str, mode: int | None) -> bool:
        """Whether it begins with the word."""
        return given.startswith("list:")

    def __iter__(self) -> Iterator[InputEntry]:
        """The files."""
        for name in self._names:
            if found := self._scope.examine(normal(name), self._source):
                yield found


def write_names(export: exports.Export) -> None:
    """An export: the name of each selected image, a line each."""
    with (export.folder / "names.txt").open("w", encoding="utf-8") as file:
        for image in export.by_image():
            file.write(f"{image.image}\n")
            export.written += 1


def _end_of_month(day: str) -> float:
    following = (date.fromisoformat(day).replace(day=1) + timedelta(31)).replace(day=1)
    return end_of_day((following - timedelta(1)).isoformat())


MONTHLY = periods.Period(
    name="monthly",
    code="monthly_limit",
    first_day=lambda day: f"{day[:8]}01",
    end=_end_of_month,
    meaning="Calls per service and Beijing month.",
    example=10_000,
    stopped_by="monthly_limit",
    reason="quota exhausted for this month",
    heading="this month",
    heading_left="remaining this month",
)


def add_rows() -> None:
    """Add the rows, before anything that is derived from the tables is imported."""
    services.SERVICES[SKY.name] = SKY
    codes.CODES[CLOUDY.number] = CLOUDY
    outputs.OUTPUTS[Names.name] = Names()
    periods.PERIODS[MONTHLY.name] = MONTHLY
    from batchrec import exports  # derives the names of files from the outputs

    exports.EXPORTS["names"] = exports.Exporter("names", "names", write_names, re.compile(r"names\.txt"))
    sources.PATHS = (Listed, *sources.PATHS)


if __name__ == "__main__":
    add_rows()
    from batchrec.__main__ import main

    main()
