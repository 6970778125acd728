"""Display of progress on standard error: a live display on a terminal, plain lines elsewhere.

A line for each step: images done of all, calls/s beside the limit of its service, and the reason where calls leave more
slowly than that.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from ..language import _, ngettext
from ..redact import visible
from ..values import ADVISED_SIDE, ServiceState
from .screen import BAD, FAINT, GOOD, WARN, console, cut_end, cut_front, flow, words
from .text import duration, moment_in_words, say

Style = Literal["auto", "rich", "plain", "none"]

PLAIN_SECONDS = 10.0
"""Between two plain lines; the contract asks for one every 30 s at least."""

_RICH_SECONDS = 0.2
_WINDOW_SECONDS = 15.0
_SETTLED_SECONDS = 3.0
"""Measured time below which a low rate is no news: a run has just begun."""
_FULL = 0.8
"""Share of the limit below which the display says why."""
_MEGABITS = 8e-6  # in a byte
_BAR_CELLS = 16  # columns
_BAR_FROM = 72
"""Columns from which on there is room for a bar."""


@dataclass(frozen=True, slots=True)
class Service:
    """Service of a step.

    Its state, the calls/s that are allowed (None: no limit), the calls in flight, the seconds that one takes, and the
    limit that the job sets, where the allowed rate is a lower one.
    """

    name: str
    state: ServiceState
    limit: float | None
    in_flight: int = 0
    round_trip: float = 0.0
    lowered_from: float | None = None


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Progress of a step: images `done` of `total`, and of how many at the end as far as is known.

    `calls` and `finished`: calls, and images finished, in this run; `retrying`: images that wait for another attempt.
    """

    name: str
    done: int
    total: int
    expected: int
    calls: int = 0
    finished: int = 0
    retrying: int = 0
    service: Service | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State of a run.

    `failed`: images and steps; `last`: image and top label of the newest result. `uplink` is what the uplink carries,
    in bytes/s, where it is the limit, else 0; `shrunk` the images/s that it would carry with `input.max_side`, 0 where
    that is no advice. `now`: Unix seconds.
    """

    steps: tuple[StepProgress, ...]
    failed: int = 0
    last: tuple[str, str] | None = None
    uplink: float = 0.0
    shrunk: float = 0.0
    now: float = 0.0

    @property
    def done(self) -> int:
        """Images and steps that are finished."""
        return sum(step.done for step in self.steps)

    @property
    def total(self) -> int:
        """Images and steps of the run, as far as they are listed."""
        return sum(step.total for step in self.steps)

    @classmethod
    def of_files(cls, done: int, total: int) -> "Snapshot":
        """Progress of a survey of files, without calls."""
        return cls((StepProgress(_("files"), done, total, total, finished=done),))


@dataclass(frozen=True, slots=True)
class Rates:
    """Calls and finished images a second, by step, over so many seconds."""

    seconds: float
    calls: Mapping[str, float]
    finished: Mapping[str, float]


class Meter:
    """Rates over the last quarter minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, tuple[StepProgress, ...]]] = deque()

    def rates(self, steps: tuple[StepProgress, ...]) -> Rates:
        """Note the steps as they are now; the rates since the oldest note that is young enough."""
        now = self._clock()
        self._seen.append((now, steps))
        while now - self._seen[0][0] > _WINDOW_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        seconds = now - then
        old = {step.name: step for step in before}
        pairs = [(step, old.get(step.name, step)) for step in steps]
        return Rates(
            seconds,
            {new.name: (new.calls - was.calls) / seconds if seconds else 0.0 for new, was in pairs},
            {new.name: (new.finished - was.finished) / seconds if seconds else 0.0 for new, was in pairs},
        )


# -- the parts of a display


def _counts(step: StepProgress) -> str:
    return f"{step.done:,}/{step.total:,}"


def _about(step: StepProgress) -> str:
    if step.expected <= step.total:
        return ""
    return " " + _("(of about {count:,})").format(count=step.expected)


def _rate(step: StepProgress, rates: Rates) -> str:
    """Calls a second beside what is allowed, or files a second; empty where there is nothing to do."""
    if not step.total:
        return ""
    if step.service is None:
        return _("{rate:.1f} files/s").format(rate=rates.finished[step.name]) if rates.seconds else ""
    if step.service.limit is None:
        return _("{rate:.1f} calls/s").format(rate=rates.calls[step.name])
    return _("{rate:.1f} calls/s (limit {limit:.3g})").format(rate=rates.calls[step.name], limit=step.service.limit)


def _reasons(step: StepProgress, rates: Rates, now: float) -> Iterator[str]:
    """Words for the state of a step whose calls leave more slowly than they may."""
    service = step.service
    if service is None or step.done >= step.total:
        return
    if service.state.word:
        yield _state(service.state, now)
    if step.retrying > 0:
        yield _("retrying {count:,}").format(count=step.retrying)
    if service.state.word:
        return
    if service.lowered_from is not None and service.limit is not None:
        yield _("throttled: {rate:.3g} of {limit:.3g} calls/s").format(rate=service.limit, limit=service.lowered_from)
    if service.limit is None or rates.seconds < _SETTLED_SECONDS or step.retrying > 0:
        return
    calls = rates.calls[step.name]
    if calls < _FULL * service.limit:
        if rates.finished[step.name] > 2 * calls:
            yield _("taking cached results, copies and local refusals")
        elif service.in_flight >= calls * service.round_trip / 2 and service.in_flight > 0:
            text = ngettext("waiting for {count:,} reply", "waiting for {count:,} replies", service.in_flight)
            yield text.format(count=service.in_flight)
        else:
            yield _("reading and preparing images")


def _state(state: ServiceState, now: float) -> str:
    since, patience = duration(state.since), duration(state.patience)
    match state.word:
        case "probing":
            text = _("probing since {since}: {code} (gives up at {patience})")
            return text.format(since=since, code=state.code, patience=patience)
        case "throttled":
            text = _("throttled since {since}: {code} (gives up at {patience})")
            return text.format(since=since, code=state.code, patience=patience)
        case "exhausted" if state.until is None:
            return _("quota exhausted: error code {code}").format(code=state.code)
        case "exhausted" if state.waits and state.until is not None:
            return _("quota exhausted, goes on {moment}").format(moment=moment_in_words(state.until, now))
        case "exhausted":
            return _("quota exhausted until {moment}").format(moment=moment_in_words(state.until or now, now))
        case "forbidden":
            return _("not permitted: error code {code}").format(code=state.code)
        case _:
            return _("waiting for the first result")


def _left(snapshot: Snapshot, rates: Rates) -> str:
    """Time that the slowest step still takes; empty where nothing remains."""
    waits = [(step.expected - step.done, rates.finished[step.name]) for step in snapshot.steps]
    waits = [(images, rate) for images, rate in waits if images > 0]
    if any(step.service is not None and step.service.state.word == "exhausted" for step in snapshot.steps):
        return ""  # the state says when it goes on
    if not waits:
        return ""
    if any(rate <= 0 for _images, rate in waits):
        return _("time left unknown")
    return _("{time} left").format(time=duration(max(images / rate for images, rate in waits)))


def _tail(snapshot: Snapshot, rates: Rates) -> Iterator[Text]:
    """Parts that concern all steps."""
    if snapshot.failed:
        yield Text(_("{count:,} failed").format(count=snapshot.failed), style=BAD)
    if left := _left(snapshot, rates):
        yield Text(left)
    if snapshot.uplink:
        yield Text(_("limited by the uplink ({rate:.1f} Mbit/s)").format(rate=snapshot.uplink * _MEGABITS), style=WARN)
    if snapshot.uplink and snapshot.shrunk:
        text = _("about {rate:.1f} images/s with input.max_side = {side}")
        yield Text(text.format(rate=snapshot.shrunk, side=ADVISED_SIDE))


def line(snapshot: Snapshot, rates: Rates) -> str:
    """A plain line: all of it at once, for a log."""
    parts = []
    for step in snapshot.steps:
        reasons = _reasons(step, rates, snapshot.now)
        texts = (f"{step.name} {_counts(step)}{_about(step)}", _rate(step, rates), *reasons)
        parts.append(", ".join(filter(None, texts)))
    parts += [part.plain for part in _tail(snapshot, rates)]
    if snapshot.last is not None and any(step.done < step.total for step in snapshot.steps):
        parts.append(_("last: {label} {image}").format(image=snapshot.last[0], label=snapshot.last[1]))
    return " · ".join(parts)


def live_lines(snapshot: Snapshot, rates: Rates, cells: int) -> list[Text]:
    """Lines for a terminal of so many columns. The counts of each step come first and are never cut."""
    lines: list[Text] = []
    for step in snapshot.steps:
        counts = _counts(step)
        name = cut_end(visible(step.name), max(4, cells - len(counts) - 1))
        parts = [Text(f"{name} ").append(counts, style=GOOD if step.done >= step.total else "")]
        about = _about(step)
        if parts[0].cell_len + len(about) <= cells:
            parts[0].append(about)
        if cells >= _BAR_FROM:
            parts[0].append_text(_bar(step))
        parts += [Text(rate)] if (rate := _rate(step, rates)) else []
        parts += [words(reason, WARN) for reason in _reasons(step, rates, snapshot.now)]
        lines += flow(parts, cells, 2)
    lines += flow(tail, cells, 2) if (tail := list(_tail(snapshot, rates))) else []
    if snapshot.last is not None:
        label = cut_end(visible(_("last: {label}").format(label=snapshot.last[1])), max(8, cells // 2)) + " "
        last = Text(label + cut_front(visible(snapshot.last[0]), max(8, cells - Text(label).cell_len)), style=FAINT)
        lines.append(last)
    return lines


def _bar(step: StepProgress) -> Text:
    full = _BAR_CELLS * step.done // step.total if step.total else _BAR_CELLS
    return Text(" ").append("━" * full, style=GOOD).append("─" * (_BAR_CELLS - full), style=FAINT)


# -- the display


def chosen(style: Style) -> Style:
    """The style that "auto" stands for here: rich on a terminal, plain without one."""
    if style != "auto":
        return style
    return "rich" if sys.stderr.isatty() else "plain"


@asynccontextmanager
async def shown(style: Style, snapshot: Callable[[], Snapshot | None]) -> AsyncIterator[None]:
    """Show how far it is for as long as the block lasts. No snapshot: the inputs are still being listed."""
    style = chosen(style)
    if style == "none":
        yield
        return
    meter = Meter()
    _text(snapshot(), meter)
    # Beside a live display, the lines are for a log file alone.
    aside = style == "rich"
    tasks = {asyncio.ensure_future(_plain(snapshot, meter, aside=aside))}
    if style == "rich":
        tasks.add(asyncio.ensure_future(_rich(snapshot, meter)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if (last := snapshot()) is not None:
            _say_plain(last, meter, aside=aside)


def _text(now: Snapshot | None, meter: Meter) -> str:
    return _("listing the inputs") if now is None else line(now, meter.rates(now.steps))


async def _plain(snapshot: Callable[[], Snapshot | None], meter: Meter, *, aside: bool) -> None:
    while True:
        await asyncio.sleep(PLAIN_SECONDS)
        _say_plain(snapshot(), meter, aside=aside)


def _say_plain(now: Snapshot | None, meter: Meter, *, aside: bool) -> None:
    """Say the plain line, with the counts for a log in JSON."""
    steps = {step.name: {"done": step.done, "total": step.total} for step in now.steps} if now else {}
    fields = {"steps": steps, "failed": now.failed} if now else {}
    say(_text(now, meter), stamped=True, aside=aside, fields=fields)


async def _rich(snapshot: Callable[[], Snapshot | None], meter: Meter) -> None:
    from rich.live import Live

    screen = console(sys.stderr)
    with Live(console=screen, transient=True, auto_refresh=False) as live:
        while True:
            now = snapshot()
            lines = [Text(_text(now, meter))] if now is None else live_lines(now, meter.rates(now.steps), screen.width)
            live.update(Text("\n", no_wrap=True, overflow="crop").join(lines), refresh=True)
            await asyncio.sleep(_RICH_SECONDS)
