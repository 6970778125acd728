"""Small JPEGs of pictures: upright, without metadata, for pages, tables and comparisons.

A usual JPEG is decoded at a fraction of its size; `thumbnail` in the package prepares every other picture first.
"""

from io import BytesIO
from typing import NamedTuple

from PIL import Image

from .orientation import of_jpeg
from .repair import FIRST_QUARTER, TURNS

_QUALITY = 70  # of the JPEG
_LARGE_PIXELS = 60_000_000  # are decoded by `prepare`, which keeps to a budget of memory
_WAY = Image.Resampling.HAMMING
"""As sharp as BICUBIC where a picture is shrunk to a half or so, in two thirds of the time."""


class Small(NamedTuple):
    """A small JPEG, and width and height in pixels of the picture as displayed."""

    jpeg: bytes
    width: int
    height: int


def small_jpeg(data: bytes, side: int) -> Small | None:
    """Make the small picture of a usual JPEG, at most `side` pixels a side; None for an unusual one."""
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            width, height = image.size
            if image.mode not in ("RGB", "L") or width * height > _LARGE_PIXELS:
                return None
            image.draft(image.mode, (side, side))
            turn = of_jpeg(data)
            jpeg = encoded(image, side, turn)
    except (OSError, SyntaxError, ValueError):
        return None
    return Small(jpeg, *((width, height) if turn < FIRST_QUARTER else (height, width)))


def encoded(image: Image.Image, side: int, turn: int) -> bytes:
    """The picture as a small JPEG: no metadata, turned as its orientation says, white where it is clear."""
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.thumbnail((side, side), _WAY, reducing_gap=None)
    if turn in TURNS:
        image = image.transpose(TURNS[turn])
    image.info = {}
    file = BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
