"""Duplicates: identical bytes are sent once a step, and not at all where their result is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..job.follow_ups import labels_of, triggered
from ..journal import Finished, Journal, Known
from ..outputs.files import ResultFiles
from ..state.answer_cache import AnswerCache, content_key
from ..times import iso_utc
from ..values import Kind, Task
from .lane import Postponed, Step
from .recorder import Recorded
from .rows import Outcome, copied, failed, reused
from .treatments import alike_before, cached_row


@dataclass(slots=True)
class _Leader:
    """The image that is sent for all with the same bytes; the journal parks copies under the `first` one."""

    image: int
    first: int
    copies: bool = False


_MOST_URLS = 100_000
"""URLs that were sent as such and are remembered for copies: those that came last."""


class Duplicates:
    """Decides which of the images with identical bytes is sent: the leader, whose result its copies share.

    Looks results up in this job's journal and in the result cache of earlier jobs (`cache`, None: none is kept).
    `now` is Unix seconds.
    """

    def __init__(
        self,
        journal: Journal,
        files: ResultFiles,
        steps: Mapping[int, Step],
        cache: AnswerCache | None,
        now: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._files = files
        self._steps = steps
        self._cache = cache
        self._now = now
        self._leading: dict[tuple[int, bytes], _Leader] = {}  # by step and digest
        self._led: dict[tuple[int, int], bytes] = {}  # by step and image: the digest of the bytes that it leads
        self._urls: dict[tuple[int, bytes], int] = {}  # by step and digest of a URL that was sent: its image

    # -- results that need no call

    def find(self, task: Task, sha256: bytes) -> Outcome | Postponed | None:
        """Park the image where another with these bytes is under way, else return what this job has for them."""
        return self._parked(task, sha256, sha256) or self._from_this_job(task, sha256)

    def _from_this_job(self, task: Task, sha256: bytes) -> Outcome | None:
        """Return this job's result for these bytes, or their failure where that is the image's own fault."""
        boxes = self._steps[task.step].asked.service.reading.boxes
        earlier = task.variant is not None and alike_before(task.variant, boxes=boxes)
        known = self._journal.answers.finished_content(task.step, sha256, task.variant, earlier=earlier)
        if known is None:
            return None
        if task.variant is None:
            task = task._replace(variant=known.variant)
        return self._repeated(task, sha256, known)

    def find_url(self, task: Task, digest: bytes) -> Outcome | Postponed | None:
        """As `find`, for a URL that the service fetches itself: nothing is known of its bytes."""
        if parked := self._parked(task, digest, None):
            return parked
        image = self._urls.get((task.step, digest))
        known = None if image is None else self._journal.answers.finished_image(task.step, image)
        if known is None or known.image == task.image:
            return None
        return self._repeated(task, None, known)

    def _parked(self, task: Task, digest: bytes, sha256: bytes | None) -> Postponed | None:
        """Park the image where another one leads what has this digest."""
        leader = self._leading.get((task.step, digest))
        if leader is None or leader.image == task.image:
            return None
        leader.copies = True
        self._journal.queue.park(task, sha256, leader.first)
        return Postponed.PARKED

    def _repeated(self, task: Task, sha256: bytes | None, known: Known) -> Outcome:
        """The outcome of another image of this job, for this one."""
        if known.failure is not None:
            return failed(task, sha256, known.failure, 0, iso_utc(self._now()), leader=known.image)
        return self._followed(copied(task, sha256, known, self._files.read(known.start, known.length)))

    def lead_url(self, task: Task, digest: bytes) -> None:
        """Make the image the leader of a URL, and remember it for other spellings of that."""
        self.lead(task, digest)
        self._urls.setdefault((task.step, digest), task.image)
        if len(self._urls) > _MOST_URLS:
            del self._urls[next(iter(self._urls))]

    def cached(self, task: Task, sha256: bytes) -> Outcome | None:
        """Return an earlier job's result for these bytes, where the step may reuse results."""
        step = self._steps[task.step]
        if self._cache is None or step.cache_key is None or not step.reuse or task.variant is None:
            return None
        boxes = step.asked.service.reading.boxes
        row = cached_row(self._cache, step.cache_key, sha256, task.variant, boxes=boxes)
        return None if row is None else self._followed(reused(step.asked, task, sha256, row))

    def _followed(self, outcome: Outcome) -> Outcome:
        follow = self._steps[outcome.finished.task.step].follow
        return outcome.followed_by(triggered(follow, labels_of(outcome.row or {})))

    def remember(self, group: Sequence[Recorded]) -> None:
        """Put what the service has just answered into the result cache. Called in the thread of the commit."""
        new = [
            (key, content_key(finished.sha256, finished.task.variant), finished.at, line)
            for finished, line in group
            if line is not None
            and finished.attempts  # else it is a copy, or comes from the cache
            and finished.sha256 is not None
            and finished.task.variant is not None
            and (key := self._steps[finished.task.step].cache_key) is not None
        ]
        if self._cache is not None and new:
            self._cache.put(new)

    # -- leaders

    def lead(self, task: Task, sha256: bytes) -> None:
        """Make the image the leader of these bytes, where they have none."""
        if (task.step, sha256) not in self._leading:
            self._leading[task.step, sha256] = _Leader(task.image, task.image)
            self._led[task.step, task.image] = sha256

    def resign(self, task: Task, *, shared: bool, unless: bytes | None = None) -> None:
        """End the lead of an image that has no result of its own, except where it leads the bytes `unless`.

        Called where its file cannot be read, holds other bytes by now, or is not sent in this run. `shared`: all copies
        go back on the list, else the next of them leads the rest.
        """
        led = self._led.get((task.step, task.image))
        if led is not None and led != unless:
            self._end(task.step, led, task.image, shared=shared)

    def settle(self, finished: Finished) -> None:
        """Let the copies of a committed leader share its result, or a failure that is the image's own fault.

        On any other failure the next copy leads the rest.
        """
        step, image = finished.task.step, finished.task.image
        digest = self._led.get((step, image)) if finished.sha256 is None else finished.sha256
        if digest is not None:
            shared = finished.failure is None or finished.failure.kind is Kind.IMAGE
            self._end(step, digest, image, shared=shared)

    def _end(self, step: int, sha256: bytes, image: int, *, shared: bool) -> None:
        leader = self._leading.get((step, sha256))
        if leader is None or leader.image != image:
            return
        del self._led[step, image]
        heir = self._journal.queue.hand_over(step, leader.first) if leader.copies and not shared else None
        if heir is not None:
            leader.image = heir
            self._led[step, heir] = sha256
            return
        del self._leading[step, sha256]
        if leader.copies:
            self._journal.queue.unpark(step, leader.first)

    def note(self, task: Task, sha256: bytes) -> None:
        """Note the bytes of an image that is not sent in this run: the next run need not read it to know them."""
        self._journal.queue.saw(task, sha256)
