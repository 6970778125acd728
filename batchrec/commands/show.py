"""Commands that look and print: plan, status, verify, quota, services, errors.

What only one of them needs is imported within its function: `batchrec errors` waits for no job file and no journal.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, get_args

from ..console.output import log_to_stderr, printing
from ..console.progress import Style
from ..console.text import say
from ..language import _
from . import tables
from .status import Status


def show_plan_of(
    path: Path,
    changes: list[str],
    *,
    reuse: bool,
    reuse_models: bool,
    progress: Style,
    log_level: str,
    json: bool,
    files: bool = False,
    machines: bool = False,
) -> int:
    """Print the plan of a job file with the changes of `--set`; returns the exit code.

    `machines`: with the cores that the calls need. `files`: the images that would be refused come first, a line each,
    as they are found; as JSON, without the plan.
    """
    from ..cluster.published import working
    from ..engine.process import run_loop
    from ..errors import CredentialsRefused, NoImages
    from ..job.loading import load_job
    from ..job.spec import Job
    from .machines import machines_of, machines_text
    from .plan import payer_known, plan
    from .plan_text import print_refusal, show_plan

    log_to_stderr(log_level)
    job: Job = load_job(path, changes)
    job = working(job, os.environ) if machines else job
    if not payer_known(job):
        say(_("no credentials: quota and cached results are not looked at"))
    if files and progress != "plain":
        progress = "none"  # a live display would take the lines of standard output
    refused = partial(print_refusal, json=json) if files else None
    with printing():
        found = run_loop(lambda: plan(job, reuse=reuse, reuse_models=reuse_models, progress=progress, refused=refused))
        needed = machines_of(found, os.cpu_count() or 1) if machines else None
        if not json:
            show_plan(found, path)
            if machines:
                print(machines_text(needed))
        elif not files:
            said = {**asdict(found), "machines": needed} if machines else asdict(found)
            tables.show_json(said if found.barred else {key: said[key] for key in said if key != "barred"})
    for text in found.barred.values():
        say(text)
    if not found.images and not job.input.allow_empty:
        return NoImages.exit_code
    return CredentialsRefused.exit_code if found.barred else 0


def show_status_of(directory: Path, *, json: bool) -> None:
    """Print the status of an output directory, as a table or as JSON."""
    from ..engine.setup import is_held
    from .status import status

    found = status(directory, running=is_held(directory))
    with printing():
        if json:
            tables.show_json(found)
        else:
            _show_status(found, directory)


def _show_status(found: Status, directory: Path) -> None:
    from .outcome import job_file_of, outcome_of
    from .outcome_text import run_command
    from .state_tables import show_status
    from .status import last_run

    again = run_command(job_file_of(directory))
    show_status(found, outcome_of(directory), None if found.running else last_run(directory), directory, again)


def show_results_of(
    path: Path,
    filters: Mapping[str, Any],
    given: Mapping[str, bool],
    *,
    by_score: bool,
    limit: int | None,
    link_to: Path | None,
) -> None:
    """Print results of an output directory or job file. `given`: the forms that the command line names.

    Without a label, scores are those of the top label. Raises JobError.
    """
    from ..errors import JobError
    from ..job.loading import output_directory
    from ..journal.selection import Selection
    from ..language import _
    from .listing import Form, Listing, show_results

    forms = [name for name, wanted in given.items() if wanted]
    if len(forms) > 1:
        named = ", ".join("--" + name.replace("_", "-") for name in forms)
        raise JobError(_("{options}: choose one of them").format(options=named))
    if by_score and filters["failed"]:
        raise JobError(_("--sort score: failures have no scores"))
    form: Form = next((form for form in get_args(Form) if form in forms), "table")
    top = 1 if filters["label"] is None and {filters["min_score"], filters["max_score"]} != {None} else None
    selection = Selection(**filters, top=top)
    show_results(output_directory(path), Listing(selection, by_score, limit, form, link_to))


def show_findings_of(directory: Path, *, quick: bool) -> int:
    """Check an output directory and print the findings; returns the exit code, 1 where there are problems.

    `quick`: the inputs are not read.
    """
    import os

    from ..engine.setup import is_held
    from ..fetch.cache import kept_bytes
    from ..state.directory import state_directory
    from .quota import open_counts
    from .state_tables import show_findings
    from .verify import verify

    with open_counts() as counts:
        kept = partial(kept_bytes, state_directory(os.environ))
        findings = verify(directory, counts.counted, running=is_held(directory), quick=quick, kept=kept)
    exit_code = 1 if findings.problems else 0
    with printing(exit_code):
        show_findings(findings)
    return exit_code


def show_counts() -> None:
    """Print what each account has used of its quota."""
    from .quota import open_counts
    from .state_tables import show_quota

    with open_counts() as counts, printing():
        show_quota(counts.usage())


def show_catalogue(name: str | None) -> None:
    """Print all services, or one with its options and limits.

    Raises JobError where there is no such service.
    """
    from ..api.services import SERVICES
    from ..errors import JobError

    if name is not None and name not in SERVICES:
        from ..job.spec import not_a_service

        raise JobError(f"{name!r} {not_a_service(name)}")
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
