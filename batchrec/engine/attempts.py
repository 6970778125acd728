"""Attempts of an image at a step: calls and backoffs until there is an answer or a final failure."""

import asyncio
import logging
import random
from collections import Counter
from dataclasses import dataclass, field

from ..api.client import Client
from ..api.retry import Action, Tries, backoff, decide
from ..errors import BatchrecError
from ..journal import Finished
from ..limits.gate import Gate, GateClosed
from ..values import Answer, Failure, Kind, Task, Ticket
from .lane import Postponed, Step
from .preparation import Ready
from .workers import Workers

_log = logging.getLogger(__name__)

_LAST_WAIT = 1.0
"""Seconds of backoff at most before the last attempt, whose failure is final: it need not be put off for long."""


@dataclass(slots=True)
class Tally:
    """Counts of this run: calls and how they ended, images with an outcome, images added by follow-ups.

    Counters ending in `_at` are by the number of a step; `retrying_at`: images that wait for another attempt.
    `new_failures` leaves out inputs that could not be read, for the same reason as in an earlier run.
    """

    calls: int = 0
    throttled: int = 0
    retries: int = 0
    answered: int = 0
    failed: int = 0
    new_failures: int = 0
    added: int = 0
    calls_at: Counter[int] = field(default_factory=Counter)
    finished_at: Counter[int] = field(default_factory=Counter)
    added_at: Counter[int] = field(default_factory=Counter)
    retrying_at: Counter[int] = field(default_factory=Counter)

    def take(self, finished: Finished) -> None:
        """Count an outcome that is on the disk."""
        self.finished_at[finished.task.step] += 1
        if finished.failure is None:
            self.answered += 1
        else:
            self.failed += 1
            self.new_failures += not _repeated(finished)
        self.added += len(finished.follow)
        self.added_at.update(finished.follow)


def _repeated(finished: Finished) -> bool:
    """Whether an input could not be read or fetched again, for the reason that an earlier run has told."""
    failure = finished.failure
    return (
        failure is not None
        and failure.kind in (Kind.READ, Kind.FETCH)
        and failure.message == finished.task.failed_before
    )


class Caller:
    """Calls the service for an image, counts the calls, and keeps the attempts of deferred images."""

    def __init__(self, client: Client, workers: Workers, tally: Tally, rng: random.Random) -> None:
        self._client = client
        self._workers = workers
        self._tally = tally
        self._rng = rng
        # By step and image: the attempts so far of a deferred image, and how the last of them failed.
        self._tries: dict[tuple[int, int], tuple[Tries, Failure | None]] = {}

    def tries(self, step: Step, task: Task) -> Tries:
        """The attempts of an image so far, as they were kept if it was deferred."""
        kept, _ = self._tries.get((task.step, task.image), (None, None))
        return kept if kept is not None else Tries(step.attempts)

    async def ask(
        self, gate: Gate, step: Step, task: Task, ready: Ready, tries: Tries | None = None
    ) -> tuple[Answer | Failure, int] | Postponed:
        """Call until there is an answer or the attempts are spent; returns it with the number of attempts.

        The worker is still bound when an answer or a failure comes from a call that was just made. Returns DEFERRED
        while the service is down, CLOSED where no call may leave or the run stops. Raises what ends the run.

        `tries`: the attempts that the tiles of an image share; None: its own.
        """
        tries = tries or self.tries(step, task)
        _, before = self._tries.pop((task.step, task.image), (tries, None))
        self._tally.retrying_at[task.step] -= before is not None
        if before is not None and not self._worth_another(gate, tries):
            return before, tries.spent_here
        first = False
        upload = self._client.uplink.upload(len(ready.body))
        try:
            while not self._workers.stopping:
                ticket = await gate.enter(upload, first=first)
                self._workers.bind()
                self._tally.calls += 1
                self._tally.calls_at[task.step] += 1
                result = await self._client.call(step.request, ready.body, ticket.authorization, upload)
                self._settle(gate, ticket, ready.sha256, result, tries)
                if isinstance(result, Answer) or (action := decide(result)) is Action.FAIL:
                    return result, tries.spent_here + 1
                self._tally.throttled += result.kind is Kind.THROTTLED
                self._workers.release()
                first = action is Action.REPEAT
                upload.end()
                upload = self._client.uplink.upload(len(ready.body))
                if action is not Action.AGAIN or self._workers.stopping:
                    continue
                if not await self._backoff(gate, tries, result, task):
                    return Postponed.DEFERRED
                if not self._worth_another(gate, tries):
                    return result, tries.spent_here
        except GateClosed:
            pass
        finally:
            upload.end()
        return Postponed.CLOSED

    def _settle(self, gate: Gate, ticket: Ticket, sha256: bytes, result: Answer | Failure, tries: Tries) -> None:
        """Tell the gate how a call ended. What ends the run stops the others; this image is still recorded."""
        failure = result if isinstance(result, Failure) else None
        try:
            gate.settle(ticket, sha256, failure, suspect=tries.suspect)
        except BatchrecError as error:
            self._workers.stop(error)

    async def _backoff(self, gate: Gate, tries: Tries, failure: Failure, task: Task) -> bool:
        """Wait before the next attempt; False where the image is to be deferred, since the service is down."""
        _log.info("%s: %s (%s), asking again", task.key, failure.message, failure.code)
        tries.failed(gate.breaker)
        if gate.breaker.down:
            self._tries[task.step, task.image] = tries, failure
            self._tally.retrying_at[task.step] += 1
            return False
        wait = backoff(tries.spent, self._rng)
        self._tally.retrying_at[task.step] += 1
        try:
            await asyncio.sleep(wait if tries.spent + 1 < tries.limit else min(wait, _LAST_WAIT))
        finally:
            self._tally.retrying_at[task.step] -= 1
        return True

    def _worth_another(self, gate: Gate, tries: Tries) -> bool:
        """Whether an attempt is left, knowing how other images fared meanwhile."""
        if not tries.settle(gate.breaker):
            return False
        self._tally.retries += 1
        return True
