"""How many pictures a second one core sends, and what each costs it, beside the usual ways and the bare loop.

Every measurement is a fresh process on a core of its own against a service on another one; those of a round follow
each other, so that ratios compare what ran within the same minute. Images/s are counted by the service, from the
first call to the last. CPU is user and system time of the whole process, all threads: for batchrec that of
`batchrec run` less that of a run over one picture, so start-up is not in it but opening the job and its end are; for
the others that of the loop itself, without imports, token and list of files.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import median

from .clients import CLIENTS, USUAL_CONCURRENCY
from .fast_service import Service, serving
from .jobs import job
from .pictures import made
from .process import Used, module, run
from .tables import Effort, Table, spread

OURS = "batchrec"
CEILING = "bare-uvloop"

_SIZE = 100_000
_LEAST = 1e-3
_PATIENCE = 3.0
"""Seconds that are waited for a client with one call in flight."""

_SLOTS = {0.0: 64, 0.1: 256}
"""Calls in flight, by latency: what keeps a core busy."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is sent and how it is answered: bytes of a picture, and seconds until the answer."""

    size: int
    body: str
    latency: float


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it: pictures by size, `few` for slow peers; rounds of the first table, and of the others."""

    counts: dict[int, int]
    few: int
    first_rounds: int
    rounds: int
    latencies: tuple[float, ...] = tuple(_SLOTS)
    bodies: tuple[str, ...] = ("form", "json")


_PLANS = {
    Effort.QUICK: Plan({_SIZE: 64}, 8, 1, 1, (0.0,), ("form",)),
    Effort.USUAL: Plan({20_000: 6000, _SIZE: 4000, 500_000: 1000, 1_500_000: 400}, 250, 5, 3),
    Effort.FULL: Plan({20_000: 20_000, _SIZE: 20_000, 500_000: 4000, 1_500_000: 1500}, 1000, 9, 7),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One client in one round: its seconds and CPU seconds, those of the service, and the whole process."""

    images: int
    seconds: float
    cpu: float
    service_cpu: float
    used: Used

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of CPU an image."""
        return self.cpu / self.images * 1e6


Rounds = dict[str, list[Measured]]
"""By client; the same index is the same round."""


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """The tables, one after the other as they are done."""
    plan = _PLANS[effort]
    with ExitStack() as stack:
        services = {latency: stack.enter_context(serving(latency)) for latency in plan.latencies}
        bench = Bench(plan, services, cache)
        seen: dict[Cell, Rounds] = {}
        for latency, body in product(plan.latencies, plan.bodies):
            cell = Cell(_SIZE, body, latency)
            seen[cell] = bench.rounds(cell, [OURS, *_installed()], plan.rounds if seen else plan.first_rounds)
            yield _peers(cell, seen[cell])
        for cell in (Cell(*values) for values in product(plan.counts, plan.bodies, plan.latencies)):
            if cell not in seen:
                seen[cell] = bench.rounds(cell, [OURS, CEILING], plan.rounds)
        yield _sizes(seen)


class Bench:
    """Clients against services, by latency, with pictures that are made in `cache`."""

    def __init__(self, plan: Plan, services: dict[float, Service], cache: Path) -> None:
        self._plan = plan
        self._services = services
        self._cache = cache

    def rounds(self, cell: Cell, names: Sequence[str], rounds: int) -> Rounds:
        """Each client once a round, in turn."""
        measured: Rounds = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                measured[name].append(self._ours(cell) if name == OURS else self._client(name, cell))
        return measured

    def _client(self, name: str, cell: Cell) -> Measured:
        service, count = self._services[cell.latency], self._count(name, cell)
        options = ("--body", cell.body, "--concurrency", _SLOTS[cell.latency], "--most", count)
        used = run(module("benchmarks.clients", name, service.url, self._pictures(cell), *options))
        told = json.loads(used.output)
        return _measured(service, count, told["seconds"], told["cpu"], used)

    def _count(self, name: str, cell: Cell) -> int:
        """How many pictures a client is given: a slow one fewer, and one that waits for each answer fewer still."""
        client, most = CLIENTS[name], self._plan.counts[cell.size]
        if client.slow:
            most = min(most, self._plan.few)
        return min(most, round(_PATIENCE / cell.latency)) if client.alone and cell.latency else most

    def _ours(self, cell: Cell) -> Measured:
        service, count, one = self._services[cell.latency], self._plan.counts[cell.size], self._of_one_picture
        with job(service.url, self._pictures(cell), cell.body, _SLOTS[cell.latency]) as ours:
            service.forget()
            used = ours.run()
        return _measured(service, count, max(used.seconds - one[0], _LEAST), max(used.cpu - one[1], _LEAST), used)

    @cached_property
    def _of_one_picture(self) -> tuple[float, float]:
        """Seconds and CPU seconds of a run over one small picture: what every run costs."""
        runs = [self._one_picture() for _ in range(self._plan.rounds)]
        return median(each.seconds for each in runs), median(each.cpu for each in runs)

    def _one_picture(self) -> Used:
        pictures = made(self._cache, min(self._plan.counts), 1)
        with job(self._services[0.0].url, pictures, "form", _SLOTS[0.0]) as of_one:
            return of_one.run()

    def _pictures(self, cell: Cell) -> Path:
        return made(self._cache, cell.size, self._plan.counts[cell.size])


def _measured(service: Service, images: int, seconds: float, cpu: float, used: Used) -> Measured:
    seen = service.seen()
    if seen.calls != images:
        raise RuntimeError(f"the service saw {seen.calls} calls for {images} pictures")
    return Measured(images, seconds, cpu, seen.cpu, used)


def _installed() -> list[str]:
    return [name for name, client in CLIENTS.items() if not client.missing]


def _peers(cell: Cell, rounds: Rounds) -> Table:
    """Every client with one kind of body, and how batchrec compares to it."""
    table = Table(
        f"{_size(cell.size)}, {cell.body} body, {_latency(cell.latency)} latency",
        (
            *("client", "images", "images/s", "CPU us/image", "batchrec's rate to its", "its CPU to batchrec's"),
            *("whole process, s", "peak MB", "service's core"),
        ),
    )
    for name, measured in rounds.items():
        table.add(
            OURS if name == OURS else CLIENTS[name].title,
            f"{measured[0].images:,}",
            spread(each.rate for each in measured),
            spread(each.cost for each in measured),
            spread((ours.rate / each.rate for ours, each in zip(rounds[OURS], measured, strict=True)), 2),
            spread((each.cost / ours.cost for ours, each in zip(rounds[OURS], measured, strict=True)), 2),
            spread((each.used.seconds for each in measured), 1),
            spread(each.used.peak_bytes / 1e6 for each in measured),
            f"{median(each.service_cpu / each.seconds for each in measured):.0%}",
        )
    for client in CLIENTS.values():
        if client.missing:
            table.add(client.title, f"not installed: {', '.join(client.missing)}", *["-"] * (len(table.columns) - 2))
    table.notes = (
        f"{_SLOTS[cell.latency]} calls in flight; the usual scripts and the SDK's threads have {USUAL_CONCURRENCY}. "
        "Ratios are of the same round: more is better for batchrec. The last column is how busy the service was."
    )
    return table


def _sizes(seen: dict[Cell, Rounds]) -> Table:
    """batchrec and the ceiling at every size."""
    table = Table(
        "batchrec beside the bare aiohttp loop on uvloop",
        (
            *("picture", "body", "latency", "images", "batchrec images/s", "bare images/s", "rate to bare"),
            *("batchrec CPU us", "bare CPU us", "CPU over bare, us", "whole run, s"),
        ),
        notes="`whole run` is all that `batchrec run` takes, from its start to its end.",
    )
    for cell, rounds in sorted(seen.items(), key=lambda item: (item[0].latency, item[0].size, item[0].body)):
        if CEILING not in rounds:
            continue
        ours, bare = rounds[OURS], rounds[CEILING]
        table.add(
            _size(cell.size),
            cell.body,
            _latency(cell.latency),
            f"{ours[0].images:,}",
            spread(each.rate for each in ours),
            spread(each.rate for each in bare),
            spread((each.rate / other.rate for each, other in zip(ours, bare, strict=True)), 2),
            spread(each.cost for each in ours),
            spread(each.cost for each in bare),
            spread(each.cost - other.cost for each, other in zip(ours, bare, strict=True)),
            spread((each.used.seconds for each in ours), 1),
        )
    return table


def _size(size: int) -> str:
    return f"{size / 1e6:g} MB" if size >= 1e6 else f"{size / 1e3:g} KB"


def _latency(seconds: float) -> str:
    return f"{seconds * 1000:g} ms"
