"""Checks before recognition: from base64 text to a `Picture` or an error code.

Only headers are read and nothing is decoded, so a decompression bomb costs no more than any other file.
"""

import binascii
import hashlib
import struct
from dataclasses import dataclass
from io import BytesIO

import pybase64
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from .settings import MIB, Settings

READERS: tuple[tuple[bytes, str, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", "JPEG", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", "PNG", PngImageFile),
    (b"BM", "BMP", BmpImageFile),
    (b"GIF8", "GIF", GifImageFile),
)
"""Magic bytes, name and reader of each format. `PIL.Image.open` is not used: it warns of large pictures, and
one of the service's own rules is to refuse them with a code."""


@dataclass(frozen=True, slots=True)
class Complaints:
    """The codes for what can be wrong with a picture; image-classify and EasyDL number it differently."""

    missing: int
    empty: int
    encoding: int
    size: int
    format: int
    shape: int


CLASSIC = Complaints(missing=216101, empty=216200, encoding=216203, size=216202, format=216201, shape=216202)
"""Codes of image-classify (official table 2019; shape: forum answers)."""

EASYDL = Complaints(missing=336006, empty=336006, encoding=336003, size=336004, format=336005, shape=336004)
"""Codes of EasyDL (official table 2022)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture the service would look at: bytes, their SHA-256 in hex, format's name, sides in pixels."""

    data: bytes
    sha256: str
    format: str
    width: int
    height: int

    @property
    def displayed(self) -> tuple[int, int]:
        """Width and height in pixels of the picture as it is displayed."""
        reader = next(reader for _, name, reader in READERS if name == self.format)
        probe = Image.new("L", (2, 1))
        with reader(BytesIO(self.data)) as image:
            if self.format == "PNG":
                image.load()  # EXIF may come after the pixels
            probe.info = image.info
        return (self.width, self.height) if upright(probe).width == probe.width else (self.height, self.width)


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says; damaged EXIF turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except (SyntaxError, OSError, ValueError, LookupError, TypeError, OverflowError, struct.error):
        return image


_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
"""Raised for sizes that a header claims, the second only where warnings are errors."""


def inspect(text: bytes | None, settings: Settings, codes: Complaints, *, general: bool = False) -> Picture | int:
    """The picture in a request's `image` value (base64, url-decoded), or the code that refuses it.

    `general` marks advanced_general, whose own page of 2024 allows more.
    """
    if text is None:
        return codes.missing
    if not text:
        return codes.empty
    larger = general and settings.general_2024
    if len(text) > (8 * MIB if larger else settings.max_base64):
        return codes.size
    try:
        data = pybase64.b64decode(text, validate=not settings.lenient_base64)
    except binascii.Error:
        return codes.encoding
    if not data:
        return codes.encoding
    return inspect_bytes(data, settings, codes, larger=larger)


def inspect_bytes(data: bytes, settings: Settings, codes: Complaints, *, larger: bool = False) -> Picture | int:
    """As `inspect`, of the picture itself. `larger`: up to 8,192 px a side."""
    found = _header(data)
    if found is None or (found[0] == "GIF" and not settings.gif):
        return codes.format
    name, width, height = found
    ratio = None if codes is EASYDL else settings.max_ratio
    if not _fits(width, height, settings.min_side, 8192 if larger else settings.max_side, ratio):
        return codes.shape
    return Picture(data, hashlib.sha256(data).hexdigest(), name, width, height)


def _header(data: bytes) -> tuple[str, int, int] | None:
    """Format and sides as the file's header states them.

    None if it is none of the known formats or broken.
    """
    for magic, name, reader in READERS:
        if data.startswith(magic):
            try:
                with reader(BytesIO(data)) as image:
                    return name, image.width, image.height
            except (SyntaxError, OSError, ValueError, OverflowError, *_BOMBS):
                return None
    return None


def _fits(width: int, height: int, shortest: int, longest: int, ratio: float | None) -> bool:
    low, high = sorted((width, height))
    return low >= max(shortest, 1) and high <= longest and (ratio is None or high <= ratio * low)
