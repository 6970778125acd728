"""A shard on a node: the engine with a journal of its own, the cluster's keeper and token, and parts."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGTERM
from urllib.parse import parse_qs

from ..api.account import BearerAccount
from ..api.credentials import Credentials
from ..api.signature import SignatureAccount
from ..concurrency import beside
from ..engine.assembly import Environment, Options, Run, Shared, Work
from ..engine.process import Stopper
from ..engine.recorder import Recorded
from ..engine.setup import targets_of
from ..errors import BatchrecError, Interrupted
from ..interfaces import Account
from ..job.spec import Job, OutputSpec
from ..journal.queue import EVERYTHING
from ..outputs.files import writing
from ..redact import remember
from ..sources import Logins
from ..state.answer_cache import ANSWERS
from ..state.directory import make_private
from ..values import Authorization, InputEntry, Task
from .client import Channel, RemoteKeeper, ShardLost
from .keeper import Holder
from .parts import GATHERED_SECONDS, Parts, PartWriter, Promise, Subject, encode

Authorize = Callable[[str], Awaitable[Authorization | BatchrecError]]
"""Request for the account's authorization, given the query of one that the service has refused, or an empty text."""

_AUTHORIZED_SECONDS = 600.0
"""Time after which the authorization is asked for again: the keeper renews a token early."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a job's images: those that remain, each with the names of its steps.

    `output` is where parts go: a path or an address that fsspec opens; `logins` are those of its URLs, by key. Secrets
    are not shown by `repr`.
    """

    job: Job
    credentials: Credentials
    output: str
    name: str = ""
    tasks: Sequence[tuple[InputEntry, Sequence[str]]] = ()
    logins: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """End of the work on a shard.

    `lost`: it was taken away, or the keeper was gone; nothing else is wrong then. `parts` are those that were written.
    """

    work: Work
    lost: bool = False
    parts: Mapping[str, Promise] = field(default_factory=dict)


class RemoteAccount:
    """Account whose token another process fetches and renews, so that all nodes have the same one."""

    refreshes = 0
    secrets = ()

    def __init__(self, ask: Authorize, time: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._time = ask, time
        self._lock = asyncio.Lock()
        self._current: Authorization | None = None
        self._refused = ""
        self._asked_at = 0.0

    async def authorize(self) -> Authorization:
        """Current token. Raises what the keeper could not get one for."""
        async with self._lock:
            if self._current is None or self._time() - self._asked_at > _AUTHORIZED_SECONDS:
                found = await self._ask(self._refused)
                if isinstance(found, BatchrecError):
                    raise found
                remember(*(token for tokens in parse_qs(found.query).values() for token in tokens))
                self._current, self._asked_at = found, self._time()
            return self._current

    def on_refused(self, authorization: Authorization) -> None:
        """Have the token replaced, unless it was since."""
        if self._current is authorization:
            self._refused, self._current = authorization.query, None


def _account(shard: Shard, authorize: Authorize) -> Account:
    if shard.credentials.bearer:
        return BearerAccount(shard.credentials)
    if shard.credentials.access_key:
        return SignatureAccount(shard.job.account.endpoint, shard.credentials, time.time)
    return RemoteAccount(authorize)


def without_key(credentials: Credentials) -> Credentials:
    """Credentials as nodes need them: the keeper fetches the token, so that the key stays with it."""
    return replace(credentials, api_key="", secret_key="", account=credentials.identity)


async def work_on(
    shard: Shard,
    holder: Holder,
    channel: Channel,
    authorize: Authorize,
    stopper: Stopper | None = None,
    answers: Path | None = None,
) -> Report:
    """Work on a shard until nothing of it remains, or no further call may leave.

    `stopper` stops it as a signal does; `answers`: a result cache of earlier jobs. Raises OutputFailed and JobError as
    a run does.
    """
    stopper = stopper or Stopper()
    keeper = RemoteKeeper(channel, holder, asyncio.get_running_loop().time)
    writer = PartWriter(await asyncio.to_thread(Parts, shard.output), shard.name, holder.epoch)
    try:
        await keeper.prepare([target for target, _ in targets_of(shard.job, shard.credentials)])
        async with beside(_beating(keeper, stopper)), beside(_flushing(writer)):
            work = await _work(shard, keeper, _account(shard, authorize), writer, stopper, answers)
        await keeper.close()
    except ShardLost:
        return Report(Work(), lost=True)
    except Interrupted:  # stopped while the shard was being opened; nothing was sent
        return Report(Work())
    return Report(work, isinstance(work.error, ShardLost) or keeper.lost, writer.promises)


async def _beating(keeper: RemoteKeeper, stopper: Stopper) -> None:
    """Give signs of life.

    Where the shard is lost, the run is stopped, and calls that have left are waited for.
    """
    try:
        await keeper.beating()
    except ShardLost:
        stopper.stop(SIGTERM)


async def _flushing(writer: PartWriter) -> None:
    """Write what has gathered in time, also where no record follows."""
    while True:
        await asyncio.sleep(GATHERED_SECONDS / 5)
        with contextlib.suppress(OSError):  # the next group raises it
            await asyncio.to_thread(writer.flush_due)


async def _work(
    shard: Shard, keeper: RemoteKeeper, account: Account, writer: PartWriter, stopper: Stopper, answers: Path | None
) -> Work:
    """Run the engine on a shard in a folder of its own, which is removed."""

    files = {entry.key: (entry.size, entry.mtime_ns) for entry, _ in shard.tasks}
    treatment = shard.job.treatment.decisive

    def of(task: Task) -> tuple[str, Subject]:
        step, fingerprint = asked[task.step]
        return step, Subject(fingerprint, treatment, *files[task.key])

    def record(group: Sequence[Recorded]) -> None:
        try:
            writer.add([encode(finished, *of(finished.task), line) for finished, line in group])
        except OSError as exc:
            raise writing(shard.output, exc) from exc

    with tempfile.TemporaryDirectory(prefix="batchrec-") as folder:
        output = OutputSpec(directory=f"{folder}/out", formats=("jsonl",))
        job, state = shard.job.model_copy(update={"output": output}), Path(folder) / "state"
        make_private(state)
        if answers is not None:
            (state / ANSWERS).symlink_to(answers)
        environment = Environment(shared=Shared(keeper, account, record))
        # What may be reused of models is the driver's choice, who left out the rest.
        options = Options(reuse=answers is not None, reuse_models=True)
        logins = Logins(shard.logins)
        async with Run.opened(job, options, shard.credentials, state, environment, logins, stopper, {}) as run:
            report = await run.open_directory(entry for entry, _ in shard.tasks)
            asked = {report.steps[step.name]: (step.name, step.fingerprint) for step in shard.job.recognize}
            run.journal.queue.restrict(
                (entry.key, report.steps[step]) for entry, steps in shard.tasks for step in steps
            )
            if run.unfinished(report, EVERYTHING):
                await run.recognize(report, EVERYTHING)
            try:
                await asyncio.to_thread(writer.done if not run.unfinished(report, EVERYTHING) else writer.flush)
            except OSError as exc:
                raise writing(shard.output, exc) from exc
            return run.work
