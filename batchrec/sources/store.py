"""Files as the store of images: paths relative to the job file's folder, read without ever waiting."""

import errno
import os
import stat
from pathlib import Path

from ..language import _, mark
from ..values import Failure, Kind, Shortage
from .scope import OUTSIDE, OWN_FAULT, READING, Boundary

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Larger files are refused without reading them: no image that fits into 4 MB of base64 is this large."""

_ERRNO = {
    errno.ENOENT: mark("no such file"),
    errno.ENOTDIR: mark("no such file: a part of its path is not a folder"),
    errno.EACCES: mark("permission denied"),
    errno.EPERM: mark("permission denied"),
    errno.ELOOP: mark("its links go round in a circle"),
    errno.ENAMETOOLONG: mark("its name is too long"),
    errno.ENXIO: mark("is not a regular file"),
    errno.EIO: mark("the disk reports an error"),
}

_SHORT = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""Errors that pass when other work of the machine ends."""

_GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ESTALE))
"""Errors of a folder that is not there any more."""


class FileStore:
    """Files below a folder. `within`: the folder in which an input has to lie by its real path to be read."""

    def __init__(self, base: Path, within: Path | None = None) -> None:
        self._base = str(base)
        # Checked at every read: hours may lie between listing and reading, and a folder may be a link by now.
        self._boundary = None if within is None else Boundary(within, remembered=False)

    def locate(self, key: str) -> str:
        """The absolute path of a key."""
        return os.path.join(self._base, key)

    def stat(self, key: str) -> tuple[int, int] | None:
        """Size in bytes and time of the last change in nanoseconds, links followed.

        None where there is no file.
        """
        try:
            status = os.stat(self.locate(key))
        except (OSError, ValueError):  # ValueError: no file can have such a name
            return None
        return status.st_size, status.st_mtime_ns

    def read(self, key: str) -> bytes | Failure:
        """The bytes, or the failure, whose message never holds the path.

        A FIFO or a device is refused at once.
        """
        path = self.locate(key)
        if self._boundary is not None and self._boundary.excludes(path):
            return _refuse("outside", OUTSIDE)
        try:
            handle = os.open(path, READING)
        except ValueError:
            return _refuse("unreadable", "its name holds a character that no file name can")
        except OSError as error:
            return _unreadable(error)
        try:
            return _regular(handle)
        except OSError as error:
            return _unreadable(error)
        except MemoryError:
            return _unreadable(OSError(errno.ENOMEM, ""))
        finally:
            os.close(handle)

    def loss(self, key: str) -> str:
        """Description of what is gone, where that keeps an input from being read; else empty."""
        outcome = self.read(key)
        if not isinstance(outcome, Failure) or outcome.kind is not Kind.READ:
            return ""
        folder = os.path.dirname(self.locate(key))
        if error := _out_of_reach(folder):
            top = folder
            while (parent := os.path.dirname(top)) != top and (above := _out_of_reach(parent)):
                top, error = parent, above
            if error.errno in _GONE:
                return _("the folder {folder} is gone").format(folder=top)
            return _("the folder {folder}: {reason}").format(folder=top, reason=_(_words(error)))
        if outcome.message == _ERRNO[errno.EACCES]:  # of this file alone, since its folder may be entered
            return ""
        if outcome.message == _ERRNO[errno.ENOENT]:
            return _("the images in the folder {folder} are gone").format(folder=folder)
        return _("the images in the folder {folder}: {reason}").format(folder=folder, reason=_(outcome.message))

    def forget(self, key: str) -> None:
        """Do nothing: a file is where it is read."""


def _regular(handle: int) -> bytes | Failure:
    status = os.fstat(handle)
    if stat.S_ISDIR(status.st_mode):
        return _refuse("unreadable", "is a folder")
    if not stat.S_ISREG(status.st_mode):
        return _refuse("unreadable", "is not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        return _refuse("too_large", f"{status.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
    data = os.read(handle, status.st_size)
    # A network file system may give less than was asked for.
    while len(data) < status.st_size and (more := os.read(handle, status.st_size - len(data))):
        data += more
    return data or _refuse("empty", "the file has no bytes")


def _unreadable(error: OSError) -> Failure:
    if error.errno in OWN_FAULT:
        return _refuse("unreadable", _words(error))
    return (Shortage if error.errno in _SHORT else Failure)(Kind.READ, "unreadable", _words(error), counted=False)


def may_pass(message: str) -> bool:
    """Whether the message of an unreadable input names a fault of the machine, and not of the input."""
    return message in _MACHINE or message.rpartition(": ")[2] in _MACHINE


def _out_of_reach(folder: str) -> OSError | None:
    """The reason why nothing in a folder can be reached; None where it can."""
    try:
        os.stat(os.path.join(folder, os.curdir))
    except OSError as error:
        return error
    return None


def _words(error: OSError) -> str:
    """The system's words for an error, or plainer ones."""
    number = error.errno or 0
    return _ERRNO.get(number) or os.strerror(number).lower()


def _refuse(word: str, message: str) -> Failure:
    return Failure(Kind.IMAGE, word, message, counted=False)


_MACHINE = frozenset(_words(OSError(number, "")) for number in errno.errorcode if number not in OWN_FAULT) | {
    os.strerror(errno.ENOENT).lower()
}
"""Messages of errors that are no fault of the input's, in the words of this module and in the system's."""
