"""`batchrec status`: how far a job is, from its journal, also while it runs.

Reads, and writes nothing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from ..errors import JobError
from ..journal import CALLING_SINCE, Reader, reading
from ..journal.canaries import MODEL_CHANGES, changes_of
from ..language import _, os_reason
from ..outputs.directory import SUMMARY
from ..times import iso_utc
from ..values import ModelChange
from .outcome import LastRun

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

    `images_done`, `images_failed` and `images_remaining` are the figures of the last line on the screen; `results`
    counts rows, as `answered`, `failed` and `left` do.

    `calls` and `seconds`, `stopped_by` and `resume_at` are of the last run that came to its end, None while one runs.

    `model_changes`: those that canary images have shown, the oldest first.
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
    images_done: int
    images_failed: int
    images_remaining: int
    results: int
    calls: int | None
    seconds: float | None
    failures_by_code: Mapping[str, int]
    model_changes: tuple[ModelChange, ...]


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
            remaining, failed = journal.remaining(), journal.overview.failed_images()
            by_code, changes = journal.failures_by_code(), changes_of(journal.note(MODEL_CHANGES))
        last = {} if running else _last(directory)
    except OSError as exc:
        text = _("{directory}: cannot be read: {reason}").format(directory=directory, reason=os_reason(exc))
        raise JobError(text) from exc
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
        images_done=counts.images - remaining - failed,
        images_failed=failed,
        images_remaining=remaining,
        results=counts.answered,
        calls=last.get("calls"),
        seconds=last.get("seconds"),
        failures_by_code=by_code,
        model_changes=changes,
    )


def _rate(journal: Reader, now: float) -> float:
    """Results/s of the run under way over the last minute, or its age if less; 0 while it opens."""
    since = journal.note(CALLING_SINCE)
    if since is None:
        return 0.0
    seconds = min(_LATELY, max(_BRIEFLY, now - datetime.fromisoformat(since).timestamp()))
    return journal.finished_since(max(since, iso_utc(now - _LATELY))) / seconds


def last_run(directory: Path) -> LastRun:
    """Figures of the last run that came to its end; zeros where there was none."""
    last = _last(directory)
    resume_at = last.get("resume_at")
    return LastRun(
        calls=int(last.get("calls") or 0),
        seconds=float(last.get("seconds") or 0.0),
        stopped_by=last.get("stopped_by"),
        resume_at=resume_at,
    )


def _last(directory: Path) -> dict[str, Any]:
    """Summary of the last run; empty where there is none."""
    try:
        said = orjson.loads((directory / SUMMARY).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
