"""A folder and everything below it: the images by suffix or content, the rest counted as ignored."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_ISDIR

from ..values import Ignored, InputEntry
from .keys import normal
from .scope import Scope, unreadable
from .walk import walk

_PICTURES = (
    "jpg jpeg jpe jfif jif pjpeg pjp mpo jp2 j2k j2c jpc jpf jpx jxl png apng gif webp bmp dib ico tif tiff "
    "heic heif heics hif avif avifs"
)
_CAMERAS = "3fr arw cr2 cr3 crw dcr dng erf iiq kdc mef mrw nef nrw orf pef raf rw2 rwl sr2 srf srw x3f"
SUFFIXES = frozenset((*_PICTURES.split(), *_CAMERAS.split()))
"""Suffixes of an image's name, in any case, cameras' raw files among them.

Files with these are taken without a look: whether they can be read shows when they are opened.
"""

_SYSTEM = re.compile(
    "|".join(
        (
            r"@eadir|@tmp|@sharebin|@sharesnap|#recycle|#snapshot",  # Synology
            r"\.?@__thumb|@recycle|@recently-snapshot|\.@__qini|\.@upload_cache",  # QNAP
            r"~?\.?snapshots?|\.zfs|\.recycle|\.trash-.+|\.trash|lost\+found",  # file servers, Linux
            r"\$recycle\.bin|recycler|system volume information|found\.\d{3}",  # Windows
            r"__macosx|\.appledouble|\.appledb|\.appledesktop|\.trashes|\.spotlight-v100|\.fseventsd",  # macOS
            r"\.temporaryitems|temporary items|network trash folder|\.documentrevisions-v100",  # macOS
            r"lost\.dir|\.thumbnails|\.stversions",  # Android, Syncthing
        )
    ),
    re.IGNORECASE,
)
"""Names of folders that systems make for thumbnails, deleted files and snapshots, in any case."""

_SYSTEM_FILE = re.compile(r"(?:eh)?thumbs(?:_vista)?\.db|desktop\.ini|icon\r", re.IGNORECASE)
"""Names of files that systems make in folders of images, in any case."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One named folder. Files and folders below it that start with a dot are no images."""

    given: str
    source: int
    scope: Scope

    def __post_init__(self) -> None:
        """Tell the later folders of the job, so that what is ignored below both is counted once."""
        self.scope.folders[self.source] = normal(self.given)

    @staticmethod
    def takes(_given: str, mode: int | None) -> bool:
        """Whether it is a folder."""
        return mode is not None and S_ISDIR(mode)

    def __iter__(self) -> Iterator[InputEntry | Ignored]:
        """Every file below the folder, links to folders followed once; a system folder counts as one."""
        earlier = [folder for source, folder in self.scope.folders.items() if source < self.source]
        for key, entry in walk(self.scope, normal(self.given), _is_entered):
            if self.scope.excludes(key):
                continue
            # An image below two folders is one input by its key; what is ignored would be counted twice.
            again = any(_enters(folder, key) for folder in earlier)
            if entry is None:
                if not again and _SYSTEM.fullmatch(os.path.basename(key)):
                    yield Ignored("system folder")
            elif isinstance(entry, OSError):
                yield unreadable(key, self.source, entry)
            elif kind := self._kind(entry):
                if not again:
                    yield Ignored(kind)
            elif found := self.scope.measure(key, entry.path, self.source):
                yield found

    def _kind(self, entry: os.DirEntry[str]) -> str | None:
        """Kind of a file that is left out; None for an image."""
        if entry.name.startswith("."):
            return "hidden"
        _, dot, suffix = entry.name.rpartition(".")
        known = bool(dot) and suffix.lower() in SUFFIXES
        if not _is_file(entry):
            missing = not os.path.exists(entry.path)  # a link that leads nowhere
            return None if known and missing else "broken link" if missing else "no regular file"
        if known:
            return None
        return "system file" if _SYSTEM_FILE.fullmatch(entry.name) else self.scope.kind(entry.path)


def _enters(folder: str, key: str) -> bool:
    """Whether the folder's own listing comes to a file of this key."""
    prefix = "" if folder == "." else folder.rstrip("/") + "/"
    if not key.startswith(prefix) or (not prefix and key.startswith("/")):
        return False
    return all(_is_entered(name) for name in key[len(prefix) :].split("/")[:-1])


def _is_entered(name: str) -> bool:
    return not name.startswith(".") and not _SYSTEM.fullmatch(name)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file, or a link to one."""
    try:
        return entry.is_file()
    except OSError:
        return False


def is_system_name(name: str) -> bool:
    """Whether systems make files or folders of this name among images."""
    return _SYSTEM.fullmatch(name) is not None or _SYSTEM_FILE.fullmatch(name) is not None
