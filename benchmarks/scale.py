"""From 1,000 images to 1,000,000: memory, how soon the first call leaves, resuming, and bytes on the disk.

The images are JPEGs of 1,000 bytes. For each number a job is run four times, as `batchrec run` on a core of its own:
from nothing until 90 % are answered, and to its end (`--limit`); again, killed as soon as its first call has left; to
the end of all images; and once more, with nothing left to do. The service says when its first call came.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .fast_service import Service, serving
from .jobs import Job, job
from .pictures import made
from .process import Used
from .tables import Effort, Table

_SIZE = 1000
_SLOTS = 64
_COUNTS = {
    Effort.QUICK: (100,),
    Effort.USUAL: (1000, 10_000, 100_000),
    Effort.FULL: (1000, 10_000, 100_000, 1_000_000),
}
_DONE = 0.9
_LOOKED_AT = 0.005


@dataclass(frozen=True, slots=True)
class Lap:
    """One run: what it took, seconds from its start until its first call came (None: it made none), and its calls."""

    used: Used
    first_call: float | None
    calls: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The runs over so many images, and what they left on the disk in bytes, by file."""

    images: int
    fresh: Lap
    killed: Lap
    resumed: Lap
    finished: Lap
    disk: dict[str, int]


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """Time and memory, and bytes on the disk, a row for every number of images."""
    with serving() as service:
        seen = [_at(service, made(cache, _SIZE, count), count) for count in _COUNTS[effort]]
    yield _times(seen)
    yield _memory(seen)
    yield _disk(seen)


def _at(service: Service, pictures: Path, count: int) -> Seen:
    with job(service.url, pictures, "form", _SLOTS) as scaled:
        fresh = _lap(service, scaled, "--limit", str(round(_DONE * count)))
        killed = _killed(service, scaled)
        resumed = _lap(service, scaled)
        finished = _lap(service, scaled)
        if scaled.summary["answered"] != count or finished.calls:
            raise RuntimeError(f"{scaled.summary} for {count} images")
        return Seen(count, fresh, killed, resumed, finished, _sizes(scaled))


def _lap(service: Service, scaled: Job, *options: str) -> Lap:
    service.forget()
    return _told(service, scaled.run(*options))


def _killed(service: Service, scaled: Job) -> Lap:
    """A run that is killed once its first call has left. Its answers are not committed before 0.15 s have passed."""
    service.forget()
    running = scaled.start()
    while not service.seen().calls and not running.ended:
        time.sleep(_LOOKED_AT)
    running.kill()
    return _told(service, running.wait())


def _told(service: Service, used: Used) -> Lap:
    seen = service.seen()
    return Lap(used, seen.first - used.began if seen.calls else None, seen.calls)


def _sizes(scaled: Job) -> dict[str, int]:
    results = {name: scaled.results / name for name in ("journal.db", "results.jsonl", "results.csv")}
    sizes = {name: path.stat().st_size for name, path in results.items()}
    return {**sizes, "state folder": sum(path.stat().st_size for path in scaled.state.glob("*"))}


def _times(seen: list[Seen]) -> Table:
    table = Table(
        "time",
        (
            *("images", "to the first call, s: new job", "90 % done", "90 % done, after a SIGKILL"),
            *("nothing to do, s", "nothing to do, us/image", "images/s of the new job"),
        ),
    )
    for each in seen:
        finished = each.finished.used.seconds
        table.add(
            f"{each.images:,}",
            *(_first(lap) for lap in (each.fresh, each.killed, each.resumed)),
            f"{finished:.2f}",
            f"{finished / each.images * 1e6:.1f}",
            f"{each.fresh.calls / each.fresh.used.seconds:,.0f}",
        )
    table.notes = "Seconds are from the start of the process, images/s of the whole run over 90 % of the images."
    return table


def _memory(seen: list[Seen]) -> Table:
    table = Table("peak memory, MiB", ("images", "new job", "resumed", "nothing to do", "new job to the first row's"))
    for each in seen:
        peaks = [lap.used.peak_bytes / 2**20 for lap in (each.fresh, each.resumed, each.finished)]
        ratio = each.fresh.used.peak_bytes / seen[0].fresh.used.peak_bytes
        table.add(f"{each.images:,}", *(f"{peak:.0f}" for peak in peaks), f"{ratio:.2f}")
    return table


def _disk(seen: list[Seen]) -> Table:
    table = Table("bytes an image on the disk", ("images", *seen[0].disk))
    for each in seen:
        table.add(f"{each.images:,}", *(f"{size / each.images:,.0f}" for size in each.disk.values()))
    table.notes = "The state folder holds known answers, digests, counts and the pace, for all jobs of the account."
    return table


def _first(lap: Lap) -> str:
    return "-" if lap.first_call is None else f"{lap.first_call:.2f}"
