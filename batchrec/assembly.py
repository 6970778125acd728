"""A job in, a summary out: the one place that knows every part, and puts them together."""

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from . import views
from .account import BearerAccount, Credentials, TokenAccount, load_credentials
from .client import Client, make_request
from .ending import Facts, ending
from .engine import Engine, Lane, Step, Tally
from .errors import DirectoryBusy, Interrupted, JobError
from .follow import follow_ups
from .gate import Caps, Gate
from .interfaces import Transport
from .journal import Counts, Journal
from .model import Found, Ignored, Notice, Summary
from .outputs import OUTPUTS
from .outputs.files import ResultFiles, writing
from .progress import Snapshot, Style, shown
from .quota import Quota
from .record import Asked, Outcome
from .redact import remember
from .resume import Opened, Wishes, open_directory
from .services import SERVICES
from .signals import Stopper
from .sources import open_sources
from .spec import EMBEDDED, Job
from .spec import Step as JobStep
from .state import state_directory

_log = logging.getLogger(__name__)

LOCK = ".lock"
MOST_IN_FLIGHT = 256
"""Calls in flight at most, of all services together."""

_LIVE_ENDPOINT = "https://aip.baidubce.com"
_FEWEST_WORKERS = 16
_SECONDS_OF_CALLS = 4

Watcher = Callable[[Sequence[Outcome]], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line adds to a job. `limit`: at most so many unanswered images (None: all).

    `signals`: heed SIGINT and SIGTERM. `on_rows` is called on the event loop with every group that was committed.
    """

    wishes: Wishes = field(default_factory=Wishes)
    limit: int | None = None
    progress: Style = "none"
    signals: bool = False
    on_rows: Watcher | None = None


async def run(job: Job, options: Options | None = None, environ: Mapping[str, str] = os.environ) -> Summary:
    """Run or resume a job; see the summary's `exit_code` for how it ended.

    Raises JobError, DirectoryBusy, OutputFailed and Interrupted; whatever else ends a run early is in the log and the
    summary, with what was answered saved.
    """
    options = options or Options()
    started = time.monotonic()
    credentials = _credentials(job, environ)
    state = state_directory(environ)
    entries = _entries(job)
    stopper = Stopper()
    with (
        stopper.listening() if options.signals else contextlib.nullcontext(),
        _held(job.directory),
        closing(Journal(job.directory)) as journal,
    ):
        files = ResultFiles(job.directory, [OUTPUTS[name] for name in job.output.formats], {})
        try:
            opened = await asyncio.to_thread(open_directory, job, journal, files, entries, options.wishes, stopper.came)
        except OSError as exc:
            raise writing(job.directory, exc) from exc
        _tell(opened)
        horizon = journal.horizon(list(opened.steps.values()), options.limit)
        engine = None
        refreshes = 0
        if journal.unfinished(list(opened.steps.values()), horizon):
            async with _engine(job, options, credentials, state, journal, files, opened, horizon) as (engine, account):
                stopper.ask = engine.stop
                if stopper.came():
                    raise Interrupted("stopped before anything was sent")
                async with shown(options.progress, _watch(engine, journal.counts())):
                    await engine.run()
                refreshes = account.refreshes
        return _conclude(job, journal, opened, engine, refreshes, stopper, horizon, time.monotonic() - started)


# -- before


def _credentials(job: Job, environ: Mapping[str, str]) -> Credentials:
    if job.account.endpoint == EMBEDDED:
        return Credentials("embedded", "embedded", account=EMBEDDED)
    credentials = load_credentials(job.account.profile, environ)
    remember(*credentials.secrets)
    return credentials


def _entries(job: Job) -> Iterator[Found | Ignored | Notice]:
    """The job's inputs. Complaints, now or while they are listed, name the job file."""
    wanted = job.input
    with _naming(job):
        entries = open_sources(wanted.paths, wanted.manifest, wanted.column, wanted.exclude, job.base, job.directory)
    return _listed(job, entries)


def _listed(job: Job, entries: Iterator[Found | Ignored | Notice]) -> Iterator[Found | Ignored | Notice]:
    with _naming(job):
        yield from entries


@contextlib.contextmanager
def _naming(job: Job) -> Iterator[None]:
    try:
        yield
    except JobError as error:
        raise JobError(*(f"{job.path.name}: {complaint}" for complaint in error.complaints)) from error


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Make the output directory and hold it for this run alone; the kernel lets go of it if the run is killed."""
    lock = FileLock(directory / LOCK, blocking=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise DirectoryBusy(f"{directory}: another run holds it") from None
    except OSError as exc:
        raise writing(directory, exc) from exc
    try:
        yield
    finally:
        lock.release()


def _tell(opened: Opened) -> None:
    for notice in opened.notices:
        _log.warning("%s", notice)
    if opened.outcome_unknown:
        _log.warning("an earlier run was killed: %d calls were sent and never answered", opened.outcome_unknown)


# -- during


@asynccontextmanager
async def _engine(
    job: Job,
    options: Options,
    credentials: Credentials,
    state: Path,
    journal: Journal,
    files: ResultFiles,
    opened: Opened,
    horizon: int,
) -> AsyncIterator[tuple[Engine, TokenAccount | BearerAccount]]:
    """A ready engine, connected to the service or to an emulator in this process."""
    loop, rng = asyncio.get_running_loop(), random.Random()
    async with AsyncExitStack() as stack:
        endpoint, transport = await stack.enter_async_context(_connection(job))
        cache = None if job.account.endpoint == EMBEDDED else state
        account = _account(endpoint, credentials, transport, cache, job.limits.patience, rng)
        quota = stack.enter_context(closing(Quota(state, time.time)))
        await stack.enter_async_context(files)
        slots = asyncio.Semaphore(job.limits.concurrency or MOST_IN_FLIGHT)
        payer = _payer(job, credentials)

        def lane(name: str, members: Sequence[JobStep]) -> Lane:
            caps = _caps(job, members)
            gate = Gate(
                name,
                account,
                payer,
                caps,
                quota,
                slots,
                patience=job.limits.patience,
                wait=job.limits.on_daily_limit == "wait",
                time=loop.time,
                now=time.time,
                rng=rng,
            )
            return Lane(gate, tuple(opened.steps[step.name] for step in members), _workers(job, caps))

        yield (
            Engine(
                journal,
                files,
                Client(endpoint, transport, loop.time),
                _steps(job, opened),
                [lane(name, members) for name, members in _by_service(job).items()],
                job.base,
                horizon,
                now=time.time,
                rng=rng,
                on_rows=options.on_rows,
            ),
            account,
        )


@asynccontextmanager
async def _connection(job: Job) -> AsyncIterator[tuple[str, Transport]]:
    """Where calls go, and the session that carries them."""
    from .http import open_transport

    endpoint = job.account.endpoint
    async with AsyncExitStack() as stack:
        if endpoint == EMBEDDED:
            from .emulator import serve

            endpoint = (await stack.enter_async_context(serve())).url
        yield endpoint, await stack.enter_async_context(open_transport(endpoint, job.limits.timeout))


def _account(
    endpoint: str,
    credentials: Credentials,
    transport: Transport,
    cache: Path | None,
    patience: float,
    rng: random.Random,
) -> TokenAccount | BearerAccount:
    if credentials.bearer:
        return BearerAccount(credentials)
    loop = asyncio.get_running_loop()
    return TokenAccount(
        endpoint, credentials, transport, cache=cache, patience=patience, now=time.time, time=loop.time, rng=rng
    )


def _payer(job: Job, credentials: Credentials) -> str:
    """The account's name in counts. Another endpoint is another account: an emulator's calls cost nobody anything."""
    endpoint = job.account.endpoint
    return credentials.identity if endpoint in (_LIVE_ENDPOINT, EMBEDDED) else f"{credentials.identity}@{endpoint}"


def _by_service(job: Job) -> dict[str, list[JobStep]]:
    """The steps by what limits are counted for: a service, or one model of an EasyDL service."""
    lanes: dict[str, list[JobStep]] = {}
    for step in job.recognize:
        lanes.setdefault(f"{step.service}/{step.model}" if step.model else step.service, []).append(step)
    return lanes


def _caps(job: Job, members: Sequence[JobStep]) -> Caps:
    """What all steps of a service together may do: the smallest that any of them names."""
    limits = [job.limits_for(step) for step in members]
    daily = [limit.daily for limit in limits if limit.daily is not None]
    total = [limit.total for limit in limits if limit.total is not None]
    return Caps(min(limit.qps for limit in limits), min(daily, default=None), min(total, default=None))


def _workers(job: Job, caps: Caps) -> int:
    """Enough for answers that take four seconds at the full rate, and some to prepare images meanwhile."""
    derived = max(_FEWEST_WORKERS, round(caps.qps * _SECONDS_OF_CALLS))
    return min(job.limits.concurrency or derived, MOST_IN_FLIGHT)


def _steps(job: Job, opened: Opened) -> dict[int, Step]:
    following = follow_ups(job, opened.steps)
    return {
        opened.steps[step.name]: Step(
            Asked(step.name, SERVICES[step.service], step.model),
            make_request(SERVICES[step.service], step.model, step.options),
            job.limits.attempts,
            job.input.repair,
            following.get(opened.steps[step.name], ()),
        )
        for step in job.recognize
    }


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
            allowed=sum(lane.gate.pacer.rate for lane in engine.lanes),
        )

    return snapshot


# -- after


def _conclude(
    job: Job,
    journal: Journal,
    opened: Opened,
    engine: Engine | None,
    refreshes: int,
    stopper: Stopper,
    horizon: int,
    seconds: float,
) -> Summary:
    """Write the views of the journal, and say how it went."""
    views.write_failures(job.directory, journal.failures())
    counts = journal.counts()
    stuck = [lane.gate for lane in (engine.lanes if engine else ()) if journal.unfinished(lane.steps, horizon)]
    end = ending(
        Facts(
            engine.error if engine else None,
            any(gate.forbidden for gate in stuck),
            tuple(gate.closure for gate in stuck if gate.closure is not None),
            stopper.signal,
            counts.failed,
        )
    )
    if engine is not None and engine.error is not None:
        _log.error("%s", engine.error)
    tally = engine.tally if engine else Tally()
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
    views.write_summary(job.directory, summary)
    return summary
