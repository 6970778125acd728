"""Extent of a picture in its file, by its header: where it ends, and whether it is there to its end."""

import re
import struct
from typing import NamedTuple

TAIL = "bytes after the image removed"
RESTORED = "end restored"


class Extent(NamedTuple):
    """A picture without what is no part of it: its bytes, what was changed, whether its end is certain.

    Where it is not certain, only decoding tells whether all pixels are there.
    """

    data: bytes
    changes: tuple[str, ...] = ()
    ended: bool = True


def as_it_is(data: bytes) -> Extent:
    """The whole file: of a format that is decoded anyway."""
    return Extent(data, ended=False)


_BITMAP = struct.Struct("<I4xiiHHI")
"""From byte 10 of a BMP: start of pixels, width, height (negative: rows from the top), planes, bits, compression."""

_CORE = struct.Struct("<I4xHHHH")
_CORE_BYTES = 12  # of the header of OS/2
_PLAIN = frozenset((0, 3, 6))  # compressions without compression: none, and masks of bits


def bitmap(data: bytes) -> Extent:
    """A BMP up to its last row. Bytes that fill the last row up, which programs forget, are added."""
    if len(data) >= 14 + 4 and data[14] == _CORE_BYTES:
        start, width, height, _, bits = _CORE.unpack_from(data, 10)
        compression = 0
    else:
        start, width, height, _, bits, compression = _BITMAP.unpack_from(data, 10)
    if compression not in _PLAIN:
        return as_it_is(data)
    used = -(-width * bits // 8)
    row = -(-used // 4) * 4
    missing = start + row * abs(height) - len(data)
    if missing < 0:
        return Extent(data[:missing], (TAIL,))
    if 0 < missing <= row - used:
        return Extent(data + bytes(missing), (RESTORED,))
    return Extent(data, ended=missing == 0)


_RIFF = struct.Struct("<4sI")
_NAME = re.compile(rb"VP8[ LX]|ALPH|ANIM|ANMF|ICCP|EXIF|XMP ")


def webp(data: bytes) -> Extent:
    """A WebP up to its last chunk, with that length in its header, where it is often wrong."""
    at = 12
    while _NAME.match(data, at) and at + _RIFF.size <= len(data):
        at += _RIFF.size + (_RIFF.unpack_from(data, at)[1] + 1) // 2 * 2
    # The last chunk may lack the byte that makes its length even.
    return Extent(data[:4] + struct.pack("<I", at - 8) + (data + b"\0")[8:at], ended=False)
