"""Judgement of a file by its content: format and defects. Decodes only to see whether it is whole.

Pillow's readers are called directly, never through `Image.open`: that one tries every format it knows (among them
PostScript, which starts a program), and warns about large pictures by means of state that all threads share.
"""

import codecs
import contextlib
import ctypes
import functools
import io
import logging
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)
from PIL.ImageFile import ImageFile

from ..values import Failure, ImageLimits, Kind
from .memory import decoding

MAX_DECODED_PIXELS = 100_000_000
"""Larger pictures are not decoded. One of this size takes 400 MB, and 1.3 GB for the moment of flattening its alpha."""

MAX_SEQUENTIAL_PIXELS = 4 * MAX_DECODED_PIXELS
"""The same for sequential JPEGs (200 megapixel phones), since these can be decoded straight to a half or less.
A progressive JPEG needs all its coefficients at once, so it counts like any other format."""

MAX_SCANS = 100
"""A JPEG with more scans is not decoded: each may be a few bytes, and takes as long as all the pixels. Usual are 10."""

PLAIN_MODES = frozenset({"1", "L", "P", "RGB"})
"""Pillow's names for black and white, grey, palette and colour of 8 bits: what every service decodes."""

Size = tuple[int, int]

_FORMAT_BYTES = {"JPEG2000": 20, "AVIF": 20, "WEBP": 24}
_MODE_BYTES = {"L": 4, "1": 5, "I": 9, "F": 9, "P": 12, "RGB": 12, "I;16": 12, "I;16B": 12}
_MOST_BYTES = 16
"""Bytes a pixel at the peak of a repair: of formats whose decoders hold more than one copy, else of Pillow's modes."""


@dataclass(frozen=True, slots=True)
class Format:
    """Picture format: signature, reader, whether it is lossless, and a cheap check of its end.

    `ended` saves decoding where it is True; where it is False only decoding can tell.
    """

    name: str
    start: re.Pattern[bytes]
    reader: Callable[[io.BytesIO], ImageFile]
    lossless: bool = True
    ended: Callable[["Picture"], bool] = lambda picture: False


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that began like a picture: its bytes and Pillow's view of its header, nothing decoded yet."""

    data: bytes
    format: Format
    image: ImageFile

    @property
    def size(self) -> Size:
        """Width and height in pixels, as the header has them."""
        return self.image.size

    @property
    def buffered(self) -> bool:
        """Whether it is a JPEG whose decoder holds the coefficients of all its pixels over several scans.

        So it does where the picture is progressive, and where the first scan lacks a channel.
        """
        if self.format is not _JPEG:
            return False
        return "progressive" in self.image.info or _first_scan(self.data) < len(self.image.getbands())

    def footprint(self, wanted: Size) -> int:
        """Most bytes that decoding and converting takes for a picture wanted with so many pixels or more.

        Measured with Pillow 13 as the peak of repairing 13 megapixels, by format and mode.
        """
        pixels, image = self.size[0] * self.size[1], self.image
        shrunk = pixels // _draft_scale(self.size, wanted) ** 2 if self.format is _JPEG else pixels
        each = _FORMAT_BYTES.get(self.format.name) or _MODE_BYTES.get(image.mode, _MOST_BYTES)
        if image.has_transparency_data:
            each = max(each, _MOST_BYTES)
        coefficients = 2 * len(image.getbands()) * pixels if self.buffered else 0
        return max(each * shrunk, coefficients + 4 * shrunk)

    @property
    def deep(self) -> bool:
        """Whether it has more than 8 bits a channel.

        Pillow narrows PNG colours by itself, so the header is asked.
        """
        if self.format is _PNG:
            return self.data[24] == 16
        return self.image.mode.startswith(("I", "F"))

    @property
    def holds_lock(self) -> bool:
        """Whether Pillow keeps the interpreter's lock while it works on the picture, for 20 ms and longer.

        A JPEG 2000 is decoded at 5 megapixels a second, and the range of numbers of 32 bits sought at 300, in one go.
        """
        width, height = self.size
        if self.format is _JPEG2000:
            return width * height > 50_000
        return self.image.mode in {"I", "F"} and width * height > 6_000_000

    @property
    def lossless(self) -> bool:
        """Whether its pixels are the original ones, so that they deserve PNG."""
        if self.format is _WEBP:
            return b"VP8L" in self.data[:4096]
        return self.format.lossless and self.image.info.get("compression") != "jpeg"

    @property
    def orientation(self) -> int:
        """The EXIF orientation, 1 to 8; 1 is upright. Pillow turns TIFF by itself, so that counts as upright."""
        exif = self.image.info.get("exif", b"")
        if self.format is _PNG and not exif:
            exif = _late_exif(self.data)
        return 1 if self.format is _TIFF else _orientation(exif)


def refuse(word: str, message: str) -> Failure:
    """An image's failure that batchrec names itself; no call was made."""
    return Failure(Kind.IMAGE, word, message, counted=False)


_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def silence_pillow() -> None:
    """Keep what Pillow and libtiff say about odd files off the terminal, for good: the Failure says it.

    A filter that is only ever added is safe in threads; `catch_warnings`, which takes it away again, is not.
    """
    _quiet_once()
    if tuple(warnings.filters[:1]) != (_QUIET,):
        warnings.filterwarnings("ignore", module=r"PIL\.")


@functools.cache
def _quiet_once() -> None:
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # libtiff prints every damage to stderr unless told otherwise, and Pillow has no word for telling it.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def _tail(data: bytes) -> bytes:
    """The end of a file, less the zeros and line ends that transfers and cameras append."""
    return data[-4096:].rstrip(b"\0 \t\r\n")


def ended_jpeg(data: bytes) -> bool:
    """Whether a JPEG's last bytes are those of its end."""
    return data.endswith(_EOI) or _tail(data).endswith(_EOI)


_EOI = b"\xff\xd9"
_IEND = b"IEND\xaeB`\x82"
_EXIF_BYTES = 64 * 1024


def _bmp_ended(picture: Picture) -> bool:
    codec, _, offset, settings = picture.image.tile[0]
    if codec != "raw" or not isinstance(settings, tuple):
        return False
    stride: int = settings[1]
    return offset + stride * picture.size[1] <= len(picture.data)


def _icon(file: io.BytesIO) -> ImageFile:
    """Entry of an icon that Pillow takes, by its own header: the list of entries says 256 px at most.

    A PNG may have any size, so it is opened by itself. A bitmap is decoded at once, as Pillow does with either.
    """
    offset = IcoImagePlugin.IcoFile(file).entry[0].offset
    file.seek(offset)
    png = file.read(4) == b"\x89PNG"
    file.seek(offset)
    if png:
        return PngImagePlugin.PngImageFile(file)
    width, height = BmpImagePlugin.DibImageFile(file).size
    if width * height // 2 > _ICON_PIXELS:  # the other half is the mask
        raise Image.DecompressionBombError
    file.seek(0)
    return IcoImagePlugin.IcoImageFile(file)


_ICON_PIXELS = 1_000_000
"""No list of icons can speak of a bitmap of more than 65,536 pixels."""

_JPEG = Format(
    "JPEG",
    re.compile(rb"\xff\xd8\xff"),
    # The class and not its factory: a phone's MPO is a JPEG with more pictures after it, and is sent as one.
    JpegImagePlugin.JpegImageFile,
    lossless=False,
    ended=lambda picture: ended_jpeg(picture.data),
)
_PNG = Format(
    "PNG",
    re.compile(rb"\x89PNG"),
    PngImagePlugin.PngImageFile,
    ended=lambda picture: _tail(picture.data).endswith(_IEND),
)
# Two letters are little to go by, so the header's length is asked as well.
_BMP = Format(
    "BMP",
    re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    BmpImagePlugin.BmpImageFile,
    ended=_bmp_ended,
)
_TIFF = Format("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile)
_WEBP = Format("WEBP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile)
_JPEG2000 = Format(
    "JPEG2000",
    re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
    Jpeg2KImagePlugin.Jpeg2KImageFile,
    lossless=False,
)

FORMATS = (
    _JPEG,
    _PNG,
    _BMP,
    Format("GIF", re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    _WEBP,
    _TIFF,
    Format("AVIF", re.compile(rb".{4}ftypavi[fs]", re.DOTALL), AvifImagePlugin.AvifImageFile, lossless=False),
    Format("ICO", re.compile(rb"\x00\x00\x01\x00"), _icon),
    _JPEG2000,
)

# What else is found under an image's name: start (in lower case, after white space), the word, what it looks like.
_OTHERS = (
    (re.compile(rb".{4}ftyp(?:hei|hev|mif|msf)", re.DOTALL), "unsupported", "a HEIC picture; convert it to JPEG"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "not_an_image", "a video"),
    (re.compile(rb"(?:<\?xml[^>]*>\s*)?<svg"), "not_an_image", "an SVG drawing"),
    (re.compile(rb"<\?xml"), "not_an_image", "an XML document"),
    (re.compile(rb"<"), "not_an_image", "an HTML page"),
    (re.compile(rb"[{\[]"), "not_an_image", "JSON text"),
    (re.compile(rb"%pdf"), "not_an_image", "a PDF document"),
)
_TEXT = re.compile(rb"[^\0-\x08\x0e-\x1a\x1c-\x1f\x7f]+")


def sniff(data: bytes) -> Picture | Failure:
    """Identify the format of non-empty bytes by their start. Pillow may raise for a damaged header."""
    kind = next((known for known in FORMATS if known.start.match(data)), None)
    if kind is None:
        return _no_picture(data)
    # Searched from the end, where it nearly always is.
    if kind is _PNG and data.rfind(_IEND) < 0:
        return refuse("torn", "the picture ends early: a PNG without its end")
    return Picture(data, kind, kind.reader(io.BytesIO(data)))


def _no_picture(data: bytes) -> Failure:
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, word, likeness in _OTHERS:
        if start.match(head):
            return refuse(word, f"looks like {likeness}")
    likeness = "looks like plain text" if _is_text(head) else "no picture format that is known"
    return refuse("not_an_image", likeness)


def _is_text(head: bytes) -> bool:
    """Whether it is UTF-8 without control characters; the last letter may be cut."""
    with contextlib.suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(head)
        return _TEXT.fullmatch(head) is not None
    return False


def _draft_scale(size: Size, wanted: Size) -> int:
    """Factor by which Pillow shrinks a JPEG while decoding it, so that both sides stay as long as wanted."""
    room = min(size[0] // wanted[0], size[1] // wanted[1])
    return next((scale for scale in (8, 4, 2) if scale <= room), 1)


def unrepairable(picture: Picture, limits: ImageLimits) -> Failure | None:
    """Failure that no repair can help, without decoding: enlarging, cropping, too much memory or time."""
    buffered = picture.buffered
    most = MAX_SEQUENTIAL_PIXELS if picture.format is _JPEG and not buffered else MAX_DECODED_PIXELS
    if (failure := misshapen(picture.size, limits) or overwhelming(picture.size, most)) is not None:
        return failure
    if buffered and _many_scans(picture.data):
        return refuse("unsupported", f"a JPEG of more than {MAX_SCANS} scans, which would take too long to decode")
    return None


_SCAN_MARKER = re.compile(b"\xff\xda")
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_END = 0xD9  # EOI, the marker at the end of a JPEG


def _many_scans(data: bytes) -> bool:
    """Whether a JPEG has more than MAX_SCANS scans. 0.3 us/KB where nothing looks like it."""
    if sum(1 for _ in islice(_SCAN_MARKER.finditer(data), MAX_SCANS + 1)) <= MAX_SCANS:
        return False
    # Thumbnails and colour profiles may hold the marker's two bytes as well: only what stands between segments counts.
    return sum(1 for _ in islice(_scans(data), MAX_SCANS + 1)) > MAX_SCANS


def _first_scan(data: bytes) -> int:
    """Number of channels in the first scan of a JPEG; 0 where there is no scan."""
    at = next(_scans(data), None)
    return data[at] if at is not None and at < len(data) else 0


def _scans(data: bytes) -> Iterator[int]:
    """Positions of the number of channels of each scan of a JPEG."""
    at = 2
    while (marker := _MARKER.search(data, at)) is not None and marker[1][0] != _END:
        if marker[1][0] == _SCAN:
            yield marker.end() + 2
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])


_SEGMENT = struct.Struct(">BBH")
_FRAME = struct.Struct(">BHHB")
_PROGRESSIVE = 0xC2  # SOF2
_FRAMES = frozenset((0xC0, 0xC1, _PROGRESSIVE))
_TABLES, _TABLE_BYTES = 0xDB, 65
_SCAN = 0xDA  # SOS
_APP0, _EXIF = 0xE0, 0xE1
_HARMLESS = frozenset((0xC4, 0xDD, 0xFE, *range(_APP0, 0xF0)))


def plain_jpeg(data: bytes, *, turned: bool) -> Size | None:
    """The size of a JPEG of 8 bits in grey or colour whose header is in order, in some 4 us.

    None for whatever is less plain: `sniff` judges that, at five times the cost. `turned`: whether it may hold EXIF,
    which can say that the picture is to be turned.
    """
    size, at, channels, progressive = None, 2, 0, False
    try:
        while True:
            start, marker, length = _SEGMENT.unpack_from(data, at)
            if start != 0xFF or length < 2:
                return None
            if marker == _SCAN:
                if at + 2 + length > len(data):
                    return None
                return None if (progressive or data[at + 4] < channels) and _many_scans(data) else size
            if marker in _FRAMES and size is None:
                bits, height, width, channels = _FRAME.unpack_from(data, at + 4)
                if bits != 8 or channels not in (1, 3) or length != 8 + 3 * channels:
                    return None
                size, progressive = (width, height), marker == _PROGRESSIVE
            elif marker == _TABLES:
                if not _plain_tables(data, at + 4, length - 2):
                    return None
            elif marker not in _HARMLESS or (marker == _EXIF and not turned and data.startswith(b"Exif", at + 4)):
                return None
            at += 2 + length
    except (struct.error, IndexError):
        return None


def _plain_tables(data: bytes, at: int, length: int) -> bool:
    return length % _TABLE_BYTES == 0 and all(data[table] < 16 for table in range(at, at + length, _TABLE_BYTES))


def misshapen(size: Size, limits: ImageLimits) -> Failure | None:
    """Failure of a picture by its sides: batchrec never enlarges, crops or pads."""
    shape = "{}x{} px".format(*size)
    if min(size) < limits.min_side:
        return refuse("too_small", f"{shape}: every side must have at least {limits.min_side} px")
    if max(size) > min(size) * limits.max_ratio:
        return refuse("too_long", f"{shape}: at most {limits.max_ratio:g}:1 is allowed")
    return None


def overwhelming(size: Size, most: int = MAX_DECODED_PIXELS) -> Failure | None:
    """Failure of a picture with more than `most` pixels, which is not decoded."""
    if size[0] * size[1] <= most:
        return None
    return refuse("too_large", "{}x{} px: too many to decode safely (a decompression bomb?)".format(*size))


def unfit(picture: Picture, limits: ImageLimits) -> Failure | None:
    """Failure by which the service would refuse the file as it is."""
    if picture.format.name not in limits.formats:
        taken = ", ".join(limits.formats)
        return refuse("unsupported", f"{picture.format.name} is not taken; the service takes {taken}")
    if max(picture.size) > limits.max_side:
        return refuse("too_large", "{}x{} px: at most {} a side".format(*picture.size, limits.max_side))
    if not fits_bytes(len(picture.data), limits):
        text = base64_length(picture.data)
        return refuse("too_large", f"{text:,} bytes of base64: at most {limits.base64_bytes:,} are taken")
    return None


def unusual(picture: Picture, *, upright: bool) -> bool:
    """Whether its handling by the service is unconfirmed: alpha, CMYK, 16 bit, turned with boxes."""
    image = picture.image
    if image.mode not in PLAIN_MODES or image.has_transparency_data or picture.deep:
        return True
    return upright and picture.orientation != 1


def within(size: Size, data: bytes, limits: ImageLimits) -> bool:
    """Whether the service takes a JPEG of that size in pixels, and of those bytes."""
    shortest, longest = min(size), max(size)
    return (
        "JPEG" in limits.formats
        and limits.min_side <= shortest
        and longest <= min(limits.max_side, shortest * limits.max_ratio)
        and overwhelming(size) is None
        and fits_bytes(len(data), limits)
    )


def verify(picture: Picture) -> None:
    """Decode a picture whose end is not where it should be; raises where it is torn."""
    if not picture.format.ended(picture):
        with decoding.hold(picture.footprint((1, 1))):
            # Every byte of a JPEG is read at an eighth of its size as well, with less work and memory.
            picture.image.draft(None, (1, 1))
            picture.image.load()


def base64_length(data: bytes) -> int:
    """Number of bytes of `data` as base64 text."""
    return 4 * -(-len(data) // 3)


def fits_bytes(size: int, limits: ImageLimits) -> bool:
    """Whether the service takes a file of that many bytes."""
    return size <= most_bytes(limits)


def most_bytes(limits: ImageLimits) -> int:
    """Largest number of bytes whose base64 text the service takes."""
    return limits.base64_bytes // 4 * 3


def _late_exif(data: bytes) -> bytes:
    """The EXIF of a PNG that stands after its pixels, where Pillow's look at the header does not reach."""
    at = data.rfind(b"eXIf", -_EXIF_BYTES)
    return data[at + 4 : at + 4 + _EXIF_BYTES] if at > 0 else b""


def _orientation(exif: bytes) -> int:
    """The orientation in a block of EXIF, 1 where it has none or is damaged.

    Not Pillow's parser: it reads every tag, and a good picture with a broken thumbnail table would be refused.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    with contextlib.suppress(struct.error):
        (table,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, table)
        for entry in range(table + 2, table + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, entry)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    return 1
