"""Judgement of a file by its content: format and defects. Decodes only to see whether it is whole.

Pillow's readers are called directly, never through `Image.open`: that one tries every format it knows (among them
PostScript, which starts a program), and warns about large pictures by means of state that all threads share.
"""

import contextlib
import ctypes
import functools
import io
import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
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
from . import container
from .exif import NORMAL, orientation_of, orientation_tag
from .heif import MISSING, available, heif_image
from .jpeg import MAX_SCANS, Size, ended_jpeg, first_scan, many_scans, with_exif
from .memory import decoding
from .orientation import of_jpeg, of_jpeg2000, of_png, of_webp
from .others import identify
from .pages import BITS, RAW, is_raw, main_page, pages
from .png import IEND
from .samples import SampledImage, opened
from .webp import Box, first_frame

MAX_DECODED_PIXELS = 100_000_000
"""Larger pictures are not decoded. One of this size takes 400 MB, and 1.3 GB for the moment of flattening its alpha."""

MAX_SEQUENTIAL_PIXELS = 4 * MAX_DECODED_PIXELS
"""The same for sequential JPEGs (200 megapixel phones), since these can be decoded straight to a half or less.
A progressive JPEG needs all its coefficients at once, so it counts like any other format."""

PLAIN_MODES = frozenset({"1", "L", "P", "RGB"})
"""Pillow's names for black and white, grey, palette and colour of 8 bits: what every service decodes."""

_FORMAT_BYTES = {"JPEG2000": 20, "AVIF": 20, "HEIC": 24, "WEBP": 24}
_MODE_BYTES = {"L": 4, "1": 5, "P": 12, "RGB": 12, "I;16": 14, "I;16B": 14}
_MOST_BYTES = 16
"""Bytes a pixel at the peak of a repair: of formats whose decoders hold more than one copy, else of Pillow's modes."""


@dataclass(frozen=True, slots=True)
class Format:
    """Picture format: signature, reader, whether it is lossless, check of its end, orientation.

    `ended` saves decoding where it is True; where it is False only decoding can tell. `turned`: the reader turns the
    pixels upright by itself. `apart`: it is decoded in a process of its own, since the header does not tell how much
    memory its decoder takes.
    """

    name: str
    start: re.Pattern[bytes]
    reader: Callable[[io.BytesIO], ImageFile]
    lossless: bool = True
    ended: Callable[["Picture"], bool] = lambda picture: False
    orientation: Callable[["Picture"], int] = lambda picture: NORMAL
    turned: bool = False
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that began like a picture: its bytes and Pillow's view of its header, nothing decoded yet.

    `words`: what was done to come to it. `inside`: the format of the file that holds it, where `data` is a part of one.
    """

    data: bytes
    format: Format
    image: ImageFile
    words: tuple[str, ...] = ()
    inside: str = ""

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
        return "progressive" in self.image.info or first_scan(self.data) < len(self.image.getbands())

    def footprint(self, wanted: Size) -> int:
        """Most bytes that decoding and converting takes for a picture wanted with so many pixels or more.

        Measured with Pillow 13 as the peak of repairing 13 megapixels, by format and mode.
        """
        pixels, image = self.size[0] * self.size[1], self.image
        shrunk = pixels // _draft_scale(self.size, wanted) ** 2 if self.format is _JPEG else pixels
        each = _FORMAT_BYTES.get(self.format.name) or _MODE_BYTES.get(image.mode, _MOST_BYTES)
        if isinstance(image, SampledImage):
            each = max(each, image.pixel_bytes)
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
        if isinstance(self.image, TiffImagePlugin.TiffImageFile):
            return 16 in self.image.tag_v2.get(BITS, ())
        return self.image.mode.startswith("I;16")

    @property
    def apart(self) -> bool:
        """Whether it is decoded in a process of its own."""
        return self.format.apart or self.holds_lock

    @property
    def animated(self) -> bool:
        """Whether it has several frames. A HEIC has several images, of which one is the primary one."""
        return self.format is not _HEIC and getattr(self.image, "is_animated", False)

    @property
    def holds_lock(self) -> bool:
        """Whether Pillow keeps the interpreter's lock while it works on the picture, for 20 ms and longer.

        A JPEG 2000 is decoded at 5 megapixels a second, and each step of scaling numbers takes a second for 300.
        """
        width, height = self.size
        if self.format is _JPEG2000:
            return width * height > 50_000
        return isinstance(self.image, SampledImage) and width * height > 6_000_000

    @property
    def lossless(self) -> bool:
        """Whether its pixels are the original ones, so that they deserve PNG."""
        if self.format is _WEBP:
            return b"VP8L" in self.data[:4096]
        return self.format.lossless and self.image.info.get("compression") != "jpeg"

    @property
    def frame(self) -> Box | None:
        """Part of the canvas that the first frame of an animation covers; None where that is all of it."""
        box = first_frame(self.data) if self.format is _WEBP else None
        if isinstance(self.image, GifImagePlugin.GifImageFile):
            box = self.image.dispose_extent
        return None if box == (0, 0, *self.size) else box

    @property
    def orientation(self) -> int:
        """The orientation that the file states, 1 to 8; 1 is upright."""
        return self.format.orientation(self)

    @property
    def lying(self) -> bool:
        """Whether its pixels do not lie upright as they are decoded."""
        return not self.format.turned and self.orientation != NORMAL

    @property
    def turned(self) -> bool:
        """Whether its pixels are turned upright while they are decoded."""
        return self.format.turned and self.orientation != NORMAL


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


def _bmp_ended(picture: Picture) -> bool:
    codec, _, offset, settings = picture.image.tile[0]
    if codec != "raw" or not isinstance(settings, tuple):
        return False
    stride: int = settings[1]
    return offset + stride * picture.size[1] <= len(picture.data)


_AVIF_BRAND = re.compile(rb".{4}ftypavi[fs]", re.DOTALL)


def _avif(file: io.BytesIO) -> ImageFile:
    """An AVIF by whatever brand: libavif takes it by its own brand alone."""
    data = file.getvalue()
    return AvifImagePlugin.AvifImageFile(
        file if _AVIF_BRAND.match(data) else io.BytesIO(data[:8] + b"avif" + data[12:])
    )


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


def _of_tiff(image: Image.Image) -> int:
    """The orientation of a TIFF as its reader takes it: a whole number from 1 to 8, else it is upright."""
    value = getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else NORMAL


_ICON_PIXELS = 1_000_000
"""No list of icons can speak of a bitmap of more than 65,536 pixels."""

_JPEG = Format(
    "JPEG",
    re.compile(rb"\xff\xd8\xff"),
    # The class and not its factory: a phone's MPO is a JPEG with more pictures after it, and is sent as one.
    JpegImagePlugin.JpegImageFile,
    lossless=False,
    ended=lambda picture: ended_jpeg(picture.data),
    orientation=lambda picture: of_jpeg(picture.data),
)
_PNG = Format(
    "PNG",
    re.compile(rb"\x89PNG"),
    PngImagePlugin.PngImageFile,
    ended=lambda picture: _tail(picture.data).endswith(IEND),
    orientation=lambda picture: of_png(picture.data),
)
# Two letters are little to go by, so the header's length is asked as well.
_BMP = Format(
    "BMP",
    re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    BmpImagePlugin.BmpImageFile,
    ended=_bmp_ended,
)
_TIFF = Format(
    "TIFF",
    re.compile(rb"II[*+]\0|MM\0[*+]"),
    TiffImagePlugin.TiffImageFile,
    orientation=lambda picture: _of_tiff(picture.image),
    turned=True,
)
_WEBP = Format(
    "WEBP",
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    WebPImagePlugin.WebPImageFile,
    orientation=lambda picture: of_webp(picture.data),
)
_JPEG2000 = Format(
    "JPEG2000",
    re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
    Jpeg2KImagePlugin.Jpeg2KImageFile,
    lossless=False,
    orientation=lambda picture: of_jpeg2000(picture.data),
)
_AVIF = Format(
    "AVIF",
    _AVIF_BRAND,
    _avif,
    lossless=False,
    # Pillow puts the container's rotation there, which counts, in place of the file's own.
    orientation=lambda picture: orientation_of(picture.image.info.get("exif", b"")),
)

_HEIC = Format(
    "HEIC",
    re.compile(rb"(?!)"),  # only the container tells it from an AVIF
    heif_image,
    lossless=False,
    orientation=lambda picture: container.orientation(picture.data),
    turned=True,
    apart=True,
)

FORMATS = (
    _JPEG,
    _PNG,
    _BMP,
    Format("GIF", re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    _WEBP,
    _TIFF,
    _AVIF,
    Format("ICO", re.compile(rb"\x00\x00\x01\x00"), _icon),
    _JPEG2000,
)


def sniff(data: bytes) -> Picture | Failure:
    """Identify the format of non-empty bytes by their start. Pillow may raise for a damaged header."""
    kind = next((known for known in FORMATS if known.start.match(data)), None) or _contained(data)
    if kind is None:
        return refuse("unsupported", RAW) if is_raw(data) else refuse(*identify(data))
    if kind is _HEIC and not available():
        return refuse("unsupported", MISSING)
    if kind is _HEIC and not container.still(data):
        return refuse("unsupported", "a HEIC sequence without a still image; save one of its images as JPEG")
    # Searched from the end, where it nearly always is.
    if kind is _PNG and data.rfind(IEND) < 0:
        return refuse("torn", "the picture ends early: a PNG without its end")
    return _tiff(data) if kind is _TIFF else Picture(data, kind, kind.reader(io.BytesIO(data)))


def _tiff(data: bytes) -> Picture | Failure:
    """The page of a TIFF that shows the image; a JPEG by itself where the page is one."""
    page = main_page(data)
    if isinstance(page, str):
        return refuse("unsupported", page)
    first = page.at == next(pages(data)).at
    words = () if first else ("full-size page of tiff",)
    if (jpeg := page.jpeg) is not None:
        if of_jpeg(jpeg) == NORMAL != page.orientation:
            jpeg = with_exif(jpeg, orientation_tag(page.orientation))
        return Picture(jpeg, _JPEG, JpegImagePlugin.JpegImageFile(io.BytesIO(jpeg)), (*words, "jpeg of tiff"), "TIFF")
    image = opened(page, data if first else page.written({}))
    if isinstance(image, str):
        return refuse("unsupported", image)
    if isinstance(image, SampledImage) and image.layout.bits != 8:
        words = (*words, f"{image.layout.bits} bit to 8 bit")
    return Picture(data, _TIFF, image, words)


def _contained(data: bytes) -> Format | None:
    """The format of a file that names its kind only inside of its container."""
    return {"AVIF": _AVIF, "HEIC": _HEIC}.get(container.codec(data) or "")


def _draft_scale(size: Size, wanted: Size) -> int:
    """Factor by which Pillow shrinks a JPEG while decoding it, so that both sides stay as long as wanted."""
    room = min(size[0] // wanted[0], size[1] // wanted[1])
    return next((scale for scale in (8, 4, 2) if scale <= room), 1)


def unrepairable(picture: Picture, limits: ImageLimits) -> Failure | None:
    """Failure that no repair can help, without decoding: enlarging, cropping, too much memory or time."""
    buffered = picture.buffered
    most = MAX_SEQUENTIAL_PIXELS if picture.format is _JPEG and not buffered else MAX_DECODED_PIXELS
    if isinstance(picture.image, SampledImage):
        most = min(most, MAX_DECODED_PIXELS * _MOST_BYTES // picture.image.pixel_bytes)
    if (failure := misshapen(picture.size, limits) or overwhelming(picture.size, most)) is not None:
        return failure
    if buffered and many_scans(picture.data):
        return refuse("unsupported", f"a JPEG of more than {MAX_SCANS} scans, which would take too long to decode")
    return None


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
    form = picture.inside or picture.format.name
    if form not in limits.formats:
        taken = ", ".join(limits.formats)
        return refuse("unsupported", f"{form} is not taken; the service takes {taken}")
    if max(picture.size) > limits.max_side:
        return refuse("too_large", "{}x{} px: at most {} a side".format(*picture.size, limits.max_side))
    if not fits_bytes(len(picture.data), limits):
        text = base64_length(picture.data)
        return refuse("too_large", f"{text:,} bytes of base64: at most {limits.base64_bytes:,} are taken")
    return None


def unusual(picture: Picture, *, upright: bool) -> bool:
    """Whether the service may not take it as it is meant: alpha, CMYK, 16 bit, lying on its side."""
    image = picture.image
    if image.mode not in PLAIN_MODES or image.has_transparency_data or picture.deep:
        return True
    return upright and picture.lying


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
