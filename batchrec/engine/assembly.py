"""A job in, a summary out: the one place that knows every part, and puts them together."""

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

from ..api.account import BearerAccount, TokenAccount
from ..api.client import Client, make_request
from ..api.credentials import Credentials
from ..api.endpoint import EMBEDDED
from ..api.services import SERVICES
from ..console.progress import Snapshot, Style, shown
from ..console.text import say
from ..interfaces import Transport
from ..job.follow_ups import Conditions, follow_ups
from ..job.spec import Job
from ..job.spec import Step as JobStep
from ..journal import Counts, Journal
from ..limits.availability import Policy
from ..limits.gate import open_gate
from ..limits.keeper import LocalKeeper
from ..limits.quota import Quota
from ..limits.shared_rate import SharedRates
from ..outputs import OUTPUTS
from ..outputs.files import ResultFiles, writing
from ..outputs.summary import write_failures, write_summary
from ..state.answer_cache import AnswerCache
from ..state.directory import state_directory
from ..state.inspection_cache import InspectionCache
from ..times import Clock, iso_beijing
from ..values import Caps, Ignored, InputEntry, Notice, Summary, Target
from .engine import Engine, Tally
from .exit_status import RunFacts, exit_status
from .lane import MOST_WORKERS, PREPARING, Lane, Step
from .process import Stopper
from .resume import OpenReport, RunRequest, open_directory
from .rows import Asked
from .setup import (
    Provider,
    by_service,
    caps_of,
    credentials_of,
    destination,
    hold,
    inputs_of,
    known_answers,
    open_provider,
    payer,
)

_log = logging.getLogger(__name__)


_FEWEST_WORKERS = 16
_SECONDS_OF_CALLS = 4

Watcher = Callable[[Sequence[bytes]], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line adds to a job. `limit`: at most so many unanswered images (None: all).

    `reuse`: take known answers of earlier jobs; `reuse_models`: those of EasyDL models too, which may have been trained
    anew since. `signals`: heed SIGINT and SIGTERM. `on_rows` is called on the event loop with the lines of every group
    that was committed to results.jsonl.
    """

    wishes: RunRequest = field(default_factory=RunRequest)
    limit: int | None = None
    reuse: bool = True
    reuse_models: bool = False
    progress: Style = "none"
    signals: bool = False
    on_rows: Watcher | None = None


@asynccontextmanager
async def _over_http(endpoint: str, call_seconds: float) -> AsyncIterator[Transport]:
    from ..api.http import open_transport

    async with open_transport(endpoint, call_seconds) as transport:
        yield transport


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run gets the time (Unix seconds) and its connections from; virtual hours have others than the real."""

    now: Callable[[], float] = time.time
    connect: Callable[[str, float], AbstractAsyncContextManager[Transport]] = _over_http


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a job: what it was asked for, and what it works on."""

    job: Job
    options: Options
    credentials: Credentials
    service: Provider
    state: Path
    journal: Journal
    files: ResultFiles
    stopper: Stopper
    started: float
    known: AnswerCache | None
    looks: InspectionCache
    world: Environment


async def run(
    job: Job, options: Options | None = None, environ: Mapping[str, str] | None = None, world: Environment | None = None
) -> Summary:
    """Run or resume a job; see the summary's `exit_code` for how it ended. `environ` None: the process's.

    Raises JobError, DirectoryBusy, OutputFailed and Interrupted; whatever else ends a run early is in the log and the
    summary, with what was answered saved.
    """
    options, world = options or Options(), world or Environment()
    environ = os.environ if environ is None else environ
    started = time.monotonic()
    credentials = credentials_of(job, environ)
    if options.progress != "none":
        say(f"{job.name}: {destination(job, credentials)}")
    state = state_directory(environ)
    entries = inputs_of(job)
    stopper = Stopper()
    async with AsyncExitStack() as stack:
        stack.enter_context(stopper.listening() if options.signals else contextlib.nullcontext())
        stack.enter_context(hold(job.directory))
        journal = stack.enter_context(closing(Journal(job.directory)))
        service = await stack.enter_async_context(open_provider(job))
        files = ResultFiles(job.directory, [OUTPUTS[name] for name in job.output.formats], {})
        known = known_answers(job, state, credentials, world.now)
        if known is not None:
            stack.enter_context(closing(known))
        looks = stack.enter_context(closing(InspectionCache(state)))
        this = _Run(job, options, credentials, service, state, journal, files, stopper, started, known, looks, world)
        opened = await _open(this, entries)
        horizon = journal.horizon(list(opened.steps.values()), options.limit)
        engine, refreshes = None, 0
        if journal.unfinished(list(opened.steps.values()), horizon):
            engine, refreshes = await _ask(this, opened, horizon)
        return _conclude(this, opened, engine, refreshes, horizon)


# -- before


async def _open(this: _Run, entries: Iterator[InputEntry | Ignored | Notice]) -> OpenReport:
    """List the inputs and bring the directory in order, in a thread; it may take minutes, so it is shown."""
    try:
        async with shown(this.options.progress, lambda: None):
            opened = await asyncio.to_thread(
                open_directory,
                this.job,
                this.journal,
                this.files,
                entries,
                this.options.wishes,
                this.stopper.came,
                this.service.name,
                this.known,
                this.looks,
            )
    except OSError as exc:
        raise writing(this.job.directory, exc) from exc
    for notice in opened.notices:
        _log.warning("%s", notice)
    for reason in opened.again:
        _log.warning("%s", reason)
    if opened.outcome_unknown:
        most = "at most " if opened.upper_bound else ""
        _log.warning(
            "an earlier run was cut short: %s%d calls were sent and their answers are lost",
            most,
            opened.outcome_unknown,
        )
    return opened


# -- during


async def _ask(this: _Run, opened: OpenReport, horizon: int) -> tuple[Engine, int]:
    """Connect to the service, or to an emulator in this process, and ask; the engine, and tokens refreshed."""
    job, rng = this.job, random.Random()
    async with AsyncExitStack() as stack:
        endpoint, transport = await stack.enter_async_context(_connection(this))
        account = _account(this, endpoint, transport, rng)
        quota = stack.enter_context(closing(Quota(this.state, this.world.now)))
        # An emulator in this process is nobody else's, and has a rate of its own.
        paces = stack.enter_context(closing(SharedRates(None if job.account.endpoint == EMBEDDED else this.state)))
        await stack.enter_async_context(this.files)
        engine = Engine(
            this.journal,
            this.files,
            Client(endpoint, transport, time.perf_counter),
            _steps(this, opened),
            _lanes(this, opened, account, quota, paces, rng),
            job.base,
            horizon,
            now=this.world.now,
            rng=rng,
            known=this.known,
            on_rows=this.options.on_rows,
            within=None if job.input.within is None else job.base / job.input.within,
        )
        this.stopper.ask = engine.stop
        if this.stopper.came():
            engine.stop()
        async with shown(this.options.progress, _watch(engine, this.journal.counts())):
            await engine.run()
        return engine, account.refreshes


def _lanes(
    this: _Run,
    opened: OpenReport,
    account: TokenAccount | BearerAccount,
    quota: Quota,
    paces: SharedRates,
    rng: random.Random,
) -> list[Lane]:
    """One lane for every service, all together with as many calls in flight as the job allows."""
    job = this.job
    in_flight = job.limits.concurrency or MOST_WORKERS
    slots, most = asyncio.Semaphore(in_flight), min(MOST_WORKERS, in_flight + PREPARING)
    clock = Clock(asyncio.get_running_loop().time, this.world.now, rng)
    keeper = LocalKeeper(paces, quota, clock.time)
    lanes = []
    for name, members in by_service(job).items():
        numbers = tuple(opened.steps[step.name] for step in members)
        caps = caps_of(job, members)
        wait, proven = job.limits.on_daily_limit == "wait", this.journal.answered(numbers)
        gate = open_gate(
            Target(payer(job, this.credentials), name, caps),
            account,
            keeper,
            this.journal,
            slots,
            Policy(job.limits.patience, wait, proven),
            clock,
        )
        lanes.append(Lane(gate, numbers, min(_workers(caps), most), most))
    return lanes


@asynccontextmanager
async def _connection(this: _Run) -> AsyncIterator[tuple[str, Transport]]:
    """Where calls go, and the session that carries them."""
    connect, seconds = this.world.connect, this.job.limits.timeout
    async with this.service.reached() as endpoint, connect(endpoint, seconds) as transport:
        yield endpoint, transport


def _account(this: _Run, endpoint: str, transport: Transport, rng: random.Random) -> TokenAccount | BearerAccount:
    if this.credentials.bearer:
        return BearerAccount(this.credentials)
    return TokenAccount(
        endpoint,
        this.credentials,
        transport,
        cache=None if this.job.account.endpoint == EMBEDDED else this.state,
        patience=this.job.limits.patience,
        now=this.world.now,
        time=asyncio.get_running_loop().time,
        rng=rng,
    )


def _workers(caps: Caps) -> int:
    """To begin with: enough for answers that take four seconds at the full rate. The engine hires more as needed."""
    if caps.qps == math.inf:
        return _FEWEST_WORKERS
    return int(min(max(_FEWEST_WORKERS, caps.qps * _SECONDS_OF_CALLS), MOST_WORKERS))


def _steps(this: _Run, opened: OpenReport) -> dict[int, Step]:
    following = follow_ups(this.job, opened.steps)
    return {
        opened.steps[step.name]: _step(this, step, following.get(opened.steps[step.name], ()))
        for step in this.job.recognize
    }


def _step(this: _Run, step: JobStep, follow: Conditions) -> Step:
    service, options = SERVICES[step.service], this.options
    return Step(
        Asked(step.name, service, step.model),
        make_request(service, step.model, step.options),
        this.job.limits.attempts,
        this.job.input.repair,
        follow,
        None if this.known is None else this.known.cache_key(step.fingerprint, personal=service.personal),
        options.reuse and (options.reuse_models or not service.custom),
        this.job.input.strip,
    )


def _watch(engine: Engine, before: Counts) -> Callable[[], Snapshot]:
    """How far the run is, counted from how far the job was."""

    def snapshot() -> Snapshot:
        tally = engine.tally
        done = before.answered + before.failed + tally.answered + tally.failed
        return Snapshot(
            done=done,
            total=before.answered + before.failed + before.open + tally.added,
            failed=before.failed + tally.failed,
            answered=tally.answered,
            allowed=sum(lane.gate.limiter.rate for lane in engine.lanes),
            until=_waits_until(engine),
        )

    return snapshot


def _waits_until(engine: Engine) -> str | None:
    """When the first of the services that are waited for opens again."""
    ends = [gate.closure.until for gate in (lane.gate for lane in engine.lanes) if gate.opens and gate.closure]
    return iso_beijing(min(end for end in ends if end is not None)) if ends else None


# -- after


def _conclude(this: _Run, opened: OpenReport, engine: Engine | None, refreshes: int, horizon: int) -> Summary:
    """Write the views of the journal, and say how it went."""
    directory, journal = this.job.directory, this.journal
    write_failures(directory, journal.failures())
    counts = journal.counts()
    tally = engine.tally if engine else Tally()
    end = exit_status(_facts(this, engine, counts, horizon))
    seconds = time.monotonic() - this.started
    summary = Summary(
        images=counts.images,
        answered=counts.answered,
        failed=counts.failed,
        duplicates=counts.duplicates,
        ignored=opened.ignored,
        calls=tally.calls,
        throttled=tally.throttled,
        retries=tally.retries,
        token_refreshes=refreshes,
        outcome_unknown=opened.outcome_unknown,
        seconds=round(seconds, 3),
        rate=round(tally.answered / seconds, 3) if seconds > 0 else 0.0,
        stopped_by=end.stopped_by,
        resume_at=end.resume_at,
        exit_code=end.exit_code,
    )
    write_summary(directory, summary)
    journal.conclude(this.files.stamps())
    if this.known is not None:
        this.known.end_run(journal.note("run"))
    return summary


def _facts(this: _Run, engine: Engine | None, counts: Counts, horizon: int) -> RunFacts:
    """What ended the run. Images that are left without any reason are a defect, and must not look like success."""
    error = engine.error if engine else None
    stuck = [lane.gate for lane in (engine.lanes if engine else ()) if this.journal.unfinished(lane.steps, horizon)]
    if error is not None:
        _log.error("%s", error)
    forbidden = any(gate.forbidden for gate in stuck)
    closures = tuple(gate.closure for gate in stuck if gate.closure is not None)
    if stuck and not (error or forbidden or closures or this.stopper.signal):
        raise RuntimeError("the run ended with images that are neither answered nor failed")
    return RunFacts(error, forbidden, closures, this.stopper.signal, counts.failed)
