"""Process for a picture whose decoder holds the interpreter's lock from beginning to end.

One process a picture, so nothing is left over, and it is clear whose fault it was when one is killed. Not
multiprocessing: that imports the caller's main module once more, and runs it where it has no guard.

The decoder is C code that reads what strangers made, so the process gets no key: its environment is PATH, PYTHONPATH
and LANG. It has a limit of memory and one of time. Either side writes a line of JSON and then a picture's bytes, and
what the process says is checked and never run, as a pickle would be.
"""

import contextlib
import ctypes
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, BinaryIO

import orjson

from ..api.codes import WORDS
from ..values import Box, Failure, ImageLimits, Kind, Prepared, Treatment
from .judge import most_bytes, refuse

_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
_NICE = 10  # calls and commits come first
_NOT_LOADED = 127
"""Of the loader, where Python needs libraries from LD_LIBRARY_PATH, which the process does not get."""

_KILLED = -9  # by SIGKILL, for which Windows has no name
_OUT_OF_TIME = -getattr(signal, "SIGXCPU", 0)
_PATIENCE = 10
"""A second of work may take so many on a machine where everything else comes first."""

_HEAD_BYTES = 4096
"""Of the line before the pictures, for each of them."""

_FARTHEST = 10**9  # pixels: no picture is so wide
_ENVIRONMENT = ("PATH", "LANG")


@dataclass(frozen=True, slots=True)
class Work:
    """Work order for the process: `memory` in bytes beyond its own, `seconds` of processor time.

    `tiles` are made at most; 1: the picture is sent whole.
    """

    limits: ImageLimits
    treatment: Treatment
    memory: int
    seconds: int
    tiles: int = 1


def repair_in_process(data: bytes, work: Work) -> Prepared | Failure | None:
    """Repair in a process: a Failure where it does not survive, None where none can be started.

    Decoding in a thread is slower for the others, but a picture must not count as torn for the machine's fault.
    """
    most = (_HEAD_BYTES + most_bytes(work.limits)) * work.tiles
    began = time.monotonic()
    ended = _spoken(orjson.dumps(asdict(work)) + b"\n", data, most, _PATIENCE * work.seconds)
    if ended is None:
        return None
    code, output = ended
    if code == _NOT_LOADED and not _starts():
        return None
    if code == 0 or len(output) > most:
        return _understood(output, work) or refuse("torn", "the process that decoded it failed")
    if code == _OUT_OF_TIME or time.monotonic() - began >= _PATIENCE * work.seconds:
        return refuse("too_large", f"it takes more than {work.seconds} s to decode")
    if code == _KILLED:
        return refuse("too_large", "the process that decoded it was killed: it may need more memory than there is")
    return refuse("torn", "the process that decoded it crashed")


def _starts() -> bool:
    """Whether an interpreter starts at all: a decoder that was taken over may end with any code."""
    return subprocess.run([sys.executable, "-P", "-c", ""], env=_environment(), capture_output=True).returncode == 0


def _environment() -> dict[str, str]:
    known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return known | {"PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}


def _spoken(head: bytes, data: bytes, most: int, seconds: float) -> tuple[int, bytes] | None:
    """Exit code and output of a process: at most so many bytes, and killed after so many seconds."""
    try:
        process = subprocess.Popen(
            # Out of reach of Ctrl-C, which goes to all of a terminal's group, and of modules in the current folder.
            [sys.executable, "-P", "-m", __package__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )
    except OSError:
        return None
    assert process.stdin is not None
    assert process.stdout is not None
    timer = threading.Timer(seconds, process.kill)
    # In a thread of its own: a process that speaks before it listens would be waited for.
    feeder = threading.Thread(target=_feed, args=(process.stdin, (head, data)))
    try:
        timer.start()
        feeder.start()
        with process.stdout:
            output = process.stdout.read(most + 1)
        if len(output) > most:
            process.kill()
        return process.wait(), output
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        feeder.join()


def _feed(stream: IO[bytes], said: Sequence[bytes]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the process has died; its exit code says more
        stream.writelines(said)
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def _understood(output: bytes, work: Work) -> Prepared | Failure | None:
    """Parse the output of the process; None where it is not in the agreed form."""
    head, _, data = output.partition(b"\n")
    try:
        said = orjson.loads(head)
        if "word" in said:
            return _failure(**said)
        tiles = []
        for tile in said.pop("tiles")[: work.tiles]:
            length = tile.pop("length")
            tiles.append(_prepared(data[:length], most_bytes(work.limits), **tile))
            data = data[length:]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if data or not tiles or None in tiles:
        return None
    if work.tiles == 1:
        return tiles[0]
    return Prepared(b"", tuple(map(str, said["repaired"])), tiles=tuple(filter(None, tiles)))


def _failure(word: str, message: str) -> Failure | None:
    known = WORDS.get(word)
    if known is None or known.kind is not Kind.IMAGE or not isinstance(message, str):
        return None
    return refuse(word, message[:_HEAD_BYTES])


def _prepared(
    data: bytes, most: int, repaired: list[Any], scales: list[float], area: list[int] | None, bars: list[int]
) -> Prepared | None:
    sound = all(isinstance(scale, float) and math.isfinite(scale) and scale > 0 for scale in scales)
    whole = all(isinstance(number, int) and 0 <= number <= _FARTHEST for number in (*(area or ()), *bars))
    if not sound or not whole or not 0 < len(data) <= most:
        return None
    x, y = scales
    bar_x, bar_y = bars
    return Prepared(data, tuple(map(str, repaired)), x, y, Box(*area) if area else None, bar_x, bar_y)


def received(stream: BinaryIO) -> tuple[bytes, Work]:
    """In the process: read the work and the picture, limited from the picture's first byte on.

    It comes after everything else on this machine, and dies with its parent.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, -_KILLED)
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    if hasattr(os, "nice"):
        os.nice(_NICE)
    said = orjson.loads(stream.readline())
    limits = said["limits"] | {"formats": tuple(said["limits"]["formats"])}
    work = Work(**said | {"limits": ImageLimits(**limits), "treatment": Treatment(**said["treatment"])})
    _confine(work)
    return stream.read(), work


def told(outcome: Prepared | Failure) -> bytes:
    """In the process: what came of the picture, as `repair_in_process` understands it."""
    if isinstance(outcome, Failure):
        return orjson.dumps({"word": outcome.code, "message": outcome.message}) + b"\n"
    parts = outcome.tiles or (outcome,)
    head = {"repaired": outcome.repaired, "tiles": [_described(part) for part in parts]}
    return b"".join((orjson.dumps(head), b"\n", *(part.data for part in parts)))


def _described(part: Prepared) -> dict[str, Any]:
    area = part.area and (part.area.left, part.area.top, part.area.width, part.area.height)
    scales = float(part.scale_x), float(part.scale_y)
    bars = part.bar_x, part.bar_y
    return {"length": len(part.data), "repaired": part.repaired, "scales": scales, "area": area, "bars": bars}


def _confine(work: Work) -> None:
    """Set the limits, as far as the system has them: Windows has none, macOS none of memory."""
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (work.seconds, work.seconds + 1))
        with open("/proc/self/statm") as pages:
            own = int(pages.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (own + work.memory, own + work.memory))
