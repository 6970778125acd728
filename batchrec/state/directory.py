"""State folder (tokens, quota counts, caches), config folder, data folder; private to their owner."""

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote

import platformdirs

from ..errors import JobError
from ..language import _, os_reason


def state_directory(environ: Mapping[str, str]) -> Path:
    """The state folder, made with mode 0700 where it is missing.

    Raises JobError where others can reach into it, or there is no home folder for it.
    """
    path = _chosen(environ, "BATCHREC_STATE_DIR", platformdirs.user_state_dir)
    try:
        make_private(path)
        if problem := _exposed(path):
            raise JobError(_("state folder {path}: {problem}").format(path=path, problem=problem))
    except OSError as exc:
        raise JobError(
            _("state folder {path}: {reason}; set BATCHREC_STATE_DIR to a folder of yours").format(
                path=path, reason=os_reason(exc)
            )
        ) from exc
    return path


def make_private(path: Path) -> None:
    """Make the missing folders of a path, each with mode 0700 under any umask. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    for folder in reversed(missing):
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:  # another process was quicker
            continue
        folder.chmod(0o700)


def _exposed(path: Path) -> str:
    """The reason why a folder cannot hold the state, with the command to run; empty if it can.

    Raises OSError.

    Its mode is never changed here: it may be a folder that others need, such as /tmp.
    """
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        return _("is not a folder; set BATCHREC_STATE_DIR to a folder of yours")
    if os.name == "nt":  # modes and owners mean nothing there
        return ""
    if status.st_uid != os.geteuid():
        return _("belongs to another user (uid {uid}); set BATCHREC_STATE_DIR to a folder of yours").format(
            uid=status.st_uid
        )
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o077:
        return ""
    others = _("others can reach into it (mode {mode:04o})").format(mode=mode)
    if mode & (stat.S_ISVTX | stat.S_IWOTH):
        own = path / "batchrec"
        return _("{others} and it is shared; run: mkdir -m 700 {own}, and set BATCHREC_STATE_DIR to that").format(
            others=others, own=quote(str(own))
        )
    return f"{others}; run: chmod 700 {quote(str(path))}"


def config_directory(environ: Mapping[str, str]) -> Path:
    """The folder of credentials.toml; it need not exist. Raises JobError where there is no home folder."""
    return _chosen(environ, "BATCHREC_CONFIG_DIR", platformdirs.user_config_dir)


def data_directory(environ: Mapping[str, str]) -> Path:
    """The folder of trained models; it need not exist. Raises JobError where there is no home folder."""
    return _chosen(environ, "BATCHREC_DATA_DIR", platformdirs.user_data_dir)


def models_directory(environ: Mapping[str, str]) -> Path:
    """The folder within the data folder that has a folder for each trained model; it need not exist."""
    return data_directory(environ) / "models"


def _chosen(environ: Mapping[str, str], variable: str, default: Callable[..., str]) -> Path:
    """The folder that a variable names, or the platform's.

    Raises JobError where there is no home folder for that.
    """
    given = environ.get(variable)
    try:
        path = Path(given or default("batchrec", appauthor=False)).expanduser()
    except RuntimeError as exc:
        if given:
            raise JobError(
                _("{variable}: {given!r} names the home folder of nobody; expected a folder of yours").format(
                    variable=variable, given=given
                )
            ) from exc
        path = Path()
    if not given and not path.is_absolute():
        raise JobError(
            _(
                "there is no home folder: HOME is not set, and this user has no passwd entry; set BATCHREC_STATE_DIR "
                "and BATCHREC_CONFIG_DIR to folders of yours, or HOME"
            )
        )
    return path


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
