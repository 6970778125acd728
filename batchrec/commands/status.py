"""`batchrec status`: how far a job is, from its journal, also while it runs.

Reads, and writes nothing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from ..errors import JobError
from ..journal import CALLING_SINCE, Reader, reading
from ..outputs.directory import SUMMARY
from ..times import iso_utc

_LATELY = 60.0
"""Seconds over which the rate is measured."""

_BRIEFLY = 1.0
"""Seconds of the shortest measurement: results are committed in groups, of which a shorter time holds few."""


@dataclass(frozen=True, slots=True)
class StepStatus:
    """Images of a step: with a result, failed, and remaining."""

    step: str
    answered: int
    failed: int
    left: int


@dataclass(frozen=True, slots=True)
class Status:
    """Progress of a job.

    `rate` is in results/s over the last minute, or over the age of a younger run; `seconds_left` at that rate, None if
    unknown.

    `stopped_by` and `resume_at` are what the last run that came to its end said, None while one runs.
    """

    running: bool
    images: int
    duplicates: int
    ignored: int
    ignored_by_kind: Mapping[str, int]
    answered: int
    failed: int
    left: int
    done_share: float
    rate: float
    seconds_left: float | None
    stopped_by: str | None
    resume_at: str | None
    steps: list[StepStatus]


def status(directory: Path, *, running: bool, now: Callable[[], float] = time.time) -> Status:
    """Read the progress of an output directory's job. Raises JobError where it is none, or cannot be read."""
    try:
        with reading(directory) as journal:
            counts, states, ignored = journal.counts(), journal.by_step(), journal.ignored()
            steps = [
                StepStatus(step.name, state.answered, state.failed, state.open)
                for step in journal.active_steps()
                for state in (states[step.number],)
            ]
            rate = _rate(journal, now()) if running else 0.0
        last = {} if running else _last(directory)
    except OSError as exc:
        raise JobError(f"{directory}: cannot be read: {exc.strerror}") from exc
    done = counts.done
    return Status(
        running=running,
        images=counts.images,
        duplicates=counts.duplicates,
        ignored=sum(ignored.values()),
        ignored_by_kind=ignored,
        answered=counts.answered,
        failed=counts.failed,
        left=counts.open,
        done_share=round(done / (done + counts.open), 4) if done + counts.open else 1.0,
        rate=round(rate, 2),
        seconds_left=round(counts.open / rate, 1) if rate else None,
        stopped_by=last.get("stopped_by"),
        resume_at=last.get("resume_at"),
        steps=steps,
    )


def _rate(journal: Reader, now: float) -> float:
    """Results/s of the run under way over the last minute, or over its age where it is younger; 0 while it opens."""
    since = journal.note(CALLING_SINCE)
    if since is None:
        return 0.0
    seconds = min(_LATELY, max(_BRIEFLY, now - datetime.fromisoformat(since).timestamp()))
    return journal.finished_since(max(since, iso_utc(now - _LATELY))) / seconds


def _last(directory: Path) -> dict[str, str | None]:
    """Summary of the last run; empty where there is none."""
    try:
        said = orjson.loads((directory / SUMMARY).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
