"""The pool: images off the journal's lists, through the gates, to the recorder. Stopping is asked for, not thrown."""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from .. import images
from ..api.client import Client, Request
from ..api.retry import Action, Tries, backoff, decide
from ..concurrency import MemoryBudget, TurnLimiter
from ..errors import BatchrecError
from ..job.follow_ups import labels_of, triggered
from ..journal import Journal
from ..limits.gate import GateClosed
from ..outputs.files import ResultFiles
from ..sources import OUTSIDE, Boundary
from ..state.answer_cache import AnswerCache
from ..times import iso_utc
from ..values import Answer, Failure, Kind, Prepared, Task, Ticket
from .lane import PREPARING, Lane, Step
from .recorder import Recorded, Recorder
from .rows import Outcome, answered, copied, failed, reused

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_Other = TypeVar("_Other", Failure, None)


_INLINE_BYTES = 256 * 1024
_MOST_BYTES = 512 * 1024 * 1024
_HEAVIEST = _MOST_BYTES * 3 // 4  # so that small pictures go on beside the largest
_TIMES_ITS_SIZE = 3  # a file, the picture that is sent of it, and that once more as text
_MOST_IN_A_TURN = 64  # some 20 ms of the event loop, for pictures of 100 KB
_LAST_WAIT = 1.0
_MOST_ASIDE = 1000
_CLAIMED_AT_ONCE = 256


@dataclass(slots=True)
class Tally:
    """What this run has done so far."""

    calls: int = 0
    throttled: int = 0
    retries: int = 0
    answered: int = 0
    failed: int = 0
    added: int = 0


class Engine:
    """Asks everything that is on the journal's lists up to the input at `horizon`. `time` is monotonic, `now` Unix."""

    def __init__(
        self,
        journal: Journal,
        files: ResultFiles,
        client: Client,
        steps: dict[int, Step],
        lanes: Sequence[Lane],
        base: Path,
        horizon: int,
        *,
        now: Callable[[], float],
        rng: random.Random,
        known: AnswerCache | None = None,
        on_rows: Callable[[Sequence[bytes]], None] | None = None,
        within: Path | None = None,
    ) -> None:
        self._journal = journal
        self._files = files
        self._client = client
        self._steps = steps
        self.lanes = tuple(lanes)
        self._base = str(base)
        self._boundary = None if within is None else Boundary(within, remembered=False)
        self._horizon = horizon
        self._now, self._rng = now, rng
        self._earlier = known
        self._on_rows = on_rows
        self.tally = Tally()
        self.error: BatchrecError | None = None
        self._recorder = Recorder(journal, files, self._committed, self._remember)
        cores = os.cpu_count() or 1
        self._readers = ThreadPoolExecutor(cores, "files")
        self._decoders = ThreadPoolExecutor(cores, "pictures")
        self._decoding: set[tuple[int, int]] = set()
        """By step and image: those that are decoded, wait for it, or are about to."""
        self._most_decoding = 2 * cores
        self._stopping = False
        self._outstanding = 0
        self._changed = asyncio.Event()
        self._memory = MemoryBudget(_MOST_BYTES)
        self._turns = TurnLimiter(_MOST_IN_A_TURN)
        self._leading: dict[tuple[int, bytes], _Leader] = {}
        self._led: dict[tuple[int, int], bytes] = {}
        """By step and image: the digest of the content that the image leads."""
        self._tries: dict[tuple[int, int], tuple[Tries, Failure | None]] = {}
        """By step and image: the attempts of an image that had to make way, and how the last of them failed."""
        self._workers: set[asyncio.Task[None]] = set()
        self._hire: Callable[[Lane], None] = lambda lane: None
        self._bound: set[asyncio.Task[None] | None] = set()
        """Workers that must not be cancelled: their call has left, or its answer is not recorded yet."""

    async def run(self) -> None:
        """Work until nothing is left that may be asked, or until stopped. Raises OutputFailed; see also `error`."""
        try:
            async with asyncio.TaskGroup() as group:
                recorder = group.create_task(self._recorder.run())
                self._hire = lambda lane: self._workers.add(group.create_task(self._work(lane)))
                for lane in self.lanes:
                    for _ in range(lane.workers):
                        self._hire(lane)
                while working := {worker for worker in self._workers if not worker.done()}:
                    await asyncio.wait(working)
                self._recorder.close()
                await recorder
        except BaseExceptionGroup as group_error:
            ours, others = group_error.split(BatchrecError)
            if ours is None or others is not None:
                raise
            raise ours.exceptions[0] from None
        finally:
            for threads in (self._readers, self._decoders):
                threads.shutdown(wait=False, cancel_futures=True)

    def stop(self, error: BatchrecError | None = None) -> None:
        """No new call leaves; calls that have left are finished and recorded, then `run` returns."""
        if error is not None and error.outranks(self.error):
            self.error = error
        self._stopping = True
        for worker in self._workers - self._bound:
            worker.cancel()

    # -- a worker

    async def _work(self, lane: Lane) -> None:
        me = asyncio.current_task()
        try:
            while (task := await self._next(lane)) is not None:
                try:
                    outcome = await self._attend(lane, task)
                except GateClosed:
                    self._release(task)
                    await asyncio.sleep(0)
                    continue
                except _Deferred:
                    lane.later.append(task)
                    continue
                except _SetAside:
                    lane.aside.append(task)
                    outcome = None
                finally:
                    self._leave_place(task)
                if outcome is not None:
                    await self._recorder.add(outcome)
                self._bound.discard(me)
                if outcome is None or not outcome.finished.attempts:
                    # Thousands of copies, or of files that are no images, would keep the loop from the others.
                    await asyncio.sleep(0)
        except BatchrecError as error:
            self.stop(error)

    async def _next(self, lane: Lane) -> Task | None:
        """The next image of the lane; None when there is none and will be none.

        A gate that has closed is no reason to end: what is known already needs no call.
        """
        while not self._stopping:
            if lane.later and not lane.gate.breaker.down:
                return lane.later.popleft()
            if lane.aside and self._place_for(lane.aside[0]):
                return lane.aside.popleft()
            if len(lane.aside) >= _MOST_ASIDE:
                await self._change()
                continue
            if not lane.ready:
                lane.ready.extend(self._journal.claim(lane.steps, self._horizon, _CLAIMED_AT_ONCE))
                self._outstanding += len(lane.ready)
            if lane.ready or lane.later:
                return (lane.ready or lane.later).popleft()
            if not self._outstanding and not self._more():
                self._changed.set()
                return None
            await self._change()
        for tasks in (lane.ready, lane.later, lane.aside):
            self._finished(len(tasks))
            tasks.clear()
        return None

    async def _change(self) -> None:
        """Wait until an image is finished, or a place for one is free."""
        self._changed.clear()
        await self._changed.wait()

    def _place_for(self, task: Task) -> bool:
        """Whether the image has a place among those that are decoded, which it may just have been given.

        There are two for a core, so that the next picture is there when one is done, and few are in memory.
        """
        key = task.step, task.image
        if key not in self._decoding and len(self._decoding) >= self._most_decoding:
            return False
        self._decoding.add(key)
        return True

    def _leave_place(self, task: Task) -> None:
        """The image is decoded, or need not be: others may."""
        if (task.step, task.image) in self._decoding:
            self._decoding.remove((task.step, task.image))
            self._changed.set()

    def _more(self) -> bool:
        steps = [step for lane in self.lanes for step in lane.steps]
        return self._journal.unfinished(steps, self._horizon, unclaimed=True)

    def _release(self, task: Task) -> None:
        """Nothing will be asked for this image in this run; its copies may find another way, or none."""
        self._resign(task, shared=True)
        self._finished(1)

    def _resign(self, task: Task, but: bytes | None = None, *, shared: bool) -> None:
        """The image leads no copies any more, but those with this digest."""
        led = self._led.get((task.step, task.image))
        if led is not None and led != but:
            self._lead_ends((task.step, led), task.image, shared=shared)

    async def _attend(self, lane: Lane, task: Task) -> Outcome | None:
        """One image from its file to its outcome. None: it is a copy, set aside until its leader is finished."""
        step = self._steps[task.step]
        if task.problem:
            word = "outside" if task.problem == OUTSIDE else "unreadable"
            return self._failed(task, None, Failure(Kind.IMAGE, word, task.problem))
        if task.sha256 is not None:
            if self._parked(task, task.sha256):
                return None
            if (outcome := self._from_this_job(task, task.sha256)) is not None:
                return outcome
            if lane.gate.over:
                if (outcome := self._reused(step, task, task.sha256)) is not None:
                    return outcome
                raise GateClosed
        if not images.fits_bytes(task.size, step.asked.service.limits) and not self._place_for(task):
            raise _SetAside  # before it is read: it is too heavy to be sent as it is
        held = await self._memory.take(min(_TIMES_ITS_SIZE * max(0, task.size), _HEAVIEST))
        try:
            ready = await self._make_ready(lane, step, task)
            self._leave_place(task)
            if not isinstance(ready, _Ready):
                return ready
            sent = min(held, len(ready.body))
            self._memory.give(held - sent)
            held = sent
            answer, attempts = await self._ask(lane, step, task, ready)
        finally:
            self._memory.give(held)
        if isinstance(answer, Failure):
            return self._failed(task, ready.sha256, answer, attempts)
        outcome = answered(step.asked, task, ready.sha256, ready.image, answer, attempts, iso_utc(self._now()))
        return outcome.followed_by(triggered(step.follow, answer.labels))

    async def _make_ready(self, lane: Lane, step: Step, task: Task) -> "_Ready | Outcome | None":
        """What is to be sent for an image, or its outcome if nothing has to be. The file's bytes are let go of.

        Raises GateClosed where something would have to be sent, and cannot be in this run.
        """
        await self._turns.take()
        data, sha256 = await self._read(task)
        if isinstance(data, Failure):
            self._resign(task, shared=False)
            return self._failed(task, None, data)
        # Where the file was replaced since others were found to be like it.
        self._resign(task, but=sha256, shared=False)
        if self._parked(task, sha256):
            return None
        # Its twin may have been answered while this one waited for memory, its turn, and its file.
        if (outcome := self._from_this_job(task, sha256)) is not None:
            return outcome
        if (task.step, sha256) not in self._leading:
            self._leading[task.step, sha256] = _Leader(task.image, task.image)
            self._led[task.step, task.image] = sha256
        if (outcome := self._reused(step, task, sha256)) is not None:
            return outcome
        if lane.gate.over:
            self._journal.saw(task, sha256)
            raise GateClosed
        prepared = await self._prepare(step, task, data)
        return self._failed(task, sha256, prepared) if isinstance(prepared, Failure) else _Ready(sha256, *prepared)

    def _from_this_job(self, task: Task, sha256: bytes) -> Outcome | None:
        """What this job already has for these bytes: an answer, or a failure that is the image's own fault."""
        known = self._journal.finished_content(task.step, sha256)
        if known is None:
            return None
        if known.failure is not None:
            return failed(task, sha256, known.failure, 0, iso_utc(self._now()), leader=known.image)
        outcome = copied(task, sha256, known, self._files.read(known.start, known.length))
        return outcome.followed_by(triggered(self._steps[task.step].follow, labels_of(outcome.row or {})))

    def _reused(self, step: Step, task: Task, sha256: bytes) -> Outcome | None:
        """What an earlier job was answered for these bytes."""
        if self._earlier is None or step.question is None or not step.reuse:
            return None
        row = self._earlier.get(step.question, sha256)
        if row is None:
            return None
        outcome = reused(step.asked, task, sha256, row)
        return outcome.followed_by(triggered(step.follow, labels_of(outcome.row or {})))

    def _parked(self, task: Task, sha256: bytes) -> bool:
        """Whether an image with these bytes is under way, so that this one waits for what becomes of it."""
        leader = self._leading.get((task.step, sha256))
        if leader is None or leader.image == task.image:
            return False
        leader.copies = True
        self._journal.park(task, sha256, leader.first)
        self._finished(1)
        return True

    async def _read(self, task: Task) -> tuple[bytes | Failure, bytes]:
        """The file and its digest. A small file is read faster than a thread is reached."""
        path = os.path.join(self._base, task.key)
        if task.size <= _INLINE_BYTES:
            return _load(path, task, self._boundary)
        return await self._in_thread(self._readers, _load, path, task, self._boundary)

    async def _prepare(self, step: Step, task: Task, data: bytes) -> "_Encoded | Failure":
        """A look at a small, usual picture is faster than a thread; what has to be decoded must not hold up the others.

        Raises _SetAside where as many are decoded as there may be.
        """
        limits, upright = step.asked.service.limits, step.asked.service.reading.boxes
        as_it_is = partial(images.as_it_is, data, limits, upright=upright, strip=step.strip)
        look = partial(_encoded, step.request, as_it_is)
        usual = look() if len(data) <= _INLINE_BYTES else await self._in_thread(self._readers, look)
        if usual is not None:
            return usual
        if not self._place_for(task):
            raise _SetAside
        mend = partial(images.prepare, data, limits, repair=step.repair, upright=upright, strip=step.strip)
        return await self._in_thread(self._decoders, _encoded, step.request, mend)

    async def _in_thread(self, threads: ThreadPoolExecutor, function: Callable[..., _T], *arguments: object) -> _T:
        """In a thread for this kind of work: nothing is read or committed behind pictures that are decoded."""
        return await asyncio.get_running_loop().run_in_executor(threads, function, *arguments)

    async def _ask(self, lane: Lane, step: Step, task: Task, ready: "_Ready") -> tuple[Answer | Failure, int]:
        """Call until there is an answer or the attempts are spent. Raises GateClosed, or what ends the run."""
        me = asyncio.current_task()
        tries, before = self._tries.pop((task.step, task.image), (Tries(step.attempts), None))
        if before is not None and not self._worth_another(lane, tries):
            return before, tries.spent
        first = False
        while not self._stopping:
            ticket = await lane.gate.enter(first=first)
            self._bound.add(me)
            self.tally.calls += 1
            result = await self._client.call(step.request, ready.body, ticket.authorization)
            self._settle(lane, ticket, ready.sha256, result, tries)
            if isinstance(result, Answer):
                self._staff(lane)
                return result, tries.spent + 1
            action = decide(result)
            if action is Action.FAIL:
                return result, tries.spent + 1
            self.tally.throttled += result.kind is Kind.THROTTLED
            self._bound.discard(me)
            if self._stopping:
                break
            first = action is Action.REPEAT
            if action is Action.AGAIN:
                await self._backoff(lane, tries, result, task)
                if not self._worth_another(lane, tries):
                    return result, tries.spent
        raise GateClosed

    def _settle(self, lane: Lane, ticket: Ticket, sha256: bytes, result: Answer | Failure, tries: Tries) -> None:
        """Tell the gate how a call ended. What ends the run stops the others; this image is still recorded."""
        failure = result if isinstance(result, Failure) else None
        try:
            lane.gate.settle(ticket, sha256, failure, suspect=tries.suspect)
        except BatchrecError as error:
            self.stop(error)

    def _staff(self, lane: Lane) -> None:
        """One more worker while answers take so long that the rate needs more calls in flight (Little's law)."""
        needed = lane.gate.limiter.rate * lane.gate.limiter.round_trip + PREPARING
        if lane.workers < min(needed, lane.most) and not self._stopping:
            lane.workers += 1
            self._hire(lane)

    async def _backoff(self, lane: Lane, tries: Tries, failure: Failure, task: Task) -> None:
        """Wait before asking again; while the service is down, make way for an image that has not failed yet."""
        _log.info("%s: %s (%s), asking again", task.key, failure.message, failure.code)
        tries.failed(lane.gate.breaker)
        if lane.gate.breaker.down:
            self._tries[task.step, task.image] = tries, failure
            raise _Deferred
        wait = backoff(tries.spent, self._rng)
        await asyncio.sleep(wait if tries.spent + 1 < tries.limit else min(wait, _LAST_WAIT))

    def _worth_another(self, lane: Lane, tries: Tries) -> bool:
        """Whether an attempt is left, knowing how the others fared meanwhile."""
        if not tries.settle(lane.gate.breaker):
            return False
        self.tally.retries += 1
        return True

    # -- bookkeeping

    def _failed(self, task: Task, sha256: bytes | None, failure: Failure, attempts: int = 0) -> Outcome:
        return failed(task, sha256, failure, attempts, iso_utc(self._now()))

    def _committed(self, group: Sequence[Recorded]) -> None:
        for finished, _ in group:
            if finished.failure is None:
                self.tally.answered += 1
            else:
                self.tally.failed += 1
            self.tally.added += len(finished.follow)
            if finished.sha256 is not None:
                shared = finished.failure is None or finished.failure.kind is Kind.IMAGE
                self._lead_ends((finished.task.step, finished.sha256), finished.task.image, shared=shared)
        self._finished(len(group))
        if self._on_rows is not None:
            self._on_rows([line for _, line in group if line is not None])

    def _remember(self, group: Sequence[Recorded]) -> None:
        """Keep for later jobs what the service has just answered. Runs in the thread of the commit."""
        new = [
            (question, finished.sha256, finished.at, line)
            for finished, line in group
            if line is not None
            and finished.attempts  # else it is a copy, or known from an earlier job
            and finished.sha256 is not None
            and (question := self._steps[finished.task.step].question) is not None
        ]
        if self._earlier is not None and new:
            self._earlier.put(new)

    def _lead_ends(self, key: tuple[int, bytes], image: int, *, shared: bool) -> None:
        """An image that others wait for is done. They share what became of it, or the next of them leads."""
        leader = self._leading.get(key)
        if leader is None or leader.image != image:
            return
        del self._led[key[0], image]
        heir = self._journal.hand_over(key[0], leader.first) if leader.copies and not shared else None
        if heir is not None:
            leader.image = heir
            self._led[key[0], heir] = key[1]
            return
        del self._leading[key]
        if leader.copies:
            self._journal.unpark(key[0], leader.first)

    def _finished(self, count: int) -> None:
        self._outstanding -= count
        self._changed.set()


def _load(path: str, task: Task, boundary: Boundary | None) -> tuple[bytes | Failure, bytes]:
    """The file and its digest, which need not be made where it is known and the file still is what was listed.

    The boundary is asked once more: hours may lie between listing and reading, and a folder may be a link by now.
    """
    if boundary is not None and boundary.excludes(path):
        return Failure(Kind.IMAGE, "outside", OUTSIDE, counted=False), b""
    data = images.read(path)
    if isinstance(data, Failure):
        return data, b""
    known = task.sha256 is not None and images.unchanged(path, task.size, task.mtime_ns)
    return data, task.sha256 if known and task.sha256 else images.digest(data)


_Encoded = tuple[Prepared, bytes]
"""What was done to a picture, its bytes let go of, and the body that is sent for it."""


def _encoded(request: Request, prepare: Callable[[], Prepared | _Other]) -> _Encoded | _Other:
    prepared = prepare()
    if not isinstance(prepared, Prepared):
        return prepared
    return prepared._replace(data=b""), request.body(prepared.data)


class _Ready(NamedTuple):
    """What is sent for an image, and the digest of its file."""

    sha256: bytes
    image: Prepared
    body: bytes


class _Deferred(Exception):
    """This image makes way for others, and is asked about later."""


class _SetAside(Exception):
    """This image has to be decoded, and waits for that without a worker."""


@dataclass(slots=True)
class _Leader:
    """The image that is asked about for all with the same bytes. The copies are parked under the `first` that was."""

    image: int
    first: int
    copies: bool = False
