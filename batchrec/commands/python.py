"""`batchrec.run` and `batchrec.results`: jobs and their results for Python programs."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from ..console.notebook import NotebookBar, in_notebook
from ..console.progress import Snapshot, Style
from ..engine import assembly
from ..engine.assembly import Options
from ..engine.process import Stopper
from ..engine.resume import RunRequest
from ..errors import Interrupted
from ..job.loading import output_directory
from ..job.spec import Job
from ..journal.results import results_of
from ..values import FailureRow, ResultRow, Summary
from .run import kinds_of_failure


async def run(
    job: Job,
    options: Options | None = None,
    *,
    limit: int | None = None,
    retry: bool | Sequence[str] = False,
    on_progress: Callable[[Snapshot], None] | None = None,
    progress: Style = "auto",
) -> Summary:
    """Run or resume a job; the summary's `exit_code` says how it ended.

    `limit`: at most so many images without a result. `retry`: True for everything that has failed, or the kinds of
    failures as `--retry-kind` has them. `on_progress` is called on the event loop four times a second, with `done` of
    `total` images and steps. `progress` "auto" shows a bar on a terminal or in a notebook, and nothing
    elsewhere; "rich", "plain" and "none" as on the command line. `options` are the less usual ones.

    Cancelling stops the run as SIGTERM does: calls under way are finished, results are saved, and summary.json is
    written; then asyncio.CancelledError is raised, with the summary as its argument. A second one ends it at once.

    Raises JobError, DirectoryBusy, OutputFailed and Interrupted where the run could not begin.
    """
    chosen = options or Options()
    if limit is not None:
        chosen = replace(chosen, limit=limit)
    if retry:
        kinds = None if retry is True else kinds_of_failure([retry] if isinstance(retry, str) else list(retry))
        chosen = replace(chosen, request=RunRequest(True, kinds, chosen.request.rebuild))
    chosen = _shown(chosen, on_progress, progress)
    stopper = Stopper()
    running = asyncio.ensure_future(assembly.run(job, chosen, stopper=stopper))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError as cancelled:
        if running.done():
            raise
        stopper.stop(signal.SIGTERM)
        cancelled.args = await _stopped(running)
        raise


async def _stopped(running: "asyncio.Future[Summary]") -> tuple[Summary, ...]:
    """The summary of a run that is stopping; none where it had not begun.

    A second cancellation ends it at once.
    """
    try:
        return (await asyncio.shield(running),)
    except Interrupted:
        return ()
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait({running})
        raise


def _shown(options: Options, on_progress: Callable[[Snapshot], None] | None, progress: Style) -> Options:
    """The options with the display that `progress` stands for here."""
    reports = [each for each in (options.on_progress, on_progress) if each is not None]
    if progress == "auto":
        progress = options.progress
        if progress == "none" and in_notebook():
            reports.append(NotebookBar())
        elif progress == "none" and sys.stderr is not None and sys.stderr.isatty():
            progress = "rich"

    def report(now: Snapshot) -> None:
        for each in reports:
            each(now)

    return replace(options, progress=progress, on_progress=report if reports else None)


def results(directory: str | os.PathLike[str]) -> Iterator[ResultRow]:
    """Iterate over the results of an output directory or job file, also while a run writes there.

    Rows as in results.jsonl that count, in order of completion. Raises JobError where it is
    no output directory, OutputFailed where it cannot be read.
    """
    with results_of(_directory(directory)) as found:
        for row in found.rows():
            yield cast(ResultRow, row)


def failures(directory: str | os.PathLike[str]) -> Iterator[FailureRow]:
    """Iterate over the failures that count now: rows as in failures.jsonl, in input order.

    Raises as `results` does.
    """
    with results_of(_directory(directory)) as found:
        for row in found.failures():
            yield cast(FailureRow, row)


def _directory(path: str | os.PathLike[str]) -> Path:
    return output_directory(Path(path))
