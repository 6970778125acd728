"""The engine: workers take images off the lanes, have them sent, and hand outcomes to the recorder."""

import asyncio
import random
from collections.abc import Callable, Sequence

from ..api.client import Client
from ..errors import BatchrecError
from ..fetch.address import url_digest
from ..job.follow_ups import triggered
from ..sources import failure_of, is_url
from ..times import iso_utc
from ..values import Failure, Prepared, Task
from .attempts import Caller, Tally
from .canary_calls import CanaryCaller
from .duplicates import Duplicates
from .fetching import Fetching
from .lane import Backlog, Lane, Postponed, Step
from .preparation import Preparation, Ready
from .reads import Reads
from .recorder import Recorded, Recorder
from .rows import Outcome, answered, failed
from .tiles import TileCaller
from .workers import Workers


class Engine:
    """Works on all images of the backlog, with the workers of each lane. `now` is Unix seconds."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        backlog: Backlog,
        preparation: Preparation,
        duplicates: Duplicates,
        recorder: Recorder,
        client: Client,
        *,
        now: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.lanes = tuple(lanes)
        self.tally = Tally()
        self.last_row = b""
        """The line in results.jsonl that was committed last."""
        self._backlog = backlog
        self._preparation = preparation
        self._duplicates = duplicates
        self._recorder = recorder
        self._now = now
        self.uplink = client.uplink
        self._workers = Workers()
        self._reads = Reads(preparation.loss)
        self._fetching = Fetching(preparation.fetcher, self._workers.hire, backlog.wake)
        self._caller = Caller(client, self._workers, self.tally, rng)
        self._canaries = CanaryCaller(self._caller, self._workers, preparation, backlog, now)
        self._tile_caller = TileCaller(self._caller, self._workers, recorder.tiles)

    @property
    def error(self) -> BatchrecError | None:
        """The error that stopped the run, None where there was none."""
        return self._workers.error

    async def run(self) -> None:
        """Work until nothing is left that may be sent, or until stopped. Raises OutputFailed; see `error`."""
        try:
            async with asyncio.TaskGroup() as group:
                recorder = group.create_task(self._recorder.run(self._committed))
                self._workers.group = group
                for lane in self.lanes:
                    for _ in range(lane.workers):
                        self._workers.hire(self._work(lane))
                await self._workers.all_done()
                self._recorder.close()
                await recorder
        except BaseExceptionGroup as group_error:
            ours, others = group_error.split(BatchrecError)
            if ours is None or others is not None:
                raise
            raise ours.exceptions[0] from None
        finally:
            self._preparation.close()

    def stop(self, error: BatchrecError | None = None) -> None:
        """Let no new call leave; calls that have left are finished and recorded, then `run` returns."""
        self._workers.stop(error)

    # -- one worker

    async def _work(self, lane: Lane) -> None:
        """Take one image after the other off the lane until there are no more."""
        try:
            while not self._workers.stopping and (task := await lane.next()) is not None:
                try:
                    result = await self._attend(lane, task)
                finally:
                    self._preparation.leave_place(task)
                if result is not Postponed.FETCHING:
                    self._fetching.used(task)
                if isinstance(result, Outcome):
                    await self._recorder.add(result)
                    self._workers.release()
                    called = result.finished.attempts > 0
                else:
                    self._postpone(lane, task, result)
                    called = result is Postponed.DEFERRED
                if not called:
                    # Thousands of copies, or of files that are no images, would keep the loop from the others.
                    await asyncio.sleep(0)
        except BatchrecError as error:
            self.stop(error)

    def _postpone(self, lane: Lane, task: Task, reason: Postponed) -> None:
        match reason:
            case Postponed.DEFERRED:
                lane.defer(task)
            case Postponed.SET_ASIDE:
                lane.set_aside(task)
            case Postponed.FETCHING:
                self._fetching.begin(lane, task)
            case Postponed.PARKED:
                self._backlog.finished(1)
            case Postponed.CLOSED:
                # Its copies may find another way, or none.
                self._duplicates.resign(task, shared=True)
                self._backlog.finished(1)

    async def _attend(self, lane: Lane, task: Task) -> Outcome | Postponed:
        """Take one image from its file to its outcome."""
        step = lane.steps[task.step]
        if task.problem:
            return self._failed(task, None, failure_of(task.problem))
        if task.sha256 is not None and (found := self._without_reading(lane, task, task.sha256)) is not None:
            return found
        if step.by_url and is_url(task.key) and self._preparation.fetcher is not None:
            return await self._send_url(lane, step, task, self._preparation.fetcher.address(task.key))
        looked = self._fetching.look(lane, task)
        if isinstance(looked, Postponed):
            return looked
        if isinstance(looked, Failure):
            self._duplicates.resign(task, shared=False)
            return self._failed(task, None, looked)
        task = looked
        if not self._preparation.admits(step, task):
            return Postponed.SET_ASIDE
        held = await self._preparation.hold(task)
        try:
            ready = await self._make_ready(lane, step, task)
            self._preparation.leave_place(task)
            if not isinstance(ready, Ready):
                return ready
            task = task._replace(variant=ready.variant)
            held = self._preparation.keep(held, ready.size)
            await self._canaries.before(lane, step)
            caller = self._tile_caller if ready.tiles else self._caller
            reply = await caller.ask(lane.gate, step, task, ready)
        finally:
            self._preparation.give(held)
        if isinstance(reply, Postponed):
            return reply
        result, attempts = reply
        if isinstance(result, Failure):
            return self._failed(task, ready.sha256, result, attempts)
        self._staff(lane)
        outcome = answered(step.asked, task, ready.sha256, ready.image, result, attempts, iso_utc(self._now()))
        return outcome.followed_by(triggered(step.follow, result.labels))

    async def _send_url(self, lane: Lane, step: Step, task: Task, url: str) -> Outcome | Postponed:
        """Have the service fetch an image itself: nothing is known of its bytes, and no limit is checked."""
        digest = url_digest(url)
        if (found := self._duplicates.find_url(task, digest)) is not None:
            return found
        if lane.gate.over:
            return Postponed.CLOSED
        self._duplicates.lead_url(task, digest)
        reply = await self._caller.ask(lane.gate, step, task, Ready(digest, Prepared(b""), step.request.url_body(url)))
        if isinstance(reply, Postponed):
            return reply
        result, attempts = reply
        if isinstance(result, Failure):
            return self._failed(task, None, result, attempts)
        self._staff(lane)
        outcome = answered(step.asked, task, None, Prepared(b""), result, attempts, iso_utc(self._now()))
        return outcome.followed_by(triggered(step.follow, result.labels))

    def _without_reading(self, lane: Lane, task: Task, sha256: bytes) -> Outcome | Postponed | None:
        """Return what the digest in the journal is enough for; None where the file must be read."""
        if (found := self._duplicates.find(task, sha256)) is not None or not lane.gate.over:
            return found
        # Without its variant, an image is not known to the result cache: it is read once, and that is noted.
        return None if task.variant is None else self._duplicates.cached(task, sha256) or Postponed.CLOSED

    async def _make_ready(self, lane: Lane, step: Step, task: Task) -> Ready | Outcome | Postponed:
        """Read and prepare an image, unless its bytes have an outcome already; drops the file's bytes."""
        data, sha256, variant = await self._preparation.read(step, task)
        self._reads.note(task, data)
        if isinstance(data, Failure):
            self._duplicates.resign(task, shared=False)
            return self._failed(task, None, data)
        task = task._replace(variant=variant)
        # Where the file was replaced since others were found to be like it.
        self._duplicates.resign(task, shared=False, unless=sha256)
        # Its twin may have been answered while this one waited for memory, its turn, and its file.
        if (found := self._duplicates.find(task, sha256)) is not None:
            return found
        self._duplicates.lead(task, sha256)
        if (outcome := self._duplicates.cached(task, sha256)) is not None:
            return outcome
        if lane.gate.over:
            self._duplicates.note(task, sha256)
            return Postponed.CLOSED
        prepared = await self._preparation.prepare(step, task, data)
        if isinstance(prepared, Failure):
            return self._failed(task, sha256, prepared)
        return prepared if isinstance(prepared, Postponed) else Ready(sha256, *prepared, variant)

    def _staff(self, lane: Lane) -> None:
        """Hire one more worker while answers take so long that the rate needs more calls in flight.

        Where the uplink is the limit, further calls would only make the others slower.
        """
        if lane.understaffed and not self.uplink.limiting and not self._workers.stopping:
            lane.workers += 1
            self._workers.hire(self._work(lane))

    def _failed(self, task: Task, sha256: bytes | None, failure: Failure, attempts: int = 0) -> Outcome:
        return failed(task, sha256, failure, attempts, iso_utc(self._now()))

    def _committed(self, group: Sequence[Recorded]) -> None:
        """Count a group that is on the disk, and let the copies of its images go on."""
        for finished, line in group:
            self.tally.take(finished)
            self.last_row = line or self.last_row
            self._duplicates.settle(finished)
        self._backlog.finished(len(group))
