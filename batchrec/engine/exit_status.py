"""Exit status of a run: exit code, reason, and the time to run again."""

import math
from dataclasses import dataclass
from signal import Signals

from ..errors import BatchrecError, CredentialsRefused, InputsGone, NoImages, OutputFailed, ServiceUnavailable
from ..periods import period_of
from ..times import iso_beijing
from ..values import Closure


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Facts of a run that decide how it ended.

    The error that stopped it, closures and a missing permission of services with images left, the signal, and the
    number of images that failed in this run; `empty`: there is no image at all.
    """

    error: BatchrecError | None = None
    forbidden: bool = False
    closures: tuple[Closure, ...] = ()
    signal: Signals | None = None
    failed: int = 0
    empty: bool = False


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """Exit code of a run, and the summary's reason.

    `stopped_by` is a word for summary.json, None where the run came to its end; `resume_at` is ISO 8601 or None.
    """

    exit_code: int
    stopped_by: str | None = None
    resume_at: str | None = None


_REASONS: tuple[tuple[type[BatchrecError], int, str], ...] = (
    (OutputFailed, OutputFailed.exit_code, "output"),
    (InputsGone, InputsGone.exit_code, "inputs"),
    (CredentialsRefused, CredentialsRefused.exit_code, "credentials"),
)


def exit_status(facts: RunFacts) -> ExitStatus:
    """Return the exit status by the first reason that holds.

    In this order: no image, output, inputs, credentials, permission, service, limits, signals, failures.
    """
    if facts.empty:
        return ExitStatus(NoImages.exit_code, "no_image")
    for error, code, word in _REASONS:
        if isinstance(facts.error, error):
            return ExitStatus(code, word)
    if facts.forbidden:
        return ExitStatus(CredentialsRefused.exit_code, "permission")
    if facts.error is not None:
        return ExitStatus(facts.error.exit_code, "service" if isinstance(facts.error, ServiceUnavailable) else "error")
    if facts.closures:
        return _limited(facts.closures)
    if facts.signal is not None:
        return ExitStatus(128 + facts.signal, facts.signal.name)
    return ExitStatus(1 if facts.failed else 0)


def _limited(closures: tuple[Closure, ...]) -> ExitStatus:
    """Name the limit that ends first: from then on a run goes on."""
    first = min(closures, key=lambda closure: math.inf if closure.until is None else closure.until)
    return ExitStatus(75, period_of(first.code).stopped_by, None if first.until is None else iso_beijing(first.until))
