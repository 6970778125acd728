"""The report's folder: built beside the earlier one, put in its place by a rename, packed as a zip."""

import gzip
import os
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import orjson
import pybase64
from filelock import FileLock, Timeout

from ..errors import DirectoryBusy, JobError, OutputFailed
from ..language import _, os_reason
from ..outputs.files import writing

MARK = "report.json"
"""File by which a folder is known to be a report."""

PAGE = Path(__file__).parent / "page"
"""The page's own files."""

KEPT = "thumbnails.db"
"""File that only the next report reads; it is not packed."""

_GZIP_LEVEL = 3  # half the time of level 6, for a tenth more bytes
_PENDING = 4  # scripts that are compressed beside the one that is made
_NEW, _OLD = ".new", ".old"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, which takes its place when the block ends well.

    The earlier report stays where the block fails. Raises JobError where `target` holds anything but a report,
    DirectoryBusy where another report is being written there, OutputFailed where nothing can be written.
    """
    new, old = target.with_name(target.name + _NEW), target.with_name(target.name + _OLD)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        for each in (target, new, old):
            _check(each)
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise DirectoryBusy(_("{folder}: another report is being written there").format(folder=target)) from None
    except OSError as exc:
        raise writing(target, exc) from exc
    try:
        if old.exists() and not target.exists():  # a kill between the two renames
            old.rename(target)
        for each in (new, old):
            if each.exists():
                shutil.rmtree(each)
        new.mkdir()
        (new / MARK).write_bytes(b"{}\n")
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
    except OSError as exc:
        raise writing(target, exc) from exc
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _check(folder: Path) -> None:
    """Raise JobError where a report may not replace it."""
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        found = _("is a link") if folder.is_symlink() else _("is no folder")
    elif (folder / MARK).is_file() or not any(folder.iterdir()):
        return
    else:
        found = _("holds files that are no report")
    raise JobError(
        _("{folder}: {found}, and is not replaced; move it away, or choose another folder with --out").format(
            folder=folder, found=found
        )
    )


class Scripts:
    """Writer of data as scripts, which a page may load from a folder without a server.

    Each is one call with text in base64, so that no text of a user ever stands in a script. Compresses in threads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(2)
        self._pending: list[Future[None]] = []

    def put(self, name: str, content: bytes) -> None:
        """Write `data/NAME.js`. Raises OSError, also for an earlier one."""
        while len(self._pending) >= _PENDING:
            self._pending.pop(0).result()
        self._pending.append(self._pool.submit(self._write, name, content))

    def _write(self, name: str, content: bytes) -> None:
        packed = pybase64.b64encode(gzip.compress(content, _GZIP_LEVEL, mtime=0))
        path = self._folder / "data" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'batchrec.take("' + name.encode() + b'","' + packed + b'")\n')

    def close(self) -> None:
        """Wait until all is written. Raises OSError."""
        try:
            while self._pending:
                self._pending.pop(0).result()
        finally:
            self._pool.shutdown(cancel_futures=True)


def copy_page(folder: Path) -> None:
    """Copy the page's own files into a report. Raises OSError."""
    shutil.copytree(PAGE, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


def mark(folder: Path, content: dict[str, object]) -> None:
    """Write the report's mark: a few facts as JSON. Raises OSError."""
    (folder / MARK).write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def pack(folder: Path) -> Path:
    """Pack a report into a zip beside it, in one folder; returns its path. Raises OutputFailed."""
    path = folder.with_name(folder.name + ".zip")
    new = path.with_name(path.name + _NEW)
    try:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for each in sorted(folder.rglob("*")):
                if each.is_file() and each.name != KEPT:
                    file.write(each, Path(folder.name) / each.relative_to(folder))
        os.replace(new, path)
    except OSError as exc:
        raise writing(path, exc) from exc
    finally:
        new.unlink(missing_ok=True)
    return path


def size_of(folder: Path) -> int:
    """Bytes of all files of a report. Raises OutputFailed."""
    try:
        return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    except OSError as exc:
        raise OutputFailed(f"{folder}: {os_reason(exc)}") from exc
