"""`batchrec plan`: preview of a run without a call: images, remaining calls, time, days and money.

A copy of the journal is opened as a run opens the journal, so that the same code decides which results are dropped
and which images are tried again. Then every image that would be sent is inspected, without decoding. Nothing is sent,
and the output directory is not changed.
"""

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ..api.credentials import Credentials
from ..api.endpoint import EMBEDDED, comparable
from ..console.progress import Snapshot, Style, shown
from ..engine.resume import OpenReport, RunRequest, evaluate_conditions, listed, take_inputs, take_steps, tell_changes
from ..engine.setup import (
    Fetched,
    check_services,
    credentials_of,
    image_store,
    inputs_of,
    model_barriers,
    model_digests,
)
from ..engine.treatments import may_lie, take_treatments
from ..errors import JobError, WrongEndpoint
from ..fetch.cache import UrlCache
from ..job.spec import Job
from ..journal import Journal, copy_journal
from ..outputs import OUTPUTS
from ..outputs.files import ResultFiles
from ..sources import Boundary, Logins, is_url, may_pass
from ..state.directory import state_directory
from ..state.inspection_cache import InspectionCache
from ..values import InputEntry
from .counting import Counter
from .estimate import Plan, busy_lanes, estimate
from .inspection import Inspection, Refusal, way_of

_log = logging.getLogger(__name__)


async def plan(
    job: Job,
    *,
    reuse: bool = True,
    reuse_models: bool = False,
    progress: Style = "none",
    refused: Callable[[Refusal], None] | None = None,
    environ: Mapping[str, str] | None = None,
    now: Callable[[], float] = time.time,
) -> Plan:
    """Preview of `run`.

    Raises JobError where a run could not begin; needs no credentials, see `payer_known`.

    `refused` is called, in a thread, with each image that would be refused, as soon as it is found. `environ` None: the
    process's.
    """
    environ = os.environ if environ is None else environ
    check_services(job)
    credentials = _payer(job, environ)  # before anything is opened
    digests, state = model_digests(job, environ), state_directory(environ)
    counter = Counter(job, state, credentials, now, reuse=reuse, reuse_models=reuse_models, digests=digests)
    survey = _Survey(job, state, counter, digests, refused)
    async with shown(progress, survey.snapshot):
        found = await asyncio.to_thread(survey.run)
    barred = model_barriers(job, environ)
    return replace(
        found, barred={step.step: barred[step.step] for step in found.steps if step.calls and step.step in barred}
    )


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

    def __init__(
        self,
        job: Job,
        state: Path,
        counter: Counter,
        digests: Mapping[str, str],
        refused: Callable[[Refusal], None] | None = None,
    ) -> None:
        self._job, self._state, self._counter, self._digests, self._refused = job, state, counter, digests, refused
        self._done = self._total = self._outside = 0

    def snapshot(self) -> Snapshot | None:
        """Progress in files, None before the files are listed."""
        return Snapshot.of_files(self._done, self._total) if self._total else None

    def run(self) -> Plan:
        """Survey the job. Blocks: call it in a thread."""
        job, opened = self._job, OpenReport()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copy_journal(job.directory, folder)
            fetched = Fetched(UrlCache(self._state, self._counter.now), Logins())
            with (
                closing(Journal(folder)) as journal,
                closing(InspectionCache(self._state)) as cache,
                closing(fetched.cache),
            ):
                self._claim(journal, folder)
                journal.opening.recover()
                take_inputs(
                    job, journal, self._located(listed(inputs_of(job, fetched.logins), opened, _never)), opened, _never
                )
                numbers = take_steps(job, journal, opened, RunRequest(), self._digests)
                store = image_store(job, fetched)
                changes = take_treatments(job, journal, numbers, lambda: None, store=store)
                tell_changes(opened, changes)
                journal.queue.fill(numbers[step.name] for step in job.recognize if step.when is None)
                evaluate_conditions(job, journal, ResultFiles(job.directory, [OUTPUTS["jsonl"]], {}), numbers)
                journal.queue.retry_reads(numbers.values(), may_pass)
                inspection = Inspection(job, store, cache, self._refused)
                self._total = journal.survey.begin_looking()
                for size in inspection.run(journal):
                    self._done += size
                for line in opened.notices:
                    _log.warning("%s", line)
                return self._plan(journal, numbers, inspection, opened.again)

    def _claim(self, journal: Journal, folder: Path) -> None:
        identity = {"name": self._job.name}
        if self._job.account.endpoint != EMBEDDED:
            identity["endpoint"] = self._job.account.endpoint
        try:
            journal.opening.claim_identity(identity, comparable)
        except JobError as error:
            complaints = (text.replace(str(folder), str(self._job.directory)) for text in error.complaints)
            raise JobError(*complaints) from error

    def _located(self, found: Iterable[InputEntry]) -> Iterator[InputEntry]:
        """The inputs unchanged, while those outside of the job's folder are counted."""
        boundary, store = Boundary(self._job.base, remembered=True), image_store(self._job)
        for each in found:
            self._outside += not is_url(each.key) and boundary.excludes(store.locate(each.key))
            yield each

    def _plan(self, journal: Journal, numbers: Mapping[str, int], inspection: Inspection, again: list[str]) -> Plan:
        works, known = self._counter.count(journal, numbers, inspection)
        found = estimate(works, self._counter.limits(busy_lanes(works)), self._counter.now(), self._counter.uplink())
        counts, ignored = journal.reader.counts(), journal.reader.ignored()
        return Plan(
            endpoint=self._job.account.endpoint,
            images=counts.images,
            ignored=sum(ignored.values()),
            ignored_by_kind=ignored,
            outside=self._outside,
            unreadable=inspection.unreadable,
            refused=inspection.refused,
            to_repair=inspection.to_repair,
            unknown=inspection.unknown,
            duplicates=journal.survey.duplicates(),
            known=known,
            lying=self._lying(journal, numbers, inspection),
            superseded=counts.superseded,
            again=again,
            answered=counts.answered - counts.superseded,
            failed=counts.failed,
            **vars(found),
        )

    def _lying(self, journal: Journal, numbers: Mapping[str, int], inspection: Inspection) -> int:
        """Results of images that an earlier version sent lying on their side."""
        return sum(
            inspection.lying(journal, numbers[step.name], inspection.ways.index(way_of(self._job, step)))
            for step in self._job.recognize
            if may_lie(self._job, step)
        )


def _never() -> bool:
    return False
