"""A file that the job names: taken whatever it is called."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..values import InputEntry
from .scope import Scope


@dataclass(frozen=True, slots=True)
class File:
    """One named file; `key` is normal."""

    key: str
    source: int
    scope: Scope

    def __iter__(self) -> Iterator[InputEntry]:
        """The file, unless it is excluded or lies in the output directory."""
        found = self.scope.examine(self.key, self.source)
        if found is not None:
            yield found
