"""`batchrec run`: a job from its file to its exit code."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from ..api.endpoint import EMBEDDED
from ..console.output import log_to_stderr, printing
from ..console.progress import Style
from ..console.text import say
from ..engine.assembly import Options, run
from ..engine.process import run_loop
from ..engine.resume import RunRequest, step_records
from ..errors import JobError, OutputFailed
from ..job.loading import load_job
from ..job.spec import Job
from ..journal import reading
from ..outputs.directory import JOURNAL
from ..values import LYING, Kind
from .estimate import CALLS_PER_PRICE
from .tables import ended, show_answers

_UNASKED = 100
"""Results that are asked for again without a question on a terminal."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of the command line as they are typed."""

    limit: int | None
    reuse: bool
    reuse_models: bool
    progress: Style
    log_level: str
    yes: bool = False


def run_job_file(
    path: Path,
    changes: list[str],
    options: RunOptions,
    retry_failed: bool,
    retry_kinds: list[str] | None,
    *,
    rebuild: bool,
) -> int:
    """Run the job of a file with the changes of `--set`; returns the exit code."""
    log_to_stderr(options.log_level)
    kinds = _kinds(retry_kinds)
    request = RunRequest(retry_failed or kinds is not None, None if retry_failed else kinds, rebuild)
    job = load_job(path, changes)
    if not options.yes:
        _confirm(job)
    return run_to_its_end(
        job, Options(request, options.limit, options.reuse, options.reuse_models, options.progress, True)
    )


def _confirm(job: Job) -> None:
    """Ask on a terminal before many results are asked for again, since service, model or options have changed.

    Raises JobError where that is declined.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty() and (job.directory / JOURNAL).exists()):
        return
    try:
        with reading(job.directory) as journal:
            changed = {name: count for name, count in journal.outdated(step_records(job)).items() if count}
    except (JobError, OutputFailed):  # the run says so
        return
    if (most := sum(changed.values())) <= _UNASKED:
        return
    prices = {step.name: job.account.prices.get(step.service) for step in job.recognize}
    for name, count in changed.items():
        price = prices[name]
        cost = "" if price is None else f", {count * price / CALLS_PER_PRICE:.2f} yuan"
        say(f"step {name!r} has another service, model or options now: {count:,} results, up to {count:,} calls{cost}")
    if not typer.confirm(f"Ask for {most:,} results again? The old ones stay until there are new ones", err=True):
        raise JobError("nothing was sent; undo the change of the job file, or give the job another output.directory")


def run_to_its_end(job: Job, options: Options) -> int:
    """Run a job, show the results of the embedded endpoint, and say how it ended; returns the exit code."""
    summary = run_loop(lambda: run(job, options))
    if job.account.endpoint == EMBEDDED and summary.stopped_by != "SIGHUP":  # which says that the terminal is gone
        with suppress(typer.Exit), printing():  # a reader that has gone does not change how the run ended
            show_answers(job.directory, [step.name for step in job.recognize])
    if options.progress != "none":
        say(*ended(summary, job.directory))
    return summary.exit_code


def _kinds(words: list[str] | None) -> tuple[str, ...] | None:
    known = (*Kind, LYING)
    wrong = [word for word in words or () if word not in known]
    if wrong:
        raise JobError(f"--retry-kind: {', '.join(wrong)} is no kind of failure; there are: {', '.join(known)}")
    return tuple(words) if words else None
