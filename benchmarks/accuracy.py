"""Recognition of images that `input.max_side` shrinks: `python -m benchmarks.accuracy FOLDER`.

Each photograph of the folder is brought to 12 megapixels with the grain of a camera, and the embedded model looks at
it. Then it looks at what is sent of it, and at the same size by full decoding and Lanczos. About ten seconds a photo.
"""

import argparse
import asyncio
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from batchrec import images
from batchrec.emulator.answers import Guess
from batchrec.emulator.answers.model import EmbeddedModel
from batchrec.emulator.images import Picture
from batchrec.images.shrink import fitted
from batchrec.values import ImageLimits, Prepared, Treatment

from .grain import camera, photograph
from .tables import Table

_SIZE = 4032, 3024
_WEIGHT = 0.41
"""Bytes a pixel: 5 MB, as phones write."""

_SURE = 0.3
_FIRST = 5
_SIDES = 2048, 1280, 1024, 640
_QUALITY = 90

Way = Callable[[bytes], bytes]


def _prepared(side: int | None) -> Way:
    def way(data: bytes) -> bytes:
        outcome = images.prepare(data, ImageLimits(), Treatment(max_side=side))
        assert isinstance(outcome, Prepared), outcome
        return outcome.data

    return way


def _encoded(side: int, quality: int) -> Way:
    """Full decoding, Lanczos and a quality."""

    def way(data: bytes) -> bytes:
        image, file = Image.open(io.BytesIO(data)), io.BytesIO()
        size = fitted(image.size, side)
        smaller = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
        smaller.save(file, "JPEG", quality=quality, subsampling="4:2:0")
        return file.getvalue()

    return way


WAYS: dict[str, Way] = {
    "full size, as sent": _prepared(None),
    "full size, quality 85": _encoded(max(_SIZE), 85),
    **{f"max_side = {side}": _prepared(side) for side in _SIDES},
    **{f"Lanczos to {side}": _encoded(side, _QUALITY) for side in _SIDES},
}
"""Ways to send an image."""


@dataclass
class Seen:
    """Differences from the untouched images, one entry an image: top label, first five, score, kilobytes."""

    first: list[bool] = field(default_factory=list)
    sure: list[bool] = field(default_factory=list)
    five: list[bool] = field(default_factory=list)
    change: list[float] = field(default_factory=list)
    kilobytes: list[float] = field(default_factory=list)

    def note(self, before: Sequence[Guess], after: Sequence[Guess], weight: int) -> None:
        """Compare what the model says of an image."""
        changed = after[0].name != before[0].name
        self.first.append(changed)
        if before[0].score >= _SURE:
            self.sure.append(changed)
        self.five.append([guess.name for guess in before[:_FIRST]] != [guess.name for guess in after[:_FIRST]])
        score = next((guess.score for guess in after if guess.name == before[0].name), 0.0)
        self.change.append(abs(score - before[0].score))
        self.kilobytes.append(weight / 1000)


async def compare(folder: Path) -> Table:
    """The table of all ways over the photographs of a folder."""
    model, seen = EmbeddedModel(threads=1), {name: Seen() for name in WAYS}
    for path in _photos(folder):
        data = camera(photograph(path, _SIZE, _WEIGHT))
        before = await _look(model, data)
        for name, way in WAYS.items():
            sent = way(data)
            seen[name].note(before, await _look(model, sent), len(sent))
    count = len(next(iter(seen.values())).first)
    columns = ("sent", "top label changed", "of sure ones", "first five differ", "mean change of the score", "KB")
    table = Table(f"{count} photographs of 12 MP against the untouched file", columns)
    for name, found in seen.items():
        cells = (_share(found.first), _share(found.sure), _share(found.five))
        table.add(name, *cells, f"{_mean(found.change):.3f}", f"{_mean(found.kilobytes):,.0f}")
    table.notes = f"Sure: the model's score for the top label is at least {_SURE}."
    return table


async def _look(model: EmbeddedModel, data: bytes) -> Sequence[Guess]:
    with Image.open(io.BytesIO(data)) as image:
        picture = Picture(data, hashlib.sha256(data).hexdigest(), "JPEG", *image.size)
    return await model.answer("advanced_general", picture, {})


def _photos(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})


def _share(found: Sequence[bool]) -> str:
    return f"{sum(found)} of {len(found)} ({sum(found) / max(1, len(found)):.1%})"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("folder", type=Path, help="photographs, with all folders below")
    print(asyncio.run(compare(parser.parse_args().folder)).markdown())


if __name__ == "__main__":
    main()
