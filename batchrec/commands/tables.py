"""Tables and JSON objects that the commands print to standard output."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from ..api.codes import CODES, WORDS, kind_of
from ..api.endpoint import EMBEDDED
from ..api.retry import ACTIONS, decide
from ..api.services import SERVICES, Service
from ..console.text import duration
from ..errors import JobError
from ..limits.quota import Usage
from ..outputs.csv import CsvOutput
from ..outputs.jsonl import JsonlOutput
from ..redact import visible
from ..times import iso_beijing
from ..values import ADVISED_SIDE, LYING, Failure, Row, Summary
from .estimate import Plan, StepPlan
from .status import Status
from .verify import Findings

_LEAST_COLUMNS = 200
"""Width where standard output is no terminal: lines do not fold."""

_MOST_ANSWERS = 40
"""Lines of results: more scroll off the screen."""

_MOST_LABELS = 3
"""Labels in a line."""

_LEAST_SCORE = 0.01
"""Lowest score that is shown: below it a label is noise."""


def show_services() -> None:
    """The catalogue, a line a service."""
    rows = (
        (service.name, service.title, ", ".join(option.name for option in service.options))
        for service in SERVICES.values()
    )
    _show(("service", "what it recognizes", "options"), rows)


def show_service(service: Service) -> None:
    """One service: options with type and default, path, and what images it takes."""
    limits = service.limits
    console = _console()
    console.print(f"{service.name}: {service.title}", markup=False)
    console.print(f"POST {service.path} ({service.body} body)", markup=False)
    if service.custom:
        console.print('needs model = "..." in the job file: the name of your published model', markup=False)
    console.print(
        f"images: {', '.join(limits.formats)}; {limits.min_side} to {limits.max_side:,} px a side, at most "
        f"{limits.max_ratio:g}:1, {limits.base64_bytes:,} bytes of base64; batchrec repairs what it can",
        markup=False,
    )
    console.print(f"labels: {', '.join(service.reading.fields)}", markup=False)
    if service.options:
        rows = (
            (option.name, option.type.__name__, "" if option.default is None else str(option.default), option.meaning)
            for option in service.options
        )
        _show(("option", "type", "default", "meaning"), rows)


def show_errors() -> None:
    """Every code and word, with how it is treated."""
    _show(("code", "kind", "the service says"), ((str(c.number), c.kind.value, c.message) for c in CODES.values()))
    _show(("word", "kind", "meaning"), ((word.word, word.kinds, word.meaning) for word in WORDS.values()))


def show_error(code: str) -> None:
    """One code or word: what it means, what to do, what batchrec does.

    Raises JobError where it is neither.
    """
    console = _console()
    if code in WORDS:
        word = WORDS[code]
        console.print(f"{word.word}: {word.meaning}\nkind: {word.kinds} ({ACTIONS[word.kind].value})", markup=False)
        return
    if not code.isdecimal():
        raise JobError(f"{code!r} is neither a number nor one of: {', '.join(WORDS)}")
    number = int(code)
    kind = kind_of(number)
    action = decide(Failure(kind, number, ""))
    known = CODES.get(number)
    console.print(
        f"{number}: {known.message if known else 'in none of the tables of the service'}\n"
        f"kind: {kind.value} ({action.value})",
        markup=False,
    )
    if known:
        console.print(f"what helps: {known.advice}", markup=False)


def show_quota(usage: Iterable[Usage]) -> None:
    """Print calls of the Beijing day and in all, what the last run's limits leave, and closures."""
    rows = []
    for line in usage:
        closed = ""
        if line.closure is not None:
            until = iso_beijing(line.closure.until) if line.closure.until else "`batchrec quota open`"
            closed = f"{line.closure.code}, until {until}"
        counts = (line.today, line.left_today, line.total, line.left)
        cells = ("" if count is None else f"{count:,}" for count in counts)
        rows.append((line.account, line.service, *cells, closed))
    _show(("account", "service", "today", "left today", "in all", "left in all", "closed"), rows)


def show_findings(findings: Findings) -> None:
    """Print the problems that `verify` found, a line each, and the counts of the job."""
    console, counts = _console(), findings.counts
    for problem in findings.told:
        console.print(visible(problem), markup=False)
    if (more := findings.problems - len(findings.told)) > 0:
        console.print(f"... and {more:,} more", markup=False)
    files = "files not read" if findings.quick else f"{findings.hashed:,} files as they were, {findings.gone:,} gone"
    console.print(
        f"{counts.images:,} images: {counts.answered:,} answers, {counts.failed:,} failed, "
        f"{counts.open:,} to be asked; {files}; "
        + (f"{findings.problems:,} problems" if findings.problems else "all agrees"),
        markup=False,
    )


def show_json(found: Plan | Status) -> None:
    """The same for programs: one JSON object."""
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def show_plan(plan: Plan, path: Path) -> None:
    """Print the plan of a job file: endpoint, images, a line for each step, and the expected end."""
    console = _console()
    console.print(
        f"endpoint: {plan.endpoint}\n"
        f"{plan.images:,} images ({plan.duplicates:,} copies): "
        f"{plan.answered:,} answers, {plan.failed:,} failed{_ignored(plan.ignored_by_kind)}\n"
        f"to be asked about: {plan.known:,} known already, {plan.unreadable:,} unreadable, {plan.refused:,} refused, "
        f"{plan.to_repair:,} to repair",
        markup=False,
    )
    if plan.outside:
        console.print(f"{plan.outside:,} inputs lie outside the job's folder", markup=False)
    for line in plan.again:
        console.print(visible(line), markup=False, soft_wrap=True)
    if plan.superseded:
        cost = ", ".join(
            f"{step.again:,} calls at step {step.step}" + ("" if not step.yuan else f" ({_share(step):.2f} yuan)")
            for step in plan.steps
            if step.again
        )
        console.print(
            f"{plan.superseded:,} results stay until there are new ones; asking again costs {cost or 'nothing'}",
            markup=False,
            soft_wrap=True,
        )
    if plan.lying:
        again = visible(f"batchrec run {shlex.quote(str(path))} --retry-kind {LYING}")
        console.print(
            f"{plan.lying:,} results are of images that an earlier version sent lying on their side; to ask for them "
            f"again: {again}",
            markup=False,
            soft_wrap=True,
        )
    rows = (
        (
            step.step,
            _between(step.calls, step.calls_min, step.calls_max),
            ("no limit" if plan.endpoint == EMBEDDED else "auto") if step.qps is None else f"{step.qps:g}",
            "unknown" if step.seconds is None else duration(step.seconds),
            f"{step.days:,}",
            "" if step.yuan is None else f"{step.yuan:.2f}",
        )
        for step in plan.steps
    )
    _show(("step", "calls", "calls/s", "time", "days", "yuan"), rows)
    if plan.calls:
        console.print(_sending(plan), markup=False)
    console.print(
        f"{plan.calls:,} calls; " + (f"done at {plan.finish_at}" if plan.finish_at else "the rate is not known yet"),
        markup=False,
    )


def _share(step: StepPlan) -> float:
    """Yuan for the calls of a step that ask again."""
    return (step.yuan or 0.0) * step.again / step.calls


def _ignored(by_kind: Mapping[str, int]) -> str:
    """Number of ignored files, then by kind, as the next part of a line; empty where there is none."""
    kinds = sorted(by_kind.items(), key=lambda each: (-each[1], each[0]))
    listed = ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    return f"; {sum(by_kind.values()):,} ignored ({listed})" if kinds else ""


def _sending(plan: Plan) -> str:
    """The bytes to send, and the time by the uplink beside that by the rate."""
    said = f"about {plan.bytes / 1e6:,.1f} MB to send"
    if (uplink := plan.uplink) is None:
        return f"{said}; the uplink is not known: no run to this endpoint was limited by it"
    by_rate = "" if plan.seconds is None else f"{duration(plan.seconds)} by the rate, "
    measured = f"{uplink.mbit_per_s:.1f} Mbit/s, measured in the last run that it limited, on {uplink.measured_at[:10]}"
    said = f"{said}: {by_rate}{duration(uplink.seconds)} by the uplink ({measured})"
    if plan.limited_by:
        said += f"; limited by the {plan.limited_by}"
    if plan.limited_by == "uplink" and uplink.seconds_shrunk is not None:
        said += f"; about {duration(uplink.seconds_shrunk)} by the uplink with input.max_side = {ADVISED_SIDE}"
    return said


def _between(expected: int, least: int, most: int) -> str:
    return f"{expected:,}" + (f" ({least:,} to {most:,})" if most > least else "")


def show_status(status: Status) -> None:
    """Print the progress of a job: in all, for each step, and whether it is running."""
    console = _console()
    share = f"{status.done_share:.1%}"
    console.print(
        f"{status.images:,} images ({status.duplicates:,} copies): {status.answered:,} answers, "
        f"{status.failed:,} failed, {status.left:,} to be asked{_ignored(status.ignored_by_kind)}; {share} done",
        markup=False,
    )
    rows = ((step.step, f"{step.answered:,}", f"{step.failed:,}", f"{step.left:,}") for step in status.steps)
    _show(("step", "answered", "failed", "to be asked"), rows)
    console.print(_goes_on(status), markup=False)


def _goes_on(status: Status) -> str:
    if status.running:
        left = "unknown" if status.seconds_left is None else duration(status.seconds_left)
        return f"running: {status.rate:.1f} answers/s over the last minute, {left} left"
    if status.stopped_by:
        return f"stopped by {status.stopped_by}" + (f"; run again after {status.resume_at}" if status.resume_at else "")
    return "finished" if not status.left else "not running"


def show_answers(directory: Path, steps: Sequence[str]) -> None:
    """Print results, a line for each image and step in the order of the images; at most 40 of them."""
    path = directory / JsonlOutput.filename

    def place(row: Row) -> tuple[str, int]:
        return row["image"], steps.index(row["step"]) if row["step"] in steps else len(steps)

    with path.open("rb") as lines:
        first = nsmallest(_MOST_ANSWERS, map(orjson.loads, lines), key=place)
    with path.open("rb") as lines:
        more = sum(1 for _ in lines) - len(first)
    if first:
        _show(("photograph", "step", "labels"), ((row["image"], row["step"], _labels(row)) for row in first))
    if more:
        names = (directory / CsvOutput.filename, path)
        _console().print(f"... and {more:,} more in {next(p for p in names if p.exists()).name}", markup=False)


def _labels(row: Row) -> str:
    """The best labels with their scores; the service's own word where it has one for finding nothing."""
    if not row["labels"]:
        found = row["response"].get("result")
        named = found[0].get("name") if isinstance(found, list) and found and isinstance(found[0], dict) else None
        return str(named or "nothing found")
    best, *others = row["labels"][:_MOST_LABELS]
    worth = [label for label in others if label["score"] is None or label["score"] >= _LEAST_SCORE]
    return ", ".join(map(_label, (best, *worth)))


def _label(label: Row) -> str:
    name = label["name"] or "box {left:g},{top:g} {width:g}x{height:g}".format(**label["box"])
    return name if label["score"] is None else f"{name} {label['score']:.2f}"


def _show(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(visible, row))
    _console().print(table, markup=False)


def _console() -> Console:
    """Standard output; where it is no terminal, lines are wide enough not to fold."""
    console = Console(highlight=False, emoji=False)  # a file may be called :cat:.jpg
    width = None if console.is_terminal else max(console.width, _LEAST_COLUMNS)
    return Console(highlight=False, emoji=False, width=width)


def ended(summary: Summary, directory: Path) -> tuple[str, str]:
    """Last lines of a run: counts of the job, calls, and the reason for which it stopped; the output directory."""
    done = f"{summary.images:,} images: {summary.answered:,} answered, {summary.failed:,} failed"
    parts = [done + _ignored(summary.ignored_by_kind)]
    if summary.left:
        parts.append(f"{summary.left:,} images remain")
    if earlier := summary.failed - summary.new_failures:
        parts.append(f"{earlier:,} of the failures are of earlier runs (--retry-failed sends them again)")
    parts.append(f"{summary.calls:,} calls in {summary.seconds:.1f} s")
    if summary.stopped_by:
        parts.append(f"stopped by {summary.stopped_by}")
    if summary.resume_at:
        parts.append(f"run again after {summary.resume_at}")
    return "; ".join(parts), str(directory)
