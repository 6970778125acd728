"""What the acceptance tests share: a place to work in, pictures, the real command line, an emulator on a socket."""

import asyncio
import csv
import io
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from batchrec.emulator import Emulator, FaultPlan, Settings, serve
from batchrec.times import next_reset

KEY, SECRET = "acceptance-key-7f3a", "acceptance-secret-91bc"
JOB = "furniture"
CLOCK = Path(__file__).with_name("clock")
"""The folder of the module that shifts the clock of a command."""


# -- the clock


def shift_to_noon(machine: float) -> float:
    """Seconds from a Unix time to noon of its day in Beijing, half a day from either midnight."""
    return next_reset(machine) - 12 * 3600 - machine


SHIFT = shift_to_noon(time.time())
"""Seconds by which commands and the emulator are ahead of the machine: calls are counted by the day in Beijing."""


def now() -> float:
    """Unix time as commands and the emulator have it."""
    return time.time() + SHIFT


# -- pictures


def picture(seed: int, format: str = "PNG", size: tuple[int, int] = (32, 32)) -> bytes:
    """Noise; another seed makes other bytes."""
    file = BytesIO()
    noise = random.Random(seed).randbytes(3 * size[0] * size[1])
    Image.frombytes("RGB", size, noise).save(file, format)
    return file.getvalue()


# -- the command line


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


class Running:
    """A command under way. What it says is collected in files, so that no pipe fills up."""

    def __init__(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], logs: Path, **popen: Any) -> None:
        self._paths = logs.with_suffix(".out"), logs.with_suffix(".err")
        with self._paths[0].open("wb") as out, self._paths[1].open("wb") as err:
            self.process = subprocess.Popen(
                argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err, **popen
            )

    def said(self) -> tuple[str, str]:
        """Standard output and standard error so far."""
        out, err = (path.read_text(encoding="utf-8") for path in self._paths)
        return out, err

    def send(self, number: signal.Signals) -> None:
        """A signal to it."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float = 240) -> Done:
        """Wait for its end."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {seconds:g} s: {self.said()}") from None
        return Done(code, *self.said())


class Place:
    """A folder with a job file, pictures, a state and a configuration of its own; the command line works in it."""

    def __init__(self, root: Path, endpoint: str = "embedded") -> None:
        self.root = root
        self.endpoint = endpoint
        self.state, self.config = root / "state", root / "config"
        self.output = root / "results" / JOB
        self.env = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(root),
            "BATCHREC_STATE_DIR": str(self.state),
            "BATCHREC_CONFIG_DIR": str(self.config),
            "BAIDU_API_KEY": KEY,
            "BAIDU_SECRET_KEY": SECRET,
            "PYTHONPATH": str(CLOCK),
        }
        self.set_clock(now())
        self._started = 0

    def set_clock(self, moment: float) -> None:
        """Set the clock of commands that start from now on to a Unix time."""
        self.env["TESTS_CLOCK_SHIFT"] = repr(moment - time.time())

    def pictures(self, count: int, folder: str = "家居", *, start: int = 0) -> list[str]:
        """So many different pictures; their keys. Every other one is a JPEG."""
        keys = []
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            format, suffix = ("JPEG", "jpg") if number % 2 else ("PNG", "png")
            keys.append(f"{folder}/{folder}_{number:04d}.{suffix}")
            (self.root / keys[-1]).write_bytes(picture(number, format))
        return keys

    def credentials(self, **profiles: Mapping[str, str]) -> Path:
        """Keep profiles in credentials.toml, for this place's endpoint unless they name one; no keys in variables."""
        self.config.mkdir(exist_ok=True)
        path = self.config / "credentials.toml"
        tables = {name: {"endpoint": self.endpoint, **table} for name, table in profiles.items()}
        path.write_text("".join(f"{name} = {toml(table)}\n" for name, table in tables.items()), encoding="utf-8")
        path.chmod(0o600)
        self.env |= {"BAIDU_API_KEY": "", "BAIDU_SECRET_KEY": ""}
        return path

    def put(self, key: str, data: bytes) -> str:
        """One file; its key."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return key

    def job(self, *, steps: Sequence[Mapping[str, Any]] | None = None, **tables: Mapping[str, Any]) -> Path:
        """Write the job file: pictures in 家居, one step, a quick rate; `tables` add to that and win.

        The keys of the environment go nowhere that only a job file names, so BATCHREC_ENDPOINT names it as well.
        """
        content: dict[str, Any] = {
            "input": {"paths": ["家居"]},
            "recognize": list(steps or [{"service": "advanced_general"}]),
            "account": {"endpoint": self.endpoint},
            "limits": {"qps": 200, "timeout": 5, "patience": 5},
            "output": {},
        }
        for name, table in tables.items():
            content[name] = {**content.get(name, {}), **table}
        self.env["BATCHREC_ENDPOINT"] = content["account"]["endpoint"]
        path = self.root / f"{JOB}.toml"
        path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in content.items()), encoding="utf-8")
        return path

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
        launcher: Sequence[str] = ("-m", "batchrec"),
        **popen: Any,
    ) -> Running:
        """Start `batchrec ARGUMENTS`, as arguments of the command `under`, or by a `launcher` of Python's."""
        self._started += 1
        argv = [*under, sys.executable, *launcher, *arguments]
        logs = self.root / f"log-{self._started}"
        return Running(argv, self.root, {**self.env, **(env or {})}, logs, **popen)

    def batchrec(self, *arguments: str, **named: Any) -> Done:
        """Run `batchrec ARGUMENTS` to its end."""
        return self.start(*arguments, **named).wait()

    def run(self, *arguments: str, **named: Any) -> Done:
        """`batchrec run furniture.toml ARGUMENTS`."""
        return self.batchrec("run", f"{JOB}.toml", *arguments, **named)

    def start_run(self, *arguments: str, **named: Any) -> Running:
        """The same, not waited for."""
        return self.start("run", f"{JOB}.toml", *arguments, **named)

    # -- what landed

    def rows(self) -> list[dict[str, Any]]:
        """results.jsonl; every line must be whole."""
        return lines(self.output / "results.jsonl")

    def row_count(self) -> int:
        """Rows written so far, also while a run writes."""
        path = self.output / "results.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def failures(self) -> list[dict[str, Any]]:
        """failures.jsonl."""
        return lines(self.output / "failures.jsonl")

    def summary(self) -> dict[str, Any]:
        """summary.json."""
        content: dict[str, Any] = json.loads((self.output / "summary.json").read_bytes())
        return content

    def csv(self) -> list[dict[str, str]]:
        """results.csv as a spreadsheet reads it."""
        text = (self.output / "results.csv").read_bytes().decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def counted(self, service: str = "advanced_general") -> int:
        """Calls of today that `batchrec quota` shows for a service."""
        found = [line.split() for line in self.batchrec("quota").out.splitlines()[1:]]
        return sum(int(cells[2].replace(",", "")) for cells in found if cells[1] == service)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; every line must be whole, and end."""
    data = path.read_bytes()
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def toml(value: Any) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a condition that another process brings about."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"did not come about within {seconds:g} s"
        time.sleep(0.004)


def images_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The images of rows, sorted, as often as they stand there."""
    return sorted(row["image"] for row in rows)


# -- the service


@contextmanager
def emulating(
    settings: Settings | None = None, plan: Mapping[str, object] | None = None, **serving: Any
) -> Iterator[Emulator]:
    """An emulator in a thread of this process, so that a test can look at its counters and change it at any time."""
    ready: queue.Queue[tuple[Emulator, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def main() -> None:
        over = asyncio.Event()
        faults = FaultPlan.parse(plan) if plan else None
        async with serve(settings, plan=faults, **{"now": now, **serving}) as emulator:
            ready.put((emulator, asyncio.get_running_loop(), over))
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    emulator, loop, over = ready.get(timeout=60)
    try:
        yield emulator
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


async def until_async(holds: Callable[[], object], seconds: float = 60) -> None:
    """The same for a condition that this event loop brings about."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - files and tasks signal nothing
            await asyncio.sleep(0.01)


def calls_of(emulator: Emulator) -> int:
    """Calls that arrived, the token endpoint's among them."""
    return sum(emulator.counters.calls.values())


def dead_endpoint() -> str:
    """Where nobody listens."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"
