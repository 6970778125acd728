"""Target folder of an export: written beside, put in place at the end, left as it was on an error.

The files are written into a hidden folder within the target, or beside it where the format takes the target as a whole.
A process that is killed leaves that folder; the next export to the same target removes it.
"""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from ..errors import JobError, OutputFailed
from ..language import _, os_reason

FOLDER = "export"
"""Folder within an output directory that holds its exports, one folder a format."""

_NEW = ".batchrec-new-"


class Target:
    """Target folder of a format: DIR/export/FORMAT, or the folder that the user named.

    Folders that `--overwrite` replaces are removed in the first, and kept as NAME.old in the second.
    """

    def __init__(self, directory: Path, format: str, out: Path | None, owns: re.Pattern[str] | None) -> None:
        self._own = out is None
        self.folder = directory / FOLDER / format if out is None else out
        self._directory = directory
        self._owns = owns
        self.kept: list[Path] = []

    def check(self, *, overwrite: bool) -> None:
        """Raise JobError where the target cannot be taken: it is no folder, or holds what would be replaced."""
        for path in (self.folder.parent, self.folder) if self._own else ():
            if path.is_symlink():
                raise JobError(_("{path}: is a link; remove it, or give another folder with --out").format(path=path))
        if self.folder.exists() and not self.folder.is_dir():
            raise JobError(_("{path}: is no folder; give another one with --out").format(path=self.folder))
        present = self._replaced()
        if present and not overwrite:
            raise JobError(
                _("{path}: is there already; give --overwrite to replace it, or another folder with --out").format(
                    path=present[0] if self._owns else self.folder
                )
            )

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Folder to write into within the block. At its end the files are in place; after an error nothing is.

        Raises OutputFailed where the target cannot be written.
        """
        made: list[Path] = []
        try:
            made = _make(self.folder)
            new = self._new()
            try:
                yield new
                self._put_in_place(new)
            finally:
                shutil.rmtree(new, ignore_errors=True)
        except OSError as exc:
            _remove(made)
            reason = os_reason(exc)
            raise OutputFailed(
                _("{path}: cannot be written: {reason}").format(path=self.folder, reason=reason)
            ) from exc
        except BaseException:
            _remove(made)
            raise

    def _replaced(self) -> list[Path]:
        """Entries of the target that a new export would replace."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path
            for path in self.folder.iterdir()
            if not path.name.startswith(_NEW) and (self._owns is None or self._owns.fullmatch(path.name))
        )

    def _new(self) -> Path:
        """Make the folder to write into, named by machine and process; remove those of dead processes."""
        mine = f"{_NEW}{re.sub(r'[^A-Za-z0-9]', '-', socket.gethostname())}-"
        for path in self.folder.glob(f"{_NEW}*"):
            number = path.name.removeprefix(mine)
            if number.isdecimal() and not _alive(int(number)):
                shutil.rmtree(path, ignore_errors=True)
        new = self.folder / f"{mine}{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        return new

    def _put_in_place(self, new: Path) -> None:
        for path in self._replaced():
            if path.is_dir() and not path.is_symlink():
                self._retire(path, new)
            elif not (new / path.name).is_file():  # a file is replaced in one step
                path.unlink()
        for path in sorted(new.iterdir()):
            os.replace(path, self.folder / path.name)

    def _retire(self, path: Path, new: Path) -> None:
        """Take a folder of an earlier export away; one that the user named is kept: it may hold other files."""
        if self._own:
            trash = new.with_name(f"{new.name}-old")
            os.replace(path, trash)
            shutil.rmtree(trash)
            return
        for number in count(1):
            kept = self.folder.with_name(f"{self.folder.name}.old{f'-{number}' if number > 1 else ''}") / path.name
            if not os.path.lexists(kept):
                break
        kept.parent.mkdir(exist_ok=True)
        os.replace(path, kept)
        self.kept.append(kept)


def _alive(number: int) -> bool:
    if os.name == "nt":  # there, the signal 0 is none
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _make(folder: Path) -> list[Path]:
    """Make a folder with its parents; returns those made, the innermost last. Raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    made = []
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        made.append(path)
    return made


def _remove(made: list[Path]) -> None:
    """Remove folders that were made for nothing, where they are empty."""
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir()
