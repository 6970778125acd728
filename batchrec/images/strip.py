"""Remove the metadata of a picture that is about to be sent, without touching its pixels.

Kept is what decides how pixels look: size, tables, colour profile, gamma, transparency, density, the frames of an APNG
and an EXIF block that holds the orientation and nothing else, where there is one. All else goes: EXIF with GPS and
thumbnail, XMP, IPTC, comments, text, time, maker's blocks, and whatever stands after the picture's end (a phone puts
further pictures and films there). JPEG by ITU-T T.81, PNG by the W3C recommendation; BMP has no metadata.
"""

import struct

from .exif import orientation_tag
from .jpeg import APP0, APP1, APP2, APP14, APP15, COM, EOI, SOI, segments
from .judge import Picture
from .png import SIGNATURE, chunk, chunks

_JFIF_BYTES = 16  # of a JFIF segment without its thumbnail

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
    parts = [SOI]
    for marker, body, end in segments(data):
        if exif and marker != APP0:  # JFIF comes first where there is one
            parts.append(b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif)
            exif = b""
        parts.append(_kept(marker, b"\xff" + data[body - 3 : end]))
    return b"".join((*parts, EOI))


def _kept(marker: int, segment: bytes) -> bytes:
    """The segment as it is sent; empty where it is metadata."""
    body = segment[4:]
    if marker == APP0:
        # Without its thumbnail, which may show more than the picture; a JFXX segment is nothing but a thumbnail.
        if not body.startswith(b"JFIF\0") or len(body) < _JFIF_BYTES - 2:
            return b""
        return b"\xff\xe0" + struct.pack(">H", _JFIF_BYTES) + body[: _JFIF_BYTES - 4] + b"\0\0"
    if marker == APP2:
        return segment if body.startswith(b"ICC_PROFILE\0") else b""
    if marker == APP14:  # says how colours are coded
        return segment if body.startswith(b"Adobe") else b""
    return b"" if marker == COM or APP1 <= marker <= APP15 else segment


# -- PNG


def _png(data: bytes, exif: bytes) -> bytes:
    parts = [SIGNATURE]
    for name, start, end in chunks(data):
        if name in _CHUNKS:
            parts.append(data[start:end])
        if name == b"IHDR" and exif:
            parts.append(chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
    return b"".join(parts)
