"""Structure of a JPEG (ITU-T T.81): its segments, its scans and its end, without decoding a pixel."""

import contextlib
import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from .exif import NORMAL, PREFIX, orientation_of
from .extent import RESTORED, TAIL, Extent

MAX_SCANS = 100
"""A JPEG with more scans is not decoded: each may be a few bytes, and takes as long as all the pixels. Usual are 10."""

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
SOS, APP0, APP1, APP2, APP14, APP15, COM = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF, 0xFE

_ALONE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
"""Markers without a length."""

_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in coded pixels FF 00 is a byte, FF D0 to FF D7 a restart
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_SCAN_MARKER = re.compile(rb"\xff\xda")

_SEGMENT = struct.Struct(">BBH")
_FRAME = struct.Struct(">BHHB")
PROGRESSIVE = 0xC2  # SOF2
_FRAMES = frozenset((0xC0, 0xC1, PROGRESSIVE))
_ALL_FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
RESTARTS = 0xDD  # DRI
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


def segments(data: bytes, *, scans: bool = True) -> Iterator[Segment]:
    """Each segment up to the end of the picture; without `scans`, up to the header of the first scan.

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
        if marker == SOS and not scans:
            yield Segment(marker, at + 2, end)
            return
        if marker == SOS:
            after = _AFTER_SCAN.search(data, end)
            end = len(data) if after is None else after.start()
        yield Segment(marker, at + 2, end)
        at = end


FOLLOWED_BYTES = 256 * 1024
"""A JPEG of more bytes is followed to its end marker in any case: what stands behind it is a further picture or film.

A smaller one is not, where it ends with a marker and lists no further pictures: that takes a tenth of a call's time.
"""

_FILLED = bytes(3)
"""So many zeros at the end are no pixels: an unfinished download has its full length from the start."""


def alone(data: bytes) -> Extent:
    """A JPEG up to its own end marker, which is added where it is missing. 0.3 us/KB."""
    scanned, end = False, len(SOI)
    try:
        if len(data) <= FOLLOWED_BYTES and data.endswith(EOI) and not _lists_more(data):
            return Extent(data)
        for marker, _, stop in segments(data):
            if scanned and marker not in _BETWEEN_SCANS:
                break
            scanned, end = scanned or marker == SOS, stop
        found = _MARKER.match(data, end)
        if found is not None and found[1] == EOI[1:]:
            return Extent(data) if found.end() == len(data) else Extent(data[: found.end()], (TAIL,))
    except (ValueError, struct.error):
        pass  # damaged behind `end`
    if not scanned:
        return Extent(data, ended=False)
    coded = data[:end]
    if coded.endswith(_FILLED):
        # One is left: the last byte of the pixels may be zero, and that behind FF belongs to it.
        coded = coded.rstrip(b"\0") + b"\0"
    coded = coded.rstrip(b"\xff")  # half a marker: in coded pixels a zero follows
    return Extent(coded + EOI, (RESTORED,), ended=False)


_BETWEEN_SCANS = frozenset((SOS, 0xC4, _TABLES, 0xDC, RESTARTS, COM, *range(APP0, APP15 + 1)))
"""Markers of what may stand behind the first scan."""


def _lists_more(data: bytes) -> bool:
    return any(_lists(data, *each) for each in segments(data, scans=False))


class Frame(NamedTuple):
    """Header of a JPEG's pixels: marker, bits a sample, height, width, and sampling of each channel."""

    marker: int
    bits: int
    height: int
    width: int
    channels: dict[int, tuple[int, int]]


def frame_of(data: bytes) -> Frame | None:
    """The header of a JPEG's pixels; None where there is none in order."""
    with contextlib.suppress(ValueError, struct.error):
        for marker, body, end in segments(data, scans=False):
            if marker in _ALL_FRAMES:
                return _frame(marker, data[body:end])
    return None


def _frame(marker: int, body: bytes) -> Frame:
    bits, height, width, _ = _FRAME.unpack_from(body)
    rows = struct.iter_unpack("BBB", body[6 : 6 + (len(body) - 6) // 3 * 3])
    return Frame(marker, bits, height, width, {number: (each >> 4, each & 15) for number, each, _ in rows})


LOSSLESS, ARITHMETIC = "lossless jpeg", "arithmetic-coded jpeg"
UNUSUAL = {0xC3: LOSSLESS, 0xC9: ARITHMETIC, 0xCA: ARITHMETIC}
"""Frames that Pillow reads and few services do."""

_UNREAD = {
    0xF7: "a JPEG-LS",
    0xCB: "a lossless arithmetic-coded JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "a hierarchical JPEG"),
}


def unread(frame: Frame) -> str | None:
    """Name of a kind of JPEG that is not read; None for the others."""
    if frame.marker in _UNREAD:
        return _UNREAD[frame.marker]
    return f"a JPEG of {frame.bits} bits a channel" if frame.bits != 8 else None


def many_scans(data: bytes) -> bool:
    """Whether a JPEG has more than MAX_SCANS scans. 0.3 us/KB where nothing looks like it."""
    if sum(1 for _ in islice(_SCAN_MARKER.finditer(data), MAX_SCANS + 1)) <= MAX_SCANS:
        return False
    # Thumbnails and colour profiles may hold the marker's two bytes as well: only what stands between segments counts.
    scans = (segment for segment in segments(data) if segment.marker == SOS)
    return sum(1 for _ in islice(scans, MAX_SCANS + 1)) > MAX_SCANS


def first_scan(data: bytes) -> int:
    """Number of channels in the first scan of a JPEG; 0 where there is no scan."""
    scan = next((segment for segment in segments(data, scans=False) if segment.marker == SOS), None)
    return data[scan.body] if scan is not None and scan.body < scan.end else 0


def plain_jpeg(data: bytes) -> tuple[Size, int] | None:
    """Size and orientation of a JPEG of 8 bits in grey or colour whose header is in order, in some 4 us.

    None for whatever is less plain, and where more pictures may follow: `sniff` judges that, at five times the cost.
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
                size, progressive = (width, height), marker == PROGRESSIVE
            elif marker == _TABLES:
                if not _plain_tables(data, at + 4, length - 2):
                    return None
            elif marker not in _HARMLESS or _lists(data, marker, at + 4, at + 2 + length):
                return None
            elif marker == APP1 and not turn and data.startswith(PREFIX, at + 4):
                turn = orientation_of(data, at + 4, at + 2 + length)
            at += 2 + length
    except (struct.error, IndexError, ValueError):
        return None


_XMP = b"http://ns.adobe.com/xap/1.0/"


def _lists(data: bytes, marker: int, start: int, end: int) -> bool:
    """Whether a segment lists further pictures in the file: by CIPA DC-007, or as Android's containers."""
    if marker == APP2:
        return data.startswith(b"MPF\0", start)
    return marker == APP1 and data.startswith(_XMP, start) and data.find(b"Container", start, end) >= 0


def _plain_tables(data: bytes, at: int, length: int) -> bool:
    return length % _TABLE_BYTES == 0 and all(data[table] < 16 for table in range(at, at + length, _TABLE_BYTES))


def with_exif(data: bytes, exif: bytes) -> bytes:
    """The JPEG with a block of EXIF in front of its segments."""
    return b"".join((data[:2], b"\xff", bytes((APP1,)), (len(exif) + 2).to_bytes(2), exif, data[2:]))
