"""Assembly of a run: a job goes in, a summary comes out. The only module that knows every part."""

import asyncio
import contextlib
import logging
import math
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from .. import __version__
from ..api.account import BearerAccount, TokenAccount
from ..api.client import Client, make_request
from ..api.credentials import Credentials
from ..api.endpoint import EMBEDDED
from ..api.services import SERVICES
from ..api.signature import SignatureAccount
from ..console.progress import Snapshot, Style, shown
from ..console.text import say
from ..errors import DirectoryBusy, InputsGone, NoImages, OutputFailed
from ..images import expected_bytes_at
from ..interfaces import Account, Transport
from ..job.follow_ups import Conditions, follow_ups
from ..job.spec import NO_LIMIT, Job
from ..job.spec import Step as JobStep
from ..journal import CALLING_SINCE, Counts, Journal
from ..limits.availability import Policy
from ..limits.gate import Gate, open_gate
from ..limits.keeper import LocalKeeper
from ..limits.quota import Quota
from ..limits.shared_rate import SharedRates
from ..outputs import OUTPUTS
from ..outputs.files import ResultFiles, writing
from ..outputs.summary import write_failures, write_summary
from ..sources.keys import escaped
from ..state.answer_cache import AnswerCache
from ..state.directory import state_directory
from ..state.inspection_cache import InspectionCache
from ..state.uplinks import note as note_uplink
from ..times import Clock, iso_beijing, iso_utc
from ..values import ADVISED_SIDE, Caps, Ignored, InputEntry, Kind, Notice, Summary, Target
from .attempts import Tally
from .duplicates import Duplicates
from .engine import Engine
from .exit_status import RunFacts, exit_status
from .lane import MOST_WORKERS, PREPARING, Backlog, Lane, Step
from .preparation import Preparation
from .process import Stopper, connections_at_most, rare_collections
from .recorder import Recorder
from .resume import OpenReport, RunRequest, open_directory, take_out_superseded
from .rows import Asked
from .setup import (
    Provider,
    by_service,
    caps_of,
    check_services,
    credentials_of,
    destination,
    hold,
    image_store,
    inputs_of,
    open_provider,
    payer,
    rate_of,
    result_cache,
)

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

    `limit`: at most so many images without a result (None: all).
    `reuse`: take cached results of earlier jobs; `reuse_models`: those of EasyDL models too, which may have been
    trained anew since. `signals`: handle SIGINT, SIGTERM and SIGHUP. `on_rows` is called on the event loop with the
    lines of every group that was committed to results.jsonl.
    """

    request: RunRequest = field(default_factory=RunRequest)
    limit: int | None = None
    reuse: bool = True
    reuse_models: bool = False
    progress: Style = "none"
    signals: bool = False
    on_rows: Watcher | None = None


@asynccontextmanager
async def _over_http(endpoint: str, call_seconds: float, rate: float) -> AsyncIterator[Transport]:
    from ..api.http import open_transport  # aiohttp takes 160 ms to import: a finished job needs none

    async with open_transport(endpoint, call_seconds, rate) as transport:
        yield transport


@dataclass(frozen=True, slots=True)
class Environment:
    """Source of the time (Unix seconds) and of connections; tests in virtual hours have others.

    `connect` is given the endpoint, the seconds that a call may take, and the highest number of calls per second.
    """

    now: Callable[[], float] = time.time
    connect: Callable[[str, float, float], AbstractAsyncContextManager[Transport]] = _over_http


async def run(
    job: Job,
    options: Options | None = None,
    environ: Mapping[str, str] | None = None,
    environment: Environment | None = None,
) -> Summary:
    """Run or resume a job; the summary's `exit_code` says how it ended. `environ` None: the process's.

    Raises JobError, DirectoryBusy, OutputFailed and Interrupted. Whatever else ends a run early is in the log and the
    summary, and the results until then are saved.
    """
    options, environment = options or Options(), environment or Environment()
    environ = os.environ if environ is None else environ
    started = time.monotonic()
    check_services(job)
    credentials = credentials_of(job, environ)
    if options.progress != "none":
        say(f"{job.name}: {destination(job, credentials)}")
    entries = inputs_of(job)
    with _empty_first(job):
        async with Run.opened(job, options, credentials, state_directory(environ), environment) as this:
            report = await this.open_directory(entries)
            horizon = this.horizon(report)
            if this.unfinished(report, horizon):
                await this.recognize(report, horizon)
                await this.take_out_superseded()
            return this.conclude(report, horizon, started)


@contextlib.contextmanager
def _empty_first(job: Job) -> Iterator[None]:
    """Raise NoImages where there is no image, in place of an error about the output directory."""
    try:
        yield
    except (DirectoryBusy, OutputFailed) as error:
        if job.input.allow_empty or any(isinstance(found, InputEntry) for found in inputs_of(job)):
            raise
        raise NoImages(f"there is no image at all in the inputs, and {error}") from error


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts of a run that need closing: the journal, result files, caches and the provider of results."""

    journal: Journal
    files: ResultFiles
    provider: Provider
    stopper: Stopper
    cache: AnswerCache | None
    inspections: InspectionCache


class Run:
    """One run of a job, in the order of its methods; `opened` holds the output directory."""

    def __init__(
        self, job: Job, options: Options, credentials: Credentials, state: Path, environment: Environment, parts: _Parts
    ) -> None:
        self._job, self._options, self._credentials = job, options, credentials
        self._state, self._environment = state, environment
        self._journal, self._files, self._cache = parts.journal, parts.files, parts.cache
        self._parts, self._stopper = parts, parts.stopper
        self._rng = random.Random()
        self._engine: Engine | None = None
        self._refreshes = 0

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, job: Job, options: Options, credentials: Credentials, state: Path, environment: Environment
    ) -> AsyncIterator["Run"]:
        """Hold the output directory and open what a run works on.

        Raises DirectoryBusy, JobError, OutputFailed.
        """
        stopper = Stopper()
        async with AsyncExitStack() as stack:
            stack.enter_context(rare_collections)
            stack.enter_context(stopper.listening() if options.signals else contextlib.nullcontext())
            stack.enter_context(hold(job.directory))
            journal = stack.enter_context(closing(Journal(job.directory)))
            provider = await stack.enter_async_context(open_provider(job))
            files = ResultFiles(job.directory, [OUTPUTS[name] for name in job.output.formats], {})
            cache = result_cache(job, state, credentials, environment.now)
            if cache is not None:
                stack.enter_context(closing(cache))
            inspections = stack.enter_context(closing(InspectionCache(state)))
            parts = _Parts(journal, files, provider, stopper, cache, inspections)
            yield cls(job, options, credentials, state, environment, parts)

    async def open_directory(self, entries: Iterator[InputEntry | Ignored | Notice]) -> OpenReport:
        """List the inputs and bring the directory in order, in a thread; it may take minutes, so it is shown."""
        try:
            async with shown(self._options.progress, lambda: None):
                report = await asyncio.to_thread(
                    open_directory,
                    self._job,
                    self._journal,
                    self._files,
                    entries,
                    self._options.request,
                    self._stopper.came,
                    self._parts.provider.name,
                    self._cache,
                    self._parts.inspections,
                )
        except OSError as exc:
            raise writing(self._job.directory, exc) from exc
        _log_report(report)
        return report

    def horizon(self, report: OpenReport) -> int:
        """Position of the last input of this run, by `limit`."""
        return self._journal.queue.horizon(list(report.steps.values()), self._options.limit)

    def unfinished(self, report: OpenReport, horizon: int) -> bool:
        """Whether any image up to the horizon has neither a result nor a failure."""
        return bool(self._journal.queue.unfinished(list(report.steps.values()), horizon))

    async def recognize(self, report: OpenReport, horizon: int) -> None:
        """Connect to the service, or to an emulator in this process, and run the engine to its end."""
        job = self._job
        self._journal.put_note(CALLING_SINCE, iso_utc(self._environment.now()))
        async with AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(self._parts.provider.reached())
            transport = await stack.enter_async_context(
                self._environment.connect(endpoint, job.limits.timeout, rate_of(job))
            )
            account = self._account(endpoint, transport)
            quota = stack.enter_context(closing(Quota(self._state, self._environment.now)))
            # An emulator in this process is nobody else's, and has a rate of its own.
            rates = stack.enter_context(closing(SharedRates(None if job.account.endpoint == EMBEDDED else self._state)))
            await stack.enter_async_context(self._files)
            steps = self._steps(report)
            backlog = Backlog(self._journal, tuple(steps), horizon)
            preparation = Preparation(image_store(job), backlog.wake)
            duplicates = Duplicates(self._journal, self._files, steps, self._cache, self._environment.now)
            lanes = [
                Lane(gate, {number: steps[number] for number in numbers}, backlog, preparation.take_place, *workers)
                for gate, numbers, workers in self._gates(report, account, quota, rates)
            ]
            engine = self._engine = Engine(
                lanes,
                backlog,
                preparation,
                duplicates,
                Recorder(self._journal, self._files, duplicates.remember, self._options.on_rows),
                Client(endpoint, transport, time.perf_counter),
                now=self._environment.now,
                rng=self._rng,
            )
            self._stopper.ask = engine.stop
            if self._stopper.came():
                engine.stop()
            async with shown(
                self._options.progress,
                _watch(job, engine, self._journal.reader.counts(), limitless=rate_of(job) >= NO_LIMIT),
            ):
                await engine.run()
            self._refreshes = account.refreshes
            if engine.uplink.measured and job.account.endpoint != EMBEDDED:
                note_uplink(self._state, job.account.endpoint, engine.uplink.measured, self._environment.now())

    async def take_out_superseded(self) -> None:
        """Take the rows that have newer ones out of the result files, in a thread; the next run does where it fails."""
        try:
            notices = await asyncio.to_thread(take_out_superseded, self._journal, self._files)
        except OSError as exc:
            notices = [f"rows that have newer ones stay until the next run: {writing(self._job.directory, exc)}"]
        for line in notices:
            _log.warning("%s", line)

    def conclude(self, report: OpenReport, horizon: int, started: float) -> Summary:
        """Write the views of the journal, and return the summary. `started` is in monotonic seconds."""
        directory, journal = self._job.directory, self._journal
        if self._engine and isinstance(self._engine.error, InputsGone):
            journal.queue.retry(report.steps.values(), (Kind.READ,))  # they remain: the folder has failed, not they
        write_failures(directory, journal.reader.failures())
        counts = journal.reader.counts()
        tally = self._engine.tally if self._engine else Tally()
        end = exit_status(self._facts(horizon))
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
            token_refreshes=self._refreshes,
            outcome_unknown=report.outcome_unknown,
            seconds=round(seconds, 3),
            rate=round(tally.answered / seconds, 3) if seconds > 0 else 0.0,
            stopped_by=end.stopped_by,
            resume_at=end.resume_at,
        )
        write_summary(directory, summary)
        journal.conclude(self._files.stamps())
        if self._cache is not None:
            self._cache.end_run(journal.note("run"))
        return summary

    def _account(self, endpoint: str, transport: Transport) -> Account:
        if self._credentials.bearer:
            return BearerAccount(self._credentials)
        if self._credentials.access_key:
            return SignatureAccount(endpoint, self._credentials, self._environment.now)
        return TokenAccount(
            endpoint,
            self._credentials,
            transport,
            cache=None if self._job.account.endpoint == EMBEDDED else self._state,
            patience=self._job.limits.patience,
            now=self._environment.now,
            time=asyncio.get_running_loop().time,
            rng=self._rng,
        )

    def _gates(
        self, report: OpenReport, account: Account, quota: Quota, rates: SharedRates
    ) -> Iterator[tuple[Gate, tuple[int, ...], tuple[int, int]]]:
        """Yield for each service: gate, numbers of its steps, workers of its lane (at first, at most).

        All gates together let as many calls be in flight as the job allows.
        """
        job = self._job
        in_flight = _in_flight(job)
        slots, most = asyncio.Semaphore(in_flight), min(MOST_WORKERS, in_flight + PREPARING)
        clock = Clock(asyncio.get_running_loop().time, self._environment.now, self._rng)
        keeper = LocalKeeper(rates, quota, clock.time)
        for name, members in by_service(job).items():
            numbers = tuple(report.steps[step.name] for step in members)
            caps = caps_of(job, members)
            wait, proven = job.limits.on_daily_limit == "wait", self._journal.queue.answered(numbers)
            gate = open_gate(
                Target(payer(job, self._credentials), name, caps),
                account,
                keeper,
                self._journal.calls,
                slots,
                Policy(job.limits.patience, wait, proven),
                clock,
            )
            yield gate, numbers, (min(_workers(caps), most), most)

    def _steps(self, report: OpenReport) -> dict[int, Step]:
        following = follow_ups(self._job, report.steps)
        return {
            report.steps[step.name]: self._step(step, following.get(report.steps[step.name], ()))
            for step in self._job.recognize
        }

    def _step(self, step: JobStep, follow: Conditions) -> Step:
        service, options = SERVICES[step.service], self._options
        return Step(
            Asked(step.name, service, step.model),
            make_request(service, step.model, step.options),
            self._job.limits.attempts,
            self._job.treatment,
            follow,
            None if self._cache is None else self._cache.cache_key(step.fingerprint, personal=service.personal),
            options.reuse and (options.reuse_models or not service.custom),
        )

    def _facts(self, horizon: int) -> RunFacts:
        """Facts about the end of the run. Images that remain without any reason are a defect, not a success."""
        engine = self._engine
        error = engine.error if engine else None
        unfinished = self._journal.queue.unfinished
        stuck = [lane.gate for lane in (engine.lanes if engine else ()) if unfinished(tuple(lane.steps), horizon)]
        if error is not None:
            _log.error("%s", error)
        forbidden = any(gate.forbidden for gate in stuck)
        closures = tuple(gate.closure for gate in stuck if gate.closure is not None)
        if stuck and not (error or forbidden or closures or self._stopper.signal):
            raise RuntimeError("the run ended with images that are neither answered nor failed")
        failed = engine.tally.new_failures if engine else 0
        empty = not self._journal.reader.counts().images and not self._job.input.allow_empty
        return RunFacts(error, forbidden, closures, self._stopper.signal, failed, empty)


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


def _watch(job: Job, engine: Engine, before: Counts, *, limitless: bool) -> Callable[[], Snapshot]:
    """Function that takes a snapshot of the job's progress; `before`: the counts at the start."""

    def snapshot() -> Snapshot:
        tally = engine.tally
        done = before.done + tally.answered + tally.failed
        return Snapshot(
            done=done,
            total=before.done + before.open + tally.added,
            failed=before.failed + tally.failed,
            answered=tally.answered,
            allowed=None if limitless else sum(lane.gate.limiter.rate for lane in engine.lanes),
            until=_waits_until(engine),
            uplink=engine.uplink.rate if engine.uplink.limiting else 0.0,
            shrunk=_images_shrunk(job, engine),
        )

    return snapshot


def _images_shrunk(job: Job, engine: Engine) -> float:
    """Images/s that the uplink would carry with `input.max_side`; 0 where that is set or changes little."""
    uplink, calls = engine.uplink, engine.tally.calls
    if job.input.max_side is not None or not uplink.limiting or not calls:
        return 0.0
    body = uplink.replied / calls
    image = round(body * 3 / 4)
    smaller = expected_bytes_at(image, ADVISED_SIDE)
    return uplink.rate / body * image / smaller if smaller < image else 0.0


def _waits_until(engine: Engine) -> str | None:
    """Beijing time at which the first of the paused services resumes; None where none is waited for."""
    ends = [gate.closure.until for gate in (lane.gate for lane in engine.lanes) if gate.opens and gate.closure]
    return iso_beijing(min(end for end in ends if end is not None)) if ends else None
