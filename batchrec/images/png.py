"""Structure of a PNG (W3C recommendation): chunks, metadata and end, without decoding a pixel."""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from .extent import RESTORED, TAIL, Extent

SIGNATURE = b"\x89PNG\r\n\x1a\n"
IEND = b"\0\0\0\0IEND\xaeB`\x82"

REMOVED = "damaged or oversized metadata removed"

MAX_METADATA_BYTES = 1_000_000
"""Unpacked texts and profiles beyond this are dropped: Pillow refuses a picture that has one of a mebibyte."""

_AROUND = 12  # bytes of a chunk around its body: length, name, checksum
_NAME = re.compile(rb"[A-Za-z]{4}")
_OPTIONAL = 0x20  # in the first letter of a name: the picture can be read without this chunk
_NEEDED = re.compile(rb"PLTE|IDAT|IEND|tRNS")
_PACKED = re.compile(rb"(?:zTXt|iCCP)[^\0]{0,79}\0\0|iTXt[^\0]{0,79}\0\x01\0[^\0]*\0[^\0]*\0")
_SHORTEST_BYTES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"acTL": 8, b"fcTL": 26, b"tIME": 7, b"sBIT": 1}
_TRANSPARENT_BYTES = {0: 2, 2: 6}  # of tRNS, by colour type
_COLOUR_TYPE_AT = 25  # in the file
_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))
_LONGEST_START_BYTES = 1024  # of a chunk, up to what is packed
_PIECE_BYTES = 1 << 20  # unpacked at a time


class Chunk(NamedTuple):
    """Chunk of a PNG: its name, and where it begins (at its length) and ends (after its checksum)."""

    name: bytes
    start: int
    end: int


def chunks(data: bytes) -> Iterator[Chunk]:
    """Each chunk up to IEND, and no longer than there are whole ones in a row."""
    at = len(SIGNATURE)
    while (found := _chunk_at(data, at)) is not None:
        yield found
        if found.name == b"IEND":
            return
        at = found.end


def chunk(name: bytes, body: bytes) -> bytes:
    """The bytes of a chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def sound(data: bytes, found: Chunk) -> bool:
    """Whether the chunk's checksum is right."""
    return zlib.crc32(memoryview(data)[found.start + 4 : found.end - 4]) == int.from_bytes(
        data[found.end - 4 : found.end]
    )


def alone(data: bytes) -> Extent:
    """A PNG up to its end, without metadata that a reader would stumble over.

    A missing end is restored where all pixels are there. Raises ValueError where they are not, and where a chunk that
    is needed is damaged.
    """
    kept: list[Chunk] = []
    changes: list[str] = []
    room, at = MAX_METADATA_BYTES, len(SIGNATURE)
    while (found := _next(data, at)) is not None:
        if found.start != at:
            changes.append(REMOVED)
        at = found.end
        if found.name == b"IEND":
            break
        size = _metadata_bytes(data, found, room)
        if size is None:
            changes.append(REMOVED)
        else:
            kept.append(found)
            room -= size
    if found is None or data[found.start : found.end] != IEND:
        return Extent(_closed(data, kept), (*dict.fromkeys(changes), RESTORED))
    if at < len(data):
        changes.append(TAIL)
    if changes:
        data = b"".join((SIGNATURE, *(data[each.start : each.end] for each in kept), IEND))
    return Extent(data, tuple(dict.fromkeys(changes)))


def _chunk_at(data: bytes, at: int) -> Chunk | None:
    """The chunk at this place, by its length; None where there is no whole one."""
    if at + _AROUND > len(data) or _NAME.match(data, at + 4) is None:
        return None
    end = at + _AROUND + int.from_bytes(data[at : at + 4])
    return Chunk(data[at + 4 : at + 8], at, end) if end <= len(data) else None


def _next(data: bytes, at: int) -> Chunk | None:
    """The chunk at this place, or the next needed one where its length is wrong; None at the end."""
    found = _chunk_at(data, at)
    if found is not None and (not _optional(found) or _is_place(data, found.end) or sound(data, found)):
        return found
    if found is None and not (_is_place(data, at) and data[at + 4] & _OPTIONAL):
        return None
    for name in _NEEDED.finditer(data, at + 8):
        later = _chunk_at(data, name.start() - 4)
        if later is not None and sound(data, later):
            return later
    return None


def _is_place(data: bytes, at: int) -> bool:
    """Whether another chunk may begin here."""
    return _NAME.match(data, at + 4) is not None


def _optional(found: Chunk) -> bool:
    return bool(found.name[0] & _OPTIONAL)


def _metadata_bytes(data: bytes, found: Chunk, room: int) -> int | None:
    """Size of a chunk's metadata in memory, 0 of other chunks; None where damaged or over `room`."""
    if not _optional(found):
        return 0
    size = found.end - found.start
    shortest = _SHORTEST_BYTES.get(found.name, 0)
    if found.name == b"tRNS":
        shortest = _TRANSPARENT_BYTES.get(data[_COLOUR_TYPE_AT], 0)
    if size < _AROUND + shortest or not sound(data, found):
        return None
    if found.name not in _TEXTS:
        return 0 if size < MAX_METADATA_BYTES else None
    start = _PACKED.match(data, found.start + 4, min(found.end - 4, found.start + _LONGEST_START_BYTES))
    if start is not None:
        try:
            size = len(zlib.decompressobj().decompress(data[start.end() : found.end - 4], room + 1))
        except zlib.error:
            return None
    return size if size <= room else None


# -- a missing end


def _closed(data: bytes, kept: list[Chunk]) -> bytes:
    """The picture with its end, where all pixels are there; raises ValueError where they are not."""
    at = kept[-1].end if kept else len(SIGNATURE)
    cut = data[at + 4 : at + 8] == b"IDAT"
    rest = data[at + 8 : at + 8 + int.from_bytes(data[at : at + 4])] if cut else b""
    bodies = [data[each.start + 8 : each.end - 4] for each in kept if each.name == b"IDAT"]
    if not bodies and not rest:
        raise ValueError("a PNG without pixels")
    found = _stream_end(_raw_bytes(data), [*bodies, rest])
    if found is None:
        raise ValueError("a PNG without its end")
    end, behind = found
    rest = rest[: max(0, len(rest) - behind)] + end
    last = chunk(b"IDAT", rest) if rest else b""
    return b"".join((SIGNATURE, *(data[each.start : each.end] for each in kept), last, IEND))


def _stream_end(wanted: int, bodies: list[bytes]) -> tuple[bytes, int] | None:
    """Bytes that packed pixels lack at their end, and how many follow it; None where pixels are missing."""
    stream, size, checksum = zlib.decompressobj(), 0, 1
    for body in bodies:
        while body and not stream.eof:
            piece = stream.decompress(body, _PIECE_BYTES)
            body = stream.unconsumed_tail
            size, checksum = size + len(piece), zlib.adler32(piece, checksum)
    if size < wanted:
        return None
    if stream.eof:
        return b"", len(stream.unused_data)
    trailer = struct.pack(">I", checksum)
    for there in range(len(trailer)):
        copy = stream.copy()
        try:
            copy.decompress(trailer[there:])
        except zlib.error:
            continue
        if copy.eof:
            return trailer[there:], 0
    return None


_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Interlacing: first column, first row, and steps of each pass."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def _raw_bytes(data: bytes) -> int:
    """Number of bytes of the unpacked pixels, by the header."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * _CHANNELS.get(colour, 1)
    total = 0
    for left, top, right, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0:
            total += max(rows, 0) * (1 + -(-columns * bits // 8))
    return total
