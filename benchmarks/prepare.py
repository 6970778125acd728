"""Pictures judged and repaired: what the engine does to one before it is sent, in one thread and on all cores.

Every figure is a fresh process that prepares one picture again and again, from memory. One thread has a core of its
own. On all cores the pictures go through a pool of as many threads, as they do in the engine: Pillow lets go of the
interpreter's lock while it works, and huge pictures go one at a time. Without drafts a JPEG is decoded at its full
size before it is shrunk.
"""

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .machine import CLIENT_CORE
from .pictures import jpeg, noise
from .process import module, run
from .tables import Effort, Table, spread

_SECONDS = {Effort.QUICK: 0.05, Effort.USUAL: 1.0, Effort.FULL: 5.0}
_ROUNDS = {Effort.QUICK: 1, Effort.USUAL: 3, Effort.FULL: 7}

_GRAIN = 5.0
_CAMERA_QUALITY = 96
"""Such a picture has about half a byte for a pixel, like a photograph."""


def _saved(shape: tuple[int, int], mode: str, form: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise(shape, _GRAIN).convert(mode).save(buffer, form)
    return buffer.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "JPEG, 100 KB, 0.8 MP": lambda: noise(100_000),
    "JPEG, 1.5 MB, 12 MP": lambda: noise(1_500_000),
    "JPEG, too heavy, 12 MP": lambda: jpeg((4000, 3000), _GRAIN, _CAMERA_QUALITY),
    "JPEG, 24 MP, 6000x4000": lambda: jpeg((6000, 4000), _GRAIN, _CAMERA_QUALITY),
    "JPEG, 48 MP, 8064x6048": lambda: jpeg((8064, 6048), _GRAIN, _CAMERA_QUALITY),
    "JPEG, 108 MP, 12000x9000": lambda: jpeg((12000, 9000), _GRAIN, _CAMERA_QUALITY),
    "PNG, 1.9 MP, RGB": lambda: _saved((1600, 1200), "RGB", "PNG"),
    "PNG, 1.9 MP, alpha": lambda: _saved((1600, 1200), "RGBA", "PNG"),
    "WebP, 1.9 MP": lambda: _saved((1600, 1200), "RGB", "WEBP"),
}
"""What is prepared, made of noise."""

_DRAFTED = ("JPEG, too heavy, 12 MP", "JPEG, 24 MP, 6000x4000", "JPEG, 48 MP, 8064x6048", "JPEG, 108 MP, 12000x9000")
"""Those that are decoded, and may be at a fraction of their size."""

_QUICK = ("JPEG, 100 KB, 0.8 MP", "WebP, 1.9 MP")


@dataclass(frozen=True, slots=True)
class Ways:
    """One round of a picture: images/s in one thread and on all cores, ms of CPU, those without drafts, what was done.

    `undrafted_ms` is None where that makes no difference or the picture is refused.
    """

    alone: float
    together: float
    cpu_ms: float
    undrafted_ms: float | None
    words: str


def tables(effort: Effort, cache: Path) -> Iterator[Table]:
    """One table."""
    folder = cache / "prepare"
    folder.mkdir(exist_ok=True)
    names = _QUICK if effort is Effort.QUICK else tuple(PICTURES)
    table = Table(
        "pictures prepared",
        (
            *("picture", "what is done", "CPU ms/image", "CPU ms without drafts", "gain by drafts"),
            *("images/s, one thread", f"images/s, {os.cpu_count()} threads", "gain by threads"),
        ),
    )
    for name in names:
        rounds = [_round(name, folder, _SECONDS[effort]) for _ in range(_ROUNDS[effort])]
        table.add(
            name,
            rounds[0].words or "sent as it is",
            spread((each.cpu_ms for each in rounds), 3),
            *_by_drafts(rounds),
            spread((each.alone for each in rounds), 1),
            spread((each.together for each in rounds), 1),
            spread((each.together / each.alone for each in rounds), 2),
        )
    table.notes = "Without drafts a picture of 108 MP is refused: it has too many pixels to be decoded."
    yield table


def _by_drafts(rounds: list[Ways]) -> tuple[str, str]:
    pairs = [(each.undrafted_ms, each.cpu_ms) for each in rounds if each.undrafted_ms is not None]
    if not pairs:
        return "", ""
    return spread((full for full, _ in pairs), 3), spread((full / drafted for full, drafted in pairs), 2)


def _round(name: str, folder: Path, seconds: float) -> Ways:
    def measured(*options: object, core: int | None = CLIENT_CORE) -> dict[str, Any]:
        command = module("benchmarks.prepare", name, folder, "--seconds", seconds, *options)
        told: dict[str, Any] = json.loads(run(command, core=core).output)
        return told

    alone = measured()
    undrafted = measured("--no-drafts") if name in _DRAFTED else {"cpu_ms": None}
    together = measured("--threads", os.cpu_count(), core=None)
    return Ways(alone["rate"], together["rate"], alone["cpu_ms"], undrafted["cpu_ms"], alone["words"])


# -- the process that is measured


def main() -> None:
    """Prepare one picture for so many seconds and print how that went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PICTURES)
    parser.add_argument("folder", type=Path, help="where pictures are kept")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-drafts", action="store_true")
    given = parser.parse_args()
    if given.no_drafts:
        _without_drafts()
    print(json.dumps(_measure(_picture(given.name, given.folder), given.seconds, given.threads)))


def _picture(name: str, folder: Path) -> bytes:
    """The picture, made by the first process that asks for it."""
    file = folder / name.replace(" ", "-")
    if not file.exists():
        file.write_bytes(PICTURES[name]())
    return file.read_bytes()


def _without_drafts() -> None:
    from PIL.JpegImagePlugin import JpegImageFile

    setattr(JpegImageFile, "draft", lambda *_: None)  # noqa: B010 - assigned, it would be an error of types


def _measure(data: bytes, seconds: float, threads: int) -> dict[str, Any]:
    from batchrec import images
    from batchrec.api.services import SERVICES
    from batchrec.values import Failure, Prepared, Treatment

    limits = SERVICES["advanced_general"].limits

    def prepare() -> Prepared | Failure:
        usual = images.as_it_is(data, limits, Treatment())
        return usual or images.prepare(data, limits, Treatment())

    ready = prepare()
    if isinstance(ready, Failure):
        return {"rate": 0.0, "cpu_ms": None, "words": f"refused: {ready.message}"}
    end = time.monotonic() + seconds

    def work() -> int:
        count = 0
        while not count or time.monotonic() < end:
            prepare()
            count += 1
        return count

    began, cpu = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        count = sum(done.result() for done in [pool.submit(work) for _ in range(threads)])
    rate = count / (time.monotonic() - began)
    return {"rate": rate, "cpu_ms": (time.process_time() - cpu) / count * 1000, "words": ", ".join(ready.repaired)}


if __name__ == "__main__":
    main()
