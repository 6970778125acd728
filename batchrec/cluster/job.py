"""A job on a cluster: as `engine.assembly.run`, with shards in the place of the engine."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from ..api.credentials import Credentials
from ..api.endpoint import EMBEDDED
from ..api.services import SERVICES
from ..console.progress import shown
from ..console.text import say
from ..engine.assembly import Environment, Options, Run
from ..engine.process import Stopper
from ..engine.resume import RunRequest
from ..engine.setup import check_fetch, checked, destination
from ..errors import JobError
from ..job.spec import Job
from ..language import _, ngettext
from ..outputs.files import writing
from ..sources import Logins
from ..state.directory import state_directory
from ..values import Summary
from .driver import Driver, Fleet
from .hold import held
from .node import Shard, without_key
from .parts import PARTS, Parts
from .published import NOTE, Published, check_copy, failed, new_generation, noted, working

_log = logging.getLogger(__name__)

SHARD_SIZE = 10_000
"""Images and steps of a shard, unless the user says otherwise."""

_ANSWERS_BYTES = 128 << 20
"""Bound of the cached results that each worker is given, in bytes: some 90,000 rows."""

OpenFleet = Callable[[Job, Credentials, str, bytes], AbstractAsyncContextManager[Fleet]]
"""Opens a fleet, given the path or address of its parts, and the file of a result cache to reuse, or nothing."""


async def run_on(
    job: Job,
    options: Options,
    open_fleet: OpenFleet | None,
    size: int = SHARD_SIZE,
    environ: Mapping[str, str] | None = None,
    stopper: Stopper | None = None,
) -> Summary:
    """Run or resume a job on a cluster, or (`open_fleet` None) merge what its nodes have left.

    Where the job's output is an address, the run works in a folder of this machine, and a copy is published at its end.
    Raises as `engine.assembly.run` does.
    """
    environ, stopper = os.environ if environ is None else environ, stopper or Stopper()
    if open_fleet is not None:  # a merge fetches nothing
        check_fetch(job, allowed=options.allow_private)
        _check(job)
    job, url = job.anchored(), job.address
    if url is None:
        parts = Parts(str(job.directory))
        return await _ClusterRun(job, options, parts, size, environ, stopper).run(open_fleet)
    job = working(job, environ)
    try:
        published = await asyncio.to_thread(Published, url)
        async with _privately(), held(published.storage, job.directory.parent, stopper) as hold:
            merged = await asyncio.to_thread(published.merged)
            await asyncio.to_thread(published.bring, job.directory, merged)
            run = _ClusterRun(job, options, published.parts, size, environ, stopper, url)
            summary = await run.run(open_fleet)
            await asyncio.to_thread(hold.check)
            await asyncio.to_thread(published.publish, job.directory, job.path, sorted(run.merged or ()))
            return summary
    except OSError as exc:
        raise failed(url, exc) from exc


async def copy_to(
    directory: Path, url: str, job: Job | None, options: Options, environ: Mapping[str, str]
) -> Summary | None:
    """Copy the results at an address to a folder, with those of parts since.

    The address stays as it is.

    `job` None: its file is not known, and there must be no parts; there is no summary then. Raises JobError and as
    `run_on` does.
    """
    check_copy(directory, url)
    try:
        published = await asyncio.to_thread(Published, url)
        merged = await asyncio.to_thread(published.merged)
        shards = await asyncio.to_thread(published.parts.shards)
        if merged is None and not shards:
            raise JobError(_("{url}: there is nothing that a run has written").format(url=url))
        if job is None and shards:
            text = _(
                "{url}: has parts that are not merged; give the job file: batchrec merge JOB.toml --out {directory}"
            )
            raise JobError(text.format(url=url, directory=directory))
        await asyncio.to_thread(published.bring, directory, merged)
        if job is None:
            return None
        copied = job.anchored().written_to(directory)
        return await _ClusterRun(copied, options, published.parts, SHARD_SIZE, environ, Stopper(), url).run(None)
    except OSError as exc:
        raise failed(url, exc) from exc


@asynccontextmanager
async def _privately() -> AsyncIterator[None]:
    """Make files for their owner alone, as all in the state folder are."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


class _ClusterRun:
    """A run with its output directory on this machine. `url`: where its parts are, if not there.

    `merged` are the shards whose parts the directory holds, and that are kept; None where they are removed.
    """

    def __init__(
        self,
        job: Job,
        options: Options,
        parts: Parts,
        size: int,
        environ: Mapping[str, str],
        stopper: Stopper,
        url: str | None = None,
    ) -> None:
        self._job, self._options, self._parts, self._size = job, options, parts, size
        self._environ, self._stopper, self._url = environ, stopper, url
        self.merged: set[str] | None = None if url is None else set()
        self._unwanted = 0

    async def run(self, open_fleet: OpenFleet | None) -> Summary:
        """Merge what there is, and with a fleet go on from that."""
        try:
            shards = await asyncio.to_thread(self._parts.shards)
            if open_fleet is not None and shards:
                # Apart, and first: images that are to be sent again would get their old failures back.
                request = RunRequest(rebuild=self._options.request.rebuild)
                await self._pass(replace(self._options, request=request, progress="none"), None)
            return await self._pass(self._options, open_fleet)
        except OSError as exc:
            raise writing(self._url or self._job.directory, exc) from exc

    def _tell(self, unwanted: int, *, again: bool) -> None:
        """Tell of results that do not count, where the merge before a run has not told of them."""
        if unwanted == self._unwanted:
            return
        self._unwanted = unwanted
        text = ngettext(
            "{count:,} result that nodes have left belongs to other options or other bytes than the job has now",
            "{count:,} results that nodes have left belong to other options or other bytes than the job has now",
            unwanted,
        )
        what = _("sent again") if again else _("kept in {folder}/").format(folder=PARTS)
        _log.warning("%s: %s", text.format(count=unwanted), what)

    async def _pass(self, options: Options, open_fleet: OpenFleet | None) -> Summary:
        job, environ, started = self._job, self._environ, time.monotonic()
        logins = Logins()
        credentials, entries = checked(job, environ, logins)
        if open_fleet is not None and options.progress != "none":
            say(f"{job.name}: {destination(job, credentials)}", stamped=True)
        state = state_directory(environ)
        async with Run.opened(job, options, credentials, state, Environment(), logins, self._stopper, environ) as run:
            report = await run.open_directory(entries)
            run.say_header()
            output, rebuild = self._url or str(job.directory), options.request.rebuild
            pattern = Shard(job, without_key(credentials), output)
            driver = Driver(run, report, pattern, logins, self._size, rebuild=rebuild, merged=self.merged)
            self._stopper.ask = driver.stop
            async with run.files:
                await driver.merge()
                self._tell(driver.unwanted, again=open_fleet is not None)
                horizon = run.horizon(report)
                if open_fleet is not None and run.unfinished(report, horizon):
                    known = await asyncio.to_thread(_reusable, run, job, options)
                    async with (
                        open_fleet(job, credentials, output, known) as fleet,
                        shown(options.progress, driver.snapshot),
                    ):
                        await driver.drive(fleet, horizon)
            run.work = driver.work
            await run.take_out_superseded()
            if self._url is not None:
                run.journal.put_note(NOTE, noted(self._url, new_generation()))
            return run.conclude(report, started)


def _reusable(run: Run, job: Job, options: Options) -> bytes:
    """The file of a result cache with what the nodes may reuse of it; empty where that is nothing."""
    if run.cache is None or not options.reuse:
        return b""
    services = {step.service for step in job.recognize if options.reuse_models or not SERVICES[step.service].custom}
    return run.cache.excerpt(services, _ANSWERS_BYTES)


def _check(job: Job) -> None:
    """Raise JobError for what a cluster cannot do."""
    complaints = [
        _("{file}: recognize[{index}].canary: runs with --on have none; remove the key").format(
            file=job.path.name, index=index
        )
        for index, step in enumerate(job.recognize)
        if step.canary is not None
    ]
    if job.account.endpoint == EMBEDDED:
        complaints.append(
            _(
                "{file}: account.endpoint: the embedded endpoint is in the process of one machine; "
                "expected the address of a service or of `batchrec emulator` with --on"
            ).format(file=job.path.name)
        )
    if complaints:
        raise JobError(*complaints)
