"""Processes that are measured from outside: each is fresh, and has a core of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .machine import CLIENT_CORE, pin, resident_bytes

ROOT = Path(__file__).resolve().parent.parent
"""The repository: what `python -m benchmarks.…` is started from."""

_NO_PROXY = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Used:
    """What a process took. `began` is monotonic; seconds on the clock and of processor time, peak bytes in memory."""

    code: int
    output: str
    complaints: str
    began: float
    seconds: float
    cpu: float
    peak_bytes: int


class Running:
    """A process that has just been started on a core (None: on any)."""

    def __init__(
        self, arguments: Sequence[str], environ: Mapping[str, str] | None = None, core: int | None = CLIENT_CORE
    ) -> None:
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `wait` closes it
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `wait` closes it
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._complaints,
            env={**os.environ, **_NO_PROXY, **(environ or {})},
            cwd=ROOT,
            preexec_fn=None if core is None else lambda: pin(core),
        )

    @property
    def ended(self) -> bool:
        """Whether it has come to its end; it is still to be waited for."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """End it without a word. Not by its Popen, which would take its end, and what it took, from `wait`."""
        os.kill(self._process.pid, signal.SIGKILL)

    def wait(self) -> Used:
        """Its end, and what it took."""
        _, status, usage = os.wait4(self._process.pid, 0)
        seconds = time.monotonic() - self._began
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime
        output, complaints = _told(self._output), _told(self._complaints)
        return Used(code, output, complaints, self._began, seconds, cpu, resident_bytes(usage.ru_maxrss))


def run(arguments: Sequence[str], environ: Mapping[str, str] | None = None, core: int | None = CLIENT_CORE) -> Used:
    """Run a process to its end. Raises RuntimeError where that is a failure: what failed must not be measured."""
    used = Running(arguments, environ, core).wait()
    if used.code:
        raise RuntimeError(f"{' '.join(arguments)} ended with {used.code}:\n{used.complaints}{used.output}")
    return used


def module(name: str, *arguments: object) -> list[str]:
    """The command line of `python -m NAME ...`."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def _told(file: IO[str]) -> str:
    with file:
        file.seek(0)
        return file.read()
