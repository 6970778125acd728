"""`batchrec run --on` and `batchrec merge`: a job on a cluster, and what its nodes have left."""

import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ..cluster.job import copy_to, run_on
from ..cluster.published import Published, failed
from ..cluster.storage import require_library
from ..console.extras import require_extra
from ..console.output import printing
from ..console.progress import Style
from ..console.text import say
from ..engine.assembly import Options
from ..engine.process import run_loop
from ..errors import JobError
from ..job.addresses import address_of, fault_of
from ..job.loading import load_job, output_directory
from ..job.spec import Job
from ..journal import JOB_FILE, reading
from ..language import _, ngettext
from ..redact import redact
from ..sources.logins import without_logins
from ..values import Summary

Runner = Callable[[Job, Options], Coroutine[Any, Any, Summary]]
"""Run of a job to its summary, here or on a cluster."""


def runner(address: str, shard_size: int, job: Job) -> Runner:
    """The run of a job on a cluster; the job that it is given later may have its folder on this machine.

    Raises JobError where a package is not installed.
    """
    require_extra("ray", "--on", "ray", "fsspec")
    if job.address is not None:
        require_library(job.address)
    from ..cluster.ray import open_fleet  # Ray takes two seconds to import

    def run(_working: Job, options: Options) -> Coroutine[Any, Any, Summary]:
        return run_on(job, options, functools.partial(open_fleet, address), shard_size)

    return run


def merge_parts(path: Path, progress: Style, out: Path | None = None) -> int:
    """Merge the parts of an output directory, given itself, its address or its job file.

    Returns the exit code.

    `out`: results at an address are copied to that folder, and stay as they are.
    """
    require_extra("ray", "batchrec merge", "fsspec")
    url, job = _found(path, out)
    options = Options(progress=progress, signals=True)
    if out is None:
        assert job is not None
        summary = run_loop(lambda: run_on(job, options, None))
    else:
        assert url is not None
        copied = run_loop(lambda: copy_to(out.absolute(), url, job, options, os.environ))
        if copied is None:
            say(_("{directory}: is a copy of {url}").format(directory=out, url=url))
            return 0
        summary = copied
    if progress != "none":
        text = ngettext("{count:,} result", "{count:,} results", summary.answered).format(count=summary.answered)
        say(_("{results}, {left:,} images remaining").format(results=text, left=summary.left))
    return summary.exit_code


def _found(path: Path, out: Path | None) -> tuple[str | None, Job | None]:
    """The address of results, if they are at one, and their job, if its file is on this machine.

    Raises JobError where it is needed, and where `out` is given for a folder.
    """
    url = address_of(path)
    if url is not None:
        require_library(checked_address(url))
        job = _job_at(url)
        if job is None and out is None:
            text = _("{url}: its job file is not on this machine; give the job file: batchrec merge JOB.toml")
            raise JobError(text.format(url=url))
        return url, job
    job = load_job(path) if path.suffix.lower() == ".toml" else _job_of(output_directory(path))
    if job.address is not None:
        require_library(job.address)
    elif out is not None:
        raise JobError(_("--out: is for results at an address; those of {path} are in a folder").format(path=path))
    return job.address, job


def _job_at(url: str) -> Job | None:
    """The job whose results are at an address; None where its file is not here, or writes elsewhere."""
    try:
        merged = Published(url).merged()
    except OSError as exc:
        raise failed(url, exc) from exc
    if merged is None or not os.path.isfile(merged.job_file):
        return None
    job = load_job(merged.job_file)
    return job if job.address == url else None


def verify_address(url: str, *, quick: bool) -> int:
    """Check the results at an address and print what is wrong with them; returns the exit code, 0 or 1."""
    require_extra("ray", "batchrec verify", "fsspec")
    require_library(checked_address(url))
    try:
        problems = list(Published(url).problems(quick=quick))
    except OSError as exc:
        raise failed(url, exc) from exc
    exit_code = 1 if problems else 0
    with printing(exit_code):
        for problem in problems:
            print(redact(problem))
        if not problems:
            print(_("{url}: all files and parts are as they were written").format(url=url))
    return exit_code


def address_in(path: Path) -> str | None:
    """The address that a command was given, or that its job file names; None for a folder."""
    if (url := address_of(path)) is not None:
        return url
    return load_job(path).address if path.suffix.lower() == ".toml" and path.is_file() else None


def checked_address(url: str) -> str:
    """The address itself. Raises JobError where it can hold no results."""
    if fault := fault_of(url):
        raise JobError(f"{without_logins(url)}: {fault}")
    return url


def _job_of(directory: Path) -> Job:
    """The job whose results a directory holds.

    Raises JobError where its file is not known, or writes elsewhere.
    """
    with reading(directory) as journal:
        noted = journal.note(JOB_FILE)
    if noted is None:
        raise JobError(_("{directory}: does not say which job it is of; give the job file").format(directory=directory))
    job = load_job(directory / str(noted))
    if job.directory.resolve() != directory.resolve():
        text = _("{directory}: its job {file} writes into {other} by now; give the job file")
        raise JobError(text.format(directory=directory, file=job.path, other=job.directory))
    return job
