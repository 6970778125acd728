"""The state folder: where tokens and quota counts live, for nobody but their owner."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from .errors import JobError


def state_directory(environ: Mapping[str, str]) -> Path:
    """The state folder, made if need be, with mode 0700."""
    path = Path(environ.get("BATCHREC_STATE_DIR") or platformdirs.user_state_dir("batchrec", appauthor=False))
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
    except OSError as exc:
        raise JobError(f"state folder {path}: {exc.strerror}; set BATCHREC_STATE_DIR to a folder of yours") from exc
    return path


def config_directory(environ: Mapping[str, str]) -> Path:
    """Where credentials.toml is; it need not exist."""
    return Path(environ.get("BATCHREC_CONFIG_DIR") or platformdirs.user_config_dir("batchrec", appauthor=False))


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by `content` in one step, readable by its owner alone. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
