"""`batchrec plan`: preview of a run without a call: images, remaining calls, time, days and money.

A copy of the journal is opened as a run opens the journal, so that the same code decides which results are dropped
and which images are tried again. Then every image that would be sent is inspected, without decoding. Nothing is sent,
and the output directory is not changed.
"""

import asyncio
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from ..api.credentials import Credentials
from ..api.endpoint import EMBEDDED
from ..api.services import SERVICES
from ..console.progress import Snapshot, Style, shown
from ..engine.resume import OpenReport, RunRequest, evaluate_conditions, listed, take_inputs, take_steps
from ..engine.setup import (
    by_service,
    caps_of,
    check_services,
    credentials_of,
    image_store,
    inputs_of,
    payer,
    result_cache,
)
from ..engine.treatments import alike_before, cached_row, may_lie, take_treatments
from ..errors import JobError, WrongEndpoint
from ..images import calls_of
from ..job.follow_ups import Conditions, follow_ups, labels_of, triggered
from ..job.spec import Job, Step
from ..journal import Journal, copy_journal
from ..limits.quota import Quota
from ..limits.shared_rate import SharedRates
from ..outputs import OUTPUTS
from ..outputs.files import ResultFiles
from ..sources import Boundary
from ..state.answer_cache import AnswerCache
from ..state.directory import state_directory
from ..state.inspection_cache import InspectionCache
from ..times import beijing_day
from ..values import Caps, InputEntry, Label, QuotaKey
from .estimate import LaneLimits, Plan, StepWork, estimate
from .inspection import Inspection, accepted, variant_of, way_of


async def plan(
    job: Job,
    *,
    reuse: bool = True,
    reuse_models: bool = False,
    progress: Style = "none",
    environ: Mapping[str, str] | None = None,
    now: Callable[[], float] = time.time,
) -> Plan:
    """Preview of `run`.

    Raises JobError where a run could not begin; needs no credentials, see `payer_known`.

    `environ` None: the process's.
    """
    environ = os.environ if environ is None else environ
    check_services(job)
    credentials = _payer(job, environ)  # before anything is opened
    counter = _Counter(job, state_directory(environ), credentials, now, reuse=reuse, reuse_models=reuse_models)
    survey = _Survey(job, state_directory(environ), counter)
    async with shown(progress, survey.snapshot):
        return await asyncio.to_thread(survey.run)


def payer_known(job: Job, environ: Mapping[str, str] | None = None) -> bool:
    """Whether the account's quota and cached results can be looked up, which takes its credentials.

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


class _Survey:
    """One survey of a job: opens a copy of its journal, inspects the pending images, and has them counted."""

    def __init__(self, job: Job, state: Path, counter: "_Counter") -> None:
        self._job, self._state, self._counter = job, state, counter
        self._done = self._total = self._outside = 0

    def snapshot(self) -> Snapshot | None:
        """Progress in files, None before the files are listed."""
        return Snapshot(self._done, self._total, 0, self._done, None, what="files") if self._total else None

    def run(self) -> Plan:
        """Survey the job. Blocks: call it in a thread."""
        job, opened = self._job, OpenReport()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copy_journal(job.directory, folder)
            with closing(Journal(folder)) as journal, closing(InspectionCache(self._state)) as cache:
                self._claim(journal, folder)
                journal.opening.recover()
                take_inputs(job, journal, self._located(listed(inputs_of(job), opened, _never)), opened, _never)
                numbers = take_steps(job, journal, opened, RunRequest())
                take_treatments(job, journal, numbers, lambda: None)
                journal.queue.fill(numbers[step.name] for step in job.recognize if step.when is None)
                evaluate_conditions(job, journal, ResultFiles(job.directory, [OUTPUTS["jsonl"]], {}), numbers)
                inspection = Inspection(job, image_store(job), cache)
                self._total = journal.survey.begin_looking()
                for size in inspection.run(journal):
                    self._done += size
                return self._plan(journal, numbers, inspection, opened.ignored)

    def _claim(self, journal: Journal, folder: Path) -> None:
        identity = {"name": self._job.name}
        if self._job.account.endpoint != EMBEDDED:
            identity["endpoint"] = self._job.account.endpoint
        try:
            journal.opening.claim_identity(identity)
        except JobError as error:
            complaints = (text.replace(str(folder), str(self._job.directory)) for text in error.complaints)
            raise JobError(*complaints) from error

    def _located(self, found: Iterable[InputEntry]) -> Iterator[InputEntry]:
        """The inputs unchanged, while those outside of the job's folder are counted."""
        boundary, store = Boundary(self._job.base, remembered=True), image_store(self._job)
        for each in found:
            self._outside += boundary.excludes(store.locate(each.key))
            yield each

    def _plan(self, journal: Journal, numbers: Mapping[str, int], inspection: Inspection, ignored: int) -> Plan:
        works, known = self._counter.count(journal, numbers, inspection)
        found = estimate(works, self._counter.limits(), self._counter.now())
        counts = journal.reader.counts()
        return Plan(
            endpoint=self._job.account.endpoint,
            images=counts.images,
            ignored=ignored,
            outside=self._outside,
            unreadable=inspection.unreadable,
            refused=inspection.refused,
            to_repair=inspection.to_repair,
            duplicates=counts.duplicates,
            known=known,
            lying=self._lying(journal, numbers, inspection),
            answered=counts.answered,
            failed=counts.failed,
            calls=found.calls,
            seconds=found.seconds,
            days=found.days,
            finish_at=found.finish_at,
            yuan=found.yuan,
            steps=found.steps,
        )

    def _lying(self, journal: Journal, numbers: Mapping[str, int], inspection: Inspection) -> int:
        """Results of images that an earlier version sent lying on their side."""
        return sum(
            inspection.lying(journal, numbers[step.name], inspection.ways.index(way_of(self._job, step)))
            for step in self._job.recognize
            if may_lie(self._job, step)
        )


class _Counter:
    """Counts of calls and limits: from the journal of a survey, and from the state folder of the account."""

    def __init__(
        self,
        job: Job,
        state: Path,
        credentials: Credentials | None,
        now: Callable[[], float],
        *,
        reuse: bool,
        reuse_models: bool,
    ) -> None:
        self._job, self._state, self._credentials, self.now = job, state, credentials, now
        self._reuse, self._reuse_models = reuse, reuse_models
        self._extra: dict[int, list[int]] = {}
        """By a step's number: images that cached results of earlier steps put on its list."""

    def count(self, journal: Journal, numbers: Mapping[str, int], inspection: Inspection) -> tuple[list[StepWork], int]:
        """Work of every step, and the number of pairs of image and step whose result is known."""
        following, lanes = follow_ups(self._job, numbers), self._lanes()
        states, known = journal.reader.by_step(), 0
        works = []
        with closing(_Reuse(self._cache(), reuse_models=self._reuse_models)) as reuse:
            for step in self._job.recognize:
                number = numbers[step.name]
                way = inspection.ways.index(way_of(self._job, step))
                sure, cached = self._count_step(journal, step, number, way, following.get(number, ()), reuse)
                known += cached
                state = states[number]
                works.append(
                    StepWork(
                        step=step.name,
                        service=step.service,
                        model=step.model,
                        lane=lanes[step.name],
                        after=None if step.when is None else step.when.step,
                        sure=sure,
                        listed=state.answered + state.failed + state.open,
                        finished=state.answered,
                        price=self._job.account.prices.get(step.service),
                    )
                )
        return works, known

    def limits(self) -> dict[str, LaneLimits]:
        """Limits of every lane."""
        limits = {}
        for lane, members in by_service(self._job).items():
            caps = caps_of(self._job, members)
            left = None if caps.daily is None else self._left_today(lane, caps.daily)
            limits[lane] = LaneLimits(self._rate(lane, caps), caps.daily, left)
        return limits

    def _cache(self) -> AnswerCache | None:
        if not self._reuse or self._credentials is None:
            return None
        return result_cache(self._job, self._state, self._credentials, self.now)

    def _lanes(self) -> dict[str, str]:
        """By a step's name: what limits are counted for."""
        return {step.name: lane for lane, members in by_service(self._job).items() for step in members}

    def _count_step(
        self, journal: Journal, step: Step, number: int, way: int, follow: Conditions, reuse: "_Reuse"
    ) -> tuple[int, int]:
        """Contents that need a call, and images with a known result, which may put them on later steps' lists."""
        calls = known = 0
        find, boxes = reuse.finder(step), SERVICES[step.service].reading.boxes
        for image, sha256, words in journal.survey.looked(number, self._extra.get(number, ())):
            if not words or not accepted(words[way]):
                continue
            variant = variant_of(words[way])
            earlier = alike_before(variant, boxes=boxes)
            if journal.answers.finished_content(number, sha256, variant, earlier=earlier) is not None:
                known += 1
            elif journal.survey.first_of_its_kind(number, sha256):
                labels = find(sha256, variant)
                known += labels is not None
                if labels is None:
                    calls += max(0, calls_of(variant) - journal.tiles.count(image, number))
                for after in triggered(follow, labels) if labels is not None else ():
                    self._extra.setdefault(after, []).append(image)
        return calls, known

    def _rate(self, lane: str, caps: Caps) -> float | None:
        """Calls/s: as set, or for "auto" the rate that earlier runs have found."""
        if caps.qps < math.inf:
            return caps.qps
        if self._credentials is None:
            return None
        with (
            closing(SharedRates(self._state)) as rates,
            rates.transaction(payer(self._job, self._credentials), lane) as rate,
        ):
            return rate.ceiling.proven or None

    def _left_today(self, lane: str, daily: int) -> int:
        if self._credentials is None:
            return daily
        with closing(Quota(self._state, self.now)) as quota:
            account = payer(self._job, self._credentials)
            if quota.closure(account, lane) is not None:
                return 0
            return max(0, daily - quota.counted(QuotaKey(account, lane, beijing_day(self.now()))))


class _Reuse:
    """Cached results of earlier jobs, as far as a run would reuse them; `cache` None: none of them."""

    def __init__(self, cache: AnswerCache | None, *, reuse_models: bool) -> None:
        self._cache, self._reuse_models = cache, reuse_models

    def finder(self, step: Step) -> Callable[[bytes, str], Sequence[Label] | None]:
        """Function from an image's SHA-256 and variant to the labels of its cached result, or None."""
        cache, service = self._cache, SERVICES[step.service]
        if cache is None or (service.custom and not self._reuse_models):
            return lambda _, __: None
        key = cache.cache_key(step.fingerprint, personal=service.personal)

        def find(sha256: bytes, variant: str) -> Sequence[Label] | None:
            row = cached_row(cache, key, sha256, variant, boxes=service.reading.boxes)
            return None if row is None else labels_of(row)

        return find

    def close(self) -> None:
        """Close the cache's database."""
        if self._cache is not None:
            self._cache.close()


def _never() -> bool:
    return False
