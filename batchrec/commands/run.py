"""`batchrec run`: a job from its file to its exit code."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.text import Text

from ..api.endpoint import EMBEDDED
from ..cluster.published import working
from ..console.log import LogOptions, start_log
from ..console.progress import Style
from ..console.screen import columns, show_notes, words
from ..console.text import say
from ..engine.assembly import Options, run
from ..engine.process import run_loop
from ..engine.resume import RunRequest, step_records
from ..engine.setup import model_digests
from ..errors import JobError, OutputFailed
from ..job.loading import load_job
from ..job.spec import Job
from ..journal import reading
from ..language import _
from ..nightly.night import Night
from ..outputs.directory import JOURNAL
from ..values import LYING, Kind, Summary
from .cluster import Runner, runner
from .estimate import CALLS_PER_PRICE
from .outcome import LastRun, Outcome, calls_of, outcome_of
from .outcome_text import outcome_lines, run_command

_UNASKED = 100
"""Results that are asked for again without a question on a terminal."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of the command line as they are typed."""

    limit: int | None
    reuse: bool
    reuse_models: bool
    progress: Style
    log: LogOptions
    yes: bool = False
    allow_private: bool = False
    metrics: Path | None = None
    on: str | None = None
    shard_size: int = 10_000


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
    start_log(options.log)
    kinds = kinds_of_failure(retry_kinds)
    request = RunRequest(retry_failed or kinds is not None, None if retry_failed else kinds, rebuild)
    with Night(path, options.metrics, os.environ) as night:
        job = _load(path, changes, night)
        chosen = run if options.on is None else runner(options.on, options.shard_size, job)
        job = job if options.on is None else working(job, os.environ)
        if not options.yes:
            _confirm(job)
        night.begin(job)
        summary = _run(
            job,
            Options(
                request=request,
                limit=options.limit,
                reuse=options.reuse,
                reuse_models=options.reuse_models,
                allow_private=options.allow_private,
                progress=options.progress,
                signals=True,
                on_model_change=night.model_changed,
            ),
            changes,
            chosen,
        )
        night.end(summary)
    return summary.exit_code


def _load(path: Path, changes: list[str], night: Night) -> Job:
    try:
        return load_job(path, changes)
    except JobError:
        night.unreadable()
        raise


def _confirm(job: Job) -> None:
    """Ask on a terminal before changed options have many results asked for again.

    Raises JobError where that is declined.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty() and (job.directory / JOURNAL).exists()):
        return
    records = step_records(job, model_digests(job, os.environ))
    try:
        with reading(job.directory) as journal:
            changed = {name: count for name, count in journal.outdated(records).items() if count}
    except (JobError, OutputFailed):  # the run says so
        return
    if (most := sum(changed.values())) <= _UNASKED:
        return
    prices = {step.name: job.account.prices.get(step.service) for step in job.recognize}
    for name, count in changed.items():
        price = prices[name]
        yuan = count * (price or 0) / CALLS_PER_PRICE
        cost = "" if price is None else _(", {yuan:.2f} yuan").format(yuan=yuan)
        text = _(
            "step {name!r} has another service, model or options now: {count:,} results, up to {count:,} calls{cost}"
        )
        say(text.format(name=name, count=count, cost=cost))
    asked = _("Send images of {count:,} results again? The old ones stay until there are new ones").format(count=most)
    if not typer.confirm(asked, err=True):
        raise JobError(_("nothing was sent; undo the change of the job file, or give the job another output.directory"))


def run_to_its_end(job: Job, options: Options, changes: Sequence[str] = ()) -> int:
    """Run a job, and say on standard error what came of it; returns the exit code.

    `changes`: those of `--set`, which the next run needs as well.
    """
    return _run(job, options, changes, run).exit_code


def _run(job: Job, options: Options, changes: Sequence[str], runner: Runner) -> Summary:
    before = _paid(job)
    summary = run_loop(lambda: runner(job, options))
    if options.progress != "none" and summary.stopped_by != "SIGHUP":  # which says that the terminal is gone
        show_notes(_ending(job, summary, before, run_command(job.path, changes)))
    end = f", {summary.stopped_by}" if summary.stopped_by else ""
    facts = {"exit_code": summary.exit_code, "stopped_by": summary.stopped_by, "resume_at": summary.resume_at}
    if options.progress != "none":
        say(f"{job.name}: exit code {summary.exit_code}{end}", stamped=True, aside=True, fields=facts)
    return summary


def _ending(job: Job, summary: Summary, before: Mapping[str, int], again: str | None) -> Iterator[Text]:
    try:
        outcome = outcome_of(job.directory)
    except (JobError, OutputFailed) as error:  # the run is over, and its exit code stands
        yield words(str(error))
        outcome = Outcome(summary.images, summary.images - summary.left, 0, summary.left, summary.answered)
    run = LastRun(
        calls=summary.calls,
        seconds=summary.seconds,
        yuan=_yuan(job, before),
        stopped_by=summary.stopped_by,
        resume_at=summary.resume_at,
        earlier=max(0, summary.failed - summary.new_failures),  # inputs that went away are no failures any more
        ignored_by_kind=summary.ignored_by_kind,
    )
    yield from outcome_lines(outcome, run, job.directory, again, columns(sys.stderr))


def _paid(job: Job) -> dict[str, int]:
    """By service: calls of the job so far; empty where no price is known, and before its first run."""
    if not job.account.prices or job.account.endpoint == EMBEDDED:
        return {}
    with suppress(JobError, OutputFailed), reading(job.directory) as journal:
        return calls_of(journal)
    return {}


def _yuan(job: Job, before: Mapping[str, int]) -> float | None:
    """Price of the calls of this run; None where no price is known."""
    if not (after := _paid(job)):
        return None
    calls = {service: counted - before.get(service, 0) for service, counted in after.items()}
    prices = job.account.prices
    return sum(count * prices[service] for service, count in calls.items() if service in prices) / CALLS_PER_PRICE


def kinds_of_failure(words: list[str] | None) -> tuple[str, ...] | None:
    """The kinds that `--retry-kind` names; None: none. Raises JobError for a word that is no kind."""
    known = (*Kind, LYING)
    wrong = [word for word in words or () if word not in known]
    if wrong:
        text = _("--retry-kind: {wrong} is no kind of failure; there are: {known}")
        raise JobError(text.format(wrong=", ".join(wrong), known=", ".join(known)))
    return tuple(words) if words else None
