"""Estimate of a job's remaining calls, time and money: arithmetic alone, without files or clocks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, NamedTuple

from ..periods import DAILY, Period
from ..times import iso_beijing, iso_utc, next_reset

_DAY_SECONDS = 86_400
_MEGABITS = 8e-6  # in a byte
CALLS_PER_PRICE = 1000
"""The service's price list is per 1,000 calls."""

ASSUMED_SHARE = 0.5
"""Share of images that are taken to lead to a following step, as long as there is no result to judge by."""


@dataclass(frozen=True, slots=True)
class StepPlan:
    """Remaining work of a step. `calls` is the expected number, between `calls_min` and `calls_max`.

    `again` of the calls are for images that have a result already, which stays until there is a new one.
    `qps` is in calls/s, None where it has to be found first; `seconds` at that rate; `days` is the number of Beijing
    days on which calls are made; `yuan` None without a price, of the expected number of calls, between `yuan_min` and
    `yuan_max`. `share` is the share of images that lead to a following step, None for other steps; `share_assumed`:
    there is no result yet to judge by.
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
    yuan_min: float | None = None
    yuan_max: float | None = None
    share: float | None = None
    share_assumed: bool = False


@dataclass(frozen=True)
class Inputs:
    """Inputs of a job as they are now, and their results. `endpoint` is an origin or "embedded".

    `outside` are inputs whose real path lies outside of the job file's folder, whatever `input.within` says.
    `unreadable`, `refused` and `to_repair` are images among those that need a call; `known` counts pairs of image and
    step whose result is known already, `superseded` results that are asked for again for the reasons `again`, which
    stay until there are new ones, `lying` results of images that an earlier version sent lying on their side. An
    image that is damaged inside is found only by decoding it. `unknown` are URLs whose bytes nobody has fetched yet:
    each counts as one call a step.
    """

    endpoint: str
    images: int
    ignored: int
    ignored_by_kind: Mapping[str, int]
    outside: int
    unreadable: int
    refused: int
    to_repair: int
    unknown: int
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
    "uplink", None where that is not known. `beyond_limits` of the calls are more than `limits.total` leaves: the run
    ends with exit code 75 before, at `finish_at`.
    """

    calls: int
    bytes: int
    uplink: UplinkPlan | None
    limited_by: str | None
    seconds: float | None
    days: int
    finish_at: str | None
    yuan: float | None
    yuan_min: float | None
    yuan_max: float | None
    steps: list[StepPlan]
    beyond_limits: int


@dataclass(frozen=True)
class Plan(Estimate, Inputs):
    """Plan of a whole job: what `plan --json` prints, the inputs first.

    `barred`: by the names of steps with calls, why their model on the embedded endpoint answers them with error code 6.
    """

    barred: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepWork:
    """Work of one step, as counted from journal, files and caches.

    `lane` is what limits are counted for: a service, or one model of an EasyDL service. `after` is the step that this
    one follows upon, None for a step that every image goes through. `sure` counts the contents that need a call
    already, `again` those of them whose image has a result, `listed` the images that the step has been asked of so far,
    `finished` those that have a result at it. `price` is in yuan per 1,000 calls, `free` the calls of its
    service that cost nothing. `sent` are the bytes of the bodies of
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
    free: int = 0
    sent: int = 0
    sent_shrunk: int = 0


@dataclass(frozen=True, slots=True)
class UplinkRate:
    """Bytes/s that an uplink carried, the Unix time of the measurement, and whether `max_side` is unset."""

    rate: float
    at: float
    shrinkable: bool = False


class CallLimit(NamedTuple):
    """Limit of a lane that counts calls: calls in each period, and what remains of the present one."""

    period: Period
    most: int
    left: int


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """Limits of a lane: calls/s (None: unknown), and those that count calls. `today` is the Beijing day."""

    rate: float | None
    counted: tuple[CallLimit, ...] = ()
    today: str = "2000-01-01"

    @property
    def in_all(self) -> float:
        """Calls that the limits without an end leave; infinite where there is none."""
        return min((limit.left for limit in self.counted if limit.period.end(self.today) is None), default=math.inf)


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
    costs = _costs(works, ranges)
    steps = {}
    ends: list[float | None] = []
    beyond = 0
    for lane, limit in limits.items():
        members = [work for work in works if work.lane == lane]
        wanted = sum(ranges[work.step].expected for work in members)
        calls = int(min(wanted, limit.in_all))
        beyond += wanted - calls
        days, last = days_of(calls, limit)
        ends.append(end_of(calls, limit.rate, days, last, now))
        for work in members:
            steps[work.step] = replace(
                _step_plan(work, ranges[work.step], calls, days, limit.rate),
                **costs[work.step],
                **_share_of(work, works),
            )
    plans = [steps[work.step] for work in works]
    seconds = [step.seconds for step in plans if step.calls]
    yuan, yuan_min, yuan_max = (
        _sum(each) for each in zip(*((s.yuan, s.yuan_min, s.yuan_max) for s in plans), strict=True)
    )
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
        yuan=yuan,
        yuan_min=yuan_min,
        yuan_max=yuan_max,
        steps=plans,
        beyond_limits=beyond,
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
        before = ranges[work.after]
        share = _share(work, finished[work.after])
        expected = work.sure + math.ceil(share * before.expected)
        ranges[work.step] = CallRange(expected, work.sure, work.sure + before.most)
    return ranges


def _share(work: StepWork, results: int) -> float:
    """Share of the images with a result that lead to a following step."""
    return min(1.0, work.listed / results) if results else ASSUMED_SHARE


def _share_of(work: StepWork, works: Sequence[StepWork]) -> dict[str, Any]:
    """The fields of a plan about the share of images that lead to a step."""
    if work.after is None:
        return {}
    results = next(before.finished for before in works if before.step == work.after)
    return {"share": round(_share(work, results), 4), "share_assumed": not results}


def _costs(works: Sequence[StepWork], ranges: Mapping[str, CallRange]) -> dict[str, dict[str, Any]]:
    """By step: yuan for the expected, the fewest and the most calls.

    Free calls go to a service's first steps.
    """
    costs: dict[str, dict[str, Any]] = {work.step: {} for work in works}
    for key, bound in (("yuan", "expected"), ("yuan_min", "least"), ("yuan_max", "most")):
        free = {work.service: work.free for work in works}
        for work in works:
            calls = getattr(ranges[work.step], bound)
            paid = max(0, calls - free[work.service])
            free[work.service] -= calls - paid
            costs[work.step][key] = None if work.price is None else round(paid * work.price / CALLS_PER_PRICE, 2)
    return costs


def _sum(yuan: Iterable[float | None]) -> float | None:
    known = [each for each in yuan if each is not None]
    return round(sum(known), 2) if known else None


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
    """Number of Beijing days until the last call, today first, and the calls of the last day.

    `calls` are at most `limit.in_all`.
    """
    day, last_day, last = limit.today, limit.today, 0
    counted = [each for each in limit.counted if each.period.end(day) is not None]
    left = [each.left for each in counted]
    all_daily = all(each.period.first_day is DAILY.first_day for each in counted)
    while calls > 0:
        if room := min(calls, *left) if left else calls:
            calls, last, last_day = calls - room, room, day
            left = [each - room for each in left]
        following = _day_after(day, 1)
        if all_daily and counted and calls:
            # Every further day is like the next one: all that are full are passed over at once.
            following = _day_after(following, (calls - 1) // (full := min(each.most for each in counted)))
            calls = (calls - 1) % full + 1
        left = [
            remaining if _same_period(each.period, day, following) else each.most
            for each, remaining in zip(counted, left, strict=True)
        ]
        day = following
    days = (date.fromisoformat(last_day) - date.fromisoformat(limit.today)).days + 1
    return (days, last) if last else (0, 0)


def _same_period(period: Period, day: str, following: str) -> bool:
    return period.first_day is None or period.first_day(day) == period.first_day(following)


def _day_after(day: str, days: int) -> str:
    return (date.fromisoformat(day) + timedelta(days)).isoformat()


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
        yuan=None,
    )
