"""`batchrec plan`: what a run would do, known without a call: images, calls left, time, days and money.

It opens a copy of the journal as a run opens the journal, so that what is dropped, asked again or left alone is
decided by the same code; then it looks at every file that would be asked about, as preparation would, without
decoding. Nothing is sent, and nothing in the output directory is touched.
"""

import asyncio
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .. import images
from ..api.credentials import Credentials
from ..api.endpoint import EMBEDDED
from ..api.services import SERVICES
from ..console.progress import Snapshot, Style, shown
from ..engine.resume import OpenReport, RunRequest, evaluate_conditions, listed, take_inputs, take_steps
from ..engine.setup import by_service, caps_of, credentials_of, inputs_of, known_answers, payer
from ..errors import JobError, WrongEndpoint
from ..job.follow_ups import Conditions, follow_ups, labels_of, triggered
from ..job.spec import Job, Step
from ..journal import Journal, Pending, copy_journal
from ..limits.quota import Quota
from ..limits.shared_rate import SharedRates
from ..outputs import OUTPUTS
from ..outputs.files import ResultFiles
from ..sources import Boundary
from ..state.answer_cache import AnswerCache
from ..state.directory import state_directory
from ..state.inspection_cache import InspectionCache, Key, Way, of_content, of_file
from ..times import beijing_day, iso_beijing, next_reset
from ..values import Caps, Failure, InputEntry, QuotaKey
from .estimate import Plan, StepPlan

_BATCH = 500
_DAY = 86_400
_THOUSAND = 1000


async def plan(
    job: Job,
    *,
    reuse: bool = True,
    reuse_models: bool = False,
    progress: Style = "none",
    environ: Mapping[str, str] | None = None,
    now: Callable[[], float] = time.time,
) -> Plan:
    """What `run` would do. Raises JobError where that could not begin; it needs no credentials, see `payer_known`.

    `environ` None: the process's.
    """
    environ = os.environ if environ is None else environ
    credentials = _payer(job, environ)  # before anything is opened
    survey = _Survey(job, state_directory(environ), reuse, reuse_models, credentials, now)
    async with shown(progress, survey.snapshot):
        return await asyncio.to_thread(survey.run)


def payer_known(job: Job, environ: Mapping[str, str] | None = None) -> bool:
    """Whether the account's quota and known answers can be looked up, which takes its credentials.

    Raises WrongEndpoint where there are some that must not go to the job's endpoint: a run could not begin.
    """
    return _payer(job, os.environ if environ is None else environ) is not None


def _payer(job: Job, environ: Mapping[str, str]) -> Credentials | None:
    try:
        return credentials_of(job, environ)
    except WrongEndpoint:
        raise
    except JobError:
        return None


@dataclass(slots=True)
class _Count:
    """Of one step: calls that are sure, and images whose answer is known."""

    calls: int = 0
    known: int = 0


class _Survey:
    """One look at everything."""

    def __init__(
        self,
        job: Job,
        state: Path,
        reuse: bool,
        reuse_models: bool,
        credentials: Credentials | None,
        now: Callable[[], float],
    ) -> None:
        self._job, self._state, self._now = job, state, now
        self._reuse, self._reuse_models = reuse, reuse_models
        self._credentials = credentials
        self._ways = list(dict.fromkeys(_way(job, step) for step in job.recognize))
        self._done, self._total = 0, 0
        self._outside = self._unreadable = self._refused = self._to_repair = 0
        self._extra: dict[int, list[int]] = {}

    def snapshot(self) -> Snapshot | None:
        """How far it is."""
        return Snapshot(self._done, self._total, 0, self._done, None, what="files") if self._total else None

    def run(self) -> Plan:
        """Open a copy of the journal, look, count. Blocks: call it in a thread."""
        job, opened = self._job, OpenReport()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copy_journal(job.directory, folder)
            with closing(Journal(folder)) as journal, closing(InspectionCache(self._state)) as looks:
                self._claim(journal, folder)
                journal.recover()
                take_inputs(job, journal, self._located(listed(inputs_of(job), opened, _never)), opened, _never)
                numbers = take_steps(job, journal, opened, RunRequest())
                journal.fill(numbers[step.name] for step in job.recognize if step.when is None)
                evaluate_conditions(job, journal, ResultFiles(job.directory, [OUTPUTS["jsonl"]], {}), numbers)
                self._look(journal, looks)
                return self._told(journal, numbers, opened.ignored)

    def _claim(self, journal: Journal, folder: Path) -> None:
        identity = {"name": self._job.name}
        if self._job.account.endpoint != EMBEDDED:
            identity["endpoint"] = self._job.account.endpoint
        try:
            journal.claim_identity(identity)
        except JobError as error:
            told = (text.replace(str(folder), str(self._job.directory)) for text in error.complaints)
            raise JobError(*told) from error

    def _located(self, found: Iterable[InputEntry]) -> Iterator[InputEntry]:
        """The inputs as they come; those outside of the job's folder are counted."""
        boundary = Boundary(self._job.base, remembered=True)
        for each in found:
            self._outside += boundary.excludes(os.path.join(self._job.base, each.key))
            yield each

    # -- looking

    def _look(self, journal: Journal, looks: InspectionCache) -> None:
        """Note digest and verdicts of every image that is to be asked about."""
        self._total = journal.begin_looking()
        with ThreadPoolExecutor() as pool:
            for batch in _batches(journal.pending()):
                seen = list(self._seen(batch, looks, pool))
                journal.looked_at(seen)
                for _, sha256, words in seen:
                    self._unreadable += sha256 is None
                    self._refused += any(word not in ("", images.REPAIR) for word in words)
                    self._to_repair += images.REPAIR in words
                self._done += len(batch)

    def _seen(
        self, batch: Sequence[Pending], looks: InspectionCache, pool: ThreadPoolExecutor
    ) -> Iterator[tuple[int, bytes | None, list[str]]]:
        known: dict[int, tuple[bytes | None, list[str]] | None] = {
            image.number: self._kept(image, looks) for image in batch
        }
        missing = [image for image in batch if known[image.number] is None]
        fresh: dict[Key, bytes] = {}
        for image, (sha256, words) in zip(missing, pool.map(self._read, missing), strict=True):
            known[image.number] = sha256, words
            if sha256 is not None:
                fresh[of_file(self._path(image), image.size, image.mtime_ns)] = sha256
                for way, word in zip(self._ways, words, strict=True):
                    fresh[of_content(sha256, way)] = word.encode()
        looks.put(fresh)
        for image in batch:
            sha256, words = known[image.number] or (None, [])
            yield image.number, sha256, words

    def _kept(self, image: Pending, looks: InspectionCache) -> tuple[bytes | None, list[str]] | None:
        sha256 = image.sha256 or looks.get(of_file(self._path(image), image.size, image.mtime_ns))
        if sha256 is None or image.problem:
            return None
        words = [looks.get(of_content(sha256, way)) for way in self._ways]
        return None if None in words else (sha256, [word.decode() for word in words if word is not None])

    def _read(self, image: Pending) -> tuple[bytes | None, list[str]]:
        if image.problem:
            return None, []
        data = images.read(self._path(image))
        if isinstance(data, Failure):
            return None, []
        words = [images.foresee(data, way.limits, repair=way.repair, upright=way.upright) for way in self._ways]
        return images.digest(data), words

    def _path(self, image: Pending) -> str:
        return str(self._job.base / image.key)

    # -- counting

    def _told(self, journal: Journal, numbers: Mapping[str, int], ignored: int) -> Plan:
        counted = self._count(journal, numbers)
        bounds = self._bounds(journal, numbers, counted)
        steps, ends = self._times(bounds)
        counts = journal.counts()
        seconds = [step.seconds for step in steps if step.calls]
        prices = [step.yuan for step in steps]
        return Plan(
            endpoint=self._job.account.endpoint,
            images=counts.images,
            ignored=ignored,
            outside=self._outside,
            unreadable=self._unreadable,
            refused=self._refused,
            to_repair=self._to_repair,
            duplicates=counts.duplicates,
            known=sum(count.known for count in counted.values()),
            answered=counts.answered,
            failed=counts.failed,
            calls=sum(step.calls for step in steps),
            seconds=None if None in seconds else max((s for s in seconds if s is not None), default=0.0),
            days=max((step.days for step in steps), default=0),
            finish_at=None if None in ends else iso_beijing(max((end for end in ends if end is not None), default=0.0)),
            yuan=round(sum(p for p in prices if p is not None), 2) if any(p is not None for p in prices) else None,
            steps=steps,
        )

    def _count(self, journal: Journal, numbers: Mapping[str, int]) -> dict[str, _Count]:
        following = follow_ups(self._job, numbers)
        earlier = None
        if self._reuse and self._credentials is not None:
            earlier = known_answers(self._job, self._state, self._credentials, self._now)
        try:
            return {
                step.name: self._count_step(journal, step, number, following.get(number, ()), earlier)
                for step in self._job.recognize
                for number in (numbers[step.name],)
            }
        finally:
            if earlier is not None:
                earlier.close()

    def _count_step(
        self, journal: Journal, step: Step, number: int, follow: Conditions, earlier: AnswerCache | None
    ) -> _Count:
        """Distinct contents that need a call; what known answers ask for is put on the lists of the steps after."""
        count, service = _Count(), SERVICES[step.service]
        way = self._ways.index(_way(self._job, step))
        question = None
        if earlier is not None and (self._reuse_models or not service.custom):
            question = earlier.cache_key(step.fingerprint, personal=service.personal)
        for image, sha256, words in journal.looked(number, self._extra.get(number, ())):
            if not words or words[way] not in ("", images.REPAIR):
                continue
            if journal.finished_content(number, sha256) is not None:
                count.known += 1
            elif journal.first_of_its_kind(number, sha256):
                row = earlier.get(question, sha256) if earlier is not None and question is not None else None
                count.known += row is not None
                count.calls += row is None
                for after in triggered(follow, labels_of(row)) if row is not None else ():
                    self._extra.setdefault(after, []).append(image)
        return count

    def _bounds(
        self, journal: Journal, numbers: Mapping[str, int], counted: Mapping[str, _Count]
    ) -> dict[str, tuple[Step, int, int, int]]:
        """By step: expected, fewest and most calls. What follows upon answers that are not there yet is a share."""
        states = journal.by_step()
        bounds: dict[str, tuple[Step, int, int, int]] = {}
        for step in self._job.recognize:
            sure = counted[step.name].calls
            if step.when is None:
                bounds[step.name] = step, sure, sure, sure
                continue
            _, expected, _, most = bounds[step.when.step]
            answered = states[numbers[step.when.step]].answered
            followed = states[numbers[step.name]]
            share = (followed.answered + followed.failed + followed.open) / answered if answered else 1.0
            bounds[step.name] = step, sure + math.ceil(min(1.0, share) * expected), sure, sure + most
        return bounds

    # -- time and money

    def _times(self, bounds: Mapping[str, tuple[Step, int, int, int]]) -> tuple[list[StepPlan], list[float | None]]:
        """The steps, and when each service is done (Unix seconds, None where its rate is not known)."""
        plans: dict[str, StepPlan] = {}
        ends: list[float | None] = []
        for service, members in by_service(self._job).items():
            caps = caps_of(self._job, members)
            calls = sum(bounds[step.name][1] for step in members)
            rate = self._rate(service, caps)
            days, last = self._days(service, caps, calls)
            ends.append(self._end(calls, rate, days, last))
            for step in members:
                _, expected, least, most = bounds[step.name]
                price = self._job.account.prices.get(step.service)
                plans[step.name] = StepPlan(
                    step=step.name,
                    service=step.service,
                    model=step.model,
                    calls=expected,
                    calls_min=least,
                    calls_max=most,
                    qps=rate,
                    seconds=round(calls / rate, 1) if rate else None,
                    days=days,
                    yuan=None if price is None else round(expected * price / _THOUSAND, 2),
                )
        return [plans[step.name] for step in self._job.recognize], ends

    def _rate(self, service: str, caps: Caps) -> float | None:
        """Calls per second: what is set, or for "auto" what was found before."""
        if caps.qps < math.inf:
            return caps.qps
        if self._credentials is None:
            return None
        with (
            closing(SharedRates(self._state)) as paces,
            paces.transaction(payer(self._job, self._credentials), service) as pace,
        ):
            return pace.ceiling.proven or None

    def _days(self, service: str, caps: Caps, calls: int) -> tuple[int, int]:
        """On how many days calls are made by the daily limit, today first, and how many on the last of them."""
        if not calls:
            return 0, 0
        if caps.daily is None or (later := calls - self._left_today(service, caps.daily)) <= 0:
            return 1, calls
        return 1 + math.ceil(later / caps.daily), (later - 1) % caps.daily + 1

    def _left_today(self, service: str, daily: int) -> int:
        if self._credentials is None:
            return daily
        with closing(Quota(self._state, self._now)) as quota:
            account = payer(self._job, self._credentials)
            if quota.closure(account, service) is not None:
                return 0
            return max(0, daily - quota.counted(QuotaKey(account, service, beijing_day(self._now()))))

    def _end(self, calls: int, rate: float | None, days: int, last: int) -> float | None:
        """When the last call of a service is made, which is on its last day."""
        now = self._now()
        if not calls:
            return now
        if rate is None:
            return None
        begun = now if days <= 1 else next_reset(now) + (days - 2) * _DAY
        return max(begun + last / rate, now + calls / rate)


def _way(job: Job, step: Step) -> Way:
    service = SERVICES[step.service]
    return Way(service.limits, job.input.repair, service.reading.boxes)


def _never() -> bool:
    return False


def _batches(pending: Iterable[Pending]) -> Iterator[list[Pending]]:
    one_by_one = iter(pending)
    while batch := list(islice(one_by_one, _BATCH)):
        yield batch
