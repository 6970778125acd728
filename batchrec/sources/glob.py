"""A glob: exactly the files it names. As in the shell, a leading dot is matched by a dot only."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..language import _
from ..values import InputEntry, Notice
from .keys import compiled, is_pattern, normal_pattern, prefix, quoted, readings
from .scope import Scope, is_folder, unreadable
from .spelling import notices, spellings
from .walk import walk


class Glob:
    """One glob of the job file, expanded name by name while it is iterated."""

    def __init__(self, given: str, source: int, scope: Scope) -> None:
        self._given = given
        self._source = source
        self._scope = scope

    @staticmethod
    def takes(given: str, mode: int | None) -> bool:
        """Whether it holds a wildcard, and nothing exists under that very name."""
        return mode is None and is_pattern(given)

    def __iter__(self) -> Iterator[InputEntry | Notice]:
        """Every file that matches; links to folders are followed, under `**` once.

        A notice where there is none.
        """
        empty = True
        spelling, matches = self._meant()
        yield from notices(self._name, self._given, spelling)
        for key, error in matches:
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
            left = _(" that `input.exclude` leaves") if self._scope.excludes_any else ""
            hint = in_another_case(self._scope, map(normal_pattern, spellings(self._given)))
            yield Notice(
                _("{name}: {given} matches no file{left}{hint}").format(
                    name=self._name, given=quoted(self._given), left=left, hint=hint
                )
            )

    @property
    def _name(self) -> str:
        return f"input.paths[{self._source}]"

    def _meant(self) -> tuple[str, "_Matches"]:
        """The first spelling and reading of the glob that names a file; the glob as it is where none does."""
        tried = [
            (spelling, _Matches(self._scope, reading))
            for spelling in spellings(self._given)
            for reading in readings(normal_pattern(spelling))
        ]
        if len(tried) > 1:
            for spelling, matches in tried:
                if any(error is None for _path, error in matches):
                    return spelling, matches
        return self._given, _Matches(self._scope, normal_pattern(self._given))


def in_another_case(scope: Scope, patterns: Iterable[str]) -> str:
    """End of a complaint: a file that a pattern matches but for its case; empty where there is none."""
    for pattern in patterns:
        for key, error in _Matches(scope, pattern, folded=True):
            exact = compiled(pattern, hidden=False).fullmatch(key)  # such as a link that leads nowhere
            if error is None and not exact and not scope.excludes(key):
                return _("; in another case it matches {key}").format(key=quoted(key))
    return ""


@dataclass(frozen=True, slots=True)
class _Matches:
    """Files that a pattern matches, with their keys; an unreadable folder comes with the error.

    `folded`: in any case and Unicode form.
    """

    scope: Scope
    pattern: str
    folded: bool = False

    def __iter__(self) -> Iterator[tuple[str, OSError | None]]:
        names = self.pattern.split("/")
        if names[0]:
            return self._below(".", names)
        return self._below("/", names[1:])

    def _below(self, folder: str, names: list[str]) -> Iterator[tuple[str, OSError | None]]:
        """Matches of the rest of the glob in the folder; its depth is that of the glob, not of the disk."""
        if self.scope.in_output(self.scope.full(folder)) or self.scope.empties(prefix(folder)):
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
        full = self.scope.full(folder)
        if not is_pattern(name):
            place = os.path.join(full, name)
            if os.path.lexists(place):
                yield prefix(folder) + name, os.path.isdir(place)
                return
            if not self.folded:
                return
        matches = self._matcher(name)
        with os.scandir(full) as entries:
            for entry in entries:
                if matches(entry.name):
                    yield prefix(folder) + entry.name, is_folder(entry)

    def _at_any_depth(self, folder: str, names: list[str]) -> Iterator[tuple[str, OSError | None]]:
        hidden, matches = any(name.startswith(".") for name in names), self._matcher(self.pattern)
        for key, entry in walk(self.scope, folder, lambda name: hidden or not name.startswith(".")):
            if isinstance(entry, OSError):
                yield key, entry
            elif entry is not None and matches(key):
                yield key, None

    def _matcher(self, pattern: str) -> Callable[[str], object | None]:
        if not self.folded:
            return compiled(pattern, hidden=False).fullmatch
        folded = compiled(_folded(pattern), hidden=False)
        return lambda text: folded.fullmatch(_folded(text))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())
