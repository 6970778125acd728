"""Snapshots of a run for the display: each step, its service, and the last result."""

import math
from collections.abc import Callable, Mapping

from ..console.progress import Service, Snapshot, StepProgress
from ..exact_json import loads
from ..images import expected_bytes_at
from ..job.spec import Job
from ..journal import Reader, StepCounts
from ..values import ADVISED_SIDE
from .engine import Engine
from .lane import Lane

_ROUNDED_FROM = 100
"""Expected images from which on tens are enough: it is an estimate."""

_LOWERED = 0.97
"""Share of the set rate below which it counts as lowered: a few refusals take less."""


def at_start(journal: Reader, horizon: int | None) -> Mapping[int, StepCounts]:
    """By step: what is finished and remains; up to a horizon, what this run alone has to do."""
    states = journal.by_step()
    if horizon is None:
        return states
    listed = journal.overview.listed_up_to(horizon)
    return {number: StepCounts(open=listed.get(number, 0)) for number in states}


def watcher(
    job: Job,
    engine: Engine,
    numbers: Mapping[str, int],
    before: Mapping[int, StepCounts],
    now: Callable[[], float],
    *,
    limitless: bool,
) -> Callable[[], Snapshot]:
    """Function that takes a snapshot of the run's progress.

    `numbers`: the journal's number of each step. `before`: by number, what was finished and remained at the start.
    `now`: Unix seconds.
    """
    lanes = {number: lane for lane in engine.lanes for number in lane.steps}
    totals: dict[str, int] = {}

    def snapshot() -> Snapshot:
        steps: dict[str, StepProgress] = {}
        for step in job.recognize:
            number = numbers[step.name]
            start, tally = before.get(number, StepCounts()), engine.tally
            done = start.answered + start.failed + tally.finished_at[number]
            total = start.answered + start.failed + start.open + tally.added_at[number]
            # A follow-up of an image that was on the list already adds nothing: the total is what it was.
            total = totals[step.name] = max(totals.get(step.name, 0), total, done)
            steps[step.name] = StepProgress(
                step.name,
                done,
                total,
                _expected(total, steps[step.when.step]) if step.when is not None else total,
                tally.calls_at[number],
                tally.finished_at[number],
                tally.retrying_at[number],
                _service(lanes[number], limitless=limitless),
            )
        return Snapshot(
            tuple(steps.values()),
            sum(start.failed for start in before.values()) + engine.tally.failed,
            last_result(engine.last_row),
            engine.uplink.rate if engine.uplink.limiting else 0.0,
            _images_shrunk(job, engine),
            now(),
        )

    return snapshot


def _expected(total: int, leading: StepProgress) -> int:
    """Images of a follow-up step at the end, if as many of the rest ask for it as so far."""
    if not leading.done or leading.done >= leading.expected:
        return total
    expected = total * leading.expected // leading.done
    return max(total, round(expected, -1) if expected > _ROUNDED_FROM else expected)


def _service(lane: Lane, *, limitless: bool) -> Service:
    gate = lane.gate
    limiter = gate.limiter
    lowered = limiter.limit if limiter.rate < _LOWERED * limiter.limit < math.inf else None
    allowed = None if limitless else limiter.rate
    return Service(gate.service, gate.state, allowed, gate.in_flight, limiter.round_trip, lowered)


def last_result(line: bytes) -> tuple[str, str] | None:
    """Image and top label of a line of results.jsonl; None for an empty one."""
    if not line:
        return None
    row = loads(line)
    best = row["labels"][0] if row["labels"] else None
    if best is None or not best["name"]:
        return row["image"], ""
    score = best["score"]
    return row["image"], best["name"] if score is None else f"{best['name']} {score:.2f}"


def _images_shrunk(job: Job, engine: Engine) -> float:
    """Images/s that the uplink would carry with `input.max_side`; 0 where that is set or changes little."""
    uplink, calls = engine.uplink, engine.tally.calls
    if job.input.max_side is not None or not uplink.limiting or not calls:
        return 0.0
    body = uplink.replied / calls
    image = round(body * 3 / 4)
    smaller = expected_bytes_at(image, ADVISED_SIDE)
    return uplink.rate / body * image / smaller if smaller < image else 0.0
