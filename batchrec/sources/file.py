"""A file that the job names: taken whatever it is called."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..values import InputEntry
from .keys import normal
from .scope import Scope


@dataclass(frozen=True, slots=True)
class File:
    """One named file."""

    given: str
    source: int
    scope: Scope

    @staticmethod
    def takes(_given: str, mode: int | None) -> bool:
        """Whether anything exists under the name."""
        return mode is not None

    def __iter__(self) -> Iterator[InputEntry]:
        """The file, unless it is excluded or lies in the output directory."""
        found = self.scope.examine(normal(self.given), self.source)
        if found is not None:
            yield found
