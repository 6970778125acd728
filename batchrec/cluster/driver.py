"""The driver of a run on a cluster: hands out shards, merges parts, hands lost shards out again.

The engine of the cluster is behind `Fleet`. Nothing here relies on its retries or on its word that a node is dead: a
shard is lost when its holder has given no sign of life to the keeper for ten seconds, or when its work has failed.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ..console.progress import Snapshot, StepProgress
from ..engine.assembly import Run, Work
from ..engine.attempts import Tally
from ..engine.duplicates import Duplicates
from ..engine.recorder import Recorded
from ..engine.resume import OpenReport
from ..engine.setup import by_service, image_store
from ..engine.watch import last_result
from ..errors import BatchrecError, ResultsDamaged
from ..journal import StepCounts
from ..journal.queue import EVERYTHING
from ..language import _
from ..sources import Logins
from ..values import Task
from .client import ShardLost
from .closures import Closures
from .keeper import Holder
from .merge import Merger
from .node import Report, Shard
from .parts import GATHERED_SECONDS, PARTS, Parts
from .supply import Supply, Waiting
from .wanted import Wanted

_log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Time between two looks at the parts and at the holders."""

_LAST_SECONDS = 60.0
"""Time that shards under way have to come to their end once the keeper is gone: for calls, and what they report."""

_NEVER = math.inf
_MOST_EPOCHS = 5
"""Times that a shard is handed out at most: what kills five workers will kill the sixth."""

Tasks = Sequence[Task]


class Fleet(Protocol):
    """Workers of a cluster, and the epochs of its keeper."""

    async def room(self) -> int | None:
        """Number of shards that could be worked on beside the present ones. Raises BatchrecError.

        None where nobody can take one, and shards are under way.
        """
        ...

    def start(self, shard: Shard, holder: Holder) -> Awaitable[Report]:
        """Have a shard worked on. What is awaited raises ShardLost where its worker is gone."""
        ...

    def stop(self) -> None:
        """Ask all workers to end the calls that have left, and to begin no others."""
        ...

    async def begin(self, shard: str, floor: int) -> Holder:
        """As `ClusterKeeper.begin`."""
        ...

    async def end(self, holder: Holder) -> None:
        """As `ClusterKeeper.end`."""
        ...

    async def silent(self, given: Sequence[Holder]) -> list[Holder]:
        """As `ClusterKeeper.silent`."""
        ...


@dataclass(slots=True)
class _Running:
    """A shard under way."""

    holder: Holder
    tasks: Tasks
    future: asyncio.Future[Report]


class Driver:
    """One run on a cluster.

    `run` holds the output directory. `pattern` is a shard without images, `size` the number of images and steps of one.
    `rebuild`: parts that are damaged are left out, and what they held is called for again. `merged` takes the shards
    that are merged, which are removed where it is None; those in it are passed over.
    """

    def __init__(
        self,
        run: Run,
        report: OpenReport,
        pattern: Shard,
        logins: Logins,
        size: int,
        *,
        rebuild: bool = False,
        merged: set[str] | None = None,
    ) -> None:
        self.work = Work()
        """Work of the run so far."""
        self._rebuild, self._merged, self._told = rebuild, merged, 0
        self._run, self._parts, self._report = run, Parts(pattern.output), report
        self._supply = Supply(run.journal.queue, pattern, report.steps, logins, size)
        self._live = not any(step.when for step in pattern.job.recognize)
        """Whether parts are merged while their shards are under way: where steps follow, two shards would have them."""
        steps = run.steps(report)
        following = {number: step.follow for number, step in steps.items()}
        remember = Duplicates(run.journal, run.files, steps, run.cache, time.time).remember
        asked, job = {report.steps[step.name]: step for step in pattern.job.recognize}, pattern.job
        wanted = Wanted(asked, job.treatment, image_store(job))
        parts, committed = self._parts, self._committed
        self._merger = Merger(run.journal, run.files, parts, report.steps, following, wanted, committed, remember)
        self._before = run.journal.reader.by_step()
        self._fleet: Fleet | None = None
        self._running: dict[str, _Running] = {}
        self._stopping, self._keeper_gone_at = False, _NEVER
        services = by_service(pattern.job).items()
        self._services = {report.steps[step.name]: name for name, members in services for step in members}
        self._closures = Closures(self._services)
        self._last_row, self._attempts, self._looked_at = b"", 0, -math.inf

    async def merge(self) -> None:
        """Record all parts that there are, and remove them.

        Those with records of something else than the job asks now are kept until nothing remains to be done.

        Raises ResultsDamaged, which names the parts that are damaged, unless the run is to do without them.
        """
        shards = [name for name in await asyncio.to_thread(self._parts.shards) if name not in (self._merged or ())]
        await self._merger.catch_up(shards)
        if (error := self._damage()) is not None:
            raise error
        finished = not self._run.unfinished(self._report, EVERYTHING)
        for name in shards:
            if name not in self._merger.kept or finished:
                await self._remove(name)

    @property
    def unwanted(self) -> int:
        """Number of records of something else than the job asks now."""
        return len(self._merger.unwanted)

    def _damage(self) -> ResultsDamaged | None:
        """The parts that are damaged. None with `rebuild`: what they held is called for again."""
        lines = [f"{PARTS}/{shard}/{part}: {reason}" for (shard, part), reason in self._merger.damaged.items()]
        if self._rebuild:
            for line in lines[self._told :]:
                _log.warning("%s", line)
            self._told = len(lines)
        if not lines or self._rebuild:
            return None
        text = _("{parts}. Put the file back, or run again with --rebuild to call again for what is missing")
        return ResultsDamaged(text.format(parts="; ".join(lines)))

    async def drive(self, fleet: Fleet, horizon: int) -> None:
        """Work until nothing remains up to the horizon, or no further call may leave.

        Raises OutputFailed, OSError.
        """
        self._fleet = fleet
        while True:
            remains = False
            with self._failing():
                remains = not self._stopping and await self._hand_out(fleet, horizon)
            if not remains and not self._running:
                break
            futures = [running.future for running in self._running.values()]
            if futures:
                await asyncio.wait(futures, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            elif remains:
                await asyncio.sleep(LOOK_SECONDS)
            await self._look()
            await self._collect(fleet)
        if not isinstance(self.work.error, ResultsDamaged):
            await self.merge()
        unfinished, closed = self._run.journal.queue.unfinished, self._closures.all
        steps = {service: [step for step, each in self._services.items() if each == service] for service in closed}
        self.work.closed = {each: why for each, why in closed.items() if unfinished(steps[each], horizon)}
        # A shard that was lost has told nothing of its calls but what it left.
        self.work.tally.calls = max(self.work.tally.calls, self._attempts)

    async def _look(self) -> None:
        """Merge what shards under way have left; on object storage rarely, where a look costs."""
        seconds = LOOK_SECONDS if self._parts.appends else GATHERED_SECONDS
        if self._live and time.monotonic() - self._looked_at >= seconds / 2:
            self._looked_at = time.monotonic()
            await self._merger.catch_up(list(self._running), patient=True)

    def stop(self) -> None:
        """Let no new call leave; what has left is waited for and merged."""
        self._stopping = True
        if self._fleet is not None:
            self._fleet.stop()

    def snapshot(self) -> Snapshot:
        """Progress, as far as it is merged."""
        return _snapshot(self._report.steps, self._before, self.work.tally, self._last_row)

    def _committed(self, group: Sequence[Recorded]) -> None:
        for finished, line in group:
            self.work.tally.take(finished)
            self._attempts += finished.attempts
            self._last_row = line or self._last_row

    # -- shards

    async def _hand_out(self, fleet: Fleet, horizon: int) -> bool:
        """Hand out as many shards as there is room for. Returns whether there may be others."""
        room = await fleet.room()
        if room is None:
            return True
        for place in range(max(room, len(self._supply.lost))):
            if self._stopping:
                return False
            # What was lost does not wait for the end of another shard.
            waiting = self._supply.lost_one(self._closures.open())
            if waiting is None and place < room:
                waiting = self._supply.new(self._closures.open(), horizon)
            if waiting is None:
                break
            await self._give(fleet, waiting)
        else:
            return True
        if self._running or not self._closures.doubtful():
            return False
        self._closures.settle(self.work.tally.answered)
        trial = self._closures.doubtful()
        waiting = self._supply.lost_one(trial) or self._supply.new(trial, horizon)
        if waiting is None:
            return False
        await self._give(fleet, waiting)
        return True

    async def _give(self, fleet: Fleet, waiting: Waiting) -> None:
        holder = await fleet.begin(waiting.name, waiting.epoch)
        if self._stopping:  # meanwhile
            await fleet.end(holder)
            return
        future = asyncio.ensure_future(fleet.start(self._supply.shard(waiting), holder))
        self._running[waiting.name] = _Running(holder, waiting.tasks, future)

    async def _collect(self, fleet: Fleet) -> None:
        """Take in what has ended, and shards whose holders are silent."""
        silent = await self._silent(fleet)
        ended = {name: each for name, each in self._running.items() if each.future.done() or name in silent}
        reports: dict[str, Report] = {}
        for name, running in ended.items():
            del self._running[name]
            if self._keeper_gone_at == _NEVER:
                with self._failing():
                    await fleet.end(running.holder)
            reports[name] = _report(running.future)
        patient = not isinstance(self.work.error, ResultsDamaged)
        await self._merger.finish({name: report.parts for name, report in reports.items()}, patient=patient)
        if reports and (damaged := self._damage()) is not None:
            self._fail(damaged)
            return
        for name, running in ended.items():
            await self._take_in(name, running, reports[name])

    async def _take_in(self, name: str, running: _Running, report: Report) -> None:
        """Take in the report of a shard whose parts are merged, and what remains of it."""
        remaining = [task for task in running.tasks if self._remains(task)]
        self._count(report.work)
        left = {task.step for task in remaining}
        done = set() if report.lost else {task.step for task in running.tasks} - left
        self._closures.note(report.work.closed, done)
        waiting = Waiting(name, running.holder.epoch, remaining)
        if not remaining:
            await self._remove(name)
        elif self._stopping:
            pass
        elif report.lost or left.intersection(self._closures.open()):
            self._lose(waiting)
        elif left.intersection(self._closures.doubtful()):
            self._supply.lost.append(waiting)

    async def _silent(self, fleet: Fleet) -> set[str]:
        """Shards under way whose holders are silent, or that have not ended although the keeper is long gone."""
        if self._keeper_gone_at < _NEVER:
            return set(self._running) if time.monotonic() - self._keeper_gone_at > _LAST_SECONDS else set()
        with self._failing():
            given = [running.holder for running in self._running.values()]
            return {holder.shard for holder in await fleet.silent(given)}
        return set()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Have an error of the keeper end the run, once the shards under way have come to their end."""
        try:
            yield
        except BatchrecError as error:
            if not self._supply.number:  # nothing was sent
                raise
            self._keeper_gone_at = time.monotonic()
            self._fail(error)

    def _remains(self, task: Task) -> bool:
        return self._run.journal.queue.unfinished_task(task.key, task.step) is not None

    def _lose(self, waiting: Waiting) -> None:
        """Hand a shard out again, under the next epoch."""
        self._supply.lost.append(waiting)
        if waiting.epoch >= _MOST_EPOCHS:
            text = _("shard {name} was lost {times} times")
            self._fail(ShardLost(text.format(name=waiting.name, times=_MOST_EPOCHS)))

    def _count(self, work: Work) -> None:
        """Add the figures of a shard to those of the run, which counts outcomes itself."""
        mine, tally = self.work, work.tally
        mine.tally.calls += tally.calls
        mine.tally.throttled += tally.throttled
        mine.tally.retries += tally.retries
        mine.refreshes += work.refreshes
        if work.error is not None and not isinstance(work.error, ShardLost):
            self._fail(work.error)

    def _fail(self, error: BatchrecError) -> None:
        if error.outranks(self.work.error):
            self.work.error = error
        self.stop()

    async def _remove(self, name: str) -> None:
        """Remove the parts of a shard, which are merged: what remains of it is called for anew."""
        if self._merged is not None:
            self._merged.add(name)
            return
        await asyncio.to_thread(self._parts.remove, name)
        self._merger.forget(name)


def _snapshot(steps: Mapping[str, int], before: Mapping[int, StepCounts], tally: Tally, last_row: bytes) -> Snapshot:
    """Progress, from the counts before the run and what is merged since."""
    shown = list[StepProgress]()
    for name, number in steps.items():
        start = before.get(number, StepCounts())
        done = start.answered + start.failed + tally.finished_at[number]
        total = max(done, start.answered + start.failed + start.open + tally.added_at[number])
        shown.append(StepProgress(name, done, total, total, finished=tally.finished_at[number]))
    failed = sum(start.failed for start in before.values()) + tally.failed
    return Snapshot(tuple(shown), failed, last_result(last_row), 0.0, 0.0, time.time())


def _report(future: asyncio.Future[Report]) -> Report:
    """The report of a shard; one that is lost where its worker is gone, or does not answer."""
    if not future.done():
        future.cancel()
        return Report(Work(), lost=True)
    try:
        return future.result()
    except ShardLost:
        return Report(Work(), lost=True)
    except BatchrecError as error:
        return Report(Work(Tally(), error=error))
