"""Opening an output directory: what earlier runs left is put in order, and what is to be asked is listed.

Every step here may be cut short by a kill and is done again, or finished, by the next opening.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from . import images
from .durable import sync_directory
from .errors import Interrupted, JobError
from .follow import asked, follow_ups, labels_of
from .journal import Changed, Journal, StepRecord
from .model import Failure, Found, Ignored, Notice, Row
from .outputs.files import ResultFiles
from .spec import Job


@dataclass(slots=True)
class Opened:
    """What opening found: the steps' numbers by name, calls of unknown outcome, and what the sources had to say."""

    steps: dict[str, int]
    outcome_unknown: int
    ignored: int
    notices: list[str]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked of this run: failed images again (`retry_kinds` None: all kinds), missing answers again."""

    retry: bool = False
    retry_kinds: tuple[str, ...] | None = None
    rebuild: bool = False


def open_directory(
    job: Job,
    journal: Journal,
    files: ResultFiles,
    entries: Iterable[Found | Ignored | Notice],
    wishes: Wishes,
    stopped: Callable[[], bool],
    endpoint: str = "",
) -> Opened:
    """Bring journal and result files to where the job file and the inputs are now. Blocks: call it in a thread.

    Raises JobError, ResultsDamaged, OutputFailed; `stopped` is asked between inputs, so that a signal is heeded.
    `endpoint` is whose answers they are, where that is not the job's endpoint to the letter.
    """
    journal.claim_identity({"name": job.name, "endpoint": endpoint or job.account.endpoint})
    _finish_swap(journal, files)
    files.places = journal.outputs()
    _check_known(files)
    unknown = journal.recover()
    if not wishes.rebuild:
        files.check()
    opened = Opened({}, unknown, 0, [])
    for change in journal.take_inputs(_found(entries, opened, stopped)):
        _heed(stopped)
        if (same := _same(job, change)) is not None:
            journal.touch(change, same=same)
    # Not before the inputs are listed: a step that changed drops answers, and a wrong manifest must not cost them.
    steps = opened.steps = journal.take_steps(step_records(job), judge_all=wishes.rebuild)
    if wishes.rebuild or journal.note("dirty"):
        _rewrite(journal, files)
    _catch_up(journal, files)
    journal.fill(steps[step.name] for step in job.recognize if step.when is None)
    _judge(job, journal, files, steps)
    if wishes.retry:
        journal.retry(steps.values(), wishes.retry_kinds)
    journal.told()
    journal.sync()
    sync_directory(job.directory)
    return opened


def step_records(job: Job) -> list[StepRecord]:
    """The job's steps as the journal compares them. A follow-up is judged anew when what it follows changes."""
    prints = {step.name: step.fingerprint for step in job.recognize}
    return [
        StepRecord(
            step.name,
            step.service,
            step.fingerprint,
            f"{step.when.model_dump_json()} {prints[step.when.step]}" if step.when else "",
        )
        for step in job.recognize
    ]


def _found(entries: Iterable[Found | Ignored | Notice], opened: Opened, stopped: Callable[[], bool]) -> Iterator[Found]:
    for entry in entries:
        match entry:
            case Found():
                yield entry
            case Ignored():
                opened.ignored += 1
            case Notice():
                opened.notices.append(entry.text)
        _heed(stopped)


def _heed(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise Interrupted("stopped while listing the inputs; nothing was sent")


def _same(job: Job, change: Changed) -> bool | None:
    """Whether a file whose size or time changed still holds the bytes that were answered.

    None where the bytes cannot be had: a file that is gone has not changed, and a failure replaces no answer.
    """
    if change.sha256 is None:
        return False
    data = images.read(str(job.base / change.found.key))
    return None if isinstance(data, Failure) else images.digest(data) == change.sha256


def _check_known(files: ResultFiles) -> None:
    """Rows without a journal would count as torn and be cut off, and nobody could say what they had cost."""
    if not files.places and files.results.exists() and files.results.stat().st_size:
        raise JobError(
            f"{files.results}: holds rows that no journal.db accounts for; put the journal back, or give the job "
            "another output.directory"
        )


def _finish_swap(journal: Journal, files: ResultFiles) -> None:
    """A run was killed between committing new files and putting them in place, or before: finish, or clear away."""
    swap = journal.note("swap")
    if swap:
        _swap(journal, files, str(swap).split())
    files.tidy()


def _swap(journal: Journal, files: ResultFiles, names: Sequence[str]) -> None:
    """Put new files in place, and forget it for good: the note must not outlive them and meet half-written ones."""
    files.swap(names)
    journal.put_note("swap", None)
    journal.sync()


def _rewrite(journal: Journal, files: ResultFiles) -> None:
    """Drop the rows of what is no longer answered, and forget the answers whose rows are gone."""
    journal.begin_rewrite()

    def keep(row: Row, start: int, length: int) -> bool:
        return journal.keep(str(row["image"]), str(row["step"]), start, length)

    files.places = files.rewrite(files.outputs, keep)
    names = list(files.places)
    journal.end_rewrite(files.places, " ".join(names))
    _swap(journal, files, names)


def _catch_up(journal: Journal, files: ResultFiles) -> None:
    """Make outputs that are missing, damaged or newly wanted from results.jsonl; forget those not wanted any more."""
    behind = files.behind()
    made = files.rewrite(behind, lambda row, start, length: True)
    wanted = {output.filename for output in files.outputs}
    drop = files.places.keys() - wanted
    files.places = {name: files.places.get(name, (0, 0)) for name in wanted} | made
    journal.put_outputs(files.places, drop, " ".join(made) or None)
    if made:
        journal.sync()
        _swap(journal, files, list(made))


def _judge(job: Job, journal: Journal, files: ResultFiles, steps: dict[str, int]) -> None:
    """List the images whose stored answers ask for a follow-up that is new or has a new condition."""
    anew = journal.to_judge()
    fresh = {
        before: tuple(condition for condition in conditions if condition[1] in anew)
        for before, conditions in follow_ups(job, steps).items()
    }
    for _, row in files.rows() if any(fresh.values()) else ():
        conditions = fresh.get(steps.get(row["step"], 0), ())
        if conditions and (numbers := asked(conditions, labels_of(row))):
            journal.follow_up(row["image"], numbers)
    journal.judged()
