"""Commands that send nothing: `plan` first and again, `verify` and `verify --quick`, by what a file costs.

The images are JPEGs of 20 KB. `plan` is first over a new job, and again over the same one with the digests that it has
kept; `verify` checks a job that a run has finished.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .fast_service import serving
from .jobs import BATCHREC, Job, job
from .pictures import made
from .process import Used
from .tables import Effort, Table, spread

COUNTS = {Effort.QUICK: 64, Effort.USUAL: 20_000, Effort.FULL: 100_000}
"""Files."""

_SIZE = 20_000
_SLOTS = 64
_ROUNDS = {Effort.QUICK: 1, Effort.USUAL: 5, Effort.FULL: 3}

Commands = Mapping[str, Callable[[], Used]]
"""By its name: a command, run to its end."""


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """One table: CPU, time and memory of each command."""
    count = COUNTS[effort]
    table = Table(f"{count:,} images of 20 KB", ("command", "CPU us/file", "seconds", "peak MiB"))
    with commands(cache, count) as measured:
        for name, work in measured.items():
            used = [work() for _ in range(_ROUNDS[effort])]
            table.add(
                name,
                spread((each.cpu / count * 1e6 for each in used), 1),
                spread((each.seconds for each in used), 2),
                spread(each.peak_bytes / 2**20 for each in used),
            )
    table.notes = "The start of the process is in the figures."
    yield table


@contextmanager
def commands(cache: Path, count: int, program: Sequence[str] = BATCHREC) -> Iterator[Commands]:
    """The commands over so many pictures; `program` is the batchrec that is measured."""
    pictures = made(cache, _SIZE, count)
    with (
        serving() as service,
        job(service.url, pictures, "form", _SLOTS) as planned,
        job(service.url, pictures, "form", _SLOTS) as finished,
    ):
        finished.run(program=program)
        _plan(planned, program)

        def first() -> Used:
            with job(service.url, pictures, "form", _SLOTS) as fresh:
                return _plan(fresh, program)

        directory = str(finished.results)
        yield {
            "plan, first": first,
            "plan, again": lambda: _plan(planned, program),
            "verify": lambda: finished.done("verify", directory, program=program),
            "verify --quick": lambda: finished.done("verify", directory, "--quick", program=program),
        }


def _plan(planned: Job, program: Sequence[str]) -> Used:
    """`plan` of a job."""
    return planned.done("plan", str(planned.file), "--json", "--progress", "none", program=program)
