"""This tree beside another commit: `python -m benchmarks --against COMMIT [overhead] [plan] [startup] [uplink]`.

The other commit's files are put into a temporary folder; both trees use the packages of this environment. The two take
turns, and who goes first alternates. A ratio is of the two figures of one pair (user + system, all threads), this tree
over the other, so a machine that is busy for a while is busy for both.
"""

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import comb
from pathlib import Path
from statistics import median
from typing import NamedTuple

from . import plan, uplink
from .fast_service import serving
from .jobs import job
from .pictures import made
from .process import ROOT, Used, run
from .tables import Effort, Table, spread

_PAIRS = {Effort.QUICK: 2, Effort.USUAL: 9, Effort.FULL: 25}
_PICTURES = {Effort.QUICK: 64, Effort.USUAL: 4000, Effort.FULL: 20_000}
_SIZE = 100_000
_SLOTS = 64
_CONFIDENCE = 0.95

Measured = Callable[[Path], Used]
"""A process that uses the batchrec of this tree, run to its end."""


class Unit(NamedTuple):
    """Unit of a table's figures: its name, and how many of it are a second of processor time."""

    name: str
    of_a_second: float


MILLISECONDS = Unit("ms", 1e3)


def tables(names: Sequence[str], commit: str, effort: Effort, cache: Path) -> Iterator[Table]:
    """One table for each name. Raises ValueError where `commit` is none of this repository."""
    with checked_out(commit) as other:
        for name in names:
            yield WORKLOADS[name](other, effort, cache, commit)


def _overhead(other: Path, effort: Effort, cache: Path, commit: str) -> Table:
    count = _PICTURES[effort]
    pictures = made(cache, _SIZE, count)
    with serving() as service:

        def whole_run(tree: Path) -> Used:
            with job(service.url, pictures, "form", _SLOTS) as fresh:
                return fresh.run(program=python(tree, "-m", "batchrec"))

        return _table(
            f"batchrec run, {count:,} images of {_SIZE // 1000} KB", {"run": whole_run}, other, effort, commit
        )


def _startup(other: Path, effort: Effort, _cache: Path, commit: str) -> Table:
    commands: dict[str, Measured] = {
        "batchrec --help": lambda tree: run(python(tree, "-m", "batchrec", "--help")),
        "batchrec run --help": lambda tree: run(python(tree, "-m", "batchrec", "run", "--help")),
        'python -c "import batchrec"': lambda tree: run(python(tree, "-c", "import batchrec")),
    }
    return _table("Start-up", commands, other, effort, commit)


def _uplink(other: Path, effort: Effort, cache: Path, commit: str) -> Table:
    return uplink.beside(python(other, "-m", "batchrec"), commit, effort, cache)


def _plan(other: Path, effort: Effort, cache: Path, commit: str) -> Table:
    count = plan.COUNTS[effort]
    with ExitStack() as opened:
        commands = {
            tree: opened.enter_context(plan.commands(cache, count, python(tree, "-m", "batchrec")))
            for tree in (ROOT, other)
        }
        if not _knows(other, "verify", "--quick"):  # a full check is all that there is to compare with
            commands[other] = {**commands[other], "verify --quick": commands[other]["verify"]}

        def measured(name: str) -> Measured:
            return lambda tree: commands[tree][name]()

        title, each = f"{count:,} images of 20 KB", Unit("us/file", 1e6 / count)
        return _table(title, {name: measured(name) for name in commands[ROOT]}, other, effort, commit, each)


WORKLOADS: dict[str, Callable[[Path, Effort, Path, str], Table]] = {
    "overhead": _overhead,
    "plan": _plan,
    "startup": _startup,
    "uplink": _uplink,
}
"""By the names of the benchmarks that measure the same in more detail."""

USUAL = ("overhead", "startup")
"""Those that are measured where none is named: processor time."""


def _table(
    title: str, measured: dict[str, Measured], other: Path, effort: Effort, commit: str, unit: Unit = MILLISECONDS
) -> Table:
    columns = ("what", f"CPU {unit.name}", f"CPU {unit.name} of {commit}", "median ratio", "interval", "pairs")
    table = Table(f"{title}, beside {commit}", columns)
    for name, work in measured.items():
        ours, theirs = zip(*_pairs(work, other, _PAIRS[effort]), strict=True)
        ratios = sorted(our / their for our, their in zip(ours, theirs, strict=True))
        low, high, share = interval(ratios)
        figures = (spread((cpu * unit.of_a_second for cpu in side), 1) for side in (ours, theirs))
        table.add(name, *figures, f"{median(ratios):.3f}", f"{low:.3f}-{high:.3f} ({share:.0%})", str(len(ratios)))
    table.notes = "The interval holds the median ratio with the confidence beside it (order statistics)."
    return table


def _pairs(work: Measured, other: Path, count: int) -> Iterator[tuple[float, float]]:
    """CPU seconds of this tree and of the other, pair by pair, after one run of each that compiles and fills caches."""
    for tree in (ROOT, other):
        work(tree)
    for number in range(count):
        seconds = {tree: work(tree).cpu for tree in ((ROOT, other) if number % 2 else (other, ROOT))}
        yield seconds[ROOT], seconds[other]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Bounds of the median of what the sorted `values` are a sample of, and their confidence: at least 0.95.

    With fewer than six values no bounds have that much, and the least and the most are given.
    """
    count = len(values)
    best = 0
    while best + 1 < count - best - 1 and _coverage(count, best + 1) >= _CONFIDENCE:
        best += 1
    return values[best], values[count - 1 - best], _coverage(count, best)


def _coverage(count: int, cut: int) -> float:
    """How probably the median lies between the values that remain when `cut` are cut off at either end."""
    return float(1 - 2 * sum(comb(count, below) for below in range(cut + 1)) / 2**count)


def _knows(tree: Path, command: str, option: str) -> bool:
    """Whether a command of that tree has an option."""
    return option in run(python(tree, "-m", "batchrec", command, "--help")).output


def python(tree: Path, *arguments: str) -> list[str]:
    """Python with the batchrec of that tree and these benchmarks, whatever is installed and wherever it is started."""
    return ["/usr/bin/env", f"PYTHONPATH={tree}{os.pathsep}{ROOT}", sys.executable, "-P", *arguments]


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The files of a commit in a temporary folder."""
    packed = subprocess.run(["git", "archive", "--format=tar", commit, "batchrec"], cwd=ROOT, capture_output=True)
    if packed.returncode:
        raise ValueError(f"{commit}: {packed.stderr.decode(errors='replace').strip()}")
    with tempfile.TemporaryDirectory(prefix="batchrec-other-") as name:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(name, filter="data")
        yield Path(name)
