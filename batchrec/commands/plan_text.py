"""Text of a plan, on standard output."""

import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import orjson

from ..api.endpoint import EMBEDDED
from ..console.text import duration
from ..language import _, ngettext
from ..redact import visible
from ..values import ADVISED_SIDE, LYING
from .estimate import Plan, StepPlan
from .inspection import Refusal
from .layout import ignored_part as _ignored
from .layout import plain_console as _console
from .layout import show_table as _show


def show_plan(plan: Plan, path: Path) -> None:
    """Print the plan of a job file: endpoint, images, a line for each step, and the expected end."""
    console = _console()
    for line in _inputs(plan):
        console.print(line, markup=False)
    for line in (*map(visible, plan.again), *_sent_again(plan, path)):
        console.print(line, markup=False, soft_wrap=True)
    rows = (
        (
            step.step,
            _between(step.calls, step.calls_min, step.calls_max),
            (_("no limit") if plan.endpoint == EMBEDDED else "auto") if step.qps is None else f"{step.qps:g}",
            _("unknown") if step.seconds is None else duration(step.seconds),
            f"{step.days:,}",
            _yuan(step),
        )
        for step in plan.steps
    )
    total = (
        _("in all"),
        f"{plan.calls:,}",
        "",
        "" if plan.seconds is None else duration(plan.seconds),
        f"{plan.days:,}",
        _yuan(plan),
    )
    headings = (_("step"), _("calls"), _("calls/s"), _("time"), _("days"), _("yuan"))
    _show(headings, (*rows, *([total] if len(plan.steps) > 1 else [])))
    for step in plan.steps:
        if step.share is not None and step.calls_max > step.calls_min:
            console.print(_expected(step), markup=False, soft_wrap=True)
    if plan.calls:
        console.print(_sending(plan), markup=False)
    end = _done_at(plan.finish_at) if plan.finish_at else _("the rate is not known yet")
    console.print(_("{count:,} calls; {end}").format(count=plan.calls, end=end), markup=False)
    if plan.beyond_limits:
        text = _("{count:,} of them are beyond the limits: the run ends before with exit code 75")
        console.print(text.format(count=plan.beyond_limits), markup=False)


def print_refusal(refusal: Refusal, *, json: bool) -> None:
    """Print a line about an image that would be refused, and flush it."""
    if json:
        print(orjson.dumps(refusal).decode(), flush=True)
        return
    text = _("{image}: {message} ({code}); steps: {steps}")
    steps = ", ".join(refusal.steps)
    line = text.format(image=refusal.image, message=refusal.message, code=refusal.code, steps=steps)
    print(visible(line), flush=True)


def _inputs(plan: Plan) -> Iterator[str]:
    """Lines about the endpoint and the images."""
    yield _("endpoint: {endpoint}").format(endpoint=plan.endpoint)
    yield _("{images:,} images ({copies:,} copies): {results:,} results, {failed:,} failed{ignored}").format(
        images=plan.images,
        copies=plan.duplicates,
        results=plan.answered,
        failed=plan.failed,
        ignored=_ignored(plan.ignored_by_kind),
    )
    yield _(
        "remaining: {known:,} with a cached result, {unreadable:,} unreadable, {refused:,} refused, "
        "{repaired:,} to repair"
    ).format(known=plan.known, unreadable=plan.unreadable, refused=plan.refused, repaired=plan.to_repair)
    if plan.unknown:
        yield _unknown(plan.unknown)
    if plan.outside:
        yield _("{count:,} inputs lie outside the job's folder").format(count=plan.outside)


def _sent_again(plan: Plan, path: Path) -> Iterator[str]:
    """Lines about results that are replaced, or should be."""
    if plan.superseded:
        cost = ", ".join(map(_cost, (step for step in plan.steps if step.again)))
        yield _("{count:,} results stay until there are new ones; sending again costs {cost}").format(
            count=plan.superseded, cost=cost or _("nothing")
        )
    if plan.lying:
        again = visible(f"batchrec run {shlex.quote(str(path))} --retry-kind {LYING}")
        yield _(
            "{count:,} results are of images that an earlier version sent lying on their side; to send them again: "
            "{command}"
        ).format(count=plan.lying, command=again)


def _cost(step: StepPlan) -> str:
    """Calls of a step that ask again, and yuan where its price is known."""
    said = _("{count:,} calls at step {step}").format(count=step.again, step=step.step)
    return said + _(" ({yuan:.2f} yuan)").format(yuan=_share(step)) if step.yuan else said


def _yuan(plan: Plan | StepPlan) -> str:
    """Cost of the expected calls, of the fewest and of the most; empty without a price."""
    if plan.yuan is None:
        return ""
    least, most = plan.yuan_min, plan.yuan_max
    return f"{plan.yuan:.2f}" + (f" ({least:.2f} to {most:.2f})" if least is not None and least != most else "")


def _expected(step: StepPlan) -> str:
    """The share of images from which the calls of a following step are expected."""
    if step.share_assumed:
        said = _("step {step!r}: no result decides about it yet; {share:.0%} of the images are assumed to lead to it")
    else:
        said = _("step {step!r}: {share:.0%} of the images with a result have led to it so far")
    return said.format(step=step.step, share=step.share)


def _done_at(finish_at: str) -> str:
    """The expected end in local time, with the Beijing time beside it where that differs."""
    beijing = datetime.fromisoformat(finish_at)
    local = beijing.astimezone()
    said = _("done at {local:%Y-%m-%d %H:%M} local time").format(local=local)
    if local.utcoffset() == beijing.utcoffset():
        return said
    return said + _(" ({beijing:%Y-%m-%d %H:%M} Beijing)").format(beijing=beijing)


def _share(step: StepPlan) -> float:
    """Yuan for the calls of a step that ask again."""
    return (step.yuan or 0.0) * step.again / step.calls


def _unknown(count: int) -> str:
    return ngettext(
        "{count:,} URL is not fetched yet: its bytes, and whether it is a copy, are unknown; it counts as one call a "
        "step",
        "{count:,} URLs are not fetched yet: their bytes, and which are copies, are unknown; each counts as one call a "
        "step",
        count,
    ).format(count=count)


def _sending(plan: Plan) -> str:
    """The bytes to send, and the time by the uplink beside that by the rate."""
    said = _("about {megabytes:,.1f} MB to send").format(megabytes=plan.bytes / 1e6)
    if (uplink := plan.uplink) is None:
        return said + _("; the uplink is not known: no run to this endpoint was limited by it")
    by_rate = "" if plan.seconds is None else _("{time} by the rate, ").format(time=duration(plan.seconds))
    said += _(
        ": {by_rate}{time} by the uplink ({rate:.1f} Mbit/s, measured in the last run that it limited, on {day})"
    ).format(by_rate=by_rate, time=duration(uplink.seconds), rate=uplink.mbit_per_s, day=uplink.measured_at[:10])
    if plan.limited_by:
        said += _("; limited by the uplink") if plan.limited_by == "uplink" else _("; limited by the rate")
    if plan.limited_by == "uplink" and uplink.seconds_shrunk is not None:
        shrunk = duration(uplink.seconds_shrunk)
        said += _("; about {time} by the uplink with input.max_side = {side}").format(time=shrunk, side=ADVISED_SIDE)
    return said


def _between(expected: int, least: int, most: int) -> str:
    if most <= least:
        return f"{expected:,}"
    return _("{expected:,} ({least:,} to {most:,})").format(expected=expected, least=least, most=most)
