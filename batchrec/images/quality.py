"""Choice of format and JPEG quality by probes: strips of an image, encoded in a fraction of its time."""

import io
from collections.abc import Callable, Sequence

from PIL import Image

_FINE, _QUALITIES = 95, (90, 85, 75)
"""Qualities of JPEG, in the order they are tried. With the embedded model 95 and 90 change as many top labels."""

FULL_COLOUR_FROM = _FINE
"""Quality from which colour is kept at full resolution: logos have thin coloured lines."""

_FINE_PIXELS = 3_000_000
"""Lossless images of more pixels are photographs or scans whose fine colour nobody sees."""

_PHOTOGRAPHIC = 0.75
"""Bytes a pixel as PNG from which a lossless image is a photograph: those have 1.5, drawings 0.02 (measured)."""

_SMALL_PIXELS = 16_384
"""Lossless images of fewer pixels are light as PNG whatever they show."""

_STRIPS = 8
"""Strips of a probe, evenly spread over the height."""

_BLOCK = 16  # rows that a JPEG with halved colour encodes together
_DENSITY_PIXELS, _QUALITY_PIXELS = 65_536, 500_000
"""Pixels of the probes: PNG takes 80 ns a pixel, JPEG 4."""

_CAUTION = 0.97
"""Part of the bytes allowed that a probe may fill: of photographs of 12 megapixels none was heavier than its probe."""

Encode = Callable[[Image.Image, int, int], bytes | None]
"""Encoder of an image as JPEG: quality, and the most bytes; None where it takes more."""


def photographic(image: Image.Image) -> bool:
    """Whether a decoded image has so much detail that PNG is the wrong format for it."""
    if image.width * image.height < _SMALL_PIXELS:
        return False
    probe, file = _strips(image, _DENSITY_PIXELS), io.BytesIO()
    probe.save(file, "PNG", compress_level=1)
    return file.tell() > _PHOTOGRAPHIC * probe.width * probe.height


def fine(pixels: int) -> bool:
    """Whether a lossless image of so many pixels deserves the finest quality, if it has to become a JPEG."""
    return pixels <= _FINE_PIXELS


def qualities(image: Image.Image, most: int, encode: Encode, *, finest: bool) -> Sequence[int]:
    """Qualities of JPEG to try, best first; the first is expected to take `most` bytes at most.

    Only where a byte a pixel might be too much is that looked into: smaller images fit nearly always.
    """
    ladder = (_FINE, *_QUALITIES) if finest else _QUALITIES
    if image.width * image.height <= most:
        return ladder
    probe = _strips(image, _QUALITY_PIXELS)
    room = round(_CAUTION * most * probe.height / image.height)
    first = next((n for n, quality in enumerate(ladder) if encode(probe, quality, room) is not None), len(ladder) - 1)
    return ladder[first:]


def _strips(image: Image.Image, pixels: int) -> Image.Image:
    """About so many pixels of the image, as strips of its full width; all of it where it has no more."""
    width, height = image.size
    tall = max(1, pixels // (_STRIPS * width * _BLOCK)) * _BLOCK
    if _STRIPS * tall >= height:
        return image.copy()
    probe = Image.new(image.mode, (width, _STRIPS * tall))
    if (palette := image.getpalette()) is not None:
        probe.putpalette(palette)
    for number in range(_STRIPS):
        top = (height - tall) * number // (_STRIPS - 1)
        probe.paste(image.crop((0, top, width, top + tall)), (0, number * tall))
    return probe
