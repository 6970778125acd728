"""Commands that look and print: plan, status, verify, quota, services, errors.

What only one of them needs is imported within its function: `batchrec errors` waits for no job file and no journal.
"""

from pathlib import Path

from ..console.output import log_to_stderr, printing
from ..console.progress import Style
from ..console.text import say
from . import tables


def show_plan_of(
    path: Path,
    changes: list[str],
    *,
    reuse: bool,
    reuse_models: bool,
    progress: Style,
    log_level: str,
    json: bool,
) -> int:
    """Print the plan of a job file with the changes of `--set`; returns the exit code."""
    from ..engine.process import run_loop
    from ..errors import NoImages
    from ..job.loading import load_job
    from .plan import payer_known, plan

    log_to_stderr(log_level)
    job = load_job(path, changes)
    if not payer_known(job):
        say("no credentials: quota and answers of earlier jobs are not looked at")
    found = run_loop(lambda: plan(job, reuse=reuse, reuse_models=reuse_models, progress=progress))
    with printing():
        if json:
            tables.show_json(found)
        else:
            tables.show_plan(found, path)
    return 0 if found.images or job.input.allow_empty else NoImages.exit_code


def show_status_of(directory: Path, *, json: bool) -> None:
    """Print the status of an output directory, as a table or as JSON."""
    from ..engine.setup import is_held
    from .status import status

    found = status(directory, running=is_held(directory))
    with printing():
        (tables.show_json if json else tables.show_status)(found)


def show_findings_of(directory: Path, *, quick: bool) -> int:
    """Check an output directory and print the findings; returns the exit code, 1 where there are problems.

    `quick`: the inputs are not read.
    """
    from ..engine.setup import is_held
    from .quota import open_counts
    from .verify import verify

    with open_counts() as counts:
        findings = verify(directory, counts.counted, running=is_held(directory), quick=quick)
    with printing():
        tables.show_findings(findings)
    return 1 if findings.problems else 0


def show_counts() -> None:
    """Print what each account has used of its quota."""
    from .quota import open_counts

    with open_counts() as counts, printing():
        tables.show_quota(counts.usage())


def show_catalogue(name: str | None) -> None:
    """Print all services, or one with its options and limits.

    Raises JobError where there is no such service.
    """
    from ..api.services import SERVICES
    from ..errors import JobError

    if name is not None and name not in SERVICES:
        from ..job.spec import did_you_mean

        hint = did_you_mean(name, SERVICES) or "there are:"
        raise JobError(f"{name!r} is not a service; {hint} {', '.join(SERVICES)}")
    with printing():
        if name is None:
            tables.show_services()
        else:
            tables.show_service(SERVICES[name])


def show_codes(code: str | None) -> None:
    """Print all error codes, or one with its meaning. Raises JobError where it is no code."""
    with printing():
        if code is None:
            tables.show_errors()
        else:
            tables.show_error(code)
