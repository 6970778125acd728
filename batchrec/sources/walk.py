"""Walk through a folder, however deep, wide or looped, in the memory of its folders alone."""

import os
from collections import deque
from collections.abc import Callable, Iterator

from .keys import prefix
from .scope import Identity, Outside, Scope, is_folder


def walk(
    scope: Scope, top: str, enters: Callable[[str], bool]
) -> Iterator[tuple[str, os.DirEntry[str] | OSError | None]]:
    """Each file below `top` with its key; a folder that cannot be read comes with the error instead.

    `enters`: whether folders of such a name are read; the others come with None.

    Every folder is read once: real folders first, then links to folders that were not read yet, so loops end and
    an image goes by its real name where it has one.
    A link that leads out of `input.within` is not followed: its names would end up among the failures.
    """
    seen: set[Identity] = set()
    folders: list[str] = []
    links = deque([top])
    while folders or links:
        folder, linked = (folders.pop(), False) if folders else (links.popleft(), True)
        start = prefix(folder)
        if scope.empties(start):
            continue
        if linked and folder != top and scope.is_outside(scope.full(folder)):
            yield folder, Outside()
            continue
        try:
            if not _is_new(scope, scope.full(folder), linked, seen):
                continue
            with os.scandir(scope.full(folder)) as entries:
                for entry in entries:
                    if not is_folder(entry):
                        yield start + entry.name, entry
                    elif enters(entry.name):
                        (links if entry.is_symlink() else folders).append(start + entry.name)
                    elif not scope.empties(prefix(start + entry.name)):
                        yield start + entry.name, None
        except OSError as error:
            yield folder, error


def _is_new(scope: Scope, full: str, linked: bool, seen: set[Identity]) -> bool:
    """Whether the folder is still to be read, which is noted.

    A link can lead into the middle of the output.
    """
    status = os.stat(full)
    folder = (status.st_dev, status.st_ino)
    if folder in seen or scope.is_output(folder) or (linked and scope.in_output(full)):
        return False
    seen.add(folder)
    return True
