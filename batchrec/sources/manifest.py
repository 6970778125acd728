"""A manifest: a file that lists the inputs, one path a row.

What is wrong in it is refused with its line.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import JobError
from ..language import _, os_reason
from ..values import InputEntry, Notice
from .encoding import ERRORS, NAMES, choose, read_head
from .keys import printable, quoted
from .logins import is_url
from .recovery import Recovery, Told, bare, is_windows
from .rows import READERS, Lines, kind, wrong
from .scope import OUTSIDE, Scope
from .spelling import expanded
from .url import entry_of, unfetched

MAX_PATH = 4096
"""The longest path, in bytes: Linux takes no more, and to look at each of a longer one's folders takes seconds."""

_BUFFER = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest as the job file names it; its paths are relative to its own folder."""

    given: str
    column: str
    source: int
    scope: Scope

    def __iter__(self) -> Iterator[InputEntry | Notice]:
        """Every row in order, whether its file exists or not, and notices about the list.

        Raises JobError where it cannot be read, at the first row that is no path, and at the end if no file exists.
        """
        reading = _Reading(self, Recovery(self.scope, os.path.dirname(self.given)))
        try:
            yield from reading
        except OSError as error:
            raise JobError(
                _("input.manifest: {given} cannot be read: {reason}").format(
                    given=quoted(self.given), reason=os_reason(error).lower()
                )
            ) from error


class _Reading:
    """One reading of a manifest: its encoding, its rows, and what there is to tell at the end."""

    def __init__(self, manifest: Manifest, recovery: Recovery) -> None:
        self._manifest = manifest
        self._scope = manifest.scope
        self._recovery = recovery
        self._told = Told(manifest.given)
        self._path = manifest.scope.full(manifest.given)
        self._folder = quoted(os.path.normpath(os.path.dirname(self._path)))
        self._first_missing = ""
        self._exists = False

    def __iter__(self) -> Iterator[InputEntry | Notice]:
        given = self._manifest.given
        choice = choose(self._path, self._finds, self._folder)
        if choice.complaint:
            raise wrong(given, choice.line, choice.complaint)
        if choice.remark:
            yield Notice(
                _("input.manifest: {given} is read as {encoding}{remark}").format(
                    given=quoted(given), encoding=NAMES[choice.encoding], remark=choice.remark
                )
            )
        rows = 0
        for position, (path, line) in enumerate(self._rows(choice.encoding), start=1):
            entry = self._entry(path, line, position)
            if entry is not None:
                rows += 1
                yield entry
        if rows and not self._exists:
            raise JobError(self._all_missing(rows))
        yield from self._told.notices()

    def _rows(self, encoding: str) -> Iterator[tuple[str, int]]:
        """Paths as they are written, and their lines."""
        suffix = kind(self._manifest.given)
        newline = ""
        if suffix == ".txt":  # where lines end with LF, a CR may be a part of a name
            newline = "\n" if "\n" in read_head(self._path).decode(encoding, "replace") else "\r"
        with open(self._path, buffering=_BUFFER, encoding=encoding, errors=ERRORS, newline=newline) as file:
            lines = Lines(file, self._manifest.given)
            for path in READERS[suffix](lines, self._manifest.column):
                yield path, lines.line

    def _finds(self, encoding: str) -> bool | None:
        """Whether a file exists under a name that is not ASCII; None where there is no such name."""
        found = None
        for path, _line in self._rows(encoding):
            if not path.isascii():
                full = self._scope.full(self._recovery.key(path))
                if os.path.lexists(full) or len(self._recovery.find(path).keys) == 1:
                    return True
                found = False
        return found

    def _entry(self, path: str, line: int, position: int) -> InputEntry | None:
        """The row as an input; None where it is none."""
        source = self._manifest.source
        if not path.strip():
            name = f"{self._manifest.given}, line {line}"
            return InputEntry(name, source, position, -1, 0, "the path is blank; expected a path")
        if "://" in path:
            if is_url(url := bare(path).path):
                return self._address(url, position)
            if other := unfetched(url):
                self._first_missing = self._first_missing or path
                problem = f"{other[0]} URLs are not fetched; expected http:// or https://, or a path"
                return InputEntry(printable(other[1])[0], source, position, -1, 0, problem)
        # NUL is taken out first: early 3.11 releases cut a path short there, and another file would be meant.
        key = self._recovery.key(path.replace("\0", r"\x00"))
        if _is_too_long(path):
            # Not the key of another row, if the path is long by its detours alone.
            folder = os.path.dirname(self._manifest.given)
            name = printable(key if _is_too_long(key) else os.path.join(folder, path))[0]
            return InputEntry(name, source, position, -1, 0, f"the path has more than {MAX_PATH:,} bytes")
        found = self._scope.examine(key, source, position)
        if found and "\0" in path:
            return found._replace(size=-1, mtime_ns=0, problem="the name holds a NUL byte")
        # A percent-encoded name may be longer than any name can be, and is not missing then.
        if found and found.size < 0 and (found.problem is None or ("%" in path and found.problem != OUTSIDE)):
            return self._recovered(path, found)
        self._exists = self._exists or found is not None
        return found

    def _address(self, url: str, position: int) -> InputEntry | None:
        """The row of a URL, which is its own key. Whether anything is there is known when it is fetched."""
        self._exists = True
        return entry_of(url, self._manifest.source, position, self._scope)

    def _recovered(self, path: str, missing: InputEntry) -> InputEntry | None:
        """The file that is meant by a path that does not exist, or the row with the reason why there is none."""
        meant = self._recovery.find(path)
        if len(meant.keys) == 1:
            self._told.add(path, meant.keys[0], meant.kinds)
            self._exists = True
            return self._scope.examine(meant.keys[0], missing.source, missing.position)
        self._first_missing = self._first_missing or path
        self._exists = self._exists or bool(meant.keys)
        text = bare(path).path
        problem = missing.problem
        if meant.keys:
            problem = f"no such file, and more than one may be meant: {', '.join(map(quoted, meant.keys[:3]))}"
        elif expanded(text) != text:
            problem = f"no such file: {quoted(expanded(text))}"
        elif is_windows(text):
            problem = f"no such file; this is a Windows path, and none like it exists below {self._folder}"
        return missing._replace(problem=problem)

    def _all_missing(self, rows: int) -> str:
        """The complaint about a list without a file that exists."""
        text = bare(self._first_missing).path
        example = _(", the first is {text}").format(text=quoted(text)) if text else ""
        if other := unfetched(text):
            example = _(", the first is {text}; {scheme} URLs are not fetched, only http:// and https://").format(
                text=quoted(other[1]), scheme=other[0]
            )
        elif expanded(text) != text:
            example += _(", which is {path}").format(path=quoted(expanded(text)))
        elif is_windows(text):
            example += _(", a Windows path")
        count = _("its only path") if rows == 1 else _("any of its {rows:,} paths").format(rows=rows)
        return _(
            "input.manifest: {given}: no file exists under {count}{example}; paths are relative to {folder}"
        ).format(given=quoted(self._manifest.given), count=count, example=example, folder=self._folder)


def _is_too_long(path: str) -> bool:
    return 4 * len(path) > MAX_PATH and len(path.encode("utf-8", "surrogatepass")) > MAX_PATH
