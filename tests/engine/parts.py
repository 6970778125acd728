"""The parts of a run around a scripted service, in virtual time: only clock and socket are not real."""

import asyncio
import io
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

from PIL import Image

from batchrec.api.client import Client, make_request
from batchrec.api.services import SERVICES
from batchrec.engine.attempts import Caller, Tally
from batchrec.engine.duplicates import Duplicates
from batchrec.engine.engine import Engine
from batchrec.engine.lane import Backlog, Lane, Step
from batchrec.engine.preparation import Preparation, Ready
from batchrec.engine.recorder import Recorder
from batchrec.engine.rows import Asked
from batchrec.engine.workers import Workers
from batchrec.exact_json import dumps
from batchrec.job.follow_ups import Conditions
from batchrec.journal import Journal, StepRecord
from batchrec.limits.availability import Policy
from batchrec.limits.gate import Gate, open_gate
from batchrec.limits.keeper import LocalKeeper
from batchrec.limits.quota import Quota
from batchrec.limits.shared_rate import SharedRates
from batchrec.outputs import OUTPUTS
from batchrec.outputs.files import ResultFiles
from batchrec.sources.store import FileStore
from batchrec.state.answer_cache import AnswerCache, CacheKey
from batchrec.times import Clock
from batchrec.values import Authorization, Caps, Failure, InputEntry, Kind, Prepared, Reply, Target, Task, Treatment
from tests.support.gates import unix

EVERYTHING = 2**62
"""A horizon beyond all inputs."""

RESET = Failure(Kind.TRANSIENT, "reset", "the connection was reset")


def picture(number: int, mode: str = "RGB") -> bytes:
    """A PNG of its own content; in mode RGBA it has to be decoded before it is sent."""
    file = io.BytesIO()
    Image.new(mode, (16 + number // 256, 16), (number % 256, 1, 2, 3)[: len(mode)]).save(file, "PNG")
    return file.getvalue()


def answer() -> Reply:
    """The service has seen something."""
    return Reply(200, dumps({"log_id": 1, "result": [{"keyword": "cup", "score": 0.9, "root": "things"}]}))


def refusal(code: int) -> Reply:
    """The service answers with an error code."""
    return Reply(200, dumps({"error_code": code, "error_msg": f"code {code}"}))


class ScriptedService:
    """A transport that replies by `script`, one entry a call, then answers; `bodies` are the calls it got."""

    def __init__(self, script: Iterable[Reply | Failure] = (), seconds: float = 0.1) -> None:
        self.script = deque(script)
        self.seconds = seconds
        self.bodies: list[bytes] = []
        self.in_flight = self.most_in_flight = 0

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], upload: object = None) -> Reply | Failure:
        self.bodies.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        reply = self.script.popleft() if self.script else answer()
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_flight -= 1
        return reply


class OneToken:
    """An account whose token is always there."""

    secrets = ()

    async def authorize(self) -> Authorization:
        return Authorization("access_token=1")

    def on_refused(self, authorization: Authorization) -> None:
        """Nothing: the token is the only one."""


class Parts:
    """Journal, result files, counts and gates over a folder, whose inputs are written by `take`."""

    def __init__(self, folder: Path, script: Iterable[Reply | Failure] = ()) -> None:
        self.folder = folder
        self.service = ScriptedService(script)
        self.tally = Tally()
        self.workers = Workers()
        self.journal = Journal(folder)
        self.quota = Quota(folder, unix)
        self.rates = SharedRates(None)
        self.files = ResultFiles(folder, [OUTPUTS["jsonl"]], {"results.jsonl": (0, 0)})
        self.slots = asyncio.Semaphore(256)
        self.steps: dict[int, Step] = {}

    def take(self, *contents: bytes, names: Sequence[str] = ("first",), listed: int = 1) -> None:
        """Write files, make them the inputs, and put them on the lists of the first steps."""
        entries = []
        for number, data in enumerate(contents):
            path = self.folder / f"{number:04d}.png"
            path.write_bytes(data)
            status = path.stat()
            entries.append(InputEntry(path.name, 0, number, status.st_size, status.st_mtime_ns))
        numbers = self.journal.opening.take_steps([StepRecord(name, "advanced_general", "", "") for name in names])
        list(self.journal.opening.take_inputs(entries))
        self.journal.queue.fill([numbers[name] for name in names[:listed]])
        self.steps = {numbers[name]: a_step(name) for name in names}

    def gate(self, *, qps: float = 1000, daily: int | None = None, patience: float = 60, name: str = "first") -> Gate:
        """A gate that some call has gone through."""
        clock = Clock(asyncio.get_running_loop().time, unix, random.Random(1))
        keeper = LocalKeeper(self.rates, self.quota, clock.time)
        target, policy = Target("me", name, Caps.of(qps, daily=daily)), Policy(patience, wait=False)
        gate = open_gate(target, OneToken(), keeper, self.journal.calls, self.slots, policy, clock)
        gate.breaker.tried = True
        return gate

    def backlog(self) -> Backlog:
        return Backlog(self.journal, tuple(self.steps), EVERYTHING)

    def lane(
        self,
        gate: Gate,
        backlog: Backlog,
        *steps: int,
        has_decoder: Callable[[Task], bool] = lambda task: True,
        workers: int = 4,
    ) -> Lane:
        return Lane(gate, {number: self.steps[number] for number in steps or (1,)}, backlog, has_decoder, workers)

    def caller(self) -> Caller:
        return Caller(self.client(), self.workers, self.tally, random.Random(1))

    def client(self) -> Client:
        return Client("http://service", self.service, asyncio.get_running_loop().time)

    def duplicates(self, cache: AnswerCache | None = None) -> Duplicates:
        return Duplicates(self.journal, self.files, self.steps, cache, unix)

    def engine(
        self,
        lanes: Callable[[Backlog, Preparation], Sequence[Lane]],
        on_rows: Callable[[Sequence[bytes]], None] | None = None,
    ) -> Engine:
        """All of them put together."""
        backlog = self.backlog()
        preparation = Preparation(FileStore(self.folder), backlog.wake, cores=1)
        duplicates = self.duplicates()
        recorder = Recorder(self.journal, self.files, duplicates.remember, on_rows)
        made = lanes(backlog, preparation)
        rng = random.Random(1)
        return Engine(made, backlog, preparation, duplicates, recorder, self.client(), now=unix, rng=rng)

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for part in (self.rates, self.quota, self.journal):
            part.close()


def a_step(name: str, *, follow: Conditions = (), cache_key: CacheKey | None = None, reuse: bool = False) -> Step:
    """A step with three attempts, which repairs images."""
    service = SERVICES["advanced_general"]
    asked, request = Asked(name, service, None), make_request(service, None, {})
    return Step(asked, request, 3, Treatment(), follow, cache_key, reuse)


def ready(task: Task) -> Ready:
    """A task's image, made ready; the body names the image."""
    return Ready(task.key.encode().ljust(32, b"."), Prepared(b""), task.key.encode())


@asynccontextmanager
async def open_parts(folder: Path, script: Iterable[Reply | Failure] = ()) -> AsyncIterator[Parts]:
    """Parts whose result files are open for appending."""
    with Parts(folder, script) as parts:
        async with parts.files:
            yield parts


def lead_to(files: ResultFiles, name: str, device: str) -> None:
    """Have what is written to an open result file go to a device."""
    handle = os.open(device, os.O_WRONLY)
    os.dup2(handle, files._files[name].fileno())
    os.close(handle)


async def turns(count: int = 50) -> None:
    """Let everything go on as far as it can without time passing."""
    for _ in range(count):
        await asyncio.sleep(0)
