"""One run as a person or a monitor is told about it: messages and metrics."""

import hashlib
import logging
import os
import time
import tomllib
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

from .. import __version__
from ..engine.canary import describe, forget_changes
from ..errors import BatchrecError, JobError, OutputFailed
from ..job.spec import Job
from ..language import _
from ..limits.quota import Quota, Usage
from ..redact import redact
from ..state.directory import state_directory, write_private
from ..times import iso_utc
from ..values import ModelChange, Summary
from .metrics import check_metrics, write_metrics
from .notify import Message, Notifier, notifier_of, send

_log = logging.getLogger(__name__)

_NOTIFIED = "notified"
"""Folder in the state folder: a file for each job whose last run was told as failed."""

_QUOTA = 75  # exit code
_FOR_A_PERSON = frozenset((2, 66, 69, 70, 74, 77))
"""Exit codes that do not go away by themselves. Not among them: failed images (1), a signal, another run (73)."""


class Night:
    """Messages and metrics of one run. The context manager is told of an error that ends it."""

    def __init__(self, path: Path, metrics: Path | None, environ: Mapping[str, str]) -> None:
        self._path, self._metrics, self._environ = path, metrics, environ
        self._started = time.time()
        self._name, self._directory = path.stem, ""
        self._notifier: Notifier | None = None
        self._on: tuple[str, ...] = ()
        self._changes: list[ModelChange] = []

    def __enter__(self) -> "Night":
        if self._metrics is not None:
            check_metrics(self._metrics)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if isinstance(error, BatchrecError):
            self._end(self._summary(error.exit_code, str(error)), str(error))
        elif isinstance(error, Exception) and not hasattr(error, "exit_code"):  # typer's own have one
            self._end(self._summary(70, "defect"), _("a defect in batchrec; its log says where"))

    def unreadable(self) -> None:
        """The job file was refused: its [notify] alone is taken from it, so that somebody is told."""
        with suppress(OSError, ValueError, RecursionError):
            table = tomllib.loads(self._path.read_bytes().decode("utf-8-sig")).get("notify")
            if isinstance(table, dict) and isinstance(table.get("use"), str):
                on = table.get("on", ["attention"])
                with suppress(JobError):
                    self._notifier = notifier_of(table["use"], self._environ)
                    self._on = tuple(map(str, on)) if isinstance(on, list) else ()

    def begin(self, job: Job) -> None:
        """Tell the start of a job. Raises JobError where its notifier is not in notify.toml."""
        self._name, self._directory = job.name, str(job.directory)
        if job.notify is None:
            return
        self._notifier, self._on = notifier_of(job.notify.use, self._environ), job.notify.on
        if "start" in self._on:
            self._tell("start", _("{job}: started").format(job=job.name), self._summary(0, None), "/start")

    def model_changed(self, change: ModelChange) -> None:
        """Have the end of the run told to a person, with a sentence about this, whatever its exit code."""
        self._changes.append(change)

    def end(self, summary: Summary) -> None:
        """Tell the end of a run, and write its metrics; changes that cannot be told are kept."""
        reason = f" ({summary.stopped_by})" if summary.stopped_by else ""
        text = _("exit code {code}{reason}: {results:,} results, {failed:,} failed, {left:,} images remaining").format(
            code=summary.exit_code, reason=reason, results=summary.answered, failed=summary.failed, left=summary.left
        )
        if self._end(summary, "; ".join((text, *map(describe, self._changes)))) and self._changes:
            with suppress(BatchrecError):  # another run holds the directory, say: it tells them again
                forget_changes(Path(self._directory), self._changes)

    def _end(self, summary: Summary, text: str) -> bool:
        """Write the metrics and tell the end; False where somebody should have been told, and was not."""
        good = _good(summary)
        if self._metrics is not None:
            try:
                write_metrics(self._metrics, summary, self._usages(), good=good)
            except OutputFailed as error:
                _log.error("%s", error)
        if self._notifier is None:
            return True
        text = f"{self._name}: {redact(text)}"
        told_failed = good and self._told().exists() and not {"failed", "attention"}.isdisjoint(self._on)
        wanted = ("attention", *_events(summary)) if self._changes else _events(summary)
        events = tuple(event for event in wanted if event in self._on)
        if told_failed and "attention" not in events:
            events = ("recovered",)
        if not events:
            return True
        if not self._tell(events[0], text, summary, f"/{summary.exit_code}"):
            return False
        with suppress(OSError):
            if good:
                self._told().unlink(missing_ok=True)
            elif events[0] in ("failed", "attention"):
                write_private(self._told(), f"{summary.exit_code}\n".encode())
        return True

    def _tell(self, event: str, text: str, summary: Summary, end: str) -> bool:
        return self._notifier is not None and send(self._notifier, Message(event, text, summary, self._directory, end))

    def _told(self) -> Path:
        """The file that says that the last run was told as failed."""
        digest = hashlib.sha256(os.fsencode(os.path.abspath(self._path))).hexdigest()[:16]
        return state_directory(self._environ) / _NOTIFIED / digest

    def _summary(self, exit_code: int, stopped_by: str | None) -> Summary:
        """The summary of a run that has none of its own."""
        now = time.time()
        return Summary(
            job=self._name,
            version=__version__,
            started_at=iso_utc(self._started),
            finished_at=iso_utc(now),
            exit_code=exit_code,
            seconds=round(now - self._started, 3),
            stopped_by=None if stopped_by is None else redact(stopped_by),
        )

    def _usages(self) -> list[Usage]:
        with suppress(JobError, OutputFailed), closing(Quota(state_directory(self._environ), time.time)) as quota:
            return quota.usage()
        return []


def _good(summary: Summary) -> bool:
    """Whether nobody has to do anything: nothing failed, or a daily limit stopped the run."""
    return summary.exit_code == 0 or (summary.exit_code == _QUOTA and summary.resume_at is not None)


def _events(summary: Summary) -> tuple[str, ...]:
    """Events that the end of a run is, the most urgent first."""
    if summary.exit_code == _QUOTA:
        return ("quota",) if summary.resume_at is not None else ("attention", "quota")
    if summary.exit_code == 0:
        return ("finished",)
    if summary.exit_code in _FOR_A_PERSON:
        return ("attention", "failed")
    return ("failed",)
