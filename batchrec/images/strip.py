"""Remove the metadata of a picture that is about to be sent, without touching its pixels.

Kept is what decides how pixels look: size, tables, colour profile, gamma, transparency, density, the frames of an APNG
and an EXIF block that holds the orientation and nothing else, where there is one. All else goes: EXIF with GPS and
thumbnail, XMP, IPTC, comments, text, time, maker's blocks, and whatever stands after the picture's end (a phone puts
further pictures and films there). JPEG by ITU-T T.81, PNG by the W3C recommendation; BMP has no metadata.
"""

import re
import struct
import zlib
from collections.abc import Iterator

from .judge import Picture, orientation_tag

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS, _APP0, _APP1, _APP2, _APP14, _APP15, _COM = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE
_ALONE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
"""Markers without a length."""

_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_AFTER_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # in coded pixels FF 00 is a byte, FF D0 to FF D7 a restart
_JFIF_BYTES = 16  # of a JFIF segment without its thumbnail

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNKS = frozenset(
    (
        *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"),
        *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"cICP", b"mDCV", b"cLLI"),
    )
)


def stripped(picture: Picture) -> bytes:
    """The bytes of a JPEG, PNG or BMP without metadata.

    Raises ValueError and struct.error where it is damaged.
    """
    strip = {"JPEG": _jpeg, "PNG": _png}.get(picture.format.name)
    return picture.data if strip is None else strip(picture.data, orientation_tag(picture.orientation))


# -- JPEG


def _jpeg(data: bytes, exif: bytes) -> bytes:
    parts = [_SOI]
    for marker, segment in _segments(data):
        if exif and marker != _APP0:  # JFIF comes first where there is one
            parts.append(b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif)
            exif = b""
        parts.append(_kept(marker, segment))
    return b"".join((*parts, _EOI))


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each segment up to the end of the picture: its marker, and all its bytes.

    The coded pixels of a scan belong to its segment.
    """
    at = len(_SOI)
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _EOI[1]:
            return
        if marker in _ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        end = at + length
        if length < 2 or end > len(data):
            raise ValueError("a segment of the JPEG is damaged")
        if marker == _SOS:
            after = _AFTER_SCAN.search(data, end)
            end = len(data) if after is None else after.start()
        yield marker, b"\xff" + data[at - 1 : end]
        at = end


def _kept(marker: int, segment: bytes) -> bytes:
    """The segment as it is sent; empty where it is metadata."""
    body = segment[4:]
    if marker == _APP0:
        # Without its thumbnail, which may show more than the picture; a JFXX segment is nothing but a thumbnail.
        if not body.startswith(b"JFIF\0") or len(body) < _JFIF_BYTES - 2:
            return b""
        return b"\xff\xe0" + struct.pack(">H", _JFIF_BYTES) + body[: _JFIF_BYTES - 4] + b"\0\0"
    if marker == _APP2:
        return segment if body.startswith(b"ICC_PROFILE\0") else b""
    if marker == _APP14:  # says how colours are coded
        return segment if body.startswith(b"Adobe") else b""
    return b"" if marker == _COM or _APP1 <= marker <= _APP15 else segment


# -- PNG


def _png(data: bytes, exif: bytes) -> bytes:
    parts = [_SIGNATURE]
    at = len(_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("a chunk of the PNG is damaged")
        if kind in _CHUNKS:
            parts.append(data[at:end])
        if kind == b"IHDR" and exif:
            parts.append(_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
        if kind == b"IEND":
            return b"".join(parts)
        at = end


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
