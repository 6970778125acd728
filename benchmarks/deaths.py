"""One job on a Ray cluster of three nodes on this machine, with a death on the way: what the service saw of it.

The service is the emulator, in this process: it counts strictly, and knows each picture.
"""

import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import orjson

from batchrec.emulator import Emulator, Settings
from tests.acceptance.harness import KEY, SECRET, Running, emulating, until
from tests.support.raylets import Raylets

from .process import ROOT

NODES = 3
SHARD = 40
"""Images of a shard where something dies: all nodes have some of them until the end."""
_LATENCY = 0.1
_WARM = 3.0
"""Seconds of calls that are in no share."""
_LOOK_SECONDS = 0.01
_CPU_SECONDS = 0.5
_TICK = os.sysconf("SC_CLK_TCK")
_STEP = "dish"
_LATER_EPOCH = "0000[2-9]-*.jsonl"
_THAWED_SECONDS = 2.0
"""Time for a frozen node, once it goes on after the run, to do what it still would: call, or write a part."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a run. Times are Unix seconds, `died` is 0 where nothing did.

    `in_flight`: calls of all nodes that the service had received and not answered at the death; `handed_over`: seconds
    from then until a lost shard was worked on again, None where that was not seen; `cpu`: seconds of processor time of
    a call, of the keeper and of the workers, or of the one process.
    """

    images: int
    rows: int
    different: int
    taken: Sequence[float]
    refused: int
    twice: int
    in_flight: int
    died: float
    handed_over: float | None
    cpu: dict[str, float]

    def used(self, qps: float) -> float:
        """The share of the rate that was used from the first calls on to the last."""
        times = [at for at in self.taken if at >= self.taken[0] + _WARM]
        return (len(times) - 1) / (times[-1] - times[0]) / qps

    @property
    def gap(self) -> tuple[float, float]:
        """The longest time without a call from the death on: its seconds, and those from the death to its end."""
        times = [self.died, *(at for at in self.taken if at > self.died)]
        before, after = max(pairwise(times), key=lambda pair: pair[1] - pair[0])
        return after - before, after - self.died


@dataclass
class Place:
    """Pictures, the cluster and how commands are started; `env` is theirs."""

    folder: Path
    pictures: Path
    env: dict[str, str]
    cluster: Raylets
    runs: int = 0

    def start(self, folder: Path, endpoint: str, qps: float, images: int, shard: int | None) -> Running:
        """Start `batchrec run` over the first pictures; `shard` None: in one process."""
        paths = sorted(self.pictures.iterdir())[:images]
        (folder / "images.txt").write_text("".join(f"{path}\n" for path in paths))
        (folder / "job.toml").write_text(
            f'[input]\nmanifest = "images.txt"\n[[recognize]]\nservice = "{_STEP}"\n[limits]\nqps = {qps}\n'
            f'[account]\nendpoint = "{endpoint}"\n[output]\ndirectory = "out"\nformats = ["jsonl"]\n'
        )
        options = ["--yes", "--no-reuse"]
        if shard is not None:
            options += ["--on", self.cluster.address, "--shard-size", str(shard)]
        return self.command(folder, endpoint, "run", *options)

    def command(self, folder: Path, endpoint: str, name: str, *options: str) -> Running:
        """Start a command on the job file that `start` has written."""
        env = self.env | {"BAIDU_API_KEY": KEY, "BAIDU_SECRET_KEY": SECRET, "BATCHREC_ENDPOINT": endpoint}
        argv = [sys.executable, "-m", "batchrec", name, str(folder / "job.toml"), *options]
        return Running(argv, ROOT, env, folder / f"said-{name}")


@dataclass
class Night:
    """A run under way, for whoever brings a death."""

    place: Place
    run: Running
    again: Callable[[], Running]


Death = Callable[[Night], None]


def kill_node(night: Night) -> None:
    """SIGKILL to a node's raylet and its workers."""
    night.place.cluster.send(0, signal.SIGKILL)


def freeze_node(night: Night) -> None:
    """SIGSTOP to the same."""
    night.place.cluster.send(0, signal.SIGSTOP)


def kill_keeper(night: Night) -> None:
    """SIGKILL to the keeper of this run, the newest one."""
    os.kill(max(night.place.cluster.actors("KeeperActor")), signal.SIGKILL)


def kill_driver(night: Night) -> None:
    """SIGKILL to the run, and the same command again at once."""
    night.run.kill()
    night.run = night.again()


@contextmanager
def opened(folder: Path, pictures: Path) -> Iterator[Place]:
    """A cluster, and a place for runs."""
    folder.mkdir(exist_ok=True)
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("BAIDU_", "BATCHREC_"))}
    clean.pop("PYTHONDONTWRITEBYTECODE", None)
    env = clean | {"BATCHREC_STATE_DIR": str(folder / "state"), "BATCHREC_CONFIG_DIR": str(folder / "config")}
    env |= {"NO_PROXY": "127.0.0.1", "RAY_USAGE_STATS_ENABLED": "0"}
    cluster = Raylets(env)
    try:
        for _node in range(NODES):
            cluster.add()
        yield Place(folder, pictures, env, cluster)
    finally:
        cluster.close()


def played(place: Place, images: int, qps: float, death: Death | None = None, shard: int | None = SHARD) -> Seen:
    """A run over so many pictures, in shards or (None) in one process.

    The death comes when a third of the calls were taken.
    """
    place.runs += 1
    folder = place.folder / f"run-{place.runs}"
    folder.mkdir()
    with emulating(Settings(qps=qps, latency=_LATENCY), now=time.time) as emulator:

        def start() -> Running:
            return place.start(folder, emulator.url, qps, images, shard)

        night, died, in_flight, handed_over = Night(place, start(), start), 0.0, 0, list[float]()
        with _metered(night.run.process.pid, emulator, None if shard is None else place.cluster) as cpu:
            if death is not None:
                until(lambda: len(_taken(emulator)) >= images // 3, 300)
                died, in_flight = time.time(), emulator.counters.in_flight
                death(night)
                watching = threading.Thread(target=_watch, args=(folder / "out" / "parts", night, handed_over))
                watching.start()
                watching.join()
            _succeeded(night.run, 60 + 3 * images / qps)
        if death is freeze_node:
            _thaw(place, folder, emulator.url)
        while len(place.cluster.nodes) < NODES:
            place.cluster.add()
        counters = emulator.counters
        rows = Counter(orjson.loads(line)["image"] for line in _rows(folder))
        twice = sum(times - 1 for times in counters.images[_STEP].values())
        seen = Seen(
            images,
            rows.total(),
            len(rows),
            _taken(emulator),
            counters.outcomes[_STEP]["18"],
            twice,
            in_flight,
            died,
            handed_over[0] - died if handed_over else None,
            cpu,
        )
    shutil.rmtree(folder)
    return seen


def _succeeded(run: Running, seconds: float) -> None:
    """Wait for the end of a command. Raises RuntimeError where it failed."""
    done = run.wait(seconds)
    if done.code:
        raise RuntimeError(f"{run.process.args!r} ended with {done.code}: {done.err}")


def _thaw(place: Place, folder: Path, endpoint: str) -> None:
    """Let the frozen node go on, and merge what it still writes. Raises RuntimeError where that changes a row.

    The node is killed then: what follows gets a new one.
    """
    before = sorted(_rows(folder))
    place.cluster.send(0, signal.SIGCONT)
    time.sleep(_THAWED_SECONDS)
    place.cluster.send(0, signal.SIGKILL)
    _succeeded(place.command(folder, endpoint, "merge"), 60)
    if sorted(_rows(folder)) != before:
        raise RuntimeError("a node that was frozen until the run's end has changed its rows")


def _rows(folder: Path) -> list[bytes]:
    return (folder / "out/results.jsonl").read_bytes().splitlines()


def _taken(emulator: Emulator) -> list[float]:
    return list(emulator.counters.admitted.get(_STEP, ()))


def _watch(parts: Path, night: Night, handed_over: list[float]) -> None:
    """Note when a shard that was lost has its first row under a later epoch; looks until the run ends."""
    while night.run.process.poll() is None and not handed_over:
        with suppress(OSError):
            if any(parts.glob(f"*/{_LATER_EPOCH}")):
                handed_over.append(time.time())
        time.sleep(_LOOK_SECONDS)


@contextmanager
def _metered(process: int, emulator: Emulator, cluster: Raylets | None) -> Iterator[dict[str, float]]:
    """Processor time of a call, from the first calls on, until the block ends; filled then."""
    names = {"keeper": "KeeperActor", "worker": "WorkerActor"} if cluster else {"process": ""}
    found: dict[str, float] = {}
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    kinds: dict[int, str] = {}
    over, calls = threading.Event(), [0]

    def look() -> None:
        while not over.wait(_CPU_SECONDS):
            taken = _taken(emulator)
            if not taken or time.time() < taken[0] + _WARM:
                continue
            calls[0] = calls[0] or len(taken)
            for name, word in names.items():
                for each in cluster.actors(word) if cluster else [process]:
                    with suppress(OSError):
                        last[each] = _cpu(each)
                        first.setdefault(each, last[each])
                        kinds[each] = name

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        many = max(1, len(_taken(emulator)) - calls[0])
        for name in names:
            found[name] = sum(last[each] - first[each] for each in last if kinds[each] == name) / many


def _cpu(process: int) -> float:
    """Seconds of processor time that a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
