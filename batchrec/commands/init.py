"""`batchrec init`: a commented job file to start from."""

from pathlib import Path

from ..console.text import say
from ..errors import JobError
from ..job.spec import template


def write_job_file(path: Path) -> None:
    """Write the template to a new file. Raises JobError where the file exists or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(template())
    except OSError as exc:
        raise JobError(f"{path}: {exc.strerror}; nothing was written") from exc
    say(f"wrote {path}; set input.paths, then: batchrec run {path}")
