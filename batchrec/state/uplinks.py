"""Measurements of the uplink by endpoint, of runs that it limited: `uplinks.json` of the state folder."""

from pathlib import Path
from typing import NamedTuple

import orjson

from .directory import write_private

FILE = "uplinks.json"

_MOST = 64
"""Endpoints that are kept: those that were measured last."""


class Measured(NamedTuple):
    """Bytes per second, and when they were measured (Unix seconds)."""

    rate: float
    at: float


def measured(state: Path, endpoint: str) -> Measured | None:
    """The last measurement towards an endpoint; None where there is none that can be read."""
    return _read(state).get(endpoint)


def note(state: Path, endpoint: str, rate: float, now: float) -> None:
    """Keep a measurement. It is worth no run: where it cannot be written, it is not kept."""
    known = _read(state)
    known[endpoint] = Measured(rate, now)
    latest = sorted(known.items(), key=lambda item: item[1].at)[-_MOST:]
    try:
        write_private(state / FILE, orjson.dumps({name: list(each) for name, each in latest}))
    except OSError:
        return


def _read(state: Path) -> dict[str, Measured]:
    try:
        told = orjson.loads((state / FILE).read_bytes())
        found = {str(endpoint): Measured(float(rate), float(at)) for endpoint, (rate, at) in told.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {endpoint: each for endpoint, each in found.items() if each.rate > 0}
