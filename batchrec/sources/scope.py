"""Scope of inputs: the base of keys, exclusions, and the output directory, which never is an input."""

import errno
import os
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from operator import or_
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG

from ..values import Failure, InputEntry, Kind
from .keys import Matcher, any_of, normal_pattern, printable
from .logins import Logins
from .spelling import at_home

Sniffer = Callable[[bytes], str | None]
"""Kind of a file by its first bytes, such as "PDF"; None for an image."""

Identity = tuple[int, int]
"""Device and inode: what two names of one folder have in common."""


_LATEST = 2**63 - 1
"""Nanoseconds; SQLite holds no more, and a file system may say a time after the year 2262."""

_HEAD_BYTES = 4096  # the first page of a file, which the sniffer is given

OUTSIDE = "its real path lies outside of input.within"
"""The `problem` of an input that is not to be read, whatever it holds."""

OWN_FAULT = frozenset(
    (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EISDIR, errno.EILSEQ, errno.EINVAL, errno.EOVERFLOW)
)
"""Errors that the input itself is the reason of; of all others the machine is, or the network."""

_CLOSED_FOLDER = "the folder cannot be read: "
"""Beginning of the `problem` of a folder whose images nobody can know of."""

READING = reduce(
    or_, (getattr(os, flag, 0) for flag in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")), os.O_RDONLY
)
"""Flags of `os.open`. Windows has not all of them. A pipe is not waited for."""


class Outside(OSError):
    """A link to a folder that leads out of `input.within`: it is not followed."""


class Boundary:
    """A folder in which files are to lie by their real paths, that is with all links followed.

    `remembered`: the real path of a folder is looked up once, which is quick and blind to later changes.
    """

    def __init__(self, folder: str | Path, *, remembered: bool) -> None:
        self._folder = os.path.realpath(folder)
        self._real = lru_cache(maxsize=1024)(os.path.realpath) if remembered else os.path.realpath

    def excludes(self, path: str) -> bool:
        """Whether what stands at a path, if anything does, lies elsewhere."""
        try:
            if os.path.islink(path):
                return not _within(os.path.realpath(path), self._folder)
            folder, name = os.path.split(path)
            return not _within(os.path.join(self._real(folder), name), self._folder)
        except (OSError, ValueError):  # no file can have such a name
            return False


class Scope:
    """Scope shared by all sources of a job.

    `base` is the job file's folder, `output` its output directory.

    `within`: the folder in which all inputs are to lie, relative to `base`. `sniffer` judges files in folders whose
    suffix does not tell that they are images. `logins` keeps users and passwords of URLs.
    """

    def __init__(
        self,
        base: Path,
        output: Path,
        exclude: Sequence[str],
        within: str | None,
        sniffer: Sniffer,
        logins: Logins | None = None,
    ) -> None:
        self.logins = logins or Logins()
        self.folders: dict[int, str] = {}
        """Keys of the folders among the paths, by the index of the path."""
        self._sniffer = sniffer
        self._base = str(base)
        self._output = os.path.normpath(output)
        patterns = [normal_pattern(pattern) for pattern in exclude]
        self._excluded = _any_of(patterns)
        self._emptied = _any_of([pattern[:-2] for pattern in patterns if f"/{pattern}".endswith("/**")])
        self._boundary = None if within is None else Boundary(at_home(base, within), remembered=True)
        # A manifest names the same few folders again and again.
        self.in_output = lru_cache(maxsize=1024)(self._in_output)

    @property
    def excludes_any(self) -> bool:
        """Whether the job has patterns to exclude."""
        return self._excluded is not None

    def full(self, key: str) -> str:
        """Absolute path of a key."""
        return os.path.join(self._base, key)

    def excludes(self, key: str) -> bool:
        """Whether a pattern takes the key out."""
        return self._excluded is not None and self._excluded.fullmatch(printable(key)[0]) is not None

    def empties(self, prefix: str) -> bool:
        """Whether patterns take out every key that starts so: its folder need not be opened."""
        return self._emptied is not None and self._emptied.fullmatch(printable(prefix)[0]) is not None

    def is_output(self, folder: Identity) -> bool:
        """Whether this folder is the output directory, by whatever name it was reached."""
        return folder == identity(self._output)

    def is_outside(self, full: str) -> bool:
        """Whether it lies outside of the folder in which all inputs are to lie."""
        return self._boundary is not None and self._boundary.excludes(full)

    def kind(self, full: str) -> str | None:
        """Kind of a regular file by its first bytes; None for an image."""
        if self.is_outside(full):
            return "outside of input.within"
        try:
            handle = os.open(full, READING)
            try:
                return self._sniffer(os.read(handle, _HEAD_BYTES))
            finally:
                os.close(handle)
        except OSError:
            return "unreadable"

    def examine(self, key: str, source: int, position: int = 0) -> InputEntry | None:
        """A path that somebody wrote down; None where it is no input."""
        full = self.full(key)
        if self.in_output(os.path.dirname(full)):
            return None
        return self.measure(key, full, source, position)

    def measure(self, key: str, full: str, source: int, position: int = 0) -> InputEntry | None:
        """A path whose folder is known to lie outside the output directory; None where it is no input."""
        if self.excludes(key):
            return None
        name, problem = printable(key)
        if self.is_outside(full):
            return InputEntry(name, source, position, -1, 0, OUTSIDE)
        try:
            status = os.lstat(full)
            if S_ISREG(status.st_mode):
                return InputEntry(name, source, position, status.st_size, min(status.st_mtime_ns, _LATEST), problem)
            if self.in_output(full):
                return None
            if S_ISLNK(status.st_mode):
                status = os.stat(full)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have such a name
            return InputEntry(name, source, position, -1, 0, problem)
        except OSError as error:
            if error.errno in OWN_FAULT:
                problem = problem or f"cannot be read: {reason(error)}"
            # Any other may pass: the read at its turn tells.
            return InputEntry(name, source, position, -1, 0, problem)
        problem = problem or irregular(status.st_mode)
        return InputEntry(name, source, position, status.st_size, min(status.st_mtime_ns, _LATEST), problem)

    def _in_output(self, path: str) -> bool:
        """Whether it lies in the output directory, or is it: as written, or where its links lead."""
        if _within(os.path.normpath(path), self._output):
            return True
        output = identity(self._output)
        if output is None:
            return False
        try:
            place = Path(os.path.realpath(path))
        except ValueError:  # no file can have such a name
            return False
        return any(identity(folder) == output for folder in (place, *place.parents))


def unreadable(folder: str, source: int, error: OSError) -> InputEntry:
    """The folder in place of the images in it that nobody can know of."""
    problem = OUTSIDE if isinstance(error, Outside) else f"{_CLOSED_FOLDER}{reason(error)}"
    return InputEntry(printable(folder)[0], source, 0, -1, 0, problem)


def failure_of(problem: str) -> Failure:
    """The failure of an input that cannot be read, as was known when it was listed."""
    kind = Kind.READ if problem.startswith(_CLOSED_FOLDER) else Kind.IMAGE
    return Failure(kind, "outside" if problem == OUTSIDE else "unreadable", problem, counted=False)


def identity(path: str | Path) -> Identity | None:
    """The folder's identity; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link that leads in a circle is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def reason(error: OSError) -> str:
    """The system's words for it, fit for the middle of a sentence."""
    return (error.strerror or str(error)).lower()


def irregular(mode: int) -> str | None:
    """Description of what is no regular file, fit for the middle of a sentence; None for a regular file."""
    if S_ISREG(mode):
        return None
    return "is a folder" if S_ISDIR(mode) else "is not a regular file"


def _any_of(patterns: list[str]) -> Matcher | None:
    return any_of(patterns, hidden=True) if patterns else None


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
