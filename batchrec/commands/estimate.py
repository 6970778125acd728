"""The plan of a job: what is left of each step, in calls, time and money."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What is left to be asked at a step. `calls` is what is expected, between `calls_min` and `calls_max`.

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


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole job: where its calls go, its inputs as they are now, and what is left.

    `endpoint` is an origin or "embedded"; `finish_at` is ISO 8601, None where unknown.

    `outside` are inputs whose real path lies outside of the job file's folder, whatever `input.within` says.
    `unreadable`, `refused` and `to_repair` are images among those that are to be asked about; `known` are images and
    steps that need no call, since their answer is known. A picture that is torn inside is found only by decoding it.
    """

    endpoint: str
    images: int
    ignored: int
    outside: int
    unreadable: int
    refused: int
    to_repair: int
    duplicates: int
    known: int
    answered: int
    failed: int
    calls: int
    seconds: float | None
    days: int
    finish_at: str | None
    yuan: float | None
    steps: list[StepPlan]
