"""Sizes at which images are sent: `input.max_side`, the service's longest side, a decoder's scales.

Arithmetic alone. A JPEG decoder makes an image of a half, a quarter or an eighth of the sides at a fraction of the
time. Where that is nearly as large as allowed, it is sent: resizing it would cost more than the decoding.
"""

from dataclasses import replace

from ..values import ImageLimits, Treatment
from .jpeg import Size

SCALES = (2, 4, 8)
"""Factors by which Pillow's JPEG decoder shrinks."""

_SNAP = 0.9
"""Part of the side allowed that an image has at least, so that it is sent as large as the decoder made it."""

_SHORT = 32
"""Pixels of the shorter side below which none are given away: services want 15 to 30."""

_BYTES_A_PIXEL = 0.28
"""Weight of a photograph that was shrunk: JPEG of quality 90, measured at 1,024 px."""

_GAIN = 2
"""An image is shrunk only if so many times the bytes would be sent otherwise: it costs three times the processor."""


def fitted(size: Size, side: int) -> Size:
    """The size with its longer side at most `side`.

    The other is rounded up, so that it never gets longer in shape.
    """
    longer = max(size)
    if longer <= side:
        return size
    return -(-size[0] * side // longer), -(-size[1] * side // longer)


def snapped(size: Size, side: int) -> Size:
    """As `fitted`, or the size by one of SCALES that is at most a tenth below it.

    Rounded down, as a decoder is asked for it: it makes no image that is smaller than wanted.
    """
    for scale in SCALES:
        if _SNAP * side <= -(-max(size) // scale) <= side and min(size) // scale >= _SHORT:
            return size[0] // scale, size[1] // scale
    return fitted(size, side)


def side_to_send(decoded: Size, side: int) -> int:
    """The longer side to send of a decoded image: its own where that is nearly the `side` allowed."""
    longer = max(decoded)
    return longer if _SNAP * side <= longer < side else side


def lowered(limits: ImageLimits, treatment: Treatment, size: Size, weight: int) -> ImageLimits:
    """The service's limits, with the side of `treatment.max_side` where this image is shrunk to it.

    `weight`: bytes of the image as it would be sent otherwise.
    """
    side = treatment.max_side
    if side is None or side >= limits.max_side or side >= max(size):
        return limits
    if weight <= _GAIN * photograph_bytes(fitted(size, side)):
        return limits
    return replace(limits, max_side=side)


def photograph_bytes(size: Size) -> int:
    """Bytes that a photograph of this size usually has as JPEG of quality 90."""
    return round(_BYTES_A_PIXEL * size[0] * size[1])


def expected_bytes(weight: int, limits: ImageLimits, shrunk: Size | None = None) -> int:
    """Bytes that are probably sent of a file of `weight` bytes; `shrunk`: its size by `max_side`."""
    return photograph_bytes(shrunk) if shrunk else min(weight, limits.base64_bytes * 3 // 4)


def expected_bytes_at(weight: int, side: int) -> int:
    """The same with `max_side = side`, from the weight alone: an image is taken to be 4:3."""
    smaller = photograph_bytes((side, side * 3 // 4))
    return smaller if weight >= _GAIN * smaller else weight
