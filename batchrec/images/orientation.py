"""Orientation of an image file, which says how its pixels are turned for display, by format."""

import contextlib
import re
import struct
import zlib

from .exif import NORMAL, PREFIX, orientation_of
from .jpeg import APP1, SOS
from .png import chunks
from .webp import riff_chunks

_MOST_PROFILE_BYTES = 2 << 20
"""Bytes of a compressed profile that are unpacked: tables come first, then a thumbnail of 64 KB at most."""


def of_jpeg(data: bytes) -> int:
    """The orientation of a JPEG: that of its first segment of EXIF, which may come after XMP and others."""
    at = 2
    try:
        while True:
            while data[at + 1] == 0xFF:  # markers may be padded
                at += 1
            start, marker, length = struct.unpack_from(">BBH", data, at)
            if start != 0xFF or marker == SOS or length < 2:
                return NORMAL
            if marker == APP1 and data.startswith(PREFIX, at + 4):
                return orientation_of(data, at + 4, at + 2 + length)
            at += 2 + length
    except (struct.error, IndexError):
        return NORMAL


_PROFILE = re.compile(rb"Raw profile type (?:exif|APP1)\0")
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))


def of_png(data: bytes) -> int:
    """The orientation of a PNG: that of its eXIf chunk, or of the text that older programs write instead."""
    texts = []
    with contextlib.suppress(ValueError, struct.error):  # a damaged chunk ends the search
        for name, start, end in chunks(data):
            if name == b"eXIf":
                return orientation_of(data, start + 8, end - 4)
            if name in _TEXTS and _PROFILE.match(data, start + 8):
                texts.append((name, data[start + 8 : end - 4]))
    return next((turn for turn in (_of_text(*text) for text in texts) if turn != NORMAL), NORMAL)


def _of_text(name: bytes, body: bytes) -> int:
    """The orientation in a raw profile: lines with name and length, then the block in hexadecimal digits."""
    _, _, text = body.partition(b"\0")
    packed = name == b"zTXt"
    if name == b"iTXt":
        packed = text[:1] == b"\1"
        text = b"\0" + text[2:].split(b"\0", 2)[-1]
    try:
        if packed:
            text = zlib.decompressobj().decompress(text[1:], _MOST_PROFILE_BYTES)
        digits = text.strip(b"\0 \n").split(b"\n", 2)[2]
        return orientation_of(bytes.fromhex("".join(digits[:_MOST_PROFILE_BYTES].decode("ascii").split())))
    except (zlib.error, ValueError, IndexError):
        return NORMAL


def of_webp(data: bytes) -> int:
    """The orientation of a WebP: that of its EXIF chunk, wherever that stands."""
    for name, start, end in riff_chunks(data):
        if name == b"EXIF":
            return orientation_of(data, start, end)
    return NORMAL


_EXIF_BOXES = (b"JpgTiffExif->JP2", bytes.fromhex("0537cdab9d0c4431a72afa561f2a113e"))
"""Names of the boxes of EXIF that ExifTool and digiKam put into a JPEG 2000."""


def of_jpeg2000(data: bytes) -> int:
    """The orientation of a JPEG 2000 file; a bare codestream has none."""
    at = 0
    while at + 24 <= len(data) and data.startswith(b"\0\0\0\x0cjP"):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"uuid" and data[at + 8 : at + 24] in _EXIF_BOXES:
            return orientation_of(data, at + 24, at + length)
        if name == b"jp2c" or length < 8:  # the pixels, which come last
            return NORMAL
        at += length
    return NORMAL
