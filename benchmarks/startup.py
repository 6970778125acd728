"""How soon a command is there: seconds from the start of its process to its end, beside Python's own.

The commands take turns, each a fresh process on the same core, its files in the page cache.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .fast_service import serving
from .jobs import Job, job
from .pictures import made
from .process import Used, module, run
from .tables import Effort, Table, spread

_ROUNDS = {Effort.QUICK: 1, Effort.USUAL: 15, Effort.FULL: 40}
_PICTURES = {Effort.QUICK: 10, Effort.USUAL: 100, Effort.FULL: 100}
_SIZE = 20_000


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """One table."""
    with _finished(cache, _PICTURES[effort]) as finished:
        commands: dict[str, Callable[[], Used]] = {
            'python -c "pass"': lambda: run([sys.executable, "-c", "pass"]),
            'python -c "import aiohttp"': lambda: run([sys.executable, "-c", "import aiohttp"]),
            "batchrec --version": lambda: run(module("batchrec", "--version")),
            "batchrec --help": lambda: run(module("batchrec", "--help")),
            "batchrec --help, in Chinese": lambda: run(module("batchrec", "--help"), {"BATCHREC_LANG": "zh"}),
            "batchrec run --help": lambda: run(module("batchrec", "run", "--help")),
            f"batchrec run, {_PICTURES[effort]} images, all answered": finished.run,
        }
        seen: dict[str, list[Used]] = {name: [] for name in commands}
        for _ in range(_ROUNDS[effort]):
            for name, start in commands.items():
                seen[name].append(start())
    yield _table(seen)


def _table(seen: dict[str, list[Used]]) -> Table:
    table = Table("from start to end", ("command", "ms", "CPU ms", "to import aiohttp", "peak MB"))
    reference = seen['python -c "import aiohttp"']
    for name, runs in seen.items():
        table.add(
            name,
            spread(each.seconds * 1000 for each in runs),
            spread(each.cpu * 1000 for each in runs),
            spread((each.cpu / other.cpu for each, other in zip(runs, reference, strict=True)), 2),
            spread(each.peak_bytes / 1e6 for each in runs),
        )
    table.notes = f"{len(reference)} rounds. The ratio is of CPU, in the same round."
    return table


@contextmanager
def _finished(cache: Path, count: int) -> Iterator[Job]:
    """A job whose pictures all have their answers. The service is there only for those."""
    with ExitStack() as stack:
        with serving() as service:
            done = stack.enter_context(job(service.url, made(cache, _SIZE, count), "form", 64))
            done.run()
        yield done
