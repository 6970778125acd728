"""Proof by decoding that all pixels of a picture are in its file.

libjpeg fills missing pixels with grey, and goes on behind damage; of both it only warns, and Pillow hides that. So a
JPEG is decoded with other bytes behind its coded pixels: where a pixel changes, pixels were missing. And where none
changes although the last bytes were taken away, these bytes belong to pixels that damage has swallowed.
"""

import io

from PIL import ImageChops, JpegImagePlugin
from PIL.Image import Image

from . import png
from .jpeg import ARITHMETIC, PROGRESSIVE, RESTART, RESTARTS, SOS, UNUSUAL, Frame, Size, frame_of, segments
from .judge import Picture
from .memory import decoding

_FILLER_BYTES = 96


def _filler(step: int) -> bytes:
    return bytes(1 + (step * n + step) % 254 for n in range(_FILLER_BYTES))


FILLERS = tuple(
    filler for step in (37, 91, 151, 211) for filler in (_filler(step), bytes(255 - n for n in _filler(step)))
)
"""Bits and their opposites, so that the first missing code is read as two different ones. None of the bytes is FF.

The first two tell nearly always. Where the end is not in its place, all have to agree: a missing code may add to white.
"""

SURPLUS_BYTES = 8
"""Bytes that may be left over behind the last pixel."""

MOST_PIXELS = 50_000_000
"""Larger pictures are compared at half their size or less, and not looked at for surplus bytes."""

_PIXEL_BYTES = 12  # of two pictures and their difference
_COEFFICIENTS = 64  # of a block of pixels


def verify(picture: Picture, *, thorough: bool, decoded: bool) -> None:
    """Raise where pixels are missing; `thorough`: decode also a picture whose end is in its place.

    `decoded`: whether it will be decoded afterwards anyway, so that only what decoding overlooks is looked for.
    """
    if picture.ended and not thorough:
        return
    if picture.format.name == "JPEG" and picture.coding != ARITHMETIC:
        _verify_jpeg(picture, thorough=thorough)
        return
    # The arithmetic coder leaves zeros out at the end of a scan, so that any filler would be read.
    if picture.coding == ARITHMETIC and not picture.ended:
        raise ValueError("an arithmetic-coded JPEG without its end")
    if picture.format.name == "PNG" and not all(png.sound(picture.data, each) for each in png.chunks(picture.data)):
        raise ValueError("a checksum of the PNG is wrong")
    if not decoded:
        with decoding.hold(picture.footprint((1, 1))):
            picture.image.load()


def _verify_jpeg(picture: Picture, *, thorough: bool) -> None:
    data = picture.data
    frame = frame_of(data)
    if frame is None or not _complete(data, frame):
        raise ValueError("scans are missing")
    width, height = picture.size
    scale = next(scale for scale in (1, 2, 4, 8) if width * height <= MOST_PIXELS * scale**2 or scale == 8)
    small = -(-width // scale), -(-height // scale)
    with decoding.hold(max(_PIXEL_BYTES * small[0] * small[1], picture.footprint(small))):
        first = _decoded(_probed(data, FILLERS[0]), small)
        for filler in FILLERS[1:2] if picture.ended else FILLERS[1:]:
            if _differ(first, _decoded(_probed(data, filler), small)):
                raise ValueError("pixels are missing")
        if thorough and scale == 1:
            cut = _probed(data, FILLERS[1], SURPLUS_BYTES)
            if not _differ(first, _decoded(cut, small)):
                raise ValueError("bytes are left over, so pixels inside are damaged")


def _decoded(data: bytes, size: Size) -> Image:
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    image.draft(None, size)
    image.load()
    return image


def _differ(one: Image, other: Image) -> bool:
    return ImageChops.difference(one, other).getbbox(alpha_only=False) is not None


def _probed(data: bytes, filler: bytes, dropped: int = 0) -> bytes:
    """The JPEG with `filler` behind the coded pixels of each scan and restart interval.

    So many bytes are `dropped` from the end of its last scan before. Where all pixels are there, any filler gives the
    same picture.
    """
    parts, at = [], 0
    scans = [segment for segment in segments(data) if segment.marker == SOS]
    for scan in scans:
        start = scan.body - 2 + int.from_bytes(data[scan.body - 2 : scan.body])
        coded = data[start : scan.end]
        if dropped and scan is scans[-1]:
            coded = coded.rstrip(b"\0\xff")[:-dropped]
        ends = [*(found.start() for found in RESTART.finditer(coded)), len(coded)]
        parts.append(data[at:start])
        for begin, end in zip([0, *ends], ends, strict=False):
            parts += (coded[begin:end].rstrip(b"\xff"), filler)
        at = scan.end
    return b"".join((*parts, data[at:]))


def _complete(data: bytes, frame: Frame) -> bool:
    """Whether a JPEG has scans for all bits of its coefficients, and all their restart intervals."""
    interval = 0
    missing = {channel: [1] * _COEFFICIENTS for channel in frame.channels}
    for marker, body, end in segments(data):
        if marker == RESTARTS:
            interval = int.from_bytes(data[body : body + 2])
        if marker != SOS:
            continue
        count = data[body]
        channels = data[body + 1 : body + 1 + 2 * count : 2]
        first, last, bits = data[body + 1 + 2 * count : body + 4 + 2 * count]
        if not frame.channels.keys() >= set(channels):
            return False
        if frame.marker != PROGRESSIVE:
            first, last, bits = 0, _COEFFICIENTS - 1, 0
        for channel in channels:
            missing[channel][first : last + 1] = [bits & 15] * (last + 1 - first)
        intervals = 1 + len(RESTART.findall(data, body, end))
        if interval and frame.marker not in UNUSUAL and _units(frame, channels) > interval * intervals:
            return False
    return not any(map(any, missing.values()))


def _units(frame: Frame, channels: bytes) -> int:
    """Number of units that a scan of these channels codes."""
    across, down = (max(each[axis] for each in frame.channels.values()) for axis in (0, 1))
    if len(channels) > 1:
        return _ceiling(frame.width, 8 * across) * _ceiling(frame.height, 8 * down)
    mine = frame.channels[channels[0]]
    return _ceiling(_ceiling(frame.width * mine[0], across), 8) * _ceiling(_ceiling(frame.height * mine[1], down), 8)


def _ceiling(number: int, divisor: int) -> int:
    return -(-number // divisor)
