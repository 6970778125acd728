"""Metrics of a job as a file for the textfile collector of Prometheus (node_exporter).

Written for a failed run too. The time of the last success is kept from the file before.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from ..console.extras import pip_install
from ..errors import JobError, OutputFailed
from ..language import _, os_reason
from ..limits.quota import Usage
from ..periods import PERIODS
from ..values import Summary

_MODE = 0o644
"""Readable by the collector, which is another user, whatever the umask."""

_SUCCESS = "batchrec_last_success_timestamp_seconds"


def check_metrics(path: Path) -> None:
    """Raise JobError where the extra is missing, or the file cannot be written."""
    if find_spec("prometheus_client") is None:
        raise JobError(_("--metrics needs the extra `metrics`; run: {command}").format(command=pip_install("metrics")))
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise JobError(
            _("--metrics {path}: cannot be written; expected a file in a folder that exists and is yours").format(
                path=path
            )
        )


def write_metrics(path: Path, summary: Summary, usages: Iterable[Usage], *, good: bool) -> None:
    """Replace the file by the metrics of a run that has ended. `good`: it was a success.

    Raises OutputFailed."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    for name, meaning, value in _values(summary):
        Gauge(name, meaning, ["job"], registry=registry).labels(summary.job).set(value)
    finished = datetime.fromisoformat(summary.finished_at).timestamp()
    success = finished if good else _last_success(path, summary.job)
    if success is not None:
        meaning = "End of the last run that ended with exit code 0, or at a daily limit"
        Gauge(_SUCCESS, meaning, ["job"], registry=registry).labels(summary.job).set(success)
    failed = Gauge("batchrec_failed_images", "Images and steps that are failed now", ["job", "code"], registry=registry)
    for code, count in summary.failures_by_code.items():
        failed.labels(summary.job, code).set(count)
    labels = ["account", "service", "period"]
    used = Gauge("batchrec_quota_used_calls", "Calls of the Beijing day, or in all", labels, registry=registry)
    limit = Gauge(
        "batchrec_quota_limit_calls", "Calls that the limit of the last run allows", labels, registry=registry
    )
    for usage in usages:
        for period, calls, left in zip(PERIODS, usage.used, usage.left, strict=True):
            used.labels(usage.account, usage.service, period).set(calls)
            if left is not None:
                limit.labels(usage.account, usage.service, period).set(calls + left)
    _replace(path, generate_latest(registry))


def _values(summary: Summary) -> Iterator[tuple[str, str, float]]:
    """Name, meaning and value of the metrics that a job has once."""
    finished = datetime.fromisoformat(summary.finished_at).timestamp()
    yield "batchrec_last_run_timestamp_seconds", "End of the last run", finished
    yield "batchrec_last_run_duration_seconds", "Length of the last run", summary.seconds
    yield "batchrec_last_run_exit_code", "Exit code of the last run", summary.exit_code
    if not summary.endpoint:  # the run ended before there were any counts
        return
    yield "batchrec_last_run_calls", "Calls of the last run", summary.calls
    yield "batchrec_last_run_throttled_calls", "Calls of the last run that were throttled", summary.throttled
    yield "batchrec_last_run_failed_images", "Images and steps that failed in the last run", summary.new_failures
    yield "batchrec_images", "Images of the job", summary.images
    yield "batchrec_results", "Results of the job", summary.answered
    yield "batchrec_remaining_images", "Images that remain", summary.left
    if summary.resume_at is not None:
        resume = datetime.fromisoformat(summary.resume_at).timestamp()
        yield "batchrec_resume_timestamp_seconds", "Time from which the job can go on", resume


def _last_success(path: Path, job: str) -> float | None:
    """The last success that the file before has; None where it has none."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
            for sample in family.samples:
                if sample.name == _SUCCESS and sample.labels.get("job") == job:
                    return float(sample.value)
    except (OSError, ValueError):
        return None
    return None


def _replace(path: Path, content: bytes) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(name, _MODE)
            os.replace(name, path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise OutputFailed(
            _("--metrics {path}: cannot be written: {reason}").format(path=path, reason=os_reason(exc))
        ) from exc
