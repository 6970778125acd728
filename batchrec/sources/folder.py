"""A folder and everything below it: the images by their names, the rest counted as ignored."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_ISDIR

from ..values import Ignored, InputEntry
from .keys import normal
from .scope import Scope, unreadable
from .walk import walk

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib"),
    *(".tif", ".tiff", ".avif", ".heic", ".heif"),
)
"""Ends of an image's name, in any case. Whether it is one, and can be read, shows when it is opened."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One named folder. Files and folders below it that start with a dot are no images."""

    given: str
    source: int
    scope: Scope

    @staticmethod
    def takes(_given: str, mode: int | None) -> bool:
        """Whether it is a folder."""
        return mode is not None and S_ISDIR(mode)

    def __iter__(self) -> Iterator[InputEntry | Ignored]:
        """Every file below the folder, links to folders followed once."""
        for key, entry in walk(self.scope, normal(self.given), hidden=False):
            if self.scope.excludes(key):
                continue
            if isinstance(entry, OSError):
                yield unreadable(key, self.source, entry)
            elif not _is_image(entry.name) or _is_special(entry):
                yield Ignored()
            elif found := self.scope.measure(key, entry.path, self.source):
                yield found


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether it is a pipe, a socket or a device. A link that leads nowhere is a missing file instead."""
    try:
        return not entry.is_file() and os.path.exists(entry.path)
    except OSError:
        return False
