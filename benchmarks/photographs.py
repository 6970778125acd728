"""Large photographs and ordinary crawls prepared: processor time beside a commit before, and beside named peers.

Every figure is a fresh process that prepares files again and again, from memory; the ways take turns, round by round.
The commit before sends what the service takes, whatever `max_side` says: it has no such key. The peers shrink and
encode at the same quality and judge nothing. Memory is that of whole runs over several files.
"""

import argparse
import importlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from .against import checked_out, python
from .fast_service import serving
from .grain import camera, photograph
from .jobs import job
from .process import ROOT, run
from .tables import Effort, Table, spread

BEFORE = "73ac81f"
"""The commit before `max_side`, probes and the decoder's scales."""

_ROUNDS = {Effort.QUICK: 1, Effort.USUAL: 5, Effort.FULL: 15}
_TIMES = {Effort.QUICK: 1, Effort.USUAL: 3, Effort.FULL: 5}
_SHRUNK_BY = {Effort.QUICK: 8, Effort.USUAL: 1, Effort.FULL: 1}
"""Sides of the images, and `max_side`, are divided by it."""

_QUALITY = 90
_SIDE = 1024
_CRAWLED = 40
_RUNS_OVER = 6
_WEIGHTS = {"12": 0.41, "24": 0.38, "48": 0.27}
"""Bytes a pixel of photographs of so many megapixels, as measured on cameras' files."""

Encoder = Callable[[bytes, int], bytes]


@dataclass(frozen=True, slots=True)
class Case:
    """Files to prepare, `max_side` (0: unset), whether peers do the same."""

    title: str
    files: tuple[Path, ...]
    side: int = 0
    peers: bool = False


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """Processor time, then memory."""
    cases = _made(cache, _SHRUNK_BY[effort])
    with ExitStack() as stack:
        try:
            before = stack.enter_context(checked_out(BEFORE))
        except ValueError:  # a clone without history
            before = None
        yield _processor_time(cases, before, effort)
        yield _memory(cases, before, effort, cache)


def _processor_time(cases: Sequence[Case], before: Path | None, effort: Effort) -> Table:
    columns = ("images", "CPU ms", f"CPU ms of {BEFORE}", "ratio", *(f"ratio to {name}" for name in PEERS))
    table = Table("preparation of one image", columns)
    for case in cases:
        seen: dict[str, list[float]] = {}
        for _ in range(_ROUNDS[effort]):
            for name, command in _ways(case, before).items():
                seen.setdefault(name, []).append(_cpu(command, case, _TIMES[effort]))
        others = {name: _ratio(seen["batchrec"], seen.get(name, [])) for name in (BEFORE, *PEERS)}
        figures = (spread(seen["batchrec"], 1), spread(seen.get(BEFORE, []), 1))
        table.add(case.title, *figures, *others.values())
    table.notes = (
        "A ratio is the median of those of the rounds, batchrec over the other. Pillow: `Image.thumbnail`. opencv: "
        "full decoding and INTER_AREA, as img2dataset does it. pyvips: `thumbnail_buffer`."
    )
    return table


def _ways(case: Case, before: Path | None) -> dict[str, list[str]]:
    trees = {"batchrec": ROOT} | ({BEFORE: before} if before else {})
    ways = {name: python(tree, "-m", "benchmarks.photographs", "batchrec") for name, tree in trees.items()}
    if case.peers:
        ways |= {name: python(ROOT, "-m", "benchmarks.photographs", name) for name in PEERS if not _missing(name)}
    return ways


def _cpu(command: Sequence[str], case: Case, times: int) -> float:
    side = () if case.side == 0 else ("--side", str(case.side))
    return float(run([*command, "--times", str(times), *side, *map(str, case.files)]).output)


def _ratio(ours: Sequence[float], others: Sequence[float]) -> str:
    return f"{median(a / b for a, b in zip(ours, others, strict=True)):.2f}" if others else "-"


def _memory(cases: Sequence[Case], before: Path | None, effort: Effort, cache: Path) -> Table:
    """Peak memory of a run over photographs of 24 megapixels."""
    case = next(case for case in cases if case.title.startswith("24 MP"))
    folder = cache / "24-megapixels"
    folder.mkdir()
    for number in range(_RUNS_OVER):
        (folder / f"{number}.jpg").write_bytes(case.files[0].read_bytes()[:-2] + b"%d\xff\xd9" % number)
    table = Table(f"peak memory of a run over {_RUNS_OVER} images: {case.title}", ("tree", "MB"))
    with serving() as service:
        for name, tree in {"batchrec": ROOT, BEFORE: before}.items():
            options = ("--set", f"input.max_side={case.side}") if tree == ROOT else ()
            peaks = []
            for _ in range(_ROUNDS[effort] if tree else 0):
                with job(service.url, folder, "form", 4) as fresh:
                    used = fresh.run(*options, program=python(tree or ROOT, "-m", "batchrec"))
                    peaks.append(used.peak_bytes / 1_000_000)
            table.add(name, spread(peaks))
    return table


# -- images


def _made(cache: Path, by: int) -> list[Case]:
    """All cases; the images are made of photographs of the repository."""
    folder = cache / "photographs"
    folder.mkdir()
    sources = sorted((ROOT / "jobs" / "photos").rglob("*.jpg"))

    def large(name: str, size: tuple[int, int]) -> tuple[Path]:
        path = folder / f"{name}.jpg"
        path.write_bytes(camera(photograph(sources[0], (size[0] // by, size[1] // by), _WEIGHTS[name])))
        return (path,)

    heavy, wide = large("12", (4032, 3024)), large("24", (6000, 4000))
    return [
        Case("12 MP to 1,024 px", heavy, _SIDE // by, peers=True),
        Case("12 MP, too heavy, at its size", heavy),
        Case("24 MP to 1,024 px", wide, _SIDE // by, peers=True),
        Case("48 MP to the service's 4,096 px", large("48", (8064, 6048))),
        Case("2 MP, photograph as PNG with alpha", (_with_alpha(folder / "alpha.png", sources[1], by),)),
        Case("crawl: 85 % JPEG, 10 % WebP, 2.5 % PNG, 2.5 % PNG with alpha", _crawled(folder, sources, by)),
    ]


def _with_alpha(path: Path, source: Path, by: int, size: tuple[int, int] = (1632, 1224)) -> Path:
    from PIL import Image

    image = photograph(source, (size[0] // by, size[1] // by), 0.4)
    alpha = Image.linear_gradient("L").resize(image.size)
    image.putalpha(alpha.point(lambda value: 255 if value > 20 else value * 12))
    image.save(path)
    return path


def _crawled(folder: Path, sources: Sequence[Path], by: int) -> tuple[Path, ...]:
    """Files as crawlers find them: 0.2 MB, a megapixel or less."""
    made = []
    for number in range(_CRAWLED):
        source, path = sources[number % len(sources)], folder / f"crawled-{number:02d}"
        size = ((1632, 1224), (1280, 960), (1024, 768))[number % 3]
        if number == 0:
            made.append(_with_alpha(path.with_suffix(".png"), source, by, (1280, 960)))
            continue
        image, file = photograph(source, (size[0] // by, size[1] // by), 0.3), io.BytesIO()
        kind, options = ("PNG", {}) if number == 1 else ("WEBP", {"quality": 80}) if number < 6 else ("JPEG", _CRAWL)
        image.save(file, kind, **options)
        path.write_bytes(file.getvalue())
        made.append(path)
    return tuple(made)


_CRAWL: dict[str, Any] = {"quality": 85}

# -- in the process that is measured


def _batchrec(side: int) -> Callable[[bytes], bytes]:
    from batchrec import images, values

    limits = values.ImageLimits()
    if hasattr(values, "Treatment"):
        treatment = values.Treatment(max_side=side or None)
        look, make = (partial(work, limits=limits, treatment=treatment) for work in (images.as_it_is, images.prepare))
    else:  # the commit before, with a signature of its own
        former: Any = images
        look = partial(former.as_it_is, limits=limits, upright=False)
        make = partial(former.prepare, limits=limits, repair=True, upright=False)

    def prepare(data: bytes) -> bytes:
        outcome = look(data) or make(data)
        assert isinstance(outcome, values.Prepared), outcome
        return outcome.data

    return prepare


def _pillow(side: int) -> Callable[[bytes], bytes]:
    from PIL import Image

    def prepare(data: bytes) -> bytes:
        file = io.BytesIO()
        with Image.open(io.BytesIO(data)) as image:
            image.thumbnail((side, side))
            image.save(file, "JPEG", quality=_QUALITY)
        return file.getvalue()

    return prepare


def _opencv(side: int) -> Callable[[bytes], bytes]:
    import numpy as np

    cv2: Any = importlib.import_module("cv2")

    cv2.setNumThreads(1)

    def prepare(data: bytes) -> bytes:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        scale = side / max(image.shape[:2])
        smaller = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return bytes(cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])

    return prepare


def _pyvips(side: int) -> Callable[[bytes], bytes]:
    import pyvips

    def prepare(data: bytes) -> bytes:
        return bytes(pyvips.Image.thumbnail_buffer(data, side, height=side).jpegsave_buffer(Q=_QUALITY))

    return prepare


PEERS = {"Pillow": _pillow, "opencv": _opencv, "pyvips": _pyvips}
"""Others that shrink."""


def _missing(name: str) -> bool:
    try:
        PEERS[name](_SIDE)
    except (ImportError, OSError):
        return True
    return False


def main() -> None:
    """Print the milliseconds of processor time that one file takes: the median of several times over all files."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("batchrec", *PEERS))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--side", type=int, default=0)
    parser.add_argument("--times", type=int, default=1)
    given = parser.parse_args()
    prepare = {"batchrec": _batchrec, **PEERS}[given.way](given.side)
    files = [path.read_bytes() for path in given.files]
    seconds = []
    for _ in range(given.times + 1):  # the first fills caches
        began = time.process_time()
        for data in files:
            prepare(data)
        seconds.append(time.process_time() - began)
    sys.stdout.write(json.dumps(1000 * median(seconds[1:]) / len(files)))


if __name__ == "__main__":
    main()
