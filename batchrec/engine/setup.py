"""Preliminaries of a run and of a plan: credentials, inputs, limits, the directory's lock."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..api.credentials import Credentials, check_endpoint, load_credentials
from ..api.endpoint import EMBEDDED, LIVE, comparable, earlier_spellings
from ..errors import DirectoryBusy, JobError
from ..images.heads import kind_of_other
from ..interfaces import ImageStore
from ..job.spec import LIMITS, Job
from ..job.spec import Step as JobStep
from ..outputs.directory import LOCK, check_directory, check_locks, check_unclaimed
from ..outputs.files import writing
from ..redact import remember
from ..sources import FileStore, open_sources
from ..state.answer_cache import AnswerCache
from ..values import Caps, Ignored, InputEntry, Notice

_log = logging.getLogger(__name__)

_LOOKED_AT_SECONDS = 0.2  # a command that only looks whether a run is going on holds the lock for a moment


@dataclass(frozen=True, slots=True)
class Provider:
    """Provider of results. `name` is noted in the journal; `reached` opens it and gives its address."""

    name: str
    reached: Callable[[], AbstractAsyncContextManager[str]]


def result_cache(job: Job, state: Path, credentials: Credentials, now: Callable[[], float]) -> AnswerCache | None:
    """Open the result cache; None for the embedded endpoint, whose results cost nothing."""
    endpoint = job.account.endpoint
    if endpoint == EMBEDDED:
        return None
    return AnswerCache(state, endpoint, credentials.identity, now, earlier=earlier_spellings(endpoint))


def credentials_of(job: Job, environ: Mapping[str, str]) -> Credentials:
    """Load credentials. Raises JobError where there are none, WrongEndpoint for another endpoint's."""
    endpoint, profile = job.account.endpoint, job.account.profile
    if endpoint == EMBEDDED:
        return Credentials("embedded", "embedded", account=EMBEDDED, endpoint=EMBEDDED)
    credentials = load_credentials(profile, environ)
    remember(*credentials.secrets)
    by_hand = bool(job.endpoint_by) or comparable(environ.get("BATCHREC_ENDPOINT", "")) == endpoint
    check_endpoint(credentials, profile, endpoint, by_hand=by_hand, origin=job.endpoint_by or str(job.path))
    return credentials


def check_services(job: Job) -> None:
    """Raise JobError with each step whose service the embedded endpoint does not have.

    A service is a row of the catalogue; the emulator shares no code with it, and may lack one.
    """
    if job.account.endpoint != EMBEDDED:
        return
    from ..emulator import SERVICES

    complaints = [
        f"{job.path.name}: recognize[{index}].service: the embedded endpoint has no {step.service!r}; "
        f"expected one of {', '.join(SERVICES)}, or set account.endpoint to the service itself"
        for index, step in enumerate(job.recognize)
        if step.service not in SERVICES
    ]
    if complaints:
        raise JobError(*complaints)


def destination(job: Job, credentials: Credentials) -> str:
    """Endpoint and credentials of a job, as a line for the user."""
    endpoint = job.account.endpoint
    if endpoint == EMBEDDED:
        return "embedded endpoint, in this process; nothing is sent"
    keys = credentials.variables[0] if credentials.variables else f"profile {job.account.profile!r}"
    return f"calls go to {endpoint} with {keys}"


@asynccontextmanager
async def open_provider(job: Job) -> AsyncIterator[Provider]:
    """Provide the account's service, or an emulator in this process, with the model if installed."""
    endpoint = job.account.endpoint
    if endpoint != EMBEDDED:
        yield Provider(endpoint, lambda: contextlib.nullcontext(endpoint))
        return
    from ..emulator import Settings, advice, best, serve

    with closing(await asyncio.to_thread(best)) as answers:

        @asynccontextmanager
        async def started() -> AsyncIterator[str]:
            if line := advice(answers):
                _log.warning(line)
            async with serve(Settings(models=answers.models), answers=answers, control=False) as emulator:
                yield emulator.url

        yield Provider(f"{EMBEDDED} ({answers.name})", started)


def inputs_of(job: Job) -> Iterator[InputEntry | Ignored | Notice]:
    """The job's inputs. Complaints, now or while they are listed, name the job file."""
    wanted = job.input
    with _naming(job):
        entries = open_sources(
            wanted.paths,
            wanted.manifest,
            wanted.column,
            wanted.exclude,
            job.base,
            job.directory,
            wanted.within,
            kind_of_other,
        )
    return _listed(job, entries)


def image_store(job: Job) -> ImageStore:
    """Store of the job's images."""
    return FileStore(job.base, job.within)


def _listed(job: Job, entries: Iterator[InputEntry | Ignored | Notice]) -> Iterator[InputEntry | Ignored | Notice]:
    with _naming(job):
        yield from entries


@contextlib.contextmanager
def _naming(job: Job) -> Iterator[None]:
    try:
        yield
    except JobError as error:
        raise JobError(*(f"{job.path.name}: {complaint}" for complaint in error.complaints)) from error


def is_held(directory: Path) -> bool:
    """Whether a run holds the output directory now. Raises JobError for links among its files."""
    try:
        check_directory(directory, writing=False)
        if not (directory / LOCK).exists():
            return False
        check_locks(directory)
        with FileLock(directory / LOCK, blocking=False):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that nobody can write to
        return False


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Make the output directory and hold it; the kernel lets go of it if the run is killed."""
    lock = FileLock(directory / LOCK)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        check_directory(directory)
        check_unclaimed(directory)
        check_locks(directory)
        lock.acquire(timeout=_LOOKED_AT_SECONDS, poll_interval=_LOOKED_AT_SECONDS / 10)
    except Timeout:
        raise DirectoryBusy(f"{directory}: another run holds it") from None
    except OSError as exc:
        raise writing(directory, exc) from exc
    try:
        yield
    finally:
        lock.release()


def payer(job: Job, credentials: Credentials) -> str:
    """The account's name in counts. Another endpoint is another account: its calls cost nobody."""
    endpoint = job.account.endpoint
    return credentials.identity if endpoint in (LIVE, EMBEDDED) else f"{credentials.identity}@{endpoint}"


def by_service(job: Job) -> dict[str, list[JobStep]]:
    """The steps by what limits are counted for: a service, or one model of an EasyDL service."""
    lanes: dict[str, list[JobStep]] = {}
    for step in job.recognize:
        lanes.setdefault(f"{step.service}/{step.model}" if step.model else step.service, []).append(step)
    return lanes


def caps_of(job: Job, members: Sequence[JobStep]) -> Caps:
    """Limits of all steps of a service together: of each limit the smallest that any of them has."""
    of_steps = [job.limits_for(step) for step in members]
    named = {name: [limit for limits in of_steps if (limit := getattr(limits, name)) is not None] for name in LIMITS}
    return Caps(**{name: min(values) for name, values in named.items() if values})


def rate_of(job: Job) -> float:
    """Highest number of calls per second that a run of the job can ask for, over all services."""
    return sum(caps_of(job, members).qps for members in by_service(job).values())
