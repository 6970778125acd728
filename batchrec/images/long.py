"""Geometry of long pictures, in pixels: bars around them, or tiles that are sent one by one."""

import math
from typing import NamedTuple

from PIL import Image

from ..values import ImageLimits
from .jpeg import Size

REFUSE, PAD, SPLIT = "refuse", "pad", "split"
"""Values of `Treatment.long`."""

MOST_TILES = 100
"""Tiles of a picture at most: each is a call, and a strip of that length is rather a mistake than a picture."""

_SHARE_OF_OVERLAP = 10
"""Neighbouring tiles share a tenth of their length, so that what lies on the border of one is whole in the other."""

_GREY = 128
"""Grey level of the bars: as far from black as from white, so that they have no edge in common with either."""


class Area(NamedTuple):
    """A part of a picture: its edges in pixels, as Pillow has them."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top


def is_long(size: Size, limits: ImageLimits) -> bool:
    """Whether the longer side has more than the allowed multiple of the shorter one."""
    return max(size) > min(size) * limits.max_ratio


def count_tiles(size: Size, limits: ImageLimits) -> int:
    """Fewest tiles of an allowed shape that cover the picture; 1 where it is not long."""
    if not is_long(size, limits):
        return 1
    longest = int(min(size) * limits.max_ratio)
    # n tiles of a length t with a share s of overlap reach n t - (n - 1) t / s.
    share = _SHARE_OF_OVERLAP
    return math.ceil((share * max(size) - longest) / ((share - 1) * longest))


def tile_length(size: Size, limits: ImageLimits) -> int:
    """Length of each tile along the longer side: no longer than that many tiles need to be."""
    count = count_tiles(size, limits)
    return -(-_SHARE_OF_OVERLAP * max(size) // ((_SHARE_OF_OVERLAP - 1) * count + 1))


def tiles(size: Size, limits: ImageLimits) -> list[Area]:
    """Tiles of equal size that cover the picture from its top or left to its end, and overlap."""
    width, height = size
    count, length = count_tiles(size, limits), tile_length(size, limits)
    starts = [number * (max(size) - length) // max(1, count - 1) for number in range(count)]
    if width > height:
        return [Area(start, 0, start + length, height) for start in starts]
    return [Area(0, start, width, start + length) for start in starts]


def padded_size(size: Size, limits: ImageLimits) -> Size:
    """The smallest size of an allowed shape around the picture."""
    least = math.ceil(max(size) / limits.max_ratio)
    return max(size[0], least), max(size[1], least)


def padded(image: Image.Image, limits: ImageLimits) -> tuple[Image.Image, Size]:
    """The picture in the middle between neutral bars, and the width and height of the first bar.

    A picture that is not long is returned as it is.
    """
    if not is_long(image.size, limits):
        return image, (0, 0)
    if image.mode not in {"L", "RGB"}:
        image = image.convert("L" if image.mode == "1" else "RGB")
    whole = padded_size(image.size, limits)
    bar = (whole[0] - image.width) // 2, (whole[1] - image.height) // 2
    ground = Image.new(image.mode, whole, _GREY if image.mode == "L" else (_GREY,) * 3)
    ground.paste(image, bar)
    return ground, bar
