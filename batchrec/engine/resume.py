"""Opening of an output directory: repair of what a kill left, then the lists of images to send.

A kill may cut every step short; the next opening repeats or finishes it.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from .. import images
from ..api.endpoint import comparable
from ..api.services import SERVICES
from ..errors import Interrupted
from ..exact_json import dumps
from ..interfaces import ImageStore
from ..job.follow_ups import follow_ups, labels_of, triggered
from ..job.spec import Job, Step
from ..journal import CALLING_SINCE, JOB_FILE, Changed, Journal, StepRecord
from ..language import _, ngettext
from ..outputs.directory import check_unaccounted
from ..outputs.files import ResultFiles, dialect_note, is_current
from ..sources import is_url, may_pass
from ..sources.keys import escaped
from ..state.answer_cache import AnswerCache, content_key
from ..state.durable import sync_directory
from ..state.inspection_cache import InspectionCache, of_file
from ..values import LYING, Failure, Ignored, InputEntry, Kind, Notice, Row
from .recorder import GROUP_MOST
from .setup import image_store
from .treatments import Changes, take_treatments


@dataclass(slots=True)
class OpenReport:
    """Report of an opening: the steps' numbers by name, calls of unknown outcome, notices of the sources.

    `ignored` counts by kind what the sources left out.

    `again` names images with a result or failure that are sent again, a line for each reason. `upper_bound`: the
    machine was started anew since, so that there may have been fewer calls of unknown outcome.
    """

    steps: dict[str, int] = field(default_factory=dict)
    outcome_unknown: int = 0
    upper_bound: bool = False
    ignored: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The user's request to send images again: failed ones, and (`rebuild`) those whose rows are missing.

    `retry_kinds` None: failures of all kinds; with LYING, images that an earlier version sent lying on their side too.
    """

    retry: bool = False
    retry_kinds: tuple[str, ...] | None = None
    rebuild: bool = False

    @property
    def lying(self) -> bool:
        """Whether images that an earlier version sent lying on their side are to be sent again."""
        return LYING in (self.retry_kinds or ())


def open_directory(
    job: Job,
    journal: Journal,
    files: ResultFiles,
    entries: Iterable[InputEntry | Ignored | Notice],
    request: RunRequest,
    stopped: Callable[[], bool],
    endpoint: str = "",
    cache: AnswerCache | None = None,
    inspections: InspectionCache | None = None,
    store: ImageStore | None = None,
    digests: Mapping[str, str] = MappingProxyType({}),
) -> OpenReport:
    """Bring journal and result files up to date with job file and inputs. Blocks: call it in a thread.

    Raises JobError, ResultsDamaged, OutputFailed, and Interrupted where `stopped`, which is called between inputs, says
    so. `endpoint`: the name of the provider of the results, where that is not the job's endpoint to the letter. `store`
    None: the files of the inputs alone. `digests`: those of local models, by step.
    """
    report = OpenReport()
    journal.opening.claim_identity({"name": job.name, "endpoint": endpoint or job.account.endpoint}, comparable)
    journal.put_note("base", _way(job.directory, job.base))
    journal.put_note(JOB_FILE, os.path.join(_way(job.directory, job.base), escaped(job.path.name)))
    journal.put_note(CALLING_SINCE, None)
    _recover(journal, files, report, request, cache)
    take_inputs(job, journal, listed(entries, report, stopped), report, stopped)
    if inspections is not None:
        _recall(job, journal, inspections)
    # Not before the inputs are listed: a step that changed costs calls, and a wrong manifest must not.
    steps = report.steps = take_steps(job, journal, report, request, digests)
    changes = take_treatments(job, journal, steps, lambda: _heed(stopped), lying=request.lying, store=store)
    tell_changes(report, changes)
    if request.rebuild or journal.note("dirty"):
        lost = _rewrite(journal, files, report.notices)
        _tell(report, lost, _("sent again, since their rows are missing in results.jsonl"))
    _catch_up(journal, files, report)
    journal.queue.fill(steps[step.name] for step in job.recognize if step.when is None)
    evaluate_conditions(job, journal, files, steps)
    _tell(report, journal.queue.retry_reads(steps.values(), may_pass), _("read again, since they could not be read"))
    if request.retry:
        if store is not None and (request.retry_kinds is None or Kind.IMAGE in request.retry_kinds):
            _fetch_anew(journal, list(steps.values()), store)
        _tell(report, journal.queue.retry(steps.values(), request.retry_kinds), _("sent again, since they have failed"))
    if cache is not None:
        _begin_run(journal, files, cache)
    journal.sync()
    sync_directory(job.directory)
    return report


def _way(start: Path, end: Path) -> str:
    """Return the relative path between two folders, links resolved: `..` of a link leads elsewhere."""
    try:
        return os.path.relpath(os.path.realpath(end), os.path.realpath(start))
    except ValueError:  # another drive
        return str(end)


def _recover(
    journal: Journal, files: ResultFiles, report: OpenReport, request: RunRequest, cache: AnswerCache | None
) -> None:
    """Repair what a killed run left in the journal and in the files."""
    killed = not journal.calls.concluded
    _finish_swap(journal, files)
    files.places = journal.reader.outputs()
    files.trust(journal.note("stamps"), concluded=not killed)
    if not files.places:
        check_unaccounted(files.directory)
    report.outcome_unknown = journal.opening.recover()
    report.upper_bound = journal.calls.at_most
    if not request.rebuild:
        files.check()
        if killed and cache is not None:
            _hand_on(journal, files, cache, report)
        # Before anything else is superseded: an image has one such row at a step.
        report.notices.extend(take_out_superseded(journal, files))


def _hand_on(journal: Journal, files: ResultFiles, cache: AnswerCache, report: OpenReport) -> None:
    """Put the last group of results into the result cache, since a kill may have prevented that.

    Only rows that a run of this state folder wrote are taken: somebody may have prepared the others.
    """
    latest = journal.reader.latest(GROUP_MOST)
    since = cache.run_start(journal.note("run"), files.directory)
    if latest and since is None:
        report.notices.append(
            _(
                "{directory}: its last results are not put into the result cache: an earlier "
                "version wrote them, another machine, or a run before the directory or the state "
                "folder was moved"
            ).format(directory=files.directory)
        )
    if since is None:
        return
    rows = [(asked, variant, files.read(start, length)) for asked, variant, start, length in latest if start >= since]
    cache.put(
        [
            (
                cache.cache_key(asked, personal=SERVICES[row["service"]].personal),
                content_key(bytes.fromhex(row["sha256"]), variant),
                row["answered_at"],
                dumps(row),
            )
            for asked, variant, row in rows
            if row["same_as"] is None and row["reused"] is None and row["sha256"] is not None
        ]
    )


def _begin_run(journal: Journal, files: ResultFiles, cache: AnswerCache) -> None:
    """Note the id of this run in journal and state folder, in place of that of the last run."""
    last = journal.note("run")
    journal.put_note("run", cache.begin_run(files.directory, files.places[files.results.name][0]))
    cache.end_run(last)


def take_inputs(
    job: Job, journal: Journal, found: Iterable[InputEntry], report: OpenReport, stopped: Callable[[], bool]
) -> None:
    """Make these the journal's inputs; images whose bytes have changed are sent again.

    Far fewer inputs than before, or none, are noticed: a folder may be gone, or a share not mounted.
    """
    dropped, store, before = 0, image_store(job), journal.reader.images()
    for change in journal.opening.take_inputs(found):
        _heed(stopped)
        if (same := _same(store, change)) is not None:
            dropped += journal.opening.touch(change, same=same)
    _tell(report, dropped, _("sent again, since their files have changed"))
    journal.opening.note_ignored(report.ignored)
    report.notices.extend(_fewer(job, before, journal.reader.images(), report))


def _fewer(job: Job, before: int, now: int, report: OpenReport) -> Iterator[str]:
    last = _("; the last run found {before:,}").format(before=before) if before else ""
    if not now and not job.input.allow_empty:
        ignored = _(" ({total:,} ignored)").format(total=report.ignored.total()) if report.ignored else ""
        yield (
            _(
                "there is no image at all in the inputs{ignored}{last}: is a folder not mounted? "
                "(input.allow_empty = true allows that)"
            ).format(ignored=ignored, last=last)
        )
    elif 0 < 2 * now < before:
        yield ngettext(
            "there is only {count:,} image in the inputs{last}: is a folder gone or not mounted?",
            "there are only {count:,} images in the inputs{last}: is a folder gone or not mounted?",
            now,
        ).format(count=now, last=last)


def _recall(job: Job, journal: Journal, inspections: InspectionCache) -> None:
    """Note the digests of files that `plan` has read, so that they need not be read to be known."""
    if inspections.empty:
        return
    store = image_store(job)
    for batch in journal.opening.undigested():
        keys = {of_file(store.locate(key), size, time): image for image, key, size, time in batch}
        seen = inspections.get(list(keys))
        journal.opening.note_digests({keys[key]: entry.sha256 for key, entry in seen.items()})


def take_steps(
    job: Job,
    journal: Journal,
    report: OpenReport,
    request: RunRequest,
    digests: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, int]:
    """Make the job's steps the journal's; images of steps with other requests now are sent again."""
    records = step_records(job, digests)
    for name, dropped in journal.reader.outdated(records).items():
        _tell(
            report,
            dropped,
            _("sent again, since step {name!r} has another service, model or options now").format(name=name),
        )
    return journal.opening.take_steps(records, evaluate_all=request.rebuild)


def tell_changes(report: OpenReport, changes: Changes) -> None:
    """Add a line for each change of the treatment that has images sent again."""
    _tell(report, changes.dropped, _("sent again, since [input] has them sent in another way now"))
    _tell(report, changes.lying, _("sent again, since an earlier version sent them lying on their side"))


def _tell(report: OpenReport, count: int, what: str) -> None:
    if count:
        report.again.append(f"{what}: {count:,}")


def step_records(job: Job, digests: Mapping[str, str] = MappingProxyType({})) -> list[StepRecord]:
    """Return the job's steps as the journal compares them, with the digests of local models.

    The condition of a follow-up holds the fingerprint of the step before, since it is evaluated anew when that changes.
    """
    prints = {step.name: fingerprint_of(step, digests) for step in job.recognize}
    return [
        StepRecord(
            step.name,
            step.service,
            prints[step.name],
            f"{step.when.model_dump_json()} {prints[step.when.step]}" if step.when else "",
        )
        for step in job.recognize
    ]


def fingerprint_of(step: Step, digests: Mapping[str, str]) -> str:
    """Fingerprint of a step with the digest of its local model, where it has one."""
    return f"{step.fingerprint} {digests[step.name]}" if step.name in digests else step.fingerprint


def listed(
    entries: Iterable[InputEntry | Ignored | Notice], report: OpenReport, stopped: Callable[[], bool]
) -> Iterator[InputEntry]:
    """Yield the inputs; what is ignored is counted in the report, notices are added to it."""
    for entry in entries:
        match entry:
            case InputEntry():
                yield entry
            case Ignored(kind):
                report.ignored[kind] += 1
            case Notice():
                report.notices.append(entry.text)
        _heed(stopped)


def _heed(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Interrupted(_("stopped while listing the inputs; nothing was sent"))


def _same(store: ImageStore, change: Changed) -> bool | None:
    """Whether a file whose size or time changed still holds the bytes that the journal knows.

    None where the bytes cannot be read: a file that is gone has not changed, and a failure replaces no result.
    """
    if change.sha256 is None:
        return False
    if change.found.problem:  # above all: it lies where nothing is to be read
        return None
    data = store.read(change.found.key)
    return None if isinstance(data, Failure) else images.digest(data) == change.sha256


def _fetch_anew(journal: Journal, steps: Sequence[int], store: ImageStore) -> None:
    """Drop the cached bytes of URLs that were refused as images.

    They may have come torn, and be whole at the server by now. Called before the images are back on the lists, or a
    kill between would have the old bytes sent. What has a result at another step is whole.
    """
    for batch in journal.queue.refused(steps):
        urls = {image: key for image, key in batch if is_url(key)}
        for key in urls.values():
            store.forget(key)
        journal.queue.forget_contents(urls)


def _finish_swap(journal: Journal, files: ResultFiles) -> None:
    """Finish or clear away new files that a killed run was about to put in place."""
    swap = journal.note("swap")
    if swap:
        _swap(journal, files, str(swap).split())
    files.tidy()


def _swap(journal: Journal, files: ResultFiles, names: Sequence[str]) -> None:
    """Put new files in place and remove the note of them.

    The note must not outlive them and meet half-written ones.
    """
    files.swap(names)
    journal.put_note("swap", None)
    journal.sync()


def take_out_superseded(journal: Journal, files: ResultFiles) -> list[str]:
    """Take superseded rows that have new ones out of the result files; returns notices about edited files.

    Blocks: call it in a thread. Raises OSError where there is no room: the rows then stay until the next opening.
    """
    notices: list[str] = []
    if journal.answers.outlived():
        _rewrite(journal, files, notices)
    return notices


def _rewrite(journal: Journal, files: ResultFiles, notices: list[str]) -> int:
    """Drop rows that the journal lacks, and results whose rows are gone; returns the number of these."""
    journal.answers.begin_rewrite()

    def keep(row: Row, start: int, length: int) -> bool:
        return journal.answers.keep(row, start, length)

    places = files.rewrite(files.outputs, keep)
    notices.extend(files.keep_edited())
    files.places = places
    names = list(files.places)
    lost = journal.answers.end_rewrite(files.places, " ".join(names))
    _swap(journal, files, names)
    return lost


def _catch_up(journal: Journal, files: ResultFiles, report: OpenReport) -> None:
    """Make outputs that are missing, damaged or new from results.jsonl; forget those not wanted any more."""
    outdated = [output for output in files.outputs if not is_current(output, journal.note)]
    behind = files.behind([output.filename for output in outdated])
    made = files.rewrite(behind, lambda row, start, length: True) if behind else {}
    report.notices.extend(files.keep_edited() if made else ())
    wanted = {output.filename for output in files.outputs}
    drop = files.places.keys() - wanted
    files.places = {name: files.places.get(name, (0, 0)) for name in wanted} | made
    journal.answers.put_outputs(files.places, drop, " ".join(made) or None)
    if made:
        journal.sync()
        _swap(journal, files, list(made))
    for output in outdated:
        journal.put_note(dialect_note(output), output.dialect)


def evaluate_conditions(job: Job, journal: Journal, files: ResultFiles, steps: dict[str, int]) -> None:
    """List the images whose stored results meet the condition of a follow-up that is new or has changed."""
    anew = journal.opening.to_evaluate()
    fresh = {
        before: tuple(condition for condition in conditions if condition[1] in anew)
        for before, conditions in follow_ups(job, steps).items()
    }
    for _place, row in files.rows() if any(fresh.values()) else ():
        conditions = fresh.get(steps.get(row["step"], 0), ())
        if conditions and (numbers := triggered(conditions, labels_of(row))) and journal.answers.current(row):
            journal.queue.follow_up(row["image"], numbers)
    journal.opening.evaluated()
