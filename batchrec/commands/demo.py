"""`batchrec demo`: the demo job and its photographs, copied into a folder and run there."""

import os
import shlex
from pathlib import Path

from ..console.output import log_to_stderr
from ..console.progress import Style
from ..console.text import say
from ..engine.assembly import Options
from ..errors import JobError, OutputFailed
from ..job.loading import load_job
from ..job.spec import SCHEMA_FILE
from ..language import _, os_reason
from .run import run_to_its_end

JOB = "demo.toml"
_PHOTOS = "photos"
_SCHEMA = "../batchrec/job/job.schema.json"
"""As `jobs/demo.toml` names it, from its place in the repository."""


def run_demo(folder: Path, progress: Style) -> int:
    """Unpack the demo job into a folder and run it on the embedded endpoint; returns the exit code."""
    log_to_stderr("warning")
    job = unpack(folder)
    if progress != "none":
        say(
            _("the demo job is {job}; again, or after a change: batchrec run {quoted}").format(
                job=job, quoted=shlex.quote(str(job))
            )
        )
    environ = {name: value for name, value in os.environ.items() if name != "BATCHREC_ENDPOINT"}
    return run_to_its_end(load_job(job, environ=environ), Options(progress=progress, signals=True))


def unpack(folder: Path) -> Path:
    """Write the demo job and its photographs into `folder`; returns the path of the job file.

    A file that is there already is kept as it is, so an edited job stays edited and a second run resumes the first.
    Raises JobError where the package lacks the files or `folder` is a file, OutputFailed where one cannot be written.
    """
    source = _packaged()
    try:
        text = (source / JOB).read_text(encoding="utf-8").replace(_SCHEMA, SCHEMA_FILE.as_uri(), 1)
        _write(folder / JOB, text.encode())
        for path in sorted(source.joinpath(_PHOTOS).rglob("*")):
            if path.is_file():
                _write(folder / path.relative_to(source), path.read_bytes())
    except (FileExistsError, NotADirectoryError) as exc:
        raise JobError(
            _("{folder}: a file is in the way; give another folder: batchrec demo FOLDER").format(folder=folder)
        ) from exc
    except OSError as exc:
        raise OutputFailed(
            _("{path}: cannot be written: {reason}").format(path=exc.filename or folder, reason=os_reason(exc))
        ) from exc
    return folder / JOB


def _packaged() -> Path:
    """The folder with the job: in a wheel inside the package, in a clone `jobs/` beside it."""
    package = Path(__file__).parents[1]
    for folder in (package / "jobs", package.parent / "jobs"):
        if (folder / JOB).is_file():
            return folder
    raise JobError(_("the demo job is not in this installation of batchrec; install it again"))


def _write(path: Path, data: bytes) -> None:
    """Create the file with its folder, exclusively; one that exists, as a link too, is left alone."""
    if path.exists() or path.is_symlink():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
