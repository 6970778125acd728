"""Text of the state of a job and of the quota: status, findings of verify, counts."""

import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from rich.text import Text

from ..console.screen import BAD, GOOD, WARN, columns, flow, show, words
from ..console.text import duration
from ..engine.canary import describe
from ..language import _, ngettext
from ..limits.quota import Usage
from ..periods import PERIODS
from ..redact import visible
from ..times import iso_beijing
from .layout import plain_console, show_table
from .outcome import LastRun, Outcome
from .outcome_text import ignored, outcome_lines
from .status import Status, StepStatus
from .verify import Findings


def show_quota(usage: Iterable[Usage]) -> None:
    """Print calls of the Beijing day and in all, what the last run's limits leave, and exhausted quotas."""
    rows = []
    for line in usage:
        exhausted = ""
        if line.closure is not None:
            until = iso_beijing(line.closure.until) if line.closure.until else "`batchrec quota open`"
            exhausted = _("error code {code}, until {until}").format(code=line.closure.code, until=until)
        counts = chain.from_iterable(zip(line.used, line.left, strict=True))
        cells = ("" if count is None else f"{count:,}" for count in counts)
        rows.append((line.account, line.service, *cells, exhausted))
    headings = (
        _("account"),
        _("service"),
        *(_(heading) for period in PERIODS.values() for heading in (period.heading, period.heading_left)),
        _("exhausted"),
    )
    show_table(headings, rows)


def show_findings(findings: Findings) -> None:
    """Print the problems that `verify` found, a line each, and the counts of the job."""
    console, counts = plain_console(), findings.counts
    for problem in findings.told:
        console.print(visible(problem), markup=False)
    if (more := findings.problems - len(findings.told)) > 0:
        console.print(_("... and {count:,} more").format(count=more), markup=False)
    files = (
        _("files not read")
        if findings.quick
        else _("{hashed:,} files as they were, {gone:,} gone").format(hashed=findings.hashed, gone=findings.gone)
    )
    if findings.unkept:
        files += ", " + ngettext(
            "{count:,} URL not in the cache", "{count:,} URLs not in the cache", findings.unkept
        ).format(count=findings.unkept)
    text = _("{images:,} images: {results:,} results, {failed:,} failed, {remaining:,} remaining; {files}; {verdict}")
    problems = ngettext("{count:,} problem", "{count:,} problems", findings.problems).format(count=findings.problems)
    console.print(
        text.format(
            images=counts.images,
            results=counts.answered,
            failed=counts.failed,
            remaining=counts.open,
            files=files,
            verdict=problems if findings.problems else _("all agrees"),
        ),
        markup=False,
    )


def show_status(status: Status, outcome: Outcome, last: LastRun | None, directory: Path, again: str | None) -> None:
    """Print the state of a job: steps, the lines of the end of a run, and whether it is running."""
    cells = columns(sys.stdout)
    lines = [line for step in status.steps for line in flow(_step_parts(step), cells, 2)]
    notes = []
    if status.duplicates:
        copies = ngettext("{count:,} copy", "{count:,} copies", status.duplicates)
        notes.append(Text(copies.format(count=status.duplicates)))
    if status.ignored:
        notes.append(ignored(status.ignored_by_kind))
    lines += flow(notes, cells, 2) if notes else []
    lines += [line for each in status.model_changes for line in flow([Text(describe(each), style=WARN)], cells, 2)]
    lines += outcome_lines(outcome, last, directory, again, cells)
    lines += flow([_goes_on(status)], cells, 2)
    show(lines, sys.stdout)


def _step_parts(step: StepStatus) -> list[Text]:
    finished = step.answered + step.failed
    parts = [words(f"{step.step} {finished:,}/{finished + step.left:,}")]
    if step.failed:
        parts.append(Text(_("{count:,} failed").format(count=step.failed), style=BAD))
    if step.left:
        parts.append(Text(_("{count:,} remaining").format(count=step.left)))
    return parts


def _goes_on(status: Status) -> Text:
    if status.running:
        if status.seconds_left is None:
            return Text(_("running: {rate:.1f} results/s over the last minute").format(rate=status.rate), style=GOOD)
        text = _("running: {rate:.1f} results/s over the last minute, {left} remaining")
        return Text(text.format(rate=status.rate, left=duration(status.seconds_left)), style=GOOD)
    if status.left:
        return Text(_("not running"), style=WARN)
    return Text(_("finished"), style=GOOD)
