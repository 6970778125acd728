"""Assembly of a run: a job goes in, a summary comes out. The only module that knows every part."""

import asyncio
import contextlib
import logging
import math
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from .. import __version__
from ..api.accounts import open_account
from ..api.client import Client, make_request
from ..api.credentials import Credentials
from ..api.endpoint import EMBEDDED
from ..api.services import SERVICES
from ..console.notebook import reported
from ..console.progress import Snapshot, Style, shown
from ..console.text import say
from ..errors import BatchrecError, DirectoryBusy, InputsGone, NoImages, OutputFailed
from ..fetch.cache import UrlCache
from ..interfaces import Account, Keeper, Transport
from ..job.follow_ups import Conditions, follow_ups
from ..job.spec import NO_LIMIT, Job
from ..job.spec import Step as JobStep
from ..journal import CALLING_SINCE, Journal
from ..language import _
from ..limits.availability import Policy
from ..limits.gate import Gate, open_gate
from ..limits.keeper import LocalKeeper
from ..limits.quota import Quota
from ..limits.shared_rate import CLUSTER, SharedRates, used_lately
from ..outputs import OUTPUTS
from ..outputs.files import ResultFiles, writing
from ..outputs.summary import append_failures, write_failures, write_summary
from ..sources import Logins
from ..sources.keys import escaped
from ..state.answer_cache import AnswerCache
from ..state.directory import state_directory
from ..state.inspection_cache import InspectionCache
from ..state.uplinks import note as note_uplink
from ..times import Clock, iso_utc
from ..values import Caps, Closure, Ignored, InputEntry, Kind, ModelChange, Notice, Summary, Target
from .attempts import Tally
from .canary import Canary, tell_model_changes
from .duplicates import Duplicates
from .engine import Engine
from .exit_status import RunFacts, exit_status
from .lane import MOST_WORKERS, PREPARING, Backlog, Lane, Step
from .preparation import Preparation
from .process import Stopper, connections_at_most, rare_collections
from .recorder import Recorded, Recorder
from .resume import OpenReport, RunRequest, fingerprint_of, open_directory, take_out_superseded
from .rows import Asked
from .setup import (
    Fetched,
    Provider,
    check_fetch,
    checked,
    destination,
    hold,
    image_store,
    inputs_of,
    open_fetcher,
    open_provider,
    rate_of,
    result_cache,
    targets_of,
)
from .watch import at_start, watcher

_log = logging.getLogger(__name__)


_FEWEST_WORKERS = 16
"""Workers of a lane at the start, at any rate."""

_EMBEDDED_CALLS = 32
"""Calls to the embedded endpoint in flight, unless the job says otherwise: enough for each core, and few enough that a
slow model answers all of them within `limits.timeout`."""

_SECONDS_OF_CALLS = 4
"""Seconds that a slow call takes: at the start there are workers enough for calls that all are so slow."""

Watcher = Callable[[Sequence[bytes]], None]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line beside the job.

    `request`: what is retried. `limit`: at most so many images without a result (None: all).
    `reuse`: take cached results of earlier jobs; `reuse_models`: those of EasyDL models too, which may have been
    trained anew since. `allow_private`: fetch from private addresses, where the job says so too. `signals`: handle
    SIGINT, SIGTERM and SIGHUP. `on_rows` is called on the event loop with the lines of every group that was committed
    to results.jsonl, `on_progress` four times a second with a snapshot, `on_model_change` at the end with each change
    of a model. A change is told again by each run until `forget_changes` is called with it; None: the line in the log
    is enough.
    """

    request: RunRequest = field(default_factory=RunRequest)
    limit: int | None = None
    reuse: bool = True
    reuse_models: bool = False
    allow_private: bool = False
    progress: Style = "none"
    signals: bool = False
    on_rows: Watcher | None = None
    on_progress: Callable[[Snapshot], None] | None = None
    on_model_change: Callable[[ModelChange], None] | None = None


@asynccontextmanager
async def _over_http(endpoint: str, call_seconds: float, rate: float) -> AsyncIterator[Transport]:
    from ..api.http import open_transport  # aiohttp takes 160 ms to import: a finished job needs none

    async with open_transport(endpoint, call_seconds, rate) as transport:
        yield transport


@dataclass(frozen=True, slots=True)
class Shared:
    """Keeper and account of a run: those of a larger one, where it works on a shard of its images.

    `record` is given each group that was committed, with the lines of its rows, in the thread of the commit; None: the
    result cache is.
    """

    keeper: Keeper
    account: Account
    record: Callable[[Sequence[Recorded]], None] | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """Source of the time (Unix seconds) and of connections; tests in virtual hours have others.

    `connect` is given the endpoint, the seconds that a call may take, and the highest number of calls per second.
    """

    now: Callable[[], float] = time.time
    connect: Callable[[str, float, float], AbstractAsyncContextManager[Transport]] = _over_http
    shared: Shared | None = None


@dataclass(slots=True)
class Work:
    """Work of a run: its counts, and what kept it from the images that remain.

    `closed`: services with images left that take no more calls; None where the account lacks the permission.
    """

    tally: Tally = field(default_factory=Tally)
    refreshes: int = 0
    error: BatchrecError | None = None
    closed: dict[str, Closure | None] = field(default_factory=dict)


async def run(
    job: Job,
    options: Options | None = None,
    environ: Mapping[str, str] | None = None,
    environment: Environment | None = None,
    stopper: Stopper | None = None,
) -> Summary:
    """Run or resume a job; the summary's `exit_code` says how it ended. `environ` None: the process's.

    `stopper`: for the caller to stop it as a signal does.

    Raises JobError, DirectoryBusy, OutputFailed and Interrupted. Whatever else ends a run early is in the log and the
    summary, and the results until then are saved.
    """
    options, environment = options or Options(), environment or Environment()
    environ = os.environ if environ is None else environ
    started = time.monotonic()
    check_fetch(job, allowed=options.allow_private)
    logins = Logins()
    credentials, entries = checked(job, environ, logins)
    if options.progress != "none":
        say(f"{job.name}: {destination(job, credentials)}", stamped=True)
    with _empty_first(job):
        state = state_directory(environ)
        async with Run.opened(
            job, options, credentials, state, environment, logins, stopper or Stopper(), environ
        ) as this:
            report = await this.open_directory(entries)
            this.say_header()
            horizon = this.horizon(report)
            if this.unfinished(report, horizon):
                await this.recognize(report, horizon)
                await this.take_out_superseded()
            return this.conclude(report, started)


@contextlib.contextmanager
def _empty_first(job: Job) -> Iterator[None]:
    """Raise NoImages where there is no image, in place of an error about the output directory."""
    try:
        yield
    except (DirectoryBusy, OutputFailed) as error:
        if job.input.allow_empty or any(isinstance(found, InputEntry) for found in inputs_of(job)):
            raise
        raise NoImages(_("there is no image at all in the inputs, and {error}").format(error=error)) from error


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts of a run that need closing: the journal, result files, caches and the provider of results."""

    journal: Journal
    files: ResultFiles
    provider: Provider
    stopper: Stopper
    cache: AnswerCache | None
    inspections: InspectionCache
    fetched: Fetched


class Run:
    """One run of a job, in the order of its methods; `opened` holds the output directory."""

    def __init__(
        self, job: Job, options: Options, credentials: Credentials, state: Path, environment: Environment, parts: _Parts
    ) -> None:
        self._job, self._options, self._credentials = job, options, credentials
        self._state, self._environment = state, environment
        self.journal, self.files, self.cache = parts.journal, parts.files, parts.cache
        self._parts, self._stopper = parts, parts.stopper
        self._rng = random.Random()
        self.work = Work()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        job: Job,
        options: Options,
        credentials: Credentials,
        state: Path,
        environment: Environment,
        logins: Logins,
        stopper: Stopper,
        environ: Mapping[str, str],
    ) -> AsyncIterator["Run"]:
        """Hold the output directory and open what a run works on.

        Raises DirectoryBusy, JobError, OutputFailed.
        """
        async with AsyncExitStack() as stack:
            stack.enter_context(rare_collections)
            stack.enter_context(stopper.listening() if options.signals else contextlib.nullcontext())
            stack.enter_context(hold(job.directory))
            journal = stack.enter_context(closing(Journal(job.directory)))
            provider = await stack.enter_async_context(open_provider(job, environ))
            files = ResultFiles(job.directory, [OUTPUTS[name] for name in job.output.formats], {})
            cache = result_cache(job, state, credentials, environment.now)
            if cache is not None:
                stack.enter_context(closing(cache))
            inspections = stack.enter_context(closing(InspectionCache(state)))
            fetched = Fetched(stack.enter_context(closing(UrlCache(state, environment.now))), logins)
            parts = _Parts(journal, files, provider, stopper, cache, inspections, fetched)
            yield cls(job, options, credentials, state, environment, parts)

    async def open_directory(self, entries: Iterator[InputEntry | Ignored | Notice]) -> OpenReport:
        """List the inputs and bring the directory in order, in a thread; it may take minutes, so it is shown."""
        try:
            async with shown(self._options.progress, lambda: None):
                report = await asyncio.to_thread(
                    open_directory,
                    self._job,
                    self.journal,
                    self.files,
                    entries,
                    self._options.request,
                    self._stopper.came,
                    self._parts.provider.name,
                    self.cache,
                    self._parts.inspections,
                    image_store(self._job, self._parts.fetched),
                    self._parts.provider.digests,
                )
        except OSError as exc:
            raise writing(self._job.directory, exc) from exc
        _log_report(report)
        return report

    def say_header(self) -> None:
        """Say version, job, images and remaining, so that the runs of a log are told apart."""
        if self._options.progress == "none":
            return
        name, images = escaped(self._job.name), self.journal.reader.counts().images
        left = self.journal.reader.remaining()
        text = _("batchrec {version}, job {job}: {images:,} images, {left:,} remaining")
        fields: dict[str, str | int] = {"version": __version__, "job": name, "images": images, "left": left}
        say(text.format(**fields), stamped=True, aside=True, fields=fields)

    def horizon(self, report: OpenReport) -> int:
        """Position of the last input of this run, by `limit`."""
        return self.journal.queue.horizon(list(report.steps.values()), self._options.limit)

    def unfinished(self, report: OpenReport, horizon: int) -> bool:
        """Whether any image up to the horizon has neither a result nor a failure."""
        return bool(self.journal.queue.unfinished(list(report.steps.values()), horizon))

    async def recognize(self, report: OpenReport, horizon: int) -> None:
        """Connect to the service, or to an emulator in this process, and run the engine to its end."""
        job = self._job
        self.journal.put_note(CALLING_SINCE, iso_utc(self._environment.now()))
        async with AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(self._parts.provider.reached())
            transport = await stack.enter_async_context(
                self._environment.connect(endpoint, job.limits.timeout, rate_of(job))
            )
            shared = self._environment.shared or stack.enter_context(self._alone(endpoint, transport))
            await stack.enter_async_context(self.files)
            steps = self.steps(report)
            backlog = Backlog(self.journal, tuple(steps), horizon)
            fetched = self._parts.fetched
            fetcher = (
                await stack.enter_async_context(open_fetcher(job, fetched)) if self.journal.opening.urls() else None
            )
            preparation = Preparation(image_store(job, fetched), backlog.wake, fetcher=fetcher)
            duplicates = Duplicates(self.journal, self.files, steps, self.cache, self._environment.now)
            lanes = [
                Lane(gate, {number: steps[number] for number in numbers}, backlog, preparation.take_place, *workers)
                for gate, numbers, workers in self._gates(report, shared)
            ]
            engine = Engine(
                lanes,
                backlog,
                preparation,
                duplicates,
                Recorder(self.journal, self.files, shared.record or duplicates.remember, self._options.on_rows),
                Client(endpoint, transport, time.perf_counter),
                now=self._environment.now,
                rng=self._rng,
            )
            self._stopper.ask = engine.stop
            if self._stopper.came():
                engine.stop()
            watch = watcher(
                job,
                engine,
                report.steps,
                at_start(self.journal.reader, horizon if self._options.limit is not None else None),
                self._environment.now,
                limitless=rate_of(job) >= NO_LIMIT,
            )
            async with shown(self._options.progress, watch), reported(self._options.on_progress, watch):
                await engine.run()
            unfinished = self.journal.queue.unfinished
            stuck = [lane.gate for lane in engine.lanes if unfinished(tuple(lane.steps), horizon)]
            self.work = _work(engine, shared.account, stuck, stopped=self._stopper.came())
            if engine.uplink.measured and job.account.endpoint != EMBEDDED:
                note_uplink(self._state, job.account.endpoint, engine.uplink.measured, self._environment.now())

    async def take_out_superseded(self) -> None:
        """Take rows that have newer ones out of the result files; the next run does where that fails."""
        try:
            notices = await asyncio.to_thread(take_out_superseded, self.journal, self.files)
        except OSError as exc:
            problem = writing(self._job.directory, exc)
            notices = [_("rows that have newer ones stay until the next run: {problem}").format(problem=problem)]
        for line in notices:
            _log.warning("%s", line)

    def conclude(self, report: OpenReport, started: float) -> Summary:
        """Write the views of the journal, and return the summary. `started` is in monotonic seconds."""
        directory, journal = self._job.directory, self.journal
        if isinstance(self.work.error, InputsGone):
            journal.queue.retry(report.steps.values(), (Kind.READ,))  # they remain: the folder has failed, not they
        write_failures(directory, journal.reader.failures())
        append_failures(self.files, journal.reader.failures)
        counts = journal.reader.counts()
        tally = self.work.tally
        end = exit_status(self._facts())
        seconds, now = time.monotonic() - started, self._environment.now()
        summary = Summary(
            job=escaped(self._job.name),
            version=__version__,
            endpoint=self._job.account.endpoint,
            base=escaped(str(self._job.base)),
            started_at=iso_utc(now - seconds),
            finished_at=iso_utc(now),
            exit_code=end.exit_code,
            images=counts.images,
            answered=counts.answered,
            failed=counts.failed,
            left=journal.reader.remaining(),
            duplicates=counts.duplicates,
            ignored=report.ignored.total(),
            ignored_by_kind=dict(sorted(report.ignored.items())),
            failures_by_code=journal.reader.failures_by_code(),
            new_failures=tally.new_failures,
            calls=tally.calls,
            throttled=tally.throttled,
            retries=tally.retries,
            token_refreshes=self.work.refreshes,
            outcome_unknown=report.outcome_unknown,
            seconds=round(seconds, 3),
            rate=round(tally.answered / seconds, 3) if seconds > 0 else 0.0,
            stopped_by=end.stopped_by,
            resume_at=end.resume_at,
            model_changes=journal.canaries.changes(),
        )
        write_summary(directory, summary)
        journal.conclude(self.files.stamps())
        if self.cache is not None:
            self.cache.end_run(journal.note("run"))
        tell_model_changes(journal, summary.job, self._options.on_model_change)
        return summary

    @contextlib.contextmanager
    def _alone(self, endpoint: str, transport: Transport) -> Iterator[Shared]:
        """Keeper and account of a run that is no part of a larger one."""
        state, now = self._state, self._environment.now
        # An emulator in this process is nobody else's, and has a rate and tokens of its own.
        kept = None if self._job.account.endpoint == EMBEDDED else state
        patience = self._job.limits.patience
        account = open_account(endpoint, self._credentials, transport, cache=kept, patience=patience, now=now)
        monotonic = asyncio.get_running_loop().time
        if kept is not None:
            _tell_of_cluster(kept, targets_of(self._job, self._credentials), monotonic())
        with closing(Quota(state, now)) as quota, closing(SharedRates(kept)) as rates:
            yield Shared(LocalKeeper(rates, quota, monotonic), account)

    def _gates(self, report: OpenReport, shared: Shared) -> Iterator[tuple[Gate, tuple[int, ...], tuple[int, int]]]:
        """Yield for each service: gate, numbers of its steps, workers of its lane (at first, at most).

        All gates together let as many calls be in flight as the job allows.
        """
        job = self._job
        in_flight = _in_flight(job)
        slots, most = asyncio.Semaphore(in_flight), min(MOST_WORKERS, in_flight + PREPARING)
        clock = Clock(asyncio.get_running_loop().time, self._environment.now, self._rng)
        for target, members in targets_of(job, self._credentials):
            numbers = tuple(report.steps[step.name] for step in members)
            wait, proven = job.limits.on_daily_limit == "wait", self.journal.queue.answered(numbers)
            gate = open_gate(
                target,
                shared.account,
                shared.keeper,
                self.journal.calls,
                slots,
                Policy(job.limits.patience, wait, proven),
                clock,
            )
            yield gate, numbers, (min(_workers(target.caps), most), most)

    def steps(self, report: OpenReport) -> dict[int, Step]:
        following = follow_ups(self._job, report.steps)
        made = {}
        for step in self._job.recognize:
            number = report.steps[step.name]
            canary = _canary(step, number, self._parts)
            made[number] = _step(self._job, self._options, self.cache, step, following.get(number, ()), canary)
        return made

    def _facts(self) -> RunFacts:
        """Facts about the end of the run."""
        work = self.work
        if work.error is not None:
            _log.error("%s", work.error)
        empty = not self.journal.reader.counts().images and not self._job.input.allow_empty
        closures = tuple(closure for closure in work.closed.values() if closure is not None)
        forbidden = len(closures) < len(work.closed)
        return RunFacts(work.error, forbidden, closures, self._stopper.signal, work.tally.new_failures, empty)


def _canary(step: JobStep, number: int, parts: _Parts) -> Canary | None:
    if step.canary is None:
        return None
    fingerprint = fingerprint_of(step, parts.provider.digests)
    return Canary(number, step.name, fingerprint, step.canary, parts.journal, parts.files.read)


def _step(
    job: Job, options: Options, cache: AnswerCache | None, step: JobStep, follow: Conditions, canary: Canary | None
) -> Step:
    service = SERVICES[step.service]
    return Step(
        Asked(step.name, service, step.model),
        make_request(service, step.model, step.options),
        job.limits.attempts,
        job.treatment,
        follow,
        None if cache is None else cache.cache_key(step.fingerprint, personal=service.personal),
        options.reuse and (options.reuse_models or not service.custom),
        by_url=step.send == "url",
        canary=canary,
    )


def _work(engine: Engine, account: Account, stuck: Sequence[Gate], *, stopped: bool) -> Work:
    """Work of an engine.

    Images that remain, at `stuck` gates, without any reason are a defect, not a success.
    """
    closed = {
        gate.service: None if gate.forbidden else gate.closure for gate in stuck if gate.forbidden or gate.closure
    }
    if stuck and not (engine.error or closed or stopped):
        raise RuntimeError("the run ended with images that are neither answered nor failed")
    return Work(engine.tally, account.refreshes, engine.error, closed)


def _tell_of_cluster(state: Path, targets: Iterable[tuple[Target, list[JobStep]]], now: float) -> None:
    """Say where a cluster's keeper, on this machine, gives permits for the same account."""
    if used_lately(state / CLUSTER, (target for target, _steps in targets), now):
        text = _(
            "this account is also used by a run on a cluster, which has a rate of its own: "
            "give each a part of limits.qps"
        )
        _log.warning("%s", text)


def _log_report(report: OpenReport) -> None:
    for line in (*report.notices, *report.again):
        _log.warning("%s", line)
    if report.outcome_unknown:
        most = "at most " if report.upper_bound else ""
        _log.warning(
            "an earlier run was cut short: %s%d calls were sent and their answers are lost",
            most,
            report.outcome_unknown,
        )


def _in_flight(job: Job) -> int:
    """Calls in flight at most: the job's number, where there are descriptors for so many connections."""
    embedded = job.account.endpoint == EMBEDDED
    wanted = job.limits.concurrency or (_EMBEDDED_CALLS if embedded else MOST_WORKERS)
    # An emulator in this process has the other end of each connection.
    allowed = connections_at_most(2 if embedded else 1)
    if wanted <= allowed:
        return wanted
    _log.warning("at most %d calls in flight, since this process may open so few files: see `ulimit -n`", allowed)
    return int(allowed)


def _workers(caps: Caps) -> int:
    """Number of workers at the start, from the rate; the engine hires more where they are needed."""
    if caps.qps == math.inf:
        return _FEWEST_WORKERS
    return int(min(max(_FEWEST_WORKERS, caps.qps * _SECONDS_OF_CALLS), MOST_WORKERS))
