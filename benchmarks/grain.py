"""Photographs as phones make them, out of small ones: enlarged, with grain, so that they have a camera's bytes."""

import io
from pathlib import Path

from PIL import Image, ImageChops

_QUALITY = 95
_STEPS = 7
_MOST_GRAIN = 40.0
_CROP = 1024


def photograph(source: Path, size: tuple[int, int], weight: float) -> Image.Image:
    """The photograph enlarged to `size`, in which the longer side stays the longer one.

    `weight` is in bytes a pixel, as JPEG of quality 95 with halved colour: as much grain is added as that takes.
    """
    with Image.open(source) as small:
        portrait = small.height > small.width
        large = small.convert("RGB").resize(size[::-1] if portrait else size, Image.Resampling.LANCZOS)
    side = min(_CROP, *large.size)
    left, top = (large.width - side) // 2, (large.height - side) // 2
    crop = large.crop((left, top, left + side, top + side))
    least, most = 0.0, _MOST_GRAIN
    for _ in range(_STEPS):
        middle = (least + most) / 2
        heavy = len(camera(_grained(crop, middle))) > weight * side * side
        least, most = (least, middle) if heavy else (middle, most)
    return _grained(large, least)


def camera(image: Image.Image) -> bytes:
    """The JPEG of a camera: quality 95, colour at half the resolution."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, subsampling="4:2:0")
    return file.getvalue()


def _grained(image: Image.Image, strength: float) -> Image.Image:
    """With grain in its brightness alone."""
    bright, *colours = image.convert("YCbCr").split()
    bright = ImageChops.add(bright, Image.effect_noise(image.size, strength), 1, -128)
    return Image.merge("YCbCr", [bright, *colours]).convert("RGB")
