"""Structure of a PNG (W3C recommendation): its chunks and its end, without decoding a pixel."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
IEND = b"IEND\xaeB`\x82"


class Chunk(NamedTuple):
    """Chunk of a PNG: its name, and where it begins (at its length) and ends (after its checksum)."""

    name: bytes
    start: int
    end: int


def chunks(data: bytes) -> Iterator[Chunk]:
    """Each chunk up to IEND.

    Raises ValueError and struct.error where one is damaged or the end is missing.
    """
    at = len(SIGNATURE)
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("a chunk of the PNG is damaged")
        yield Chunk(name, at, end)
        if name == b"IEND":
            return
        at = end


def chunk(name: bytes, body: bytes) -> bytes:
    """The bytes of a chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
