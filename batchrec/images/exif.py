"""Orientation in a block of EXIF (EXIF 2.32, tag 274).

Not Pillow's parser: it reads every tag, and a good image with a broken table of thumbnails would be refused. What is
missing, damaged or out of range counts as upright.
"""

import struct

from PIL import ExifTags, Image

NORMAL = 1
"""The orientation of pixels that lie as they are displayed."""

SIDEWAYS = 5
"""The first of the orientations in which width and height change places."""

_TAG = 0x0112  # Orientation
_HEADERS = {b"II*\0": "<", b"MM\0*": ">"}
_KINDS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""Types of a whole number in TIFF. SHORT (3) is right; editors write BYTE and LONG too, and viewers take them."""

PREFIX = b"Exif\0"
"""Start of a block of EXIF in a JPEG, and often elsewhere; one more byte follows, which should be zero."""


def orientation_of(data: bytes, start: int = 0, end: int | None = None) -> int:
    """The orientation in a block of EXIF, with or without its prefix: 1 to 8."""
    if data.startswith(PREFIX, start):
        start += len(PREFIX) + 1
    order = _HEADERS.get(data[start : start + 4])
    if order is None:
        return NORMAL
    end = len(data) if end is None else end
    try:
        (table,) = struct.unpack_from(order + "I", data, start + 4)
        table += start
        (count,) = struct.unpack_from(order + "H", data, table)
        for entry in range(table + 2, min(table + 2 + 12 * count, end - 11), 12):
            tag, kind, values = struct.unpack_from(order + "HHI", data, entry)
            if tag == _TAG and values == 1 and kind in _KINDS:
                (value,) = struct.unpack_from(order + _KINDS[kind], data, entry + 8)
                return value if 1 <= value <= 8 else NORMAL
    except struct.error:
        pass
    return NORMAL


def orientation_tag(orientation: int) -> bytes:
    """EXIF that holds the orientation and nothing else; empty where the picture is upright."""
    if orientation == NORMAL:
        return b""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()
