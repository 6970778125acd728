"""Links to images in a folder: names that any system takes, and nothing is overwritten."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import JobError
from ..language import _, ngettext
from ..state.file_system import OUTPUT_REMEDY, with_cause

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_MOST_BYTES = 200
"""Bytes of a name: file systems take 255, and a number may be added."""


def link_images(base: Path, images: Iterable[str], folder: Path) -> Iterator[str]:
    """Link images into a folder, which is made where it is missing; yields lines that say how many.

    Hard links, or symbolic links where the folder is on another disk. A name that is taken gets a number; an image that
    the folder holds already stays. Raises JobError where the folder cannot be written.
    """
    linked = there = gone = 0
    taken: dict[str, int] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for image in images:
            source = Path(os.path.normpath(base / image))
            if not source.is_file():
                gone += 1
            elif _link(source, folder, taken):
                linked += 1
            else:
                there += 1
    except OSError as exc:
        raise JobError(
            _("--link-to {folder}: cannot be written: {cause}").format(
                folder=folder, cause=with_cause(exc, OUTPUT_REMEDY)
            )
        ) from exc
    yield ngettext("{count:,} image linked into {folder}", "{count:,} images linked into {folder}", linked).format(
        count=linked, folder=folder
    )
    if there:
        yield ngettext("{count:,} was there already", "{count:,} were there already", there).format(count=there)
    if gone:
        yield ngettext(
            "{count:,} left out: its file is gone, or it is an address",
            "{count:,} left out: their files are gone, or they are addresses",
            gone,
        ).format(count=gone)


def safe_name(name: str) -> str:
    """The name with what Windows, macOS or a shell refuses replaced by `_`, at most 200 bytes."""
    name = _UNSAFE.sub("_", name).rstrip(". ") or "_"
    if _DEVICES.match(name) or name.startswith(("-", ".")):
        name = "_" + name
    stem, suffix = os.path.splitext(name)
    room = _MOST_BYTES - len(suffix.encode())
    return stem.encode()[: max(room, 0)].decode(errors="ignore") + suffix if len(name.encode()) > _MOST_BYTES else name


def _link(source: Path, folder: Path, taken: dict[str, int]) -> bool:
    """Make a link under the first free name; False where the folder has the image already."""
    name = safe_name(source.name)
    stem, suffix = os.path.splitext(name)
    number = taken.get(name.casefold(), 0)
    while True:
        number += 1
        target = folder / (name if number == 1 else f"{stem}-{number}{suffix}")
        try:
            _make(source, target)
        except FileExistsError:
            if target.exists() and target.samefile(source):
                made = False
                break
            continue
        made = True
        break
    taken[name.casefold()] = number
    return made


def _make(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=True)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # another disk, or a file system without hard links
        os.symlink(source, target)
