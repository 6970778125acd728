"""Photographs of 12 MP through a slow uplink: calls that the service received, and use of the link.

The link is a TCP proxy before the service (`tests/support/slow_link.py`): connections share one rate. `batchrec run`
is measured whole, from its start to its end, and stopped where it takes three times as long as the link needs.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.slow_link import slow_link

from .fast_service import serving
from .jobs import BATCHREC, job
from .pictures import made
from .process import Running
from .tables import Effort, Table

_RATE = 30e6 / 8
"""Bytes per second of the link: 30 Mbit/s, an office's."""

_DELAY = 0.02
"""Seconds each way."""

_PHOTOGRAPHS = {Effort.QUICK: (300_000, 6), Effort.USUAL: (2_700_000, 60), Effort.FULL: (2_700_000, 240)}
"""Bytes of a photograph and their number. As a form, 2.7 MB are 3.8 MB."""

_FORM = 1.42
"""Bytes of a form for a byte of an image: base64, with `+`, `/` and `=` escaped."""

_QPS = (10, 1000)
"""Calls per second that the account has: below and above the rate from which the direct transport is used."""

_PATIENCE = 3.0
"""Times of what the link needs, after which a run is stopped."""

_OUR_NAME = "batchrec"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: calls received, images with a result, seconds, share of the link, peak memory, its end."""

    calls: int
    answered: int
    seconds: float
    used: float
    peak_bytes: int
    ended: bool


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """One table."""
    yield table({_OUR_NAME: BATCHREC}, effort, cache)


def table(programs: Mapping[str, Sequence[str]], effort: Effort, cache: Path) -> Table:
    """Each program at each rate, in turn."""
    size, count = _PHOTOGRAPHS[effort]
    found = Table(
        f"{count} photographs of {size / 1e6:g} MB on a link of {_RATE * 8e-6:g} Mbit/s",
        (
            "program",
            "qps",
            "images",
            "calls received",
            "answered",
            "link used",
            "seconds",
            "peak MB",
            "ended by itself",
        ),
    )
    pictures = made(cache, size, count)
    for qps in _QPS:
        for name, program in programs.items():
            seen = _run(program, pictures, qps, _PATIENCE * size * count * _FORM / _RATE + 10)
            found.add(
                *(name, f"{qps:,}", f"{count:,}", f"{seen.calls:,}", f"{seen.answered:,}", f"{seen.used:.1%}"),
                *(f"{seen.seconds:.1f}", f"{seen.peak_bytes / 1e6:.0f}", "yes" if seen.ended else "no, stopped"),
            )
    found.notes = (
        f"A round trip takes {2000 * _DELAY:.0f} ms. `link used` is of the time between the first and the last byte "
        "that went through. A call is received when its whole body has come."
    )
    return found


def _run(program: Sequence[str], pictures: Path, qps: float, most_seconds: float) -> Measured:
    """Run a job to its end, or for at most so many seconds."""
    with (
        serving() as service,
        slow_link(service.url, _RATE, _DELAY) as link,
        job(link.url, pictures, "form", 0, qps=qps) as ours,
    ):
        running = ours.start(program=program)
        ended = _ends(running, most_seconds)
        if not ended:
            running.kill()
        used = running.wait()
        if ended and used.code:
            raise RuntimeError(f"batchrec run ended with {used.code}:\n{used.complaints}")
        rows = ours.results / "results.jsonl"
        answered = rows.read_bytes().count(b"\n") if rows.exists() else 0
        share = link.carried / (link.last - link.first) / _RATE
        return Measured(service.seen().calls, answered, used.seconds, share, used.peak_bytes, ended)


def _ends(running: Running, most_seconds: float) -> bool:
    until = time.monotonic() + most_seconds
    while not running.ended:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def beside(other: Sequence[str], commit: str, effort: Effort, cache: Path) -> Table:
    """The same beside the program of another commit."""
    return table({_OUR_NAME: BATCHREC, f"batchrec of {commit}": other}, effort, cache)
