"""A glob: exactly the files it names. As in the shell, a leading dot is matched by a dot only."""

import os
from collections.abc import Iterator

from ..values import InputEntry, Notice
from .keys import compiled, is_pattern, normal_pattern, prefix, quoted
from .scope import Scope, is_folder, unreadable
from .walk import walk


class Glob:
    """One glob of the job file, expanded name by name while it is iterated."""

    def __init__(self, given: str, source: int, scope: Scope) -> None:
        self._given = given
        self._source = source
        self._scope = scope
        self._pattern = normal_pattern(given)

    @staticmethod
    def takes(given: str, mode: int | None) -> bool:
        """Whether it holds a wildcard, and nothing exists under that very name."""
        return mode is None and is_pattern(given)

    def __iter__(self) -> Iterator[InputEntry | Notice]:
        """Every file that matches; links to folders are followed, under `**` once.

        A notice where there is none.
        """
        empty = True
        for key, error in self._matches():
            if self._scope.excludes(key):
                continue
            if error is not None:
                found: InputEntry | None = unreadable(key, self._source, error)
            else:
                found = self._scope.measure(key, self._scope.full(key), self._source)
            if found is not None:
                empty = False
                yield found
        if empty:
            left = " that `input.exclude` leaves" if self._scope.excludes_any else ""
            yield Notice(f"input.paths[{self._source}]: {quoted(self._given)} matches no file{left}")

    def _matches(self) -> Iterator[tuple[str, OSError | None]]:
        names = self._pattern.split("/")
        if names[0]:
            return self._below(".", names)
        return self._below("/", names[1:])

    def _below(self, folder: str, names: list[str]) -> Iterator[tuple[str, OSError | None]]:
        """Matches of the rest of the glob in the folder; its depth is that of the glob, not of the disk."""
        if self._scope.in_output(self._scope.full(folder)) or self._scope.empties(prefix(folder)):
            return
        if "**" in names[0]:
            yield from self._at_any_depth(folder, names)
            return
        try:
            for key, folderish in self._named(folder, names[0]):
                if folderish and len(names) > 1:
                    yield from self._below(key, names[1:])
                elif not folderish and len(names) == 1:
                    yield key, None
        except OSError as error:
            yield folder, error

    def _named(self, folder: str, name: str) -> Iterator[tuple[str, bool]]:
        """The entries that match one name, and whether they are folders."""
        full = self._scope.full(folder)
        if not is_pattern(name):
            place = os.path.join(full, name)
            if os.path.lexists(place):
                yield prefix(folder) + name, os.path.isdir(place)
            return
        matches = compiled(name, hidden=False).fullmatch
        with os.scandir(full) as entries:
            for entry in entries:
                if matches(entry.name):
                    yield prefix(folder) + entry.name, is_folder(entry)

    def _at_any_depth(self, folder: str, names: list[str]) -> Iterator[tuple[str, OSError | None]]:
        matches = compiled(self._pattern, hidden=False).fullmatch
        for key, entry in walk(self._scope, folder, hidden=any(name.startswith(".") for name in names)):
            if isinstance(entry, OSError):
                yield key, entry
            elif matches(key):
                yield key, None
