"""`python -m benchmarks [NAME...]`: run benchmarks, print their tables and keep them in `benchmarks/results/`."""

import argparse
import importlib
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from . import against
from .tables import Effort, Table, write

BENCHMARKS = {
    "startup": "how soon a command is there",
    "prepare": "pictures judged and repaired",
    "photographs": "large photographs and crawls prepared, beside a commit before and peers",
    "overhead": "what an image costs, stage by stage",
    "throughput": "images a second and CPU an image, beside peers and the bare loop",
    "uplink": "photographs through a slow link: calls received, and how much of the link is used",
    "scale": "memory, start-up, resuming and bytes on the disk, by the number of images",
    "plan": "what a file costs the commands that send nothing",
    "report": "large results: data of a report, exports, show, thumbnails, and the page in Chromium",
    "quota": "how much of a quota is used, and how much refused",
    "cluster": "three nodes of a cluster beside one process, deaths on the way, a hundred nodes in virtual time",
}
"""By the name of their module, in the order in which they run; each has `tables(effort, cache)`."""

AGAINST = "beside another commit"

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Runs benchmarks, prints their tables and writes them to benchmarks/results/NAME.md.",
        epilog="; ".join(f"{name}: {about}" for name, about in BENCHMARKS.items()),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="tiny, to see that they work; the figures mean little")
    effort.add_argument("--full", action="store_true", help="longer, and with a million images")
    parser.add_argument("--into", type=Path, default=RESULTS, metavar="DIR", help="where the tables are written")
    parser.add_argument("--against", metavar="COMMIT", help=f"beside a commit: {', '.join(against.WORKLOADS)}")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    chosen = Effort.QUICK if given.quick else Effort.FULL if given.full else Effort.USUAL
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as cache:
        if given.against:
            if beyond := [name for name in given.names if name not in against.WORKLOADS]:
                parser.error(f"--against measures {', '.join(against.WORKLOADS)}, not {', '.join(beyond)}")
            names = given.names or list(against.USUAL)
            try:
                _print("against", AGAINST, against.tables(names, given.against, chosen, Path(cache)), given.into)
            except ValueError as error:
                parser.error(f"--against {error}")
            return
        for name in given.names or BENCHMARKS:
            tables = importlib.import_module(f"benchmarks.{name}").tables(chosen, Path(cache))
            _print(name, BENCHMARKS[name], tables, given.into)


def _print(name: str, about: str, found: Iterable[Table], into: Path) -> None:
    began = time.monotonic()
    print(f"# {name}: {about}\n", flush=True)
    tables = []
    for table in found:
        print(table.markdown(), flush=True)
        tables.append(table)
    page = write(into, name, about, tables)
    print(f"{page}, after {time.monotonic() - began:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
