"""Output of the commands: data to standard output, the log to standard error."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..errors import OutputFailed
from ..redact import RedactingFormatter
from .text import discard, say


@contextmanager
def printing() -> Iterator[None]:
    """Print data within the block, and flush it at its end.

    Raises OutputFailed where it cannot be written, and typer.Exit with code 1 where its reader has gone (`| head`).
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as exc:
        discard(sys.stdout)
        if isinstance(exc, BrokenPipeError):
            raise typer.Exit(1) from None
        raise OutputFailed(f"standard output: cannot be written: {exc.strerror}") from exc


class _ToStderr(logging.Handler):
    """Handler that looks up standard error for each record: a live progress display replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        say(*self.format(record).split("\n"))


def log_to_stderr(level: str) -> None:
    """Log to standard error from this level on (`debug` to `error`), without secrets."""
    handler = _ToStderr()
    handler.setFormatter(RedactingFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
