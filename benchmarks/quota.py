"""How much of an account's calls per second is used, and how much refused: `python -m benchmarks.quota [PART...]`.

Parts, all by default: `real` (sockets; beside the plain uses of aiolimiter and pyrate-limiter, in one run), `slow`
(answers that take long, or vary), `auto` (a limit nobody told), `processes` (several on one account), `cost` (the
gate, microseconds a call), `simulated` (what the machine cannot hold in real time). Prints tables; asserts nothing.
`python -m benchmarks quota` keeps the tables, of shorter streams and without `simulated`; with `--full` of all.
"""

import argparse
import asyncio
import logging
import math
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import aiohttp
import orjson
import uvloop
from aiolimiter import AsyncLimiter

from batchrec.limits.gate import Gate
from batchrec.limits.keeper import LocalKeeper
from batchrec.limits.quota import Quota
from batchrec.limits.rate_limiter import RateLimiter
from batchrec.limits.shared_rate import SharedRates
from batchrec.values import Caps, Target
from tests.support import virtual_time
from tests.support.gates import a_gate, days_of, through_gates
from tests.support.simulation import Service, simulate

from .machine import CLIENT_CORE, pin
from .process import module, run
from .service import serving
from .tables import Effort, Table

LIMITS = (2, 10, 50, 200)
WAYS = {"none": "20", "40 ms": "20-60", "180 ms": "20-200"}
WINDOWS = ("fixed", "sliding")
_WARM = 3.0
_THINKING = ("300", "3000", "50-550")
_MOST_IN_FLIGHT = 1000
_RATES = (10, 50, 200, 500, 2000, 10_000)
_DAILY, _DAYS_SECONDS = 20_000, 60 * 3600.0
_PYRATE = "pyrate-limiter"
_BRIEF = 3.0
"""Streams of so few seconds are only to see that they work: fewer of them, and their first half not in the share."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One stream of calls, and what counts it."""

    pace: str
    limit: int
    window: str = "sliding"
    way: str = "20"
    thinking: str = "100"

    def path(self, key: str) -> str:
        """The address that counts it so."""
        return f"/{key}/{self.limit}/{self.window}/{self.way}/{self.thinking}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the service saw of a stream: when it took and refused calls, in seconds from the beginning."""

    taken: list[float]
    refused: list[float]

    def used(self, limit: float, seconds: float) -> float:
        """The share of the limit that was used, after the first seconds."""
        since = min(_WARM, seconds / 2)
        return sum(since < moment <= seconds for moment in self.taken) / (seconds - since) / limit

    def cell(self, limit: int, seconds: float) -> str:
        """As a cell of a table: the share used, and the calls refused of all."""
        return f"{self.used(limit, seconds):.3f}  {len(self.refused)}/{len(self.taken) + len(self.refused)}"


Turn = Callable[[], Awaitable[object]]
Told = Callable[[object, float, bool], None]


def _plain(turn: Turn) -> tuple[Turn, Told]:
    return turn, lambda slot, sent, taken: None


@contextmanager
def _keeping(folder: Path) -> Iterator[LocalKeeper]:
    with closing(SharedRates(folder)) as rates, closing(Quota(folder, time.time)) as quota:
        yield LocalKeeper(rates, quota, time.monotonic)


def _ours(keeper: LocalKeeper, key: str, rate: float) -> tuple[Turn, Told]:
    target = Target("me", key, Caps(rate))
    pacer = RateLimiter(keeper, target, keeper.open(target)[0], time.monotonic)

    def told(slot: object, sent: float, taken: bool) -> None:
        (pacer.on_answer if taken else pacer.on_refused)(slot, sent)  # type: ignore[arg-type]

    return pacer.acquire, told


def _pace(name: str, limit: float, keeper: LocalKeeper, key: str) -> tuple[Turn, Told]:
    if name == "AsyncLimiter(Q, 1)":
        return _plain(AsyncLimiter(limit, 1).acquire)
    if name == "AsyncLimiter(1, 1/Q)":
        return _plain(AsyncLimiter(1, 1 / limit).acquire)
    if name == _PYRATE:
        from pyrate_limiter import Duration, Limiter, Rate

        limiter = Limiter(Rate(int(limit), Duration.SECOND))
        return _plain(lambda: limiter.try_acquire_async(key))
    return _ours(keeper, key, math.inf if name == "auto" else limit)


class Bench:
    """Streams of calls to the service of `address`, for so many seconds each."""

    def __init__(self, address: str, session: aiohttp.ClientSession, keeper: LocalKeeper, seconds: float) -> None:
        self._address, self._session, self._keeper, self.seconds = address, session, keeper, seconds

    async def run(self, cells: list[Cell], seconds: float | None = None) -> list[Seen]:
        """All at once; what became of each."""
        return await asyncio.gather(*(self._stream(cell, seconds or self.seconds) for cell in cells))

    async def _stream(self, cell: Cell, seconds: float) -> Seen:
        key = f"c{random.getrandbits(48):x}"
        turn, told = _pace(cell.pace, cell.limit, self._keeper, key)
        begin = time.monotonic()
        room = asyncio.Semaphore(_MOST_IN_FLIGHT)
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < begin + seconds:
                await room.acquire()
                slot = await turn()
                group.create_task(self._call(cell.path(key), slot, told, room))
        return await self.told(key, begin)

    async def _call(self, path: str, slot: object, told: Told, room: asyncio.Semaphore) -> None:
        sent = time.monotonic()
        async with self._session.post(self._address + path, data=b"image=") as response:
            content = await response.json()
        told(slot, sent, "error_code" not in content)
        room.release()

    async def told(self, key: str, begin: float) -> Seen:
        """What the service says of a key."""
        async with self._session.get(f"{self._address}/{key}") as response:
            content = await response.json()
        return Seen([moment - begin for moment in content["taken"]], [moment - begin for moment in content["refused"]])


# -- the parts


async def real(bench: Bench) -> Table:
    """Every pace against every limit, jitter and window, the paces in turn."""
    missing = [] if find_spec("pyrate_limiter") else [_PYRATE]
    paces = [
        pace for pace in ("batchrec", "AsyncLimiter(Q, 1)", "AsyncLimiter(1, 1/Q)", _PYRATE) if pace not in missing
    ]
    table = Table("share used, calls refused of all", ("calls/s", "jitter on the way", "window", *paces))
    ways, windows = (WAYS, WINDOWS) if bench.seconds > _BRIEF else ({"40 ms": WAYS["40 ms"]}, WINDOWS[1:])
    rows: dict[tuple[int, str, str], list[str]] = {}
    for (jitter, way), window, pace in product(ways.items(), windows, paces):
        # One pace after the other, or they would take each other's processor.
        cells = [Cell(pace, limit, window, way) for limit in LIMITS]
        for cell, seen in zip(cells, await bench.run(cells), strict=True):
            rows.setdefault((cell.limit, jitter, window), []).append(seen.cell(cell.limit, bench.seconds))
    for (limit, jitter, window), columns in sorted(rows.items(), key=lambda row: row[0][0]):
        table.add(str(limit), jitter, window, *columns)
    table.notes = f"{bench.seconds:g} s a stream, the first {min(_WARM, bench.seconds / 2):g} not in the share."
    if missing:
        table.notes += f" Not installed: {', '.join(missing)}."
    return table


async def slow(bench: Bench) -> Table:
    """Answers that take long, or vary: no jitter on the way."""
    table = Table("batchrec, sliding window", ("calls/s", *(f"answers in {kind} ms" for kind in _THINKING)))
    cells = [Cell("batchrec", limit, thinking=thinking) for limit in LIMITS for thinking in _THINKING]
    seen = await bench.run(cells)
    for at, limit in enumerate(LIMITS):
        table.add(str(limit), *(each.cell(limit, bench.seconds) for each in seen[3 * at : 3 * at + 3]))
    return table


async def auto(bench: Bench) -> Table:
    """Limits that nobody told."""
    table = Table("qps = auto, one minute", ("limit", "s until within 5 %", "share used in a minute, refused"))
    limits = (2, 10, 80)
    for limit, seen in zip(limits, await bench.run([Cell("auto", limit) for limit in limits], 60), strict=True):
        counts = [sum(second <= moment < second + 1 for moment in seen.taken) for second in range(60)]
        reached = next((second for second, count in enumerate(counts) if count >= int(0.95 * limit)), None)
        table.add(str(limit), str(reached), seen.cell(limit, 60))
    return table


async def processes(bench: Bench, address: str, folder: Path) -> Table:
    """Several processes of one account, each with a connection of its own to the state folder."""
    table = Table("one account, several processes", ("calls/s", "processes", "share used, refused"))
    for limit in (2, 10, 50, 200):
        for count in (2, 4):
            key = f"p{random.getrandbits(48):x}"
            begin = time.monotonic()
            workers = [
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "benchmarks.quota", "--worker", address, str(folder), key, str(limit)),
                    *("--seconds", str(bench.seconds)),
                )
                for _ in range(count)
            ]
            await asyncio.gather(*(worker.wait() for worker in workers))
            seen = await bench.told(key, begin)
            first, last = seen.taken[0], seen.taken[-1]
            inner = Seen([moment - first for moment in seen.taken], seen.refused)
            table.add(str(limit), str(count), inner.cell(limit, last - first - 1))
    return table


async def work(address: str, folder: Path, key: str, limit: int, seconds: float) -> None:
    """One of several processes."""
    with _keeping(folder) as keeper:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            turn, told = _ours(keeper, key, limit)
            bench = Bench(address, session, keeper, seconds)
            end = time.monotonic() + seconds
            room = asyncio.Semaphore(_MOST_IN_FLIGHT)
            async with asyncio.TaskGroup() as group:
                while time.monotonic() < end:
                    slot = await turn()
                    await room.acquire()
                    group.create_task(bench._call(Cell("batchrec", limit, way="20-60").path(key), slot, told, room))


def cost(folder: Path, rates: Sequence[float]) -> Table:
    """Processor time of a call's way through the gate and back: the turn, the count, the reply.

    In virtual time, so that it is the code's alone and not that of waking up from a sleep.
    """
    table = Table("the gate", ("calls/s", "us a call, alone", "us a call, two sharing"))
    for rate in rates:
        table.add(str(rate), *(f"{_gate_cost(folder, rate, gates):.0f}" for gates in (1, 2)))
    return table


def _gate_cost(folder: Path, rate: float, gates: int) -> float:
    seconds = max(3.0, min(60.0, 3000 / rate))
    state = Path(tempfile.mkdtemp(dir=folder))
    with ExitStack() as stack:

        async def pass_all() -> int:
            doors = [a_gate(stack, state, Caps(rate)) for _ in range(gates)]
            return sum(await asyncio.gather(*(_pass_through(door, seconds) for door in doors)))

        began = time.process_time()
        calls: int = virtual_time.run(pass_all())
        return (time.process_time() - began) / calls * 1e6


async def _pass_through(gate: Gate, seconds: float) -> int:
    time, calls = asyncio.get_running_loop().time, 0
    end = time() + seconds
    while time() < end:
        ticket = await gate.enter()
        calls += 1
        gate.settle(ticket, calls, None)
    return calls


def simulated() -> list[Table]:
    """Virtual time: hours, 2,000 calls a second, twenty processes."""
    logging.disable(logging.WARNING)  # gates say that they wait for tomorrow
    grid = Table("simulated: share used, refused per 1,000", ("calls/s", "jitter ms", "sliding", "fixed"))
    for limit in (1, 2, 10, 50, 200, 500, 2000):
        seconds = max(60.0, min(7200.0, 60_000 / limit))
        for jitter in (0, 40, 180, 300):
            columns = []
            for window in WINDOWS:
                service = Service(limit, "fixed" if window == "fixed" else "sliding", (0.02, 0.02 + jitter / 1000))
                outcome = simulate(service, limit, seconds)
                columns.append(f"{outcome.used(limit):.3f}  {1000 * outcome.refusals():.2f}")
            grid.add(str(limit), str(jitter), *columns)
    many = Table("simulated, 40 ms jitter, sliding", ("calls/s", *(f"{count} processes" for count in (1, 2, 4, 20))))
    for limit in (2, 10, 200):
        columns = []
        for count in (1, 2, 4, 20):
            outcome = simulate(Service(limit, way=(0.02, 0.06)), limit, max(60, 6000 / limit), processes=count)
            columns.append(f"{outcome.used(limit):.3f}  {1000 * outcome.refusals():.2f}")
        many.add(str(limit), *columns)
    limited = Table(
        "simulated: gates and counts, 10 calls/s, 40 ms jitter, 20,000 calls a day, two days and a half",
        ("processes", *days_of(_DAYS_SECONDS), "refused per 1,000"),
    )
    for count in (1, 4):
        with tempfile.TemporaryDirectory() as name:
            days = through_gates(
                Service(10, way=(0.02, 0.06)), Caps.of(10, daily=_DAILY), _DAYS_SECONDS, count, Path(name)
            )
        taken = [f"{days.taken[day]:,}" for day in days_of(_DAYS_SECONDS)]
        limited.add(str(count), *taken, f"{1000 * days.refused / days.calls:.2f}")
    found = Table("simulated: auto, five minutes", ("limit", "s until within 5 %", "used", "refused per 1,000"))
    for limit in (2, 10, 80, 500):
        outcome = simulate(Service(limit), math.inf, 300)
        reached = outcome.second_reaching(int(0.95 * limit))
        found.add(str(limit), str(reached), f"{outcome.used(limit, 0):.3f}", f"{1000 * outcome.refusals():.2f}")
    return [grid, many, limited, found]


async def over_sockets(part: str, seconds: float) -> Table:
    """One of the parts that need a service."""
    pin(CLIENT_CORE)
    with tempfile.TemporaryDirectory() as name, _keeping(Path(name)) as keeper:
        async with serving() as address, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            bench = Bench(address, session, keeper, seconds)
            match part:
                case "real":
                    return await real(bench)
                case "slow":
                    return await slow(bench)
                case "auto":
                    return await auto(bench)
                case _:
                    return await processes(bench, address, Path(name))


PARTS = ("real", "slow", "auto", "processes", "cost", "simulated")


def part_tables(part: str, seconds: float) -> list[Table]:
    """The tables of one part, each stream taking so many seconds."""
    if part == "simulated":
        return simulated()
    if part == "cost":
        pin(CLIENT_CORE)
        with tempfile.TemporaryDirectory() as name:
            return [cost(Path(name), _RATES if seconds > _BRIEF else _RATES[2:3])]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return [runner.run(over_sockets(part, seconds))]


_PLANS = {
    Effort.QUICK: (("real", "cost"), 1.0),
    Effort.USUAL: (PARTS[:-1], 6.0),
    Effort.FULL: (PARTS, 30.0),
}
"""Parts, and seconds a stream."""


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """The tables of the parts, each part a process of its own."""
    parts, seconds = _PLANS[effort]
    for part in parts:
        used = run(module("benchmarks.quota", part, "--seconds", seconds, "--json"), core=None)
        yield from (Table(**told) for told in orjson.loads(used.output))


def main() -> None:
    """Run the parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=30.0, help="of every stream")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}")
    if given.worker:
        where, state, name, rate = given.worker
        asyncio.run(work(where, Path(state), name, int(rate), given.seconds))
        return
    for part in given.parts or PARTS:
        made = part_tables(part, given.seconds)
        if given.json:
            print(orjson.dumps(made).decode())
        else:
            print(*(table.markdown() for table in made), sep="\n", flush=True)


if __name__ == "__main__":
    main()
