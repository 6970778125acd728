"""Estimate of a job's remaining calls, time and money: arithmetic alone, without files or clocks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..times import iso_beijing, next_reset

_DAY_SECONDS = 86_400
_CALLS_PER_PRICE = 1000
"""The service's price list is per 1,000 calls."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Remaining work of a step. `calls` is the expected number, between `calls_min` and `calls_max`.

    `qps` is in calls/s, None where it has to be found first; `seconds` at that rate; `days` is the number of Beijing
    days on which calls are made; `yuan` None without a price.
    """

    step: str
    service: str
    model: str | None
    calls: int
    calls_min: int
    calls_max: int
    qps: float | None
    seconds: float | None
    days: int
    yuan: float | None


@dataclass(frozen=True)
class Inputs:
    """Inputs of a job as they are now, and their results. `endpoint` is an origin or "embedded".

    `outside` are inputs whose real path lies outside of the job file's folder, whatever `input.within` says.
    `unreadable`, `refused` and `to_repair` are images among those that need a call; `known` counts pairs of image and
    step whose result is known already, `lying` results of images that an earlier version sent lying on their side. An
    image that is damaged inside is found only by decoding it.
    """

    endpoint: str
    images: int
    ignored: int
    ignored_by_kind: Mapping[str, int]
    outside: int
    unreadable: int
    refused: int
    to_repair: int
    duplicates: int
    known: int
    lying: int
    answered: int
    failed: int


@dataclass(frozen=True)
class Estimate:
    """Calls, time and money of a job. Units as in `StepPlan`; `finish_at` is ISO 8601, None where unknown."""

    calls: int
    seconds: float | None
    days: int
    finish_at: str | None
    yuan: float | None
    steps: list[StepPlan]


@dataclass(frozen=True)
class Plan(Estimate, Inputs):
    """Plan of a whole job: what `plan --json` prints, the inputs first."""


@dataclass(frozen=True, slots=True)
class StepWork:
    """Work of one step, as counted from journal, files and caches.

    `lane` is what limits are counted for: a service, or one model of an EasyDL service. `after` is the step that this
    one follows upon, None for a step that every image goes through. `sure` counts the contents that need a call
    already, `listed` the images that the step has been asked of so far, `finished` those that have a result at it.
    `price` is in yuan per 1,000 calls.
    """

    step: str
    service: str
    model: str | None
    lane: str
    after: str | None = None
    sure: int = 0
    listed: int = 0
    finished: int = 0
    price: float | None = None


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Limits of a lane: calls/s (None: unknown), calls a Beijing day, and left today (None: no limit)."""

    rate: float | None
    daily: int | None = None
    left_today: int | None = None


@dataclass(frozen=True, slots=True)
class CallRange:
    """Calls of a step: expected, fewest, most."""

    expected: int
    least: int
    most: int


def estimate(works: Sequence[StepWork], limits: Mapping[str, LaneLimits], now: float) -> Estimate:
    """Calls, time and money of the steps, in the order of the job file; `now` is in Unix seconds."""
    ranges = call_ranges(works)
    steps = {}
    ends: list[float | None] = []
    for lane, limit in limits.items():
        members = [work for work in works if work.lane == lane]
        calls = sum(ranges[work.step].expected for work in members)
        days, last = days_of(calls, limit)
        ends.append(end_of(calls, limit.rate, days, last, now))
        for work in members:
            steps[work.step] = _step_plan(work, ranges[work.step], calls, days, limit.rate)
    plans = [steps[work.step] for work in works]
    seconds = [step.seconds for step in plans if step.calls]
    prices = [step.yuan for step in plans if step.yuan is not None]
    return Estimate(
        calls=sum(step.calls for step in plans),
        seconds=None if None in seconds else max((s for s in seconds if s is not None), default=0.0),
        days=max((step.days for step in plans), default=0),
        finish_at=None if None in ends else iso_beijing(max((end for end in ends if end is not None), default=0.0)),
        yuan=round(sum(prices), 2) if prices else None,
        steps=plans,
    )


def call_ranges(works: Sequence[StepWork]) -> dict[str, CallRange]:
    """Calls by step. A step comes after the one that it follows upon.

    For results that are still to come, a following step is expected to be asked for the same share of images as so
    far, or for all of them where there is no result yet.
    """
    ranges: dict[str, CallRange] = {}
    finished = {work.step: work.finished for work in works}
    for work in works:
        if work.after is None:
            ranges[work.step] = CallRange(work.sure, work.sure, work.sure)
            continue
        before, results = ranges[work.after], finished[work.after]
        share = min(1.0, work.listed / results) if results else 1.0
        expected = work.sure + math.ceil(share * before.expected)
        ranges[work.step] = CallRange(expected, work.sure, work.sure + before.most)
    return ranges


def busy_lanes(works: Sequence[StepWork]) -> set[str]:
    """Lanes with calls to make."""
    ranges = call_ranges(works)
    return {work.lane for work in works if ranges[work.step].expected}


def days_of(calls: int, limit: LaneLimits) -> tuple[int, int]:
    """Number of Beijing days with calls, today first, and the calls of the last of them."""
    if not calls:
        return 0, 0
    left = limit.daily if limit.left_today is None else limit.left_today
    if limit.daily is None or left is None or calls <= left:
        return 1, calls
    later = calls - left
    return 1 + math.ceil(later / limit.daily), (later - 1) % limit.daily + 1


def end_of(calls: int, rate: float | None, days: int, last: int, now: float) -> float | None:
    """Time of the last call in Unix seconds; None where the rate is not known.

    `last` as `days_of` returns it.
    """
    if not calls:
        return now
    if rate is None:
        return None
    begun = now if days <= 1 else next_reset(now) + (days - 2) * _DAY_SECONDS
    return max(begun + last / rate, now + calls / rate)


def _step_plan(work: StepWork, calls: CallRange, lane_calls: int, days: int, rate: float | None) -> StepPlan:
    return StepPlan(
        step=work.step,
        service=work.service,
        model=work.model,
        calls=calls.expected,
        calls_min=calls.least,
        calls_max=calls.most,
        qps=rate,
        seconds=round(lane_calls / rate, 1) if rate else None,
        days=days,
        yuan=None if work.price is None else round(calls.expected * work.price / _CALLS_PER_PRICE, 2),
    )
