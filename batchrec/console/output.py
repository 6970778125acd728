"""Output of the commands: data to standard output, the log to standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..errors import OutputFailed
from ..language import _, os_reason
from .log import LogOptions, start_log
from .text import discard


@contextmanager
def printing(exit_code: int = 0) -> Iterator[None]:
    """Print data within the block, and flush it at its end.

    Raises OutputFailed where it cannot be written, and typer.Exit with `exit_code` where its reader has gone
    (`| head`): that is no error.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as exc:
        discard(sys.stdout)
        if isinstance(exc, BrokenPipeError):
            raise typer.Exit(exit_code) from None
        raise OutputFailed(_("standard output: cannot be written: {reason}").format(reason=os_reason(exc))) from exc


def log_to_stderr(level: str) -> None:
    """Log to standard error from this level on (`debug` to `error`), without secrets."""
    start_log(LogOptions(level))
