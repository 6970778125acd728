"""Images of an export: their paths in its files, their sizes, and their places in its folder.

The bytes of an image by URL are those that the cache of a run has kept; nothing is fetched here.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from .. import images
from ..errors import JobError
from ..images.heads import suffix_of
from ..language import _, os_reason
from ..sources import FileStore, is_url
from ..values import Failure
from .names import safe_file_name

HARD, COPY, SYMLINK = "hard", "copy", "symlink"
"""Ways in which an image is put into a folder."""

_NO_HARD_LINK = frozenset((errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS))
"""Errors of a hard link between two disks, of another user's file, and where a file system has none."""


class Images:
    """The images of a job, by their key.

    `absolute`: paths in files, and targets of symbolic links, are absolute. `way`: HARD, COPY or SYMLINK. `kept` gives
    the cached bytes of an image by URL, None where they are not kept.
    """

    def __init__(
        self,
        base: Path,
        *,
        absolute: bool = False,
        way: str = HARD,
        kept: Callable[[str], bytes | None] = lambda key: None,
    ) -> None:
        self.base = base
        self.absolute = absolute
        self._way = way
        self._kept = kept
        self._store = FileStore(base)

    def named(self, key: str) -> str:
        """The path of an image as the files of an export have it; the address of one from the web."""
        return str(self.located(key)) if self.absolute and not is_address(key) else key

    def located(self, key: str) -> Path:
        """The absolute path of an image."""
        return Path(os.path.normpath(self._store.locate(key)))

    def there(self, key: str) -> bool:
        """Whether the image is a file that is there."""
        if is_address(key):
            return False
        try:
            return stat.S_ISREG(os.stat(self._store.locate(key)).st_mode)
        except (OSError, ValueError):
            return False

    def read(self, key: str) -> bytes | None:
        """The bytes of an image; None where they cannot be read, or are not kept in the cache."""
        if is_address(key):
            return self._kept(key)
        data = self._store.read(key)
        return None if isinstance(data, Failure) else data

    def file_name(self, key: str) -> tuple[str, str]:
        """Stem and suffix for a file with this image; the suffix of one by URL is that of its bytes."""
        if not is_address(key):
            return safe_file_name(key)
        path = re.split(r"[?#]", key, maxsplit=1)[0].partition("://")[2].partition("/")[2]
        stem, suffix = safe_file_name(unquote(path.rstrip("/")))
        return stem, suffix_of(self._kept(key) or b"") or suffix

    def absence(self, key: str) -> str:
        """Sentence about images that `place` does not find, of the kind of this one."""
        if is_address(key):
            return _("images by URL whose bytes are not kept in the cache")
        return _("images that are not there any more")

    def size(self, key: str) -> tuple[int, int] | None:
        """Width and height in pixels of the image as displayed; None where it cannot be read."""
        data = self.read(key)
        return None if data is None else images.displayed_size(data)

    def place(self, key: str, path: Path, final: Path) -> bool:
        """Put an image at `path`, which will be `final`; False where the image is not there any more.

        An image by URL is always copied: a link into the cache would end when the image makes way there. Raises
        JobError where a hard link cannot be made, OSError where the folder cannot be written.
        """
        if is_address(key):
            data = self._kept(key)
            if data is not None:
                path.write_bytes(data)
            return data is not None
        if not self.there(key):
            return False
        source = self.located(key)
        if self._way == COPY:
            shutil.copyfile(source, path)
        elif self._way == SYMLINK:
            real = os.path.realpath(source)
            start = os.path.realpath(final.parent)
            os.symlink(real if self.absolute else os.path.relpath(real, start), path)
        else:
            try:
                os.link(os.path.realpath(source), path)
            except OSError as exc:
                if exc.errno not in _NO_HARD_LINK:
                    raise
                raise JobError(
                    _("{path}: no hard link to {image} can be made there: {reason}; use --copy or --symlink").format(
                        path=final.parent, image=key, reason=os_reason(exc)
                    )
                ) from exc
        return True


def is_address(key: str) -> bool:
    """Whether an image is one from the web."""
    return is_url(key)
