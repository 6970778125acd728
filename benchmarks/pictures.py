"""Pictures to send: JPEGs of noise, of a wanted size to the byte, no two of them alike.

`python -m benchmarks.pictures FOLDER BYTES COUNT` writes them. None is a duplicate of another and none needs a repair,
so that each costs one call. A thousand stand in a folder.
"""

import argparse
import io
from pathlib import Path

from .process import module, run

PER_FOLDER = 1000

_SHAPES = ((2_000, (16, 16)), (40_000, (320, 240)), (200_000, (1024, 768)), (800_000, (2048, 1536)))
_LARGEST = (4000, 3000)
_QUALITY = 85
_STEPS = 12
_MOST_IN_A_COMMENT = 65_533
_COMMENT = b"\xff\xfe"


def made(cache: Path, size: int, count: int) -> Path:
    """The folder in `cache` with so many pictures of that many bytes each, which is made where it is not there yet.

    In a process of its own: what it takes in memory must not be taken for that of the processes measured later.
    """
    folder = cache / f"{size}-{count}"
    if not folder.exists():
        run(module("benchmarks.pictures", folder, size, count), core=None)
    return folder


def files(folder: Path) -> list[str]:
    """The pictures of such a folder, in order."""
    return sorted(str(path) for path in folder.glob("*/*.jpg"))


def write(folder: Path, size: int, count: int) -> None:
    """Write `count` pictures of `size` bytes each."""
    picture = noise(size)
    for number in range(count):
        inner = folder / f"{number // PER_FOLDER:04d}"
        if number % PER_FOLDER == 0:
            inner.mkdir(parents=True)
        (inner / f"{number:07d}.jpg").write_bytes(_numbered(picture, number, size))


def noise(size: int) -> bytes:
    """A JPEG of a little less than `size` bytes, in the dimensions that such a photograph has."""
    shape = next((shape for most, shape in _SHAPES if size <= most), _LARGEST)
    least, most, best = 0.0, 128.0, b""
    for _ in range(_STEPS):
        middle = (least + most) / 2
        data = jpeg(shape, middle)
        if len(data) + 32 > size:
            most = middle
        else:
            least, best = middle, data
    if not best:
        raise ValueError(f"no picture of {size} bytes")
    return best


def jpeg(shape: tuple[int, int], strength: float, quality: int = _QUALITY) -> bytes:
    """A JPEG of grey-blue noise, the stronger the larger."""
    from PIL import Image

    grains = Image.effect_noise(shape, strength)
    picture = Image.merge("RGB", (grains, grains, Image.new("L", shape, 140)))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _numbered(jpeg: bytes, number: int, size: int) -> bytes:
    """The picture with its number in a comment, filled up to `size` bytes."""
    left = size - len(jpeg)
    comments = b""
    while left - len(comments) > 4:
        room = min(left - len(comments) - 4, _MOST_IN_A_COMMENT)
        text = (b"%016d " % number * (room // 17 + 1))[:room]
        comments += _COMMENT + (room + 2).to_bytes(2, "big") + text
    return jpeg[:2] + comments + jpeg[2:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("size", type=int)
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    write(given.folder, given.size, given.count)
