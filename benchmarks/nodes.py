"""A hundred nodes at 2,000 calls/s in virtual time, with the keeper's own code, and the merge of their parts.

    .venv/bin/python -m benchmarks.nodes [SECONDS]

The nodes' clocks differ by up to a day, messages take 0.5 to 3 ms a way, calls 10 to 30 ms to a strict service with a
sliding second, and 100 ms in it. One node is lost on the way. Figures of a hundred million images are computed from it.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from batchrec.api.services import SERVICES
from batchrec.cluster.client import RemoteKeeper, ShardLost
from batchrec.cluster.keeper import SILENT_SECONDS, ClusterKeeper, Fenced, Holder, Slice
from batchrec.cluster.merge import Merger
from batchrec.cluster.parts import Parts, PartWriter, Subject, encode
from batchrec.cluster.wanted import Wanted
from batchrec.engine.rows import Asked, answered
from batchrec.exact_json import dumps
from batchrec.job.spec import Step
from batchrec.journal import Journal, StepRecord
from batchrec.limits.quota import Quota
from batchrec.limits.shared_rate import SharedRates
from batchrec.outputs import OUTPUTS
from batchrec.outputs.files import ResultFiles
from batchrec.sources import FileStore
from batchrec.times import Clock
from batchrec.values import (
    Answer,
    Answered,
    Caps,
    Closure,
    Event,
    InputEntry,
    Label,
    Permit,
    Prepared,
    Target,
    Task,
    Throttled,
    Treatment,
)
from tests.cluster.parts import Direct
from tests.support import virtual_time
from tests.support.gates import unix
from tests.support.simulation import Counter

from .tables import Table

NODES, QPS, SHARDS = 100, 2000, 2
IMAGES = 100_000_000
LOST_EVERY_SECONDS = 600
"""Time between two losses of a node."""
_WARM_SECONDS = 5.0
_STEP = Step(service="dish")
_MERGED_ROWS = 20_000


@dataclass(slots=True)
class Figures:
    """Times of calls taken and refused, permits that were too late, leases, and seconds until a lost shard went on."""

    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    late: int = 0
    leases: int = 0
    handed_over: float = 0.0


class Counting(Direct):
    """A channel that counts leases, with the time that messages take."""

    figures: Figures

    async def lease(self, holder: Holder, target: Target, events: Sequence[Event]) -> Slice | Closure | Fenced:
        """Lease, and count that."""
        self.figures.leases += 1
        return await super().lease(holder, target, events)


async def _play(seconds: float, figures: Figures, folder: Path) -> None:
    loop, rng = asyncio.get_running_loop(), random.Random(1)
    service, target = Counter(QPS, "sliding"), Target("me", "dish", Caps(QPS))
    with ExitStack() as stack:
        rates = stack.enter_context(closing(SharedRates(None)))
        quota = stack.enter_context(closing(Quota(folder, unix)))
        core = ClusterKeeper(rates, quota, Clock(loop.time, unix, rng))

        async def call(keeper: RemoteKeeper, permit: Permit, now: Callable[[], float]) -> None:
            await asyncio.sleep(max(0.0, permit.at - now()) + rng.random() * 0.001)
            sent = now()
            if sent - permit.at > 0.05:
                figures.late += 1
                return
            await asyncio.sleep(rng.uniform(0.01, 0.03))
            taken = service.takes(loop.time())
            (figures.taken if taken else figures.refused).append(loop.time())
            await asyncio.sleep(rng.uniform(0.01, 0.03) + (0.1 if taken else 0.0))
            end = Answered if taken else Throttled
            keeper.report(target, [end(permit.number, sent, now())])

        async def shard(name: str, skew: float) -> None:
            def now() -> float:
                return loop.time() + skew

            channel = Counting(core, loop.time, lambda: rng.uniform(0.0005, 0.003))
            channel.figures = figures
            keeper = RemoteKeeper(channel, core.begin(name), now)
            await keeper.prepare([target])
            calls = set[asyncio.Task[None]]()
            beating = asyncio.ensure_future(keeper.beating())
            try:
                while True:
                    leased = await keeper.lease(target, 64)
                    assert not isinstance(leased, Closure)
                    keeper.charge(target, leased.permits)
                    for permit in leased.permits:
                        calls.add(task := asyncio.ensure_future(call(keeper, permit, now)))
                        task.add_done_callback(calls.discard)
                    # As an engine: the next slice is asked for when the last permit of this one is due.
                    await asyncio.sleep(max(0.0, leased.permits[-1].at - now()))
            finally:
                beating.cancel()
                for task in calls:
                    task.cancel()

        def started(node: int, name: str) -> asyncio.Task[None]:
            return asyncio.ensure_future(shard(name, random.Random(node).uniform(-86_400, 86_400)))

        names = [(node, f"{node}-{number}") for node in range(NODES) for number in range(SHARDS)]
        tasks = {name: started(node, name) for node, name in names}
        await asyncio.sleep(seconds / 3)
        lost_at = loop.time()
        for number in range(SHARDS):
            tasks[f"0-{number}"].cancel()
        while not (silent := core.silent()):  # noqa: ASYNC110 - as a driver looks
            await asyncio.sleep(1.0)
        figures.handed_over = loop.time() - lost_at
        for holder in silent:
            tasks[holder.shard] = started(1, holder.shard)
        await asyncio.sleep(max(0.0, seconds * 2 / 3 - figures.handed_over))
        for task in tasks.values():
            task.cancel()
        for outcome in await asyncio.gather(*tasks.values(), return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, ShardLost):
                raise outcome


async def _merge(folder: Path) -> tuple[float, int]:
    """CPU seconds and bytes of the merge of some parts."""
    parts, written = Parts(str(folder)), 0
    writer = PartWriter(parts, "000001", 1)
    asked, subject = Asked("dish", SERVICES["dish"], None), Subject(_STEP.fingerprint, Treatment().decisive, 10, 1)
    labels = tuple(Label(f"dish {number}", 0.5 - number / 10, calorie=120.0) for number in range(5))
    for number in range(_MERGED_ROWS):
        task = Task(number, 1, f"photos/{number:09}.jpg", 0, 10, variant="")
        answer = Answer({"log_id": 2**63 + number, "result_num": 5}, labels, 120.0)
        sha256 = number.to_bytes(32, "big")
        outcome = answered(asked, task, sha256, Prepared(b""), answer, 1, "2026-11-23T00:00:00.000Z")
        line = encode(outcome.finished, "dish", subject, dumps(outcome.row) + b"\n")
        written += len(line)
        writer.add([line])
    with closing(Journal(folder)) as journal:
        outputs = [OUTPUTS["jsonl"], OUTPUTS["csv"]]
        files = ResultFiles(folder, outputs, {output.filename: (0, 0) for output in outputs})
        list(journal.opening.take_inputs(InputEntry(f"photos/{n:09}.jpg", 0, 0, 10, 1) for n in range(_MERGED_ROWS)))
        steps = journal.opening.take_steps([StepRecord("dish", "dish", subject.fingerprint, "")])
        journal.queue.fill(steps.values())
        async with files:
            begun = time.process_time()
            wanted = Wanted({steps["dish"]: _STEP}, Treatment(), FileStore(folder))
            await Merger(journal, files, parts, steps, {}, wanted).catch_up(parts.shards())
            spent = time.process_time() - begun
        assert journal.reader.remaining() == 0
    return spent, written


def table(seconds: float) -> Table:
    """The figures of so many seconds of virtual time."""
    figures, begun = Figures(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        virtual_time.run(_play(seconds, figures, Path(folder)))
    spent = time.process_time() - begun
    since, until = virtual_time.START + _WARM_SECONDS, virtual_time.START + seconds
    taken = sum(since < at <= until for at in figures.taken)
    calls = len(figures.taken) + len(figures.refused)
    used = taken / (until - since) / QPS
    with tempfile.TemporaryDirectory() as folder:
        merge_seconds, merged = asyncio.run(_merge(Path(folder)))
    hours = IMAGES / (QPS * used) / 3600
    row_seconds, row_bytes = merge_seconds / _MERGED_ROWS, merged / _MERGED_ROWS
    found = Table(
        f"{NODES} nodes with {SHARDS} shards each: {QPS:,} calls/s, {seconds:g} s of virtual time",
        ("figure", "value"),
        notes=f"{spent:.0f} s of CPU, which takes no virtual time: the share leaves out the keeper's. Figures of "
        f"{IMAGES:,} images are computed from the others, with a node lost every {LOST_EVERY_SECONDS / 60:g} minutes.",
    )
    found.add("share of the quota used", f"{used:.4f}")
    found.add("refused", f"{len(figures.refused) / calls:.4%} of {calls:,} calls")
    found.add("permits too late", f"{figures.late / calls:.4%}")
    found.add("leases", f"{figures.leases / seconds:.0f}/s, {calls / max(1, figures.leases):.1f} calls each")
    found.add("a lost node is handed over after", f"{figures.handed_over:.1f} s (silent for {SILENT_SECONDS:g} s)")
    found.add("merge of a row", f"{row_seconds * 1e6:.0f} us of CPU, {row_bytes:.0f} bytes")
    found.add(f"{IMAGES:,} images", f"{hours:.1f} h, {hours * 3600 / LOST_EVERY_SECONDS:.0f} nodes lost")
    found.add("their merge", f"{row_seconds * IMAGES / 3600:.1f} h of CPU, {row_bytes * IMAGES / 1e9:.0f} GB of parts")
    return found


if __name__ == "__main__":
    print(table(float(sys.argv[1]) if sys.argv[1:] else 60.0).markdown())
