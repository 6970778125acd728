"""Recovery of paths: the existing file that a row means, where none exists as it is written.

A path is read without blanks and quotes around it, as a `file://` address, with `/` for `\\`, without its drive, with
the home folder for `~`; then in another Unicode form or case. A file is taken only if no other one can be meant.
"""

import ntpath
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import unquote

from ..errors import OutputFailed
from ..language import _, mark, ngettext
from ..values import Notice
from .keys import normal, prefix, printable, quoted
from .scope import Scope
from .spelling import expanded

KINDS = {
    "blanks": mark("with blanks or invisible characters around them"),
    "quotes": mark("in quotes"),
    "address": mark("as file:// addresses"),
    "percent": mark("percent-encoded"),
    "backslashes": mark("with \\ for /"),
    "drive": mark("with a Windows drive or share"),
    "home": mark("with ~ for the home folder"),
    "unicode": mark("in another Unicode form"),
    "case": mark("in another case"),
}
"""Differences between a path as it is written and the file's, as messages name them."""

MOST_ALIKE = 64
"""Folders or files spelled alike up to which they are compared; among more, none can be the only one."""

_INVISIBLE = "\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
"""Zero-width characters and marks of direction: Windows puts one before a path copied from a file's properties."""

_AROUND = re.compile(rf"\A[\s{_INVISIBLE}]+|[\s{_INVISIBLE}]+\Z")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
_ADDRESS = re.compile(r"file:(?://([^/\\]*))?(.*)", re.IGNORECASE | re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Form(NamedTuple):
    """A path as it may be meant, and how it differs from the one that is written."""

    path: str
    kinds: tuple[str, ...]


class Recovered(NamedTuple):
    """Files that a path may mean, by key, and how it differs from theirs. One of them: it is taken."""

    keys: tuple[str, ...]
    kinds: tuple[str, ...] = ()


def bare(path: str) -> Form:
    """The path without blanks and quotes around it."""
    kinds: dict[str, None] = {}
    while True:
        text = _AROUND.sub("", path)
        if text != path:
            kinds["blanks"] = None
        if len(text) < 3 or _QUOTES.get(text[0]) != text[-1]:
            return Form(text, tuple(kinds))
        kinds["quotes"] = None
        path = text[1:-1]


def is_windows(path: str) -> bool:
    """Whether a path is written as on Windows."""
    return "\\" in path or _DRIVE.match(path) is not None


def forms(path: str) -> Iterator[Form]:
    """The paths that may be meant, the one as it is written first."""
    text, kinds = bare(path)
    yield Form(path, ())
    for form in _decoded(Form(text, kinds)):
        for local in _from_windows(form):
            yield local
            home = expanded(local.path)
            if home != local.path:
                yield Form(home, (*local.kinds, "home"))


def _decoded(written: Form) -> Iterator[Form]:
    """The path, and that of an address or with percent-encoded characters."""
    text, kinds = written
    address = _ADDRESS.fullmatch(text)
    if address is None:
        yield written
        if "%" in text:
            yield Form(unquote(text), (*kinds, "percent"))
        return
    host, rest = address[1] or "", address[2]
    for decoded in dict.fromkeys((unquote(rest), rest)):
        if host.lower() in ("", "localhost"):
            below = decoded[1:]
            yield Form(below if _DRIVE.match(below) else decoded, (*kinds, "address"))
        else:
            yield Form(host + decoded, (*kinds, "address"))
            yield Form(rf"\\{host}{decoded}", (*kinds, "address"))


def _from_windows(written: Form) -> Iterator[Form]:
    """The path, and with / between its names and without its drive where it is one of Windows."""
    yield written
    text, kinds = written
    if not is_windows(text):
        return
    slashed = text.replace("\\", "/")
    if slashed != text:
        yield Form(slashed, (*kinds, "backslashes"))
    drive, rest = ntpath.splitdrive(text)
    below = rest.replace("\\", "/").lstrip("/")
    if below and below != slashed:
        yield Form(below, (*kinds, "drive"))
        share = re.split(r"[\\/]", drive)[-1]
        if share and ":" not in share:  # the share's folder may have been copied with its name
            yield Form(f"{share}/{below}", (*kinds, "drive"))


class Recovery:
    """Search for the files that rows mean. `folder`: the key that their paths are relative to."""

    def __init__(self, scope: Scope, folder: str) -> None:
        self._scope = scope
        self._folder = normal(folder)
        self._names = _Names()
        # Rows that lie in one folder come one after the other.
        self._folders = lru_cache(maxsize=1024)(self._find_folders)

    def find(self, path: str) -> Recovered:
        """The files that may be meant by a path that does not exist as it is written."""
        if "\0" in path or printable(path)[1]:
            return Recovered(())
        meant: dict[str, tuple[str, ...]] = {}
        for form in forms(path):
            meant.setdefault(self.key(form.path), form.kinds)
        exact = {key: kinds for key, kinds in meant.items() if self._is_file(key)}
        if exact:
            return Recovered(tuple(exact), next(iter(exact.values())))
        alike: dict[str, tuple[str, ...]] = {}
        for written, kinds in meant.items():
            for key in self._alike(written):
                difference = "unicode" if normalize("NFC", key) == normalize("NFC", written) else "case"
                alike.setdefault(key, (*kinds, difference))
        same = [key for key, kinds in alike.items() if kinds[-1] == "unicode"] or list(alike)
        return Recovered(tuple(same), alike[same[0]] if same else ())

    def key(self, path: str) -> str:
        """The key of a path of the manifest."""
        return normal(os.path.join(self._folder, path))

    def _is_file(self, key: str) -> bool:
        return os.path.isfile(self._scope.full(key))

    def _alike(self, key: str) -> list[str]:
        """Files whose path differs from the key's in Unicode forms and case alone."""
        parent, name = os.path.split(key)
        found = (
            prefix(folder) + same for folder in self._folders(parent or ".") for same in self._listed(folder, name)
        )
        return _few(key for key in found if self._is_file(key))

    def _find_folders(self, key: str) -> tuple[str, ...]:
        """Existing folders that are spelled alike. The manifest's own and those above it exist as written."""
        parent, name = os.path.split(key)
        if name in ("", ".", "..") or f"{self._folder}/".startswith(f"{key}/"):
            return (key,)
        found = (
            prefix(folder) + same for folder in self._folders(parent or ".") for same in self._listed(folder, name)
        )
        return tuple(_few(key for key in found if os.path.isdir(self._scope.full(key))))

    def _listed(self, folder: str, name: str) -> list[str]:
        full = self._scope.full(folder)
        return [] if self._scope.is_outside(full) else self._names.alike(full, name)


class _Names:
    """The names in folders, each folder listed once.

    They are kept in a temporary database, which goes to the disk where it grows: a folder may have a million names.
    """

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None

    def alike(self, folder: str, name: str) -> list[str]:
        """The folder's entries whose names differ from this one in Unicode form and case alone."""
        try:
            db = self._db = self._db or _temporary()
            # The empty name marks a folder that has been listed.
            if not db.execute("SELECT 1 FROM names WHERE folder = ? AND folded = ''", (folder,)).fetchone():
                db.executemany("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", _entries(folder))
            found = db.execute("SELECT name FROM names WHERE folder = ? AND folded = ?", (folder, _folded(name)))
            return [row[0] for row in found]
        except sqlite3.Error as error:
            raise OutputFailed(
                _("names of files cannot be kept in the temporary folder: {error}").format(error=error)
            ) from error


def _temporary() -> sqlite3.Connection:
    db = sqlite3.connect("", check_same_thread=False)  # iterated in one thread at a time, but not in a certain one
    db.execute("PRAGMA journal_mode = OFF")
    db.execute(
        "CREATE TABLE names (folder TEXT, folded TEXT, name TEXT, PRIMARY KEY (folder, folded, name)) WITHOUT ROWID"
    )
    return db


def _entries(folder: str) -> Iterator[tuple[str, str, str]]:
    """Rows of the names in a folder.

    A folder that cannot be listed has none; files whose names are not UTF-8 are failed anyway.
    """
    yield folder, "", ""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if printable(entry.name)[1] is None:
                    yield folder, _folded(entry.name), entry.name
    except OSError:
        return


def _folded(name: str) -> str:
    """The name as it is compared: without differences of case and of Unicode forms that look the same."""
    return name.lower() if name.isascii() else normalize("NFD", normalize("NFD", name).casefold())


def _few(keys: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(keys))
    return found if len(found) <= MOST_ALIKE else []


class Told:
    """Notices about recovered paths: a line for each kind, with their number and the first of them."""

    def __init__(self, manifest: str) -> None:
        self._manifest = manifest
        self._first: dict[str, tuple[str, str]] = {}
        self._count = dict.fromkeys(KINDS, 0)

    def add(self, path: str, key: str, kinds: Iterable[str]) -> None:
        """Note that a path was taken for a file."""
        for kind in kinds:
            self._first.setdefault(kind, (path, key))
            self._count[kind] += 1

    def notices(self) -> Iterator[Notice]:
        """The lines, in the order of `KINDS`."""
        for kind, words in KINDS.items():
            if count := self._count[kind]:
                path, key = map(quoted, self._first[kind])
                yield Notice(
                    ngettext(
                        "input.manifest: {manifest}: {count:,} path is written {words} and taken for the existing "
                        "file, such as {path} for {key}",
                        "input.manifest: {manifest}: {count:,} paths are written {words} and taken for the existing "
                        "files, such as {path} for {key}",
                        count,
                    ).format(manifest=quoted(self._manifest), count=count, words=_(words), path=path, key=key)
                )
