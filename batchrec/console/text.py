"""Text for a terminal: escaped control characters, messages on standard error, durations."""

import os
import sys
from typing import TextIO

from ..redact import visible


def say(*lines: str) -> None:
    """Write each text as one line to standard error, made `visible`.

    That nobody reads it any more is no reason to end a run, or to change its exit code.
    """
    try:
        if sys.stderr is not None:
            print(*map(visible, lines), sep="\n", file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Let go of what cannot be written, now and when the interpreter flushes its streams at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def duration(seconds: float) -> str:
    """Seconds as a person says them: `45 s`, `12 min`, `3 h 20 min`, `2 days 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days {minutes % 1440 // 60} h"
