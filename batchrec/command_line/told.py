"""Errors of batchrec as the command line tells them: lines on standard error, and an exit code."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def told() -> Iterator[None]:
    """Print an error of batchrec to standard error, and end with its exit code."""
    from ..console.text import say
    from ..errors import BatchrecError, JobError
    from ..redact import redact

    try:
        yield
    except BatchrecError as error:
        lines = error.complaints if isinstance(error, JobError) else (str(error),)
        say(*map(redact, lines), level=logging.ERROR)
        raise typer.Exit(error.exit_code) from None
    except (KeyboardInterrupt, typer.Abort):  # Abort: at a prompt
        raise typer.Exit(130) from None
