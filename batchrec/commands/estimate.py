"""Estimate of a job's remaining calls, time and money: arithmetic alone, without files or clocks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..times import iso_beijing, iso_utc, next_reset

_DAY_SECONDS = 86_400
_MEGABITS = 8e-6  # in a byte
CALLS_PER_PRICE = 1000
"""The service's price list is per 1,000 calls."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Remaining work of a step. `calls` is the expected number, between `calls_min` and `calls_max`.

    `again` of the calls are for images that have a result already, which stays until there is a new one.
    `qps` is in calls/s, None where it has to be found first; `seconds` at that rate; `days` is the number of Beijing
    days on which calls are made; `yuan` None without a price.
    """

    step: str
    service: str
    model: str | None
    calls: int
    calls_min: int
    calls_max: int
    again: int
    qps: float | None
    seconds: float | None
    days: int
    yuan: float | None


@dataclass(frozen=True)
class Inputs:
    """Inputs of a job as they are now, and their results. `endpoint` is an origin or "embedded".

    `outside` are inputs whose real path lies outside of the job file's folder, whatever `input.within` says.
    `unreadable`, `refused` and `to_repair` are images among those that need a call; `known` counts pairs of image and
    step whose result is known already, `superseded` results that are asked for again for the reasons `again`, which
    stay until there are new ones, `lying` results of images that an earlier version sent lying on their side. An
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
    superseded: int
    again: list[str]
    lying: int
    answered: int
    failed: int


@dataclass(frozen=True, slots=True)
class UplinkPlan:
    """Time to send the bodies of all calls, by an earlier run's `mbit_per_s`, of `measured_at` (ISO 8601).

    `seconds_shrunk` is the time with `input.max_side` at the side that is recommended; None where that is no advice.
    """

    mbit_per_s: float
    measured_at: str
    seconds: float
    seconds_shrunk: float | None


@dataclass(frozen=True)
class Estimate:
    """Calls, time and money of a job. Units as in `StepPlan`; `finish_at` is ISO 8601, None where unknown.

    `bytes` are those of the calls' bodies, as expected from the sizes of the files. `seconds` are those at the rate and
    `uplink` has those of the uplink, None where none was measured. `limited_by` says which are more: "rate" or
    "uplink", None where that is not known.
    """

    calls: int
    bytes: int
    uplink: UplinkPlan | None
    limited_by: str | None
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
    already, `again` those of them whose image has a result, `listed` the images that the step has been asked of so far,
    `finished` those that have a result at it. `price` is in yuan per 1,000 calls. `sent` are the bytes of the bodies of
    the `sure` calls, `sent_shrunk` those with `input.max_side` at the side that is recommended.
    """

    step: str
    service: str
    model: str | None
    lane: str
    after: str | None = None
    sure: int = 0
    again: int = 0
    listed: int = 0
    finished: int = 0
    price: float | None = None
    sent: int = 0
    sent_shrunk: int = 0


@dataclass(frozen=True, slots=True)
class UplinkRate:
    """Bytes/s that an uplink carried, the Unix time of the measurement, and whether `max_side` is unset."""

    rate: float
    at: float
    shrinkable: bool = False


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


def estimate(
    works: Sequence[StepWork], limits: Mapping[str, LaneLimits], now: float, link: UplinkRate | None = None
) -> Estimate:
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
    calls = sum(step.calls for step in plans)
    by_rate = None if None in seconds else max((s for s in seconds if s is not None), default=0.0)
    sent, shrunk = (_in_all(works, calls, each) for each in ((w.sent for w in works), (w.sent_shrunk for w in works)))
    uplink = None if link is None or not calls else _uplink_plan(link, sent, shrunk)
    if uplink is not None:
        ends.append(now + uplink.seconds)
    return Estimate(
        calls=calls,
        bytes=sent,
        uplink=uplink,
        limited_by=None if uplink is None or by_rate is None else "uplink" if uplink.seconds > by_rate else "rate",
        seconds=by_rate,
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


def _in_all(works: Sequence[StepWork], calls: int, sent: Iterable[int]) -> int:
    """Bytes of all expected calls: those that are not sure yet are like the others on average."""
    sure = sum(work.sure for work in works)
    return round(sum(sent) / sure * calls) if sure else 0


def _uplink_plan(link: UplinkRate, sent: int, shrunk: int) -> UplinkPlan:
    return UplinkPlan(
        mbit_per_s=round(link.rate * _MEGABITS, 2),
        measured_at=iso_utc(link.at),
        seconds=round(sent / link.rate, 1),
        seconds_shrunk=round(shrunk / link.rate, 1) if link.shrinkable and shrunk < sent else None,
    )


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
        again=work.again,
        qps=rate,
        seconds=round(lane_calls / rate, 1) if rate else None,
        days=days,
        yuan=None if work.price is None else round(calls.expected * work.price / CALLS_PER_PRICE, 2),
    )
