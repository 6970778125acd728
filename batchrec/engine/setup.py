"""Preliminaries of a run and of a plan: credentials, inputs, limits, the directory's lock."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from ..api.credentials import Credentials, check_endpoint, load_credentials
from ..api.endpoint import EMBEDDED, LIVE, comparable, earlier_spellings
from ..api.services import SERVICES as CATALOGUE
from ..console.extras import pip_install
from ..errors import DirectoryBusy, JobError
from ..fetch.cache import UrlCache
from ..fetch.store import Store
from ..images.heads import kind_of_other
from ..interfaces import Fetcher, ImageStore
from ..job.spec import LIMITS, Job
from ..job.spec import Step as JobStep
from ..language import _
from ..outputs.directory import LOCK, check_directory, check_locks, check_unclaimed
from ..outputs.files import writing
from ..redact import remember
from ..sources import FileStore, Logins, open_sources
from ..sources.keys import is_pattern
from ..state.answer_cache import AnswerCache
from ..state.directory import models_directory
from ..values import Caps, Ignored, InputEntry, Notice, Target

_log = logging.getLogger(__name__)

_LOOKED_AT_SECONDS = 0.2  # a command that only looks whether a run is going on holds the lock for a moment


@dataclass(frozen=True, slots=True)
class Provider:
    """Provider of results. `name` is noted in the journal; `reached` opens it and gives its address.

    `digests`: of the models that it has of the user's own, by the names of the steps that call them.
    """

    name: str
    reached: Callable[[], AbstractAsyncContextManager[str]]
    digests: Mapping[str, str] = field(default_factory=dict)


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


def checked(
    job: Job, environ: Mapping[str, str], logins: Logins | None = None
) -> tuple[Credentials, Iterator[InputEntry | Ignored | Notice]]:
    """Credentials and inputs of a job. Raises JobError with the complaints about both.

    `logins` takes users and passwords of URLs.
    """
    check_services(job)
    errors: list[JobError] = []
    try:
        credentials = credentials_of(job, environ)
    except JobError as error:
        errors.append(error)
    try:
        entries = inputs_of(job, logins)
    except JobError as error:
        errors.append(error)
    if len(errors) > 1:
        raise JobError(*(complaint for error in errors for complaint in error.complaints))
    if errors:
        raise errors[0]
    return credentials, entries


def unmatched_globs(job: Job) -> list[str]:
    """Complaints about globs of `input.paths` that match no file; a run has a warning for them."""
    complaints: list[str] = []
    for index, given in enumerate(job.input.paths):
        if not is_pattern(given):
            continue
        told = f"input.paths[{index}]"
        with contextlib.suppress(JobError):  # nothing of that name, which `inputs_of` says
            lacking = []
            for found in open_sources((given,), None, "", (), job.base, job.directory, None, kind_of_other):
                if not isinstance(found, Notice):
                    break
                lacking.append(found.text.replace("input.paths[0]", told))
            else:
                complaints += lacking
    return complaints


def check_services(job: Job) -> None:
    """Raise JobError with each step whose service the embedded endpoint does not have.

    A service is a row of the catalogue; the emulator shares no code with it, and may lack one. Raises it too where a
    step of EasyDL sends URLs.
    """
    by_url = [
        _('{file}: recognize[{index}].send: "url": models of EasyDL are sent bytes of images; remove the key').format(
            file=job.path.name, index=index
        )
        for index, step in enumerate(job.recognize)
        if step.send == "url" and CATALOGUE[step.service].custom
    ]
    if by_url:
        raise JobError(*by_url)
    if job.account.endpoint != EMBEDDED:
        return
    from ..emulator import SERVICES

    complaints = [
        _(
            "{name}: recognize[{index}].service: the embedded endpoint has no {service!r}; "
            "expected one of {services}, or set account.endpoint to the service itself"
        ).format(name=job.path.name, index=index, service=step.service, services=", ".join(SERVICES))
        for index, step in enumerate(job.recognize)
        if step.service not in SERVICES
    ]
    if complaints:
        raise JobError(*complaints)


def check_fetch(job: Job, *, allowed: bool) -> None:
    """Raise JobError where a job file alone wants images from private addresses fetched."""
    if job.input.fetch.private and not allowed:
        raise JobError(
            _(
                "{file}: input.fetch.private: true lets the job fetch from this machine and its network, which a job "
                "file alone may not decide; add --allow-private to the command, or remove the key"
            ).format(file=job.path.name)
        )


def destination(job: Job, credentials: Credentials) -> str:
    """Endpoint and credentials of a job, as a line for the user."""
    endpoint = job.account.endpoint
    if endpoint == EMBEDDED:
        return _("embedded endpoint, in this process; nothing is sent")
    keys = credentials.variables[0] if credentials.variables else _("profile {name!r}").format(name=job.account.profile)
    return _("calls go to {endpoint} with {keys}").format(endpoint=endpoint, keys=keys)


@asynccontextmanager
async def open_provider(job: Job, environ: Mapping[str, str]) -> AsyncIterator[Provider]:
    """Provide the account's service, or an emulator in this process, with the model if installed.

    Models of the user's own stay what they are now, whatever is published meanwhile. Raises JobError where one of
    them is damaged.
    """
    endpoint = job.account.endpoint
    if endpoint != EMBEDDED:
        yield Provider(endpoint, lambda: contextlib.nullcontext(endpoint))
        return
    from ..emulator import OwnModels, advice, best, serve
    from .own_models import barriers, digests_of

    own = OwnModels(models_directory(environ))
    digests = digests_of(job, own)
    with closing(await asyncio.to_thread(best, own)) as answers:

        @asynccontextmanager
        async def started() -> AsyncIterator[str]:
            if line := advice(answers):
                _log.warning("%s; for those of a model: %s", line, pip_install("local"))
            else:
                for text in barriers(job, own).values():
                    _log.error("%s", text)
            async with serve(answers=answers, control=False) as emulator:
                yield emulator.url

        yield Provider(f"{EMBEDDED} ({answers.name})", started, digests)


def model_digests(job: Job, environ: Mapping[str, str]) -> dict[str, str]:
    """Digests of the user's own models on the embedded endpoint, by the names of the steps that call them.

    Raises JobError where a model is damaged.
    """
    if not _calls_own_models(job):
        return {}
    from ..emulator import OwnModels
    from .own_models import digests_of

    return digests_of(job, OwnModels(models_directory(environ)))


def model_barriers(job: Job, environ: Mapping[str, str]) -> dict[str, str]:
    """Reasons why the embedded endpoint answers calls with error code 6, by the names of the steps.

    Raises JobError where a model is damaged. Fake results have no such reason.
    """
    if not _calls_own_models(job):
        return {}
    from ..emulator import OwnModels, advice, best
    from .own_models import barriers

    if not (found := barriers(job, OwnModels(models_directory(environ)))):
        return {}
    with closing(best()) as answers:
        return {} if advice(answers) else found


def _calls_own_models(job: Job) -> bool:
    return job.account.endpoint == EMBEDDED and any(step.model is not None for step in job.recognize)


def inputs_of(job: Job, logins: Logins | None = None) -> Iterator[InputEntry | Ignored | Notice]:
    """The job's inputs. Complaints, now or while they are listed, name the job file.

    `logins` takes users and passwords of URLs.
    """
    wanted, directory = job.input, job.directory
    with _naming(job):
        entries = open_sources(
            wanted.paths,
            wanted.manifest,
            wanted.column,
            wanted.exclude,
            job.base,
            directory,
            wanted.within,
            kind_of_other,
            logins,
        )
    return _listed(job, entries)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Images by URL of a run: logins as they are listed, and the cache in the state folder."""

    cache: UrlCache
    logins: Logins


def image_store(job: Job, fetched: Fetched | None = None) -> ImageStore:
    """Store of the job's images; URLs can be read as far as they are `fetched`."""
    cache, logins = (None, Logins()) if fetched is None else (fetched.cache, fetched.logins)
    return Store(FileStore(job.base, job.within), cache, logins, private=job.input.fetch.private)


@asynccontextmanager
async def open_fetcher(job: Job, fetched: Fetched) -> AsyncIterator[Fetcher]:
    """Open what fetches images by URL into the cache."""
    from ..fetch import client  # aiohttp takes 160 ms to import: a job without URLs needs none

    wanted = job.input.fetch
    options = client.FetchOptions(wanted.per_host, wanted.timeout, wanted.max_bytes, wanted.private)
    async with client.open_fetcher(fetched.cache, fetched.logins, options, kind_of_other) as fetcher:
        yield fetcher


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
        raise DirectoryBusy(_("{directory}: another run holds it").format(directory=directory)) from None
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
    return Caps.of(**{name: min(values) for name, values in named.items() if values})


def targets_of(job: Job, credentials: Credentials) -> Iterator[tuple[Target, list[JobStep]]]:
    """Yield what calls go to, with the limits of the job, and the steps that are counted there."""
    account = payer(job, credentials)
    for name, members in by_service(job).items():
        yield Target(account, name, caps_of(job, members)), members


def rate_of(job: Job) -> float:
    """Highest number of calls per second that a run of the job can ask for, over all services."""
    return sum(caps_of(job, members).qps for members in by_service(job).values())
