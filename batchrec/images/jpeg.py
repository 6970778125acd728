"""Structure of a JPEG (ITU-T T.81): its segments, its scans and its end, without decoding a pixel."""

import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from .exif import NORMAL, PREFIX, orientation_of

MAX_SCANS = 100
"""A JPEG with more scans is not decoded: each may be a few bytes, and takes as long as all the pixels. Usual are 10."""

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOS, APP0, APP1, APP2, APP14, APP15, COM = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE

_ALONE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
"""Markers without a length."""

_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_AFTER_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # in coded pixels FF 00 is a byte, FF D0 to FF D7 a restart
_SCAN_MARKER = re.compile(rb"\xff\xda")

_SEGMENT = struct.Struct(">BBH")
_FRAME = struct.Struct(">BHHB")
_PROGRESSIVE = 0xC2  # SOF2
_FRAMES = frozenset((0xC0, 0xC1, _PROGRESSIVE))
_TABLES, _TABLE_BYTES = 0xDB, 65
_HARMLESS = frozenset((0xC4, 0xDD, COM, *range(APP0, APP15 + 1)))

Size = tuple[int, int]


class Segment(NamedTuple):
    """Segment of a JPEG: its marker, and where its body begins and it ends.

    The coded pixels of a scan belong to its segment.
    """

    marker: int
    body: int
    end: int


def segments(data: bytes) -> Iterator[Segment]:
    """Each segment up to the end of the picture.

    Raises ValueError and struct.error where one is damaged.
    """
    at = len(SOI)
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == EOI[1]:
            return
        if marker in _ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        end = at + length
        if length < 2 or end > len(data):
            raise ValueError("a segment of the JPEG is damaged")
        if marker == SOS:
            after = _AFTER_SCAN.search(data, end)
            end = len(data) if after is None else after.start()
        yield Segment(marker, at + 2, end)
        at = end


def ended_jpeg(data: bytes) -> bool:
    """Whether a JPEG's last bytes are those of its end."""
    return data.endswith(EOI) or data[-4096:].rstrip(b"\0 \t\r\n").endswith(EOI)


def many_scans(data: bytes) -> bool:
    """Whether a JPEG has more than MAX_SCANS scans. 0.3 us/KB where nothing looks like it."""
    if sum(1 for _ in islice(_SCAN_MARKER.finditer(data), MAX_SCANS + 1)) <= MAX_SCANS:
        return False
    # Thumbnails and colour profiles may hold the marker's two bytes as well: only what stands between segments counts.
    return sum(1 for _ in islice(_scans(data), MAX_SCANS + 1)) > MAX_SCANS


def first_scan(data: bytes) -> int:
    """Number of channels in the first scan of a JPEG; 0 where there is no scan."""
    at = next(_scans(data), None)
    return data[at] if at is not None and at < len(data) else 0


def _scans(data: bytes) -> Iterator[int]:
    """Positions of the number of channels of each scan of a JPEG."""
    return (segment.body for segment in segments(data) if segment.marker == SOS)


def plain_jpeg(data: bytes) -> tuple[Size, int] | None:
    """Size and orientation of a JPEG of 8 bits in grey or colour whose header is in order, in some 4 us.

    None for whatever is less plain: `sniff` judges that, at five times the cost.
    """
    size, turn, at, channels, progressive = None, 0, 2, 0, False
    try:
        while True:
            start, marker, length = _SEGMENT.unpack_from(data, at)
            if start != 0xFF or length < 2:
                return None
            if marker == SOS:
                if at + 2 + length > len(data):
                    return None
                if size is None or ((progressive or data[at + 4] < channels) and many_scans(data)):
                    return None
                return size, turn or NORMAL
            if marker in _FRAMES and size is None:
                bits, height, width, channels = _FRAME.unpack_from(data, at + 4)
                if bits != 8 or channels not in (1, 3) or length != 8 + 3 * channels:
                    return None
                size, progressive = (width, height), marker == _PROGRESSIVE
            elif marker == _TABLES:
                if not _plain_tables(data, at + 4, length - 2):
                    return None
            elif marker not in _HARMLESS:
                return None
            elif marker == APP1 and not turn and data.startswith(PREFIX, at + 4):
                turn = orientation_of(data, at + 4, at + 2 + length)
            at += 2 + length
    except (struct.error, IndexError, ValueError):
        return None


def _plain_tables(data: bytes, at: int, length: int) -> bool:
    return length % _TABLE_BYTES == 0 and all(data[table] < 16 for table in range(at, at + length, _TABLE_BYTES))


def with_exif(data: bytes, exif: bytes) -> bytes:
    """The JPEG with a block of EXIF in front of its segments."""
    return b"".join((data[:2], b"\xff", bytes((APP1,)), (len(exif) + 2).to_bytes(2), exif, data[2:]))
