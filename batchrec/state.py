"""The state folder: where tokens, quota counts and known answers live, for nobody but their owner."""

import os
import sqlite3
import stat
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from shlex import quote

import platformdirs
from filelock import FileLock

from .errors import JobError


def state_directory(environ: Mapping[str, str]) -> Path:
    """The state folder, made with mode 0700 where it is missing. Raises JobError where others can reach into it."""
    path = Path(environ.get("BATCHREC_STATE_DIR") or platformdirs.user_state_dir("batchrec", appauthor=False))
    try:
        make_private(path)
        if problem := _exposed(path):
            raise JobError(f"state folder {path}: {problem}")
    except OSError as exc:
        raise JobError(f"state folder {path}: {exc.strerror}; set BATCHREC_STATE_DIR to a folder of yours") from exc
    return path


def make_private(path: Path) -> None:
    """Make the folders of a path that are missing, each with mode 0700, whatever the umask. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:  # another process was quicker
            continue
        folder.chmod(0o700)


def _exposed(path: Path) -> str:
    """Why an existing folder cannot hold the state, with the command to run; empty where it can. Raises OSError.

    Its mode is never changed here: it may be a folder that others need, such as /tmp.
    """
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        return "is not a folder; set BATCHREC_STATE_DIR to a folder of yours"
    if os.name == "nt":  # modes and owners mean nothing there
        return ""
    if status.st_uid != os.geteuid():
        return f"belongs to another user (uid {status.st_uid}); set BATCHREC_STATE_DIR to a folder of yours"
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o077:
        return ""
    others = f"others can reach into it (mode {mode:04o})"
    if mode & (stat.S_ISVTX | stat.S_IWOTH):
        own = path / "batchrec"
        return f"{others} and it is shared; run: mkdir -m 700 {quote(str(own))}, and set BATCHREC_STATE_DIR to that"
    return f"{others}; run: chmod 700 {quote(str(path))}"


def config_directory(environ: Mapping[str, str]) -> Path:
    """Where credentials.toml is; it need not exist."""
    return Path(environ.get("BATCHREC_CONFIG_DIR") or platformdirs.user_config_dir("batchrec", appauthor=False))


_BUSY_SECONDS = 30.0


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """A database that all processes of the machine share; made if need be, for its owner alone.

    `schema` must bear being run again. Commits survive a SIGKILL; a power cut may take those since the last checkpoint.
    The connection may be used in several threads, one at a time. Raises OSError and sqlite3.Error.
    """
    lock = FileLock(path.with_name(path.name + ".lock"), mode=0o600)
    path.touch(mode=0o600)
    path.chmod(0o600)
    # SQLite does not wait for its turn where two processes turn a new file into one with a write-ahead log.
    with ExitStack() as opening, lock.acquire(timeout=_BUSY_SECONDS):
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        opening.enter_context(closing(db))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(schema)
        opening.pop_all()
    return db


_TENTH = 10


def make_way(db: sqlite3.Connection, table: str, by_age: str, most_bytes: int) -> None:
    """Drop the oldest tenth of a table where the database has grown too large; its pages are used again."""
    used, free, size = (
        db.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_count", "freelist_count", "page_size")
    )
    if (used - free) * size > most_bytes:
        (held,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()
        db.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY {by_age} LIMIT ?)",
            (held // _TENTH + 1,),
        )


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by `content` in one step, readable by its owner alone. Raises OSError."""
    make_private(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
