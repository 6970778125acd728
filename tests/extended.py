"""Command line with one more service, error code, output and kind of path, each a row of a table."""

from collections.abc import Iterator

from batchrec import outputs, sources
from batchrec.api import codes, services
from batchrec.sources.keys import normal
from batchrec.sources.scope import Scope
from batchrec.values import InputEntry, Kind, Row

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


def add_rows() -> None:
    """Add the rows, before anything that is derived from the tables is imported."""
    services.SERVICES[SKY.name] = SKY
    codes.CODES[CLOUDY.number] = CLOUDY
    outputs.OUTPUTS[Names.name] = Names()
    sources.PATHS = (Listed, *sources.PATHS)


if __name__ == "__main__":
    add_rows()
    from batchrec.__main__ import main

    main()
